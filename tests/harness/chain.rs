//! A real EVM node.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::parts;
use crate::process::{Process, signal};

/// Keys of anvil's mnemonic ("test test … junk"), with 10,000 ether each.
pub const KEYS: [&str; 4] = [
    "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
    "0x7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
];
pub const ADDRESSES: [&str; 4] = [
    "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
    "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
    "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
    "0x90F79bf6EB2c4f870365E785982E1f101E93b906",
];

pub struct Anvil {
    process: Process,
    port: u16,
    state: Option<PathBuf>,
    http: reqwest::Client,
    flags: Vec<String>,
}

impl Anvil {
    /// With flags of anvil's own, such as `--hardfork berlin`.
    pub async fn start(flags: &[&str]) -> Self {
        Self::begin(parts::free_port(), None, flags).await
    }

    /// One that keeps its chain in a file when it [crashes](Self::crash), and can be started again.
    pub async fn durable(state: PathBuf) -> Self {
        Self::begin(parts::free_port(), Some(state), &[]).await
    }

    async fn begin(port: u16, state: Option<PathBuf>, flags: &[&str]) -> Self {
        let flags: Vec<String> = flags.iter().map(|f| (*f).to_owned()).collect();
        let process = spawn(port, state.as_ref(), &flags);
        let anvil = Self { process, port, state, http: parts::http(), flags };
        anvil.ready().await;
        anvil
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Stops it in the middle of whatever it does, or lets it go on.
    pub fn freeze(&self, frozen: bool) {
        signal(self.process.id(), if frozen { "STOP" } else { "CONT" });
    }

    /// SIGKILL. Of a durable chain, what the last [`crash`](Self::crash) kept is there afterwards.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGKILL to a node that keeps its blocks, as real ones do: what is mined stays, what only waits is lost.
    ///
    /// Anvil itself keeps nothing, so its chain is saved a moment before, while it takes transactions but mines none.
    pub async fn crash(&mut self) {
        let path = self.state.clone().expect("only a durable chain survives a crash");
        self.ask("evm_setAutomine", json!([false])).await;
        // A block that was begun is finished by then.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let dump = self.ask("anvil_dumpState", json!([])).await;
        self.process.kill();
        std::fs::write(path, unzipped(dump.as_str().unwrap())).unwrap();
    }

    /// Starts it again, on the same port and with the same chain.
    pub async fn restart(&mut self) {
        self.process.kill();
        self.process = spawn(self.port, self.state.as_ref(), &self.flags);
        self.ready().await;
    }

    async fn ready(&self) {
        for _ in 0..200 {
            if self.try_ask("eth_chainId", json!([])).await.is_some() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("anvil does not start:\n{}", self.process.said());
    }

    async fn try_ask(&self, method: &str, params: Value) -> Option<Value> {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        self.http.post(self.url()).json(&body).send().await.ok()?.json().await.ok()
    }

    /// One JSON-RPC call.
    pub async fn ask(&self, method: &str, params: Value) -> Value {
        let answer =
            self.try_ask(method, params).await.unwrap_or_else(|| panic!("anvil does not answer {method}"));
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// In wei.
    pub async fn balance(&self, of: &str) -> u128 {
        number(&self.ask("eth_getBalance", json!([of, "latest"])).await)
    }

    /// Transactions of one sender in all blocks, in order.
    pub async fn sent_by(&self, from: &str) -> Vec<Value> {
        let newest = number(&self.ask("eth_blockNumber", json!([])).await);
        let mut sent = Vec::new();
        for height in 0..=newest {
            let block = self.ask("eth_getBlockByNumber", json!([format!("{height:#x}"), true])).await;
            let own = |tx: &&Value| tx["from"].as_str().is_some_and(|a| a.eq_ignore_ascii_case(from));
            sent.extend(block["transactions"].as_array().unwrap().iter().filter(own).cloned());
        }
        sent
    }

    /// Transactions in blocks.
    pub async fn nonce(&self, of: &str) -> u128 {
        number(&self.ask("eth_getTransactionCount", json!([of, "latest"])).await)
    }

    pub async fn receipt(&self, hash: &str) -> Value {
        self.ask("eth_getTransactionReceipt", json!([hash])).await
    }

    pub async fn transaction(&self, hash: &str) -> Value {
        self.ask("eth_getTransactionByHash", json!([hash])).await
    }
}

fn spawn(port: u16, state: Option<&PathBuf>, flags: &[String]) -> Process {
    let mut command = Command::new(parts::anvil());
    command.args(["--port", &port.to_string(), "--host", "127.0.0.1", "--silent"]).args(flags);
    if let Some(state) = state.filter(|path| path.exists()) {
        command.arg("--load-state").arg(state);
    }
    Process::start(&mut command)
}

/// A state as anvil dumps it (hex of gzip) in the form in which it loads it.
fn unzipped(hex: &str) -> Vec<u8> {
    let bytes: Vec<u8> =
        (2..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect();
    let mut gunzip = Command::new("gunzip").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = gunzip.stdin.take().unwrap();
    let feed = std::thread::spawn(move || input.write_all(&bytes));
    let output = gunzip.wait_with_output().unwrap();
    feed.join().unwrap().unwrap();
    assert!(output.status.success(), "anvil's state can't be unzipped");
    output.stdout
}

/// Hex, as JSON-RPC writes numbers.
pub fn number(hex: &Value) -> u128 {
    u128::from_str_radix(hex.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}
