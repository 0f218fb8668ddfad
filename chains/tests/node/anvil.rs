//! A real node of the test's own, and an account on it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use alloy_consensus::{SignableTransaction, Signed, TxEip1559, TxEnvelope, TxLegacy};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, keccak256};
use chains::{Node, Nodes, Receipt};
use k256::ecdsa::SigningKey;
use serde_json::{Value, json};

const INSTALL: &str = "npm install --no-audit --no-fund @foundry-rs/anvil-linux-amd64";
const IN_MODULES: &str = "node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil";

/// Stopped when it goes out of scope.
pub struct Anvil {
    child: Child,
    port: u16,
    pub node: Node,
}

impl Anvil {
    pub fn start(args: &[&str]) -> Self {
        let (child, port) = spawn(0, args);
        let node = Nodes::new().at(&format!("http://127.0.0.1:{port}")).unwrap();
        Self { child, port, node }
    }

    /// Kills it, so that nothing listens any more.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// A new chain at the same address.
    pub fn start_again(&mut self) {
        self.child = spawn(self.port, &[]).0;
    }

    /// Any method, past what is tested.
    pub async fn rpc(&self, method: &str, params: Value) -> Value {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let url = format!("http://127.0.0.1:{}", self.port);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer: Value = client.post(url).json(&body).send().await.unwrap().json().await.unwrap();
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// The receipt of a transaction that the node has taken: it puts it into a block a moment later.
    pub async fn receipt(&self, hash: B256) -> Receipt {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(receipt) = self.node.receipt(hash).await.unwrap() {
                return receipt;
            }
            assert!(Instant::now() < deadline, "it did not get into a block");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A contract with the given code.
    pub async fn contract(&self, code: &[u8]) -> Address {
        let at = Address::from_word(keccak256(code));
        self.rpc("anvil_setCode", json!([at, Bytes::copy_from_slice(code)])).await;
        at
    }

    /// An account with ten ether.
    pub async fn account(&self, seed: u8) -> Account {
        let account = Account::of(seed);
        self.rpc("anvil_setBalance", json!([account.address(), "0x8ac7230489e80000"])).await;
        account
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16, args: &[&str]) -> (Child, u16) {
    let program = find();
    let mut child = Command::new(&program)
        .args(["--port", &port.to_string(), "--host", "127.0.0.1", "--accounts", "0"])
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}. Install anvil: {INSTALL}", program.display()));
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let listening = lines.by_ref().map_while(Result::ok).find_map(|line| {
        line.strip_prefix("Listening on 127.0.0.1:").and_then(|port| port.trim().parse().ok())
    });
    // Whoever stops reading makes it block.
    std::thread::spawn(move || lines.for_each(drop));
    (child, listening.unwrap_or_else(|| panic!("{} does not start", program.display())))
}

fn find() -> PathBuf {
    if let Some(named) = std::env::var_os("TALON_TEST_ANVIL") {
        return named.into();
    }
    let on_path = std::env::var_os("PATH");
    let on_path = on_path.iter().flat_map(std::env::split_paths).map(|folder| folder.join("anvil"));
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join(IN_MODULES));
    on_path.chain(installed).find(|file| file.is_file()).unwrap_or_else(|| {
        panic!("these tests need a real node, anvil: {INSTALL}; or name it in TALON_TEST_ANVIL")
    })
}

/// A key that signs.
pub struct Account(SigningKey);

impl Account {
    pub fn of(seed: u8) -> Self {
        Self(SigningKey::from_slice(&[seed; 32]).unwrap())
    }

    pub fn address(&self) -> Address {
        Address::from_private_key(&self.0)
    }

    pub fn sign<T: SignableTransaction<Signature>>(&self, tx: T) -> (Vec<u8>, B256)
    where
        TxEnvelope: From<Signed<T>>,
    {
        let signature = self.0.sign_prehash_recoverable(tx.signature_hash().as_slice()).unwrap();
        let envelope = TxEnvelope::from(tx.into_signed(Signature::from(signature)));
        (envelope.encoded_2718(), *envelope.tx_hash())
    }
}

/// A plain transfer on anvil's own chain, to be changed as needed.
pub fn transfer(nonce: u64, to: Address, value: u64) -> TxEip1559 {
    TxEip1559 {
        chain_id: 31_337,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: 20_000_000_000,
        max_priority_fee_per_gas: 1_000_000_000,
        to: TxKind::Call(to),
        value: U256::from(value),
        ..Default::default()
    }
}

pub fn legacy_transfer(nonce: u64, to: Address, gas_price: u128) -> TxLegacy {
    TxLegacy {
        chain_id: Some(31_337),
        nonce,
        gas_price,
        gas_limit: 21_000,
        to: TxKind::Call(to),
        value: U256::from(1),
        input: Bytes::new(),
    }
}
