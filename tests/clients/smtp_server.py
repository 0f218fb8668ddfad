"""A mail server on loopback: each mail that it takes is a JSON line in a file. Arguments: the port, the file."""

import asyncio
import email
import email.policy
import json
import sys

from aiosmtpd.smtp import SMTP


class Mailbox:
    def __init__(self, path):
        self.path = path
        self.put_off = set()

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 no such mailbox"
        if address.startswith("later@") and address not in self.put_off:
            self.put_off.add(address)
            return "451 try again"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        taken = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "subject": message["subject"],
            "text": message.get_content(),
        }
        with open(self.path, "a") as file:
            file.write(json.dumps(taken) + "\n")
        return "250 OK"


async def main(port, path):
    loop, mailbox = asyncio.get_running_loop(), Mailbox(path)
    server = await loop.create_server(lambda: SMTP(mailbox), "127.0.0.1", port)
    await server.serve_forever()


asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
