// Compiles the contracts beside it: node compile.js → {"Coin": "0x…", …}, the code that deploys each.
const fs = require("fs");
const path = require("path");
const solc = require(path.join(process.env.TALON_TEST_NODE_MODULES, "solc"));

const names = fs.readdirSync(__dirname).filter((name) => name.endsWith(".sol"));
const sources = Object.fromEntries(
    names.map((name) => [name, { content: fs.readFileSync(path.join(__dirname, name), "utf8") }]),
);
const settings = { evmVersion: "paris", outputSelection: { "*": { "*": ["evm.bytecode.object"] } } };
const output = JSON.parse(solc.compile(JSON.stringify({ language: "Solidity", sources, settings })));
const wrong = (output.errors ?? []).filter((error) => error.severity === "error");
if (wrong.length > 0) {
    console.error(wrong.map((error) => error.formattedMessage).join("\n"));
    process.exit(1);
}
const contracts = Object.values(output.contracts).flatMap(Object.entries);
console.log(JSON.stringify(Object.fromEntries(contracts.map(([name, made]) => [name, "0x" + made.evm.bytecode.object]))));
