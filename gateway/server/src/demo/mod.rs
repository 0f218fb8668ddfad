//! `talon demo`: the whole story on a real chain, told step by step. Whatever goes otherwise than told ends it with an
//! error: a demo that is through has shown what it says.

mod calls;
mod stage;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use domain::{SecretText, Wei};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use calls::{Agent, Person};
use stage::Stage;

/// The first key of every development chain ("test test … junk"): its secret is public.
const DEVELOPMENT_KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
/// Anvil's second address.
const RECIPIENT: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
const RECEIPT_PATIENCE: Duration = Duration::from_secs(180);

#[derive(clap::Args)]
pub struct Options {
    /// The address of an Ethereum node. Left out: an anvil of the demo's own, if it is installed.
    #[arg(long, value_name = "URL")]
    rpc: Option<String>,
    /// A file with a private key that has ether on that chain (32 bytes of hex). Left out: the public one that every
    /// development chain funds.
    #[arg(long, value_name = "FILE", requires = "rpc", requires = "to")]
    key_file: Option<PathBuf>,
    /// How much the agent sends, in ether, twice.
    #[arg(long, default_value = "0.01", value_name = "ETHER")]
    value: String,
    /// To whom. Left out: another address of development chains.
    #[arg(long, value_name = "ADDRESS")]
    to: Option<String>,
}

/// # Errors
/// Where the story went otherwise than told, or could not begin.
pub fn run(options: &Options) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut told_to_end = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()]
            .into_iter()
            .map(signal)
            .collect::<std::io::Result<Vec<_>>>()?;
        let any = futures::future::select_all(told_to_end.iter_mut().map(|signal| Box::pin(signal.recv())));
        tokio::select! {
            told = tell(options) => told,
            _ = any => bail!("interrupted; everything that it started has been ended"),
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn tell(options: &Options) -> Result<()> {
    let value = Wei::parse_ether("value", &options.value).map_err(|error| anyhow!("{}", error.detail()))?;
    let limits = Limits::around(value);
    let to = options.to.as_deref().unwrap_or(RECIPIENT);
    let key = match &options.key_file {
        Some(file) => {
            std::fs::read_to_string(file).with_context(|| format!("{} can't be read", file.display()))?
        }
        None => DEVELOPMENT_KEY.to_owned(),
    };
    let key = SecretText::from(key.trim().to_owned());

    say("An agent moves real ether with a key that it can never read.\n");
    let stage = Stage::set(options.rpc.as_deref()).await?;
    step("A chain", format!("{} (chain id {}), {}", stage.chain, stage.chain_id, stage.node_is));
    step("Talon", format!("gateway {} and signer, each a process of its own", stage.url));

    let ada = Person::sign_up(&stage.url).await?;
    step("A person signs up", "ada@example.org, owner of a new organisation");
    let vault = ada.post("/v1/vaults", json!({"name": "treasury"})).await?;
    let vault = text(&vault, "id")?;
    let path = format!("keys/{}-signer", stage.chain);
    let secret = json!({"type": "private_key", "value": key.expose()});
    ada.put(&format!("/v1/vaults/{vault}/secrets/{path}"), secret).await?;
    step("stores a key", format!("{path} in the vault \"treasury\", sealed by the signer"));
    let registered = ada.post("/v1/agents", limits.agent(&stage.chain, to)).await?;
    let agent_id = text(&registered["agent"], "id")?;
    step("registers an agent", format!("\"trader\": only on {}, only to {}", stage.chain, short(to)));
    more(format!("at most {} ether a transaction and {} a day", limits.most, limits.daily));
    let policy = json!({"secret_path_pattern": "keys/**", "principal_type": "agent", "principal_id": agent_id,
        "permissions": ["read"]});
    ada.post(&format!("/v1/vaults/{vault}/policies"), policy).await?;

    let agent = Agent::connect(&stage.url, text(&registered, "api_key")?).await?;
    step("The agent connects", format!("over MCP: {} tools", agent.tools().await?.len()));
    let refused = agent.refused("get_secret", json!({"path": path})).await?;
    step("tries to read the key", "get_secret");
    more(format!("refused: {refused}"));

    let transfer = |value: &str| json!({"chain": stage.chain, "to": to, "value": value});
    let sent = agent.call("submit_transaction", transfer(&options.value)).await?;
    step(
        "sends ether",
        format!("submit_transaction: {} ether to {}, simulated first", options.value, short(to)),
    );
    more(format!("transaction {}", text(&sent, "tx_hash")?));
    let receipt = confirmed(&agent, &text(&sent, "id")?).await?;
    step("shows the receipt", format!("confirmed in block {}", receipt["block_number"]));

    let refused = agent.refused("submit_transaction", transfer(&limits.daily)).await?;
    step("asks for more", format!("{} ether", limits.daily));
    more(format!("refused: {refused}"));

    ada.patch(&format!("/v1/agents/{agent_id}"), json!({"tx_approval_policy": {"always": true}})).await?;
    step("The person wants a say", "tx_approval_policy: always");
    decide(&ada, &agent, transfer(&options.value), "deny").await?;
    let approved = decide(&ada, &agent, transfer(&options.value), "approve").await?;
    let receipt = confirmed(&agent, &approved).await?;
    more(format!("confirmed in block {}", receipt["block_number"]));
    let refused = agent.refused("submit_transaction", transfer(&options.value)).await?;
    step("The agent asks again", format!("{} ether more", options.value));
    more(format!("refused: {refused}"));

    ada.delete(&format!("/v1/agents/{agent_id}")).await?;
    step("The person stops it", "one call");
    ensure!(agent.tools().await.is_err(), "a stopped agent still has tools");
    more("its key opens nothing any more");
    stage.clear().await?;
    say("\nThat was all real, and all of it is gone: the data folder was a temporary one.");
    Ok(())
}

/// The agent submits, the person decides, the agent hears of it. The transaction's id.
async fn decide(ada: &Person, agent: &Agent, transfer: Value, verb: &str) -> Result<String> {
    let waiting = agent.call("submit_transaction", transfer).await?;
    let (tx, approval) = (text(&waiting, "id")?, text(&waiting, "approval_id")?);
    let shown = ada.get(&format!("/v1/approvals/{approval}")).await?;
    step("The agent asks", format!("{}: {}", text(&waiting, "status")?, text(&shown, "summary")?));
    let binding = json!({"intent_hash": shown["intent_hash"]});
    ada.post(&format!("/v1/approvals/{approval}/{verb}"), binding).await?;
    let heard = agent.call("wait_for_approval", json!({"tx_id": tx})).await?;
    ensure!(heard["decided"] == true, "nobody has decided: {heard}");
    step("The person decides", text(&heard["approval"], "status")?);
    Ok(tx)
}

/// The agent's guardrails: one transfer is the most at a time, two the most in a day.
struct Limits {
    most: String,
    daily: String,
}

impl Limits {
    fn around(value: Wei) -> Self {
        Self { most: value.to_ether(), daily: value.saturating_add(value).to_ether() }
    }

    fn agent(&self, chain: &str, to: &str) -> Value {
        json!({"name": "trader", "intents_api_enabled": true, "tx_allowed_chains": [chain],
            "tx_to_allowlist": [to], "tx_max_value_eth": self.most, "tx_daily_limit_eth": self.daily})
    }
}

/// Waits until the transaction is in a block.
async fn confirmed(agent: &Agent, id: &str) -> Result<Value> {
    let waiting = async {
        loop {
            let tx = agent.call("get_transaction", json!({"tx_id": id})).await?;
            match tx["status"].as_str() {
                Some("confirmed") => return Ok(tx),
                Some("pending" | "signed" | "broadcast") => {
                    tokio::time::sleep(Duration::from_millis(250)).await
                }
                _ => bail!("the transaction was not confirmed: {tx}"),
            }
        }
    };
    tokio::time::timeout(RECEIPT_PATIENCE, waiting)
        .await
        .map_err(|_| anyhow!("the transaction is in no block after {} seconds", RECEIPT_PATIENCE.as_secs()))?
}

fn text(of: &Value, field: &str) -> Result<String> {
    of[field].as_str().map(str::to_owned).with_context(|| format!("an answer without {field}: {of}"))
}

fn short(address: &str) -> String {
    match (address.get(..6), address.get(38..)) {
        (Some(head), Some(tail)) => format!("{head}…{tail}"),
        _ => address.to_owned(),
    }
}

fn step(what: &str, detail: impl std::fmt::Display) {
    say(&format!("  {what:<22} {detail}"));
}

fn more(detail: impl std::fmt::Display) {
    say(&format!("  {:<22} {detail}", ""));
}

fn say(line: &str) {
    let _closed = std::io::Write::write_all(&mut std::io::stdout(), format!("{line}\n").as_bytes());
}
