//! Contracts for a chain: compiled by the tests, with the compiler that everybody uses.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use alloy_primitives::keccak256;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::chain::Anvil;
use crate::parts;

/// What deploys each contract of `tests/contracts`.
fn compiled() -> &'static HashMap<String, String> {
    static CODE: OnceLock<HashMap<String, String>> = OnceLock::new();
    CODE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("contracts");
        // Compiled once for all tests of a run, and again when anything changes.
        let mut files: Vec<_> =
            std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        let mut digest = Sha256::new();
        files.iter().for_each(|file| digest.update(std::fs::read(file).unwrap()));
        let kept =
            std::env::temp_dir().join(format!("talon-contracts-{}.json", hex::encode(digest.finalize())));
        let text = std::fs::read_to_string(&kept).unwrap_or_else(|_| {
            let text = compile(&folder);
            // Others may be at it as well: each puts a whole file there.
            let own = kept.with_extension(std::process::id().to_string());
            std::fs::write(&own, &text).unwrap();
            std::fs::rename(&own, &kept).unwrap();
            text
        });
        serde_json::from_str(&text).unwrap()
    })
}

fn compile(folder: &Path) -> String {
    let output = Command::new("node")
        .arg(folder.join("compile.js"))
        .env("TALON_TEST_NODE_MODULES", parts::node_modules("solc"))
        .output()
        .expect("no node: tests/run installs it (npm)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What deploys a contract of `tests/contracts`, in hex.
pub fn code(name: &str) -> &'static str {
    compiled().get(name).unwrap_or_else(|| panic!("no contract {name}"))
}

impl Anvil {
    /// Deploys a contract of `tests/contracts` from an account of anvil's own; its address.
    pub async fn deploy(&self, from: &str, name: &str) -> String {
        let code = code(name);
        let hash = self.ask("eth_sendTransaction", json!([{"from": from, "data": code}])).await;
        let receipt = self.receipt_of(hash.as_str().unwrap()).await;
        assert_eq!(receipt["status"], "0x1", "{name}: {receipt}");
        receipt["contractAddress"].as_str().unwrap().to_owned()
    }

    /// Has an account of anvil's own send a call.
    pub async fn invoke(&self, from: &str, to: &str, data: &str) {
        let hash = self.ask("eth_sendTransaction", json!([{"from": from, "to": to, "data": data}])).await;
        let receipt = self.receipt_of(hash.as_str().unwrap()).await;
        assert_eq!(receipt["status"], "0x1", "{receipt}");
    }

    /// Waits for it.
    async fn receipt_of(&self, hash: &str) -> Value {
        for _ in 0..400 {
            let receipt = self.receipt(hash).await;
            if !receipt.is_null() {
                return receipt;
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
        panic!("no receipt of {hash}")
    }
}

/// Calldata of a function whose arguments take one word each: `calldata("transfer(address,uint256)", &[word(to), word(5)])`.
pub fn calldata(signature: &str, words: &[String]) -> String {
    let selector = hex::encode(&keccak256(signature.as_bytes())[..4]);
    format!("0x{selector}{}", words.concat())
}

/// An address, or a number in decimal, as a word of calldata.
pub fn word(what: impl ToString) -> String {
    match what.to_string() {
        text if text.starts_with("0x") => format!("{:0>64}", text[2..].to_lowercase()),
        text => format!("{:064x}", text.parse::<u128>().unwrap()),
    }
}
