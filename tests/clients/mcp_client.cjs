// Drives Talon with @modelcontextprotocol/sdk, as an agent would, and prints what it saw as one JSON object.
//
// usage: mcp_client.cjs http|stdio
// environment: TALON_TEST_NODE_MODULES; TALON_URL, TALON_TOKEN (http); TALON_MCP (the command, as JSON) and ONECLAW_…
// (stdio); TALON_TO

const { createRequire } = require("node:module");
const installed = createRequire(`${process.env.TALON_TEST_NODE_MODULES}/`);
const { Client } = installed("@modelcontextprotocol/sdk/client/index.js");
const { StreamableHTTPClientTransport } = installed("@modelcontextprotocol/sdk/client/streamableHttp.js");
const { StdioClientTransport } = installed("@modelcontextprotocol/sdk/client/stdio.js");

function transport(way) {
  if (way === "http") {
    const headers = { Authorization: `Bearer ${process.env.TALON_TOKEN}` };
    return new StreamableHTTPClientTransport(new URL("/mcp", process.env.TALON_URL), { requestInit: { headers } });
  }
  const [command, ...args] = JSON.parse(process.env.TALON_MCP);
  const env = Object.fromEntries(Object.entries(process.env).filter(([key]) => key.startsWith("ONECLAW_")));
  return new StdioClientTransport({ command, args, env });
}

function answer(result) {
  if (result.isError) throw new Error(JSON.stringify(result));
  return result.structuredContent;
}

function sentence(result) {
  if (!result.isError) throw new Error(JSON.stringify(result));
  return result.content[0].text;
}

async function story(way) {
  const client = new Client({ name: "talon-tests", version: "1" });
  await client.connect(transport(way));
  const call = (name, args) => client.callTool({ name, arguments: args });
  const { tools } = await client.listTools();
  const resource = await client.readResource({ uri: "vault://secrets" });
  const secret = answer(await call("get_secret", { path: "api/stripe" }));
  const refused = await call("get_secret", { path: "keys/local-signer" });
  let sent = answer(await call("submit_transaction", { chain: "local", to: process.env.TALON_TO, value: "0.01" }));
  for (let tries = 0; tries < 200; tries++) {
    sent = answer(await call("get_transaction", { tx_id: sent.id }));
    if (!["pending", "signed", "broadcast"].includes(sent.status)) break;
    await new Promise((done) => setTimeout(done, 50));
  }
  const protocol = client.transport.protocolVersion ?? null;
  await client.close();
  return {
    protocol,
    tools: tools.map((tool) => tool.name),
    resource: JSON.parse(resource.contents[0].text),
    value: secret.value,
    refused: sentence(refused),
    status: sent.status,
    tx_hash: sent.tx_hash,
  };
}

story(process.argv[2]).then(
  (seen) => console.log(JSON.stringify(seen)),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
