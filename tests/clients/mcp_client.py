"""Drives Talon with the `mcp` package, as an agent would, and prints what it saw as one JSON object.

usage: mcp_client.py http|stdio auto|legacy
environment: TALON_URL, TALON_TOKEN (http); TALON_MCP (the command, as JSON) and ONECLAW_… (stdio); TALON_TO
"""

import asyncio
import json
import os
import sys

from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client


def server(way):
    if way == "http":
        headers = {"Authorization": f"Bearer {os.environ['TALON_TOKEN']}"}
        client = create_mcp_http_client(headers=headers)
        return streamable_http_client(f"{os.environ['TALON_URL']}/mcp", http_client=client)
    command, *args = json.loads(os.environ["TALON_MCP"])
    own = {key: value for key, value in os.environ.items() if key.startswith("ONECLAW_")}
    return StdioServerParameters(command=command, args=args, env=own)


def answer(result):
    assert not result.is_error, result
    return result.structured_content


def sentence(result):
    assert result.is_error, result
    return result.content[0].text


async def story(way, mode):
    async with Client(server(way), mode=mode) as client:
        tools = (await client.list_tools()).tools
        resource = await client.read_resource("vault://secrets")
        secret = answer(await client.call_tool("get_secret", {"path": "api/stripe"}))
        refused = await client.call_tool("get_secret", {"path": "keys/local-signer"})
        transfer = {"chain": "local", "to": os.environ["TALON_TO"], "value": "0.01"}
        sent = answer(await client.call_tool("submit_transaction", transfer))
        for _ in range(200):
            sent = answer(await client.call_tool("get_transaction", {"tx_id": sent["id"]}))
            if sent["status"] not in ("pending", "signed", "broadcast"):
                break
            await asyncio.sleep(0.05)
        return {
            "protocol": client.protocol_version,
            "tools": [tool.name for tool in tools],
            "resource": json.loads(resource.contents[0].text),
            "value": secret["value"],
            "refused": sentence(refused),
            "status": sent["status"],
            "tx_hash": sent["tx_hash"],
        }


print(json.dumps(asyncio.run(story(*sys.argv[1:]))))
