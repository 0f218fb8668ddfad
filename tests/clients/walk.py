"""What the walks of the `oneclaw` package share."""

import dataclasses

from oneclaw import create_client
from oneclaw.errors import OneclawError

password = "Correct-Horse-7-Battery"


def done(answer):
    """The data of an answer that must be a success."""
    assert answer.error is None, answer
    return answer.data


def as_documented(kind, data):
    """The data as the type that the package has for it. A field that it can't be without is a TypeError where it is missing."""
    names = {field.name for field in dataclasses.fields(kind)}
    return kind(**{name: value for name, value in data.items() if name in names})


def refused(status, answer):
    """The message of an answer that must be a refusal with this status."""
    assert answer.error is not None and answer.meta.status == status, f"not refused with {status}: {answer}"
    assert answer.error.message, f"a refusal without a word: {answer}"
    return answer.error.message


def locked_out(base, key):
    """The client exchanges an agent's key before its first request, and raises if it can't."""
    try:
        create_client(base_url=base, api_key=key).agents.me()
    except OneclawError as error:
        assert "401" in str(error), error
    else:
        raise AssertionError("a key that has ended still works")
