//! The real executable: started, ended, killed at any moment.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on fails")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy_consensus::transaction::SignerRecoverable as _;
use alloy_consensus::{Transaction as _, TxEnvelope, TxType};
use alloy_eips::eip2718::Decodable2718 as _;
use alloy_primitives::{Address, B256, Bytes};
use domain::{AccessList, Accessed, AgentId, IntentId, OrgId, SecretPath, SecretType, UserId, VaultId, Wei};
use signer_protocol::attested::Attested;
use signer_protocol::intent::{Fees, Intent, KeyAt, Sign, Submit, Transfer};
use signer_protocol::key::SigningKey;
use signer_protocol::people::Login;
use signer_protocol::record::{
    AgentLogin, AgentSettings, Change, ChangePrincipal, Credential, CredentialKind, FoundOrganisation,
    Guardrails, Principal,
};
use signer_protocol::sealing::{Label, MakeVaultKey, Seal};
use signer_protocol::service::Health;
use signer_protocol::token::{Caller, IssueToken};
use signer_protocol::wire::Secret;
use signer_protocol::{Client, Reason, Refusal};

const SIGNER: &str = env!("CARGO_BIN_EXE_talon-signer");

/// A signer's process. Killed when dropped.
struct Running {
    child: Child,
    client: Client,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(data: &Path) -> Command {
    let mut command = Command::new(SIGNER);
    command.arg("run").arg("--data").arg(data).arg("--parent-stdin");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn start(mut command: Command, data: &Path) -> Running {
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    if line != "ready\n" {
        panic!("no signer: {}", complaint(child));
    }
    // Read on, so that the log never fills the pipe.
    let mut log = child.stderr.take().unwrap();
    std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
    Running { child, client: Client::new(data.join("signer.sock")) }
}

fn complaint(mut child: Child) -> String {
    drop(child.stdin.take());
    let mut text = String::new();
    child.stderr.as_mut().unwrap().read_to_string(&mut text).unwrap();
    assert!(!child.wait().unwrap().success(), "{text}");
    text.lines().last().unwrap_or_default().to_owned()
}

/// An agent with a key and a daily limit.
struct Agent {
    id: AgentId,
    caller: Caller,
    key: Attested<SigningKey>,
}

async fn issue(client: &Client, record: &Attested<Principal>, proof: Credential) -> Secret {
    let request = IssueToken { record: Some(record.clone()), proof, derived_scopes: Vec::new() };
    client.call(async |signer, cx| signer.issue_token(cx, request).await).await.unwrap().jwt
}

async fn agent(client: &Client, daily_limit: Wei) -> Agent {
    let (org, vault) = (OrgId::new(), VaultId::new());
    let password = Credential { kind: CredentialKind::Password, secret: vec![1; 32].into() };
    let request = FoundOrganisation {
        org,
        owner: UserId::new(),
        email: signer_protocol::wire::Blob(vec![7; 32]),
        login: Login::Proof(password.clone()),
    };
    let record = client.call(async |signer, cx| signer.found_organisation(cx, request).await).await.unwrap();
    let owner = Caller { token: issue(client, &record, password).await, record };
    let request = MakeVaultKey { by: owner.clone(), vault };
    let vault_key = client.call(async |signer, cx| signer.make_vault_key(cx, request).await).await.unwrap();
    let path = SecretPath::parse("keys/base-signer").unwrap();
    let request = Seal {
        by: owner.clone(),
        vault_key,
        label: Label { org, vault, path, version: 1, kind: SecretType::PrivateKey },
        value: "46".repeat(32).into_bytes().into(),
        signing_only: true,
    };
    let sealed = client.call(async |signer, cx| signer.seal(cx, request).await).await.unwrap();

    let id = AgentId::new();
    let credential = Credential { kind: CredentialKind::AgentKey, secret: vec![b'k'; 47].into() };
    let settings = AgentSettings {
        intents: true,
        scopes: Vec::new(),
        vault_ids: vec![vault],
        token_ttl_seconds: 3600,
        guardrails: Guardrails { daily_limit: Some(daily_limit), ..Default::default() },
        active: true,
        expires_at: None,
    };
    let change =
        Change::CreateAgent { id, login: AgentLogin::Key(credential.clone()), identity: None, settings };
    let request = ChangePrincipal { by: owner, base: None, change, passkey: None };
    let record = client.call(async |signer, cx| signer.change_principal(cx, request).await).await.unwrap();
    let token = issue(client, &record, credential).await;
    Agent { id, caller: Caller { token, record }, key: sealed.signing_key.unwrap() }
}

impl Agent {
    async fn submit(&self, client: &Client, value: Wei) -> Result<Attested<Intent>, Refusal> {
        self.submit_with(client, value, AccessList::default()).await
    }

    async fn submit_with(
        &self,
        client: &Client,
        value: Wei,
        access_list: AccessList,
    ) -> Result<Attested<Intent>, Refusal> {
        let transfer = Transfer {
            chain_id: 1,
            to: Some(Address::repeat_byte(7)),
            value,
            data: Bytes::new(),
            gas_limit: 30_000,
            fees: Fees::Legacy { gas_price: 1_000_000_000 },
            replaces: None,
            access_list,
        };
        let (by, key) = (self.caller.clone(), self.key.clone());
        let place = key.peek().unwrap();
        let at = KeyAt { vault: place.vault, path: place.path, version: place.version };
        let request = Submit {
            by,
            id: IntentId::new(),
            key,
            at,
            transfer,
            simulated: signer_protocol::approval::Simulated::None,
        };
        client.call(async |signer, cx| signer.submit(cx, request).await).await
    }

    /// With an access list, of type 1.
    async fn signs_eip_2930(&self, client: &Client) {
        let account =
            Accessed { address: Address::repeat_byte(8), storage_keys: vec![B256::repeat_byte(9); 2] };
        let list = AccessList::new(vec![account]).unwrap();
        let intent = self.submit_with(client, Wei::ZERO, list.clone()).await.unwrap();
        assert_eq!(intent.peek().unwrap().transfer.access_list, list);
        let raw = self.sign(client, &intent, 77).await.unwrap();
        let tx = TxEnvelope::decode_2718_exact(&raw).unwrap();
        assert_eq!((tx.tx_type(), tx.nonce(), tx.gas_price()), (TxType::Eip2930, 77, Some(1_000_000_000)));
        assert_eq!(tx.recover_signer().unwrap(), self.key.peek().unwrap().address);
        let found = tx.access_list().unwrap();
        assert_eq!(found.0.len(), 1);
        assert_eq!(found.0[0].address, Address::repeat_byte(8));
        assert_eq!(found.0[0].storage_keys, [B256::repeat_byte(9); 2]);
    }

    async fn sign(&self, client: &Client, intent: &Attested<Intent>, nonce: u64) -> Result<Vec<u8>, Refusal> {
        let request = Sign {
            intent: intent.clone(),
            agent: self.caller.record.clone(),
            key: self.key.clone(),
            nonce,
            fees: intent.peek().unwrap().transfer.fees,
        };
        client.call(async |signer, cx| signer.sign(cx, request).await).await.map(|signed| signed.raw.0)
    }

    async fn spent(&self, client: &Client) -> Wei {
        let id = self.id;
        client.call(async |signer, cx| signer.spent(cx, id).await).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_with_its_parent() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut running = start(command(&data), &data);
    let health = running.client.ask(async |signer, cx| signer.health(cx).await).await.unwrap();
    assert_eq!(health, Health::Ok);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", running.child.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);

    drop(running.child.stdin.take());
    assert!(running.child.wait().unwrap().success());
    assert!(!data.join("signer.sock").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_signs_transactions_with_an_access_list() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let running = start(command(&data), &data);
    agent(&running.client, Wei::ZERO).await.signs_eip_2930(&running.client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_on_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut running = start(command(&data), &data);
    let id = rustix::process::Pid::from_child(&running.child);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    assert!(running.child.wait().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_at_start_is_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let running = start(command(&data), &data);
    let mut second = command(&data);
    second.arg("--socket").arg(data.join("second.sock"));
    let sentence = complaint(second.spawn().unwrap());
    assert!(sentence.contains("another signer runs on this data folder"), "{sentence}");
    drop(running);

    std::fs::remove_file(data.join("ledger.redb")).unwrap();
    let sentence = complaint(command(&data).spawn().unwrap());
    assert!(sentence.contains("restore the ledger"), "{sentence}");

    let mut nowhere = command(&folder.path().join("hsm"));
    nowhere.args(["--keystore", "pkcs11", "--pkcs11-module", "/nowhere.so", "--pkcs11-token", "t"]);
    nowhere.env_remove("TALON_PKCS11_PIN");
    let sentence = complaint(nowhere.spawn().unwrap());
    assert!(sentence.contains("TALON_PKCS11_PIN"), "{sentence}");
    let mut unprepared = command(&folder.path().join("hsm"));
    unprepared.args(["--keystore", "pkcs11", "--pkcs11-module", "/nowhere.so", "--pkcs11-token", "t"]);
    let sentence = complaint(unprepared.env("TALON_PKCS11_PIN", "246810").spawn().unwrap());
    assert!(sentence.contains("talon-signer init") && !sentence.contains("246810"), "{sentence}");
}

/// An intent, its nonce, and the transaction that was answered.
type Answered = (Attested<Intent>, u64, Vec<u8>);

/// Wei that the agent may send: about what the rounds below come to.
const LIMIT: u64 = 400;

/// Killed again and again while it works: what it answered holds, and it never lets more out than the limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_it_keeps_its_word() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut running = start(command(&data), &data);
    let wei = |amount: u64| Wei(alloy_primitives::U256::from(amount));
    let agent = Arc::new(agent(&running.client, wei(LIMIT)).await);
    let signed: Arc<Mutex<Vec<Answered>>> = Arc::default();
    for round in 0..30_u64 {
        let client = running.client.clone();
        let workers: Vec<_> = (0..4)
            .map(|worker| {
                let (client, agent, signed) = (client.clone(), agent.clone(), signed.clone());
                tokio::spawn(async move {
                    for step in 0.. {
                        let Ok(intent) = agent.submit(&client, wei(1)).await else { return };
                        let nonce = (round * 1000 + worker) * 1000 + step;
                        let Ok(raw) = agent.sign(&client, &intent, nonce).await else { return };
                        signed.lock().unwrap().push((intent, nonce, raw));
                    }
                })
            })
            .collect();
        // From the first request on, another moment each time.
        tokio::time::sleep(Duration::from_micros(1000 + round * 37_000 % 170_000)).await;
        running.child.kill().unwrap();
        running.child.wait().unwrap();
        for worker in workers {
            worker.await.unwrap();
        }
        running = start(command(&data), &data);
        let answered = signed.lock().unwrap().clone();
        let spent = agent.spent(&running.client).await;
        assert!(spent >= wei(answered.len() as u64), "round {round}: {spent} counted of {}", answered.len());
        assert!(spent <= wei(LIMIT), "round {round}: {spent}");
        for (intent, nonce, raw) in &answered {
            assert_eq!(&agent.sign(&running.client, intent, *nonce).await.unwrap(), raw, "round {round}");
        }
    }
    let answered = signed.lock().unwrap().len();
    assert!(answered > 30, "{answered} were signed: the kills came too early to show anything");
}

/// A token of SoftHSM's in a folder of its own.
fn softhsm(folder: &Path) -> PathBuf {
    let conf = folder.join("softhsm2.conf");
    let tokens = folder.join("tokens");
    std::fs::create_dir(&tokens).unwrap();
    let text = format!("directories.tokendir = {}\nobjectstore.backend = file\n", tokens.display());
    std::fs::write(&conf, text).unwrap();
    let made = Command::new("softhsm2-util")
        .env("SOFTHSM2_CONF", &conf)
        .args(["--init-token", "--free", "--label", "talon", "--so-pin", "so-pin", "--pin", "123456"])
        .output()
        .expect("SoftHSM2 is missing: apt-get install -y --no-install-recommends softhsm2");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    conf
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_it_stands_an_hsm() {
    let folder = tempfile::tempdir().unwrap();
    let conf = softhsm(folder.path());
    let data = folder.path().join("data");
    let hsm = |mut command: Command| {
        command
            .env("SOFTHSM2_CONF", &conf)
            .env("TALON_KEYSTORE", "pkcs11")
            .env("TALON_PKCS11_MODULE", "/usr/lib/softhsm/libsofthsm2.so")
            .env("TALON_PKCS11_TOKEN", "talon")
            .env("TALON_PKCS11_PIN", "123456");
        command
    };
    let init = || {
        let mut command = hsm(Command::new(SIGNER));
        command.arg("init").arg("--data").arg(&data);
        command.output().unwrap()
    };
    let made = init();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert!(!init().status.success(), "made twice");

    let running = start(hsm(command(&data)), &data);
    let limit = Wei(alloy_primitives::U256::from(2));
    let agent = agent(&running.client, limit).await;
    let intent = agent.submit(&running.client, limit).await.unwrap();
    let raw = agent.sign(&running.client, &intent, 0).await.unwrap();
    agent.signs_eip_2930(&running.client).await;
    let over = agent.submit(&running.client, limit).await.unwrap_err();
    assert_eq!(over.reason, Reason::Guardrail("tx_daily_limit_eth".to_owned()));
    drop(running);

    let running = start(hsm(command(&data)), &data);
    assert_eq!(agent.sign(&running.client, &intent, 0).await.unwrap(), raw);
    assert_eq!(agent.spent(&running.client).await, limit);

    let mut wrong = hsm(command(&folder.path().join("data")));
    drop(running);
    let sentence = complaint(wrong.env("TALON_PKCS11_PIN", "654321").spawn().unwrap());
    assert!(sentence.contains("PIN") && !sentence.contains("654321"), "{sentence}");
}
