"""Who people and agents are, and what ends that, through the `oneclaw` package from PyPI, unmodified.

Arguments: the gateway's address, the folder into which it writes mails. Nobody at example.com may have an account.
Any surprise is an exception, and so an exit code.
"""

import base64
import email
import email.policy
import hashlib
import hmac
import sys
import time
from pathlib import Path

from oneclaw import create_client, types
from walk import as_documented, done, locked_out, password, refused

base, outbox = sys.argv[1], Path(sys.argv[2])


def ticket(to, subject):
    """What the link in such a mail holds. The mail is taken out."""
    for _ in range(400):
        for path in outbox.glob("*.eml"):
            mail = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
            if (mail["To"], mail["Subject"]) == (to, subject):
                path.unlink()
                link = next(line for line in mail.get_content().splitlines() if line.startswith("http"))
                return link.partition("#")[2]
        time.sleep(0.05)
    raise AssertionError(f"no mail {subject!r} to {to}")


def code(secret, steps=0):
    """An authenticator's code (RFC 6238) of this step, or of one before or after: a code is good once.

    Waits where the step is about to end.
    """
    left = 30 - time.time() % 30
    if left < 6:
        time.sleep(left)
    step = int(time.time()) // 30 + steps
    digest = hmac.digest(base64.b32decode(secret), step.to_bytes(8, "big"), hashlib.sha1)
    offset = digest[19] & 15
    return f"{(int.from_bytes(digest[offset:offset + 4], 'big') & 0x7FFFFFFF) % 1_000_000:06}"


def log_in(address, secret_word):
    """A client of somebody without a second factor."""
    client = create_client(base_url=base)
    assert done(client.auth.login(address, secret_word))["token_type"] == "Bearer"
    return client


def first_half(client, secret_word):
    """Ada's password alone, with a second factor: a token for the second half, and no other."""
    answer = done(client.auth.login("ada@example.com", secret_word))
    assert (answer["mfa_required"], answer["access_token"], answer["expires_in"]) == (True, "", 300), answer
    return answer["mfa_token"]


# A person signs up, once, with a password that is one, and logs in.
ada = create_client(base_url=base)
assert "password" in refused(400, ada.auth.signup("ada@example.com", "short"))
joined = done(ada.auth.signup("ada@example.com", password, display_name="Ada"))
assert joined["email"] == "ada@example.com"
ada_id = as_documented(types.SignupResponse, joined).user_id
refused(401, ada.auth.me())  # The client keeps no token of a sign-up; but it is good:
assert done(create_client(base_url=base, token=joined["access_token"]).auth.me())["display_name"] == "Ada"
refused(409, ada.auth.signup("ada@example.com", password))
wrong = refused(401, ada.auth.login("ada@example.com", password + "x"))
assert wrong == refused(401, ada.auth.login("nobody@example.com", password))
ada = log_in("ada@example.com", password)
me = done(ada.auth.me())
org_id = as_documented(types.UserProfile, me).org_id
logged_in = as_documented(types.LoginResponse, done(create_client(base_url=base).auth.login("ada@example.com", password)))
assert me["id"] == logged_in.user_id == ada_id and org_id, (me, logged_in)
assert (me["email"], me["role"], me["auth_method"], me["totp_enabled"]) == ("ada@example.com", "owner", "password", False), me
assert refused(400, ada.auth.refresh()) == "Refresh tokens not yet implemented"

# A revoked token is dead; another of the same person lives.
other = log_in("ada@example.com", password)
done(other.auth.revoke_token())
refused(401, other.auth.me())
refused(401, other.auth.revoke_token())
done(ada.auth.me())

# A changed password ends every earlier token, and the old password.
changed = "Different-Goat-9-Fence"
refused(400, ada.auth.change_password("not " + password, changed))
refused(400, ada.auth.change_password(password, "short"))
done(ada.auth.me())
done(ada.auth.change_password(password, changed))
refused(401, ada.auth.me())
refused(401, ada.auth.login("ada@example.com", password))
ada = log_in("ada@example.com", changed)

# A forgotten one is replaced through the mailed link, once; nobody learns who has an account.
stranger = create_client(base_url=base)
said = done(stranger.auth.forgot_password("ada@example.com"))
assert said == done(stranger.auth.forgot_password("nobody@example.com")), said
link = ticket("ada@example.com", "A new password")
refused(400, stranger.auth.reset_password("not-a-ticket", password))
done(stranger.auth.reset_password(link, password))
refused(400, stranger.auth.reset_password(link, changed))
refused(401, ada.auth.me())
ada = log_in("ada@example.com", password)

# A second factor: set up, asked for, each code good once, switched off by a code.
assert done(ada.auth.mfa_status()) == {"enabled": False}
setup = done(ada.auth.mfa_setup())
secret = setup["secret"]
assert setup["otpauth_uri"].startswith("otpauth://totp/") and f"secret={secret}" in setup["otpauth_uri"], setup
refused(400, ada.auth.mfa_verify_setup("not-it"))
recovery = done(ada.auth.mfa_verify_setup(code(secret, -1)))["recovery_codes"]
assert len(set(recovery)) == 8, recovery
assert done(ada.auth.mfa_status()) == {"enabled": True}
assert done(ada.auth.me())["totp_enabled"]
refused(409, ada.auth.mfa_setup())
back = create_client(base_url=base)
half = first_half(back, password)
refused(401, back.auth.me())
refused(401, create_client(base_url=base, token=half).auth.me())
refused(401, back.auth.mfa_verify(half, "not-it"))
used = code(secret)
assert done(back.auth.mfa_verify(half, used))["expires_in"] == 900
assert done(back.auth.me())["email"] == "ada@example.com"
again = create_client(base_url=base)
half = first_half(again, password)
refused(401, again.auth.mfa_verify(half, used))
done(again.auth.mfa_verify(half, recovery[0]))
done(again.auth.me())
refused(401, again.auth.mfa_verify(first_half(again, password), recovery[0]))
refused(400, back.auth.mfa_disable())
refused(400, back.auth.mfa_disable(code=used))
done(back.auth.mfa_disable(code=code(secret, 1)))
assert done(back.auth.mfa_status()) == {"enabled": False}

# Beginning anew gives another secret, and asks for nothing until it is confirmed.
assert done(back.auth.mfa_setup())["secret"] != secret
assert done(back.auth.mfa_status()) == {"enabled": False}
ada = log_in("ada@example.com", password)

# Personal API keys: shown once, exchanged or used as they are, until they are deleted.
made = done(ada.api_keys.create("ci", scopes=["api/**"], expires_at="2999-01-01T00:00:00Z"))
key, key_id = made["api_key"], made["key"]["id"]
assert key.startswith("1ck_") and made["key"]["key_prefix"] == key[:12], made
as_documented(types.ApiKeyCreatedResponse, made)
assert as_documented(types.ApiKeyResponse, made["key"]).prefix == key[:12], made
plain = done(ada.api_keys.create("plain"))
listed = {k["id"]: k for k in done(ada.api_keys.list())["keys"]}
assert listed.keys() == {key_id, plain["key"]["id"]}, listed
assert (listed[key_id]["name"], listed[key_id]["scopes"], listed[key_id]["is_active"]) == ("ci", ["api/**"], True), listed
assert listed[key_id]["expires_at"].startswith("2999-01-01T00:00:00") and key not in str(listed), listed
refused(400, ada.api_keys.create("late", expires_at="2001-01-01T00:00:00Z"))
by_key = create_client(base_url=base, api_key=key)
assert done(by_key.auth.me())["id"] == me["id"]
bearer = create_client(base_url=base, token=key)
assert done(bearer.auth.me())["id"] == me["id"]
exchanged = create_client(base_url=base)
exchange = done(exchanged.auth.api_key_token(key))
assert exchange["token_type"] == "Bearer" and as_documented(types.TokenResponse, exchange).expires_in == 900, exchange
done(exchanged.auth.me())
refused(401, exchanged.auth.api_key_token(key[:-1] + ("A" if key[-1] != "A" else "B")))
done(ada.api_keys.delete(key_id))
refused(404, ada.api_keys.delete(key_id))
refused(401, create_client(base_url=base).auth.api_key_token(key))
for client in (by_key, bearer, exchanged):
    refused(401, client.auth.me())
done(create_client(base_url=base, api_key=plain["api_key"]).auth.me())

# Somebody is invited. The sign-up of this client carries no invitation: its HTTP layer does.
refused(409, ada.org.invite("ada@example.com"))
assert done(ada.org.invite("bob@example.com"))["email"] == "bob@example.com"
joined = done(create_client(base_url=base)._http.request(
    "POST", "/v1/auth/signup", skip_auth=True,
    body={"email": "bob@example.com", "password": password, "invitation": ticket("bob@example.com", "You are invited")},
))
bob = create_client(base_url=base, token=joined["access_token"])
people = {m["email"]: m for m in done(bob.org.members())["members"]}
assert {address: m["role"] for address, m in people.items()} == {"ada@example.com": "owner", "bob@example.com": "member"}
bob_id = as_documented(types.OrgMemberResponse, people["bob@example.com"]).user_id
assert (bob_id, people["ada@example.com"]["user_id"]) == (people["bob@example.com"]["id"], me["id"]), people
assert all(m["joined_at"] == m["created_at"] for m in people.values()), people

# A member may little, an admin more, nobody what would leave the organisation without an owner.
refused(403, bob.org.invite("cleo@example.com"))
refused(403, bob.org.update_member_role(bob_id, "admin"))
refused(403, bob.org.remove_member(me["id"]))
refused(400, ada.org.update_member_role(bob_id, "root"))
assert done(ada.org.update_member_role(bob_id, "admin"))["role"] == "admin"
bob = log_in("bob@example.com", password)
assert done(bob.auth.me())["role"] == "admin"
done(bob.org.invite("cleo@example.com", role="member"))
ticket("cleo@example.com", "You are invited")
refused(403, bob.org.update_member_role(bob_id, "owner"))
refused(409, ada.org.update_member_role(me["id"], "member"))
refused(409, ada.org.remove_member(me["id"]))

# An agent: its key is exchanged with and without its id, or used as it is.
made = done(ada.agents.create("bot", description="Of the walk", token_ttl_seconds=600))
bot_id, bot_key = made["agent"]["id"], made["api_key"]
assert bot_key.startswith("ocv_") and made["agent"]["token_ttl_seconds"] == 600, made
assert as_documented(types.AgentResponse, made["agent"]).org_id == org_id, made
assert len(base64.b64decode(made["agent"]["ssh_public_key"])) == 32, made
assert len(base64.b64decode(made["agent"]["ecdh_public_key"])) == 65, made
bot = create_client(base_url=base)
assert done(bot.auth.agent_token(bot_key, bot_id))["expires_in"] == 600
assert as_documented(types.AgentResponse, done(bot.agents.me())).id == bot_id
assert as_documented(types.TokenResponse, done(bot.auth.agent_token(bot_key))).agent_id == bot_id
refused(401, create_client(base_url=base).auth.agent_token(bot_key, me["id"]))
refused(401, create_client(base_url=base).auth.agent_token("ocv_" + "A" * 43))
assert done(create_client(base_url=base, token=bot_key).agents.me())["id"] == bot_id

# It sees itself, and is nobody's keeper.
assert done(bot.agents.get(bot_id))["name"] == "bot"
refused(403, ada.agents.me())
refused(403, bot.auth.me())
refused(403, bot.agents.create("another"))
refused(403, bot.agents.update(bot_id, name="boss"))
refused(403, bot.agents.rotate_key(bot_id))
refused(403, bot.agents.delete(bot_id))
refused(403, bot.api_keys.create("mine"))
refused(403, bot.org.invite("cleo@example.com"))
stranger = create_client(base_url=base)
done(stranger.auth.signup("eve@example.com", password))
done(stranger.auth.login("eve@example.com", password))
refused(404, stranger.agents.get(bot_id))
refused(404, stranger.org.remove_member(bob_id))
assert done(stranger.agents.list())["agents"] == []

# A second factor is switched off by the password, too.
done(stranger.auth.mfa_verify_setup(code(done(stranger.auth.mfa_setup())["secret"])))
refused(400, stranger.auth.mfa_disable(password=changed))
done(stranger.auth.mfa_disable(password=password))
refused(400, stranger.auth.mfa_disable(password=password))
done(stranger.auth.login("eve@example.com", password))
done(stranger.auth.me())

# Its token is revoked and its agent is not; switched off, rotated or deleted, it is out.
done(bot.auth.revoke_token())
refused(401, bot.agents.me())
done(bot.auth.agent_token(bot_key))
assert not done(ada.agents.update(bot_id, is_active=False))["is_active"]
time.sleep(1.1)  # What is known of a principal is a second old at most.
refused(401, bot.agents.me())
locked_out(base, bot_key)
assert done(ada.agents.update(bot_id, is_active=True, name="bot-2"))["name"] == "bot-2"
time.sleep(1.1)
refused(401, bot.agents.me())
done(bot.auth.agent_token(bot_key))
new_key = done(ada.agents.rotate_key(bot_id))["api_key"]
time.sleep(1.1)
refused(401, bot.agents.me())
locked_out(base, bot_key)
done(bot.auth.agent_token(new_key, bot_id))
done(ada.agents.delete(bot_id))
time.sleep(1.1)
refused(401, bot.agents.me())
locked_out(base, new_key)
assert not done(ada.agents.get(bot_id))["is_active"]

# An agent enrols itself: all alike to it, while its person gets a link. This client can't take the key: its HTTP layer does.
nobody = create_client(base_url=base)
asked = done(nobody.agents.enroll("scout", "ada@example.com", "Looks around"))
assert asked["message"] == done(nobody.agents.enroll("scout", "nobody@example.com"))["message"]
as_documented(types.EnrollAgentResponse, asked)
link = ticket("ada@example.com", "An agent asks for its key")
assert done(ada.agents.get(asked["agent_id"]))["name"] == "scout"
scout_key = done(nobody._http.request(
    "POST", "/v1/agents/enroll/credentials", skip_auth=True, body={"token": link}
))["api_key"]
scout = create_client(base_url=base, api_key=scout_key)
assert done(scout.agents.me())["id"] == asked["agent_id"] == scout.resolved_agent_id
refused(429, nobody.agents.enroll("scout", "ada@example.com"))

# Who is removed is out, with every token and with the password.
done(ada.org.remove_member(bob_id))
refused(401, bob.auth.me())
refused(401, create_client(base_url=base).auth.login("bob@example.com", password))
assert [m["email"] for m in done(ada.org.members())["members"]] == ["ada@example.com"]
print("the walk is done")
