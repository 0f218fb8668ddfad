// A browser with an authenticator (nid-webauthn-emulator): reads a request a line, and answers each with one.
//
// usage: passkey.cjs
// environment: TALON_TEST_NODE_MODULES
// {"create": options, "origin": …} and {"get": options, "origin": …}, with the options as parseCreationOptionsFromJSON and
// parseRequestOptionsFromJSON take them; the answer is what toJSON of the credential would be.

const { createRequire } = require("node:module");
const installed = createRequire(`${process.env.TALON_TEST_NODE_MODULES}/`);
const { default: WebAuthnEmulator } = installed("nid-webauthn-emulator");

const browser = new WebAuthnEmulator();
const lines = require("node:readline").createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const { create, get, origin } = JSON.parse(line);
  const answer = create ? browser.createJSON(origin, create) : browser.getJSON(origin, get);
  process.stdout.write(`${JSON.stringify(answer)}\n`);
});
