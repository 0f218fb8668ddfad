//! What the story plays on: a node, and a Talon with a data folder that ends with it.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::calls::client;

const NODE_PATIENCE: Duration = Duration::from_secs(10);
/// What Talon has to end in before it is killed.
const GOODBYE: Duration = Duration::from_secs(10);
const LISTENS: &str = "Talon listens on ";

pub struct Stage {
    // In this order: Talon ends before its node and its folder.
    talon: Ended,
    _anvil: Option<Ended>,
    folder: TempDir,
    pub url: String,
    /// The chain's name in the registry.
    pub chain: String,
    pub chain_id: u64,
    pub node_is: String,
}

impl Stage {
    /// Starts everything.
    ///
    /// # Errors
    /// In one sentence: no node, one of a chain that nobody knows, or a Talon that does not start.
    pub async fn set(rpc: Option<&str>) -> Result<Self> {
        let (anvil, node, node_is) = match rpc {
            Some(url) => (None, url.to_owned(), "the node that you named".to_owned()),
            None => {
                let port = free_port()?;
                let anvil = anvil(port)?;
                (
                    Some(anvil),
                    format!("http://127.0.0.1:{port}"),
                    format!("an anvil of its own on port {port}"),
                )
            }
        };
        let chain_id = chain_id(&node, anvil.is_some()).await?;
        let seeds = chains::registry::seeds();
        let seed = seeds.into_iter().find(|seed| seed.chain_id == chain_id).with_context(|| {
            format!("the node is of chain {chain_id}, which is not among the chains that Talon knows from the start")
        })?;
        let folder = tempfile::Builder::new().prefix("talon-demo-").tempdir()?;
        let (talon, url) = talon(&folder, &seed.name, &node).await?;
        Ok(Self { talon, _anvil: anvil, folder, url, chain: seed.name, chain_id, node_is })
    }

    /// Ends everything, and leaves nothing behind.
    pub async fn clear(self) -> Result<()> {
        let Self { talon, folder, .. } = self;
        tokio::task::spawn_blocking(move || drop(talon)).await?;
        folder.close().context("the demo's folder could not be removed")
    }
}

/// A process that ends with this value, its own children included.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let asked = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        if asked.is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok()) {
            let until = std::time::Instant::now() + GOODBYE;
            while std::time::Instant::now() < until {
                if matches!(self.0.try_wait(), Ok(Some(_))) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        let _ended_meanwhile = self.0.kill();
        let _status = self.0.wait();
    }
}

fn anvil(port: u16) -> Result<Ended> {
    let program = find("anvil").ok_or_else(|| {
        anyhow!(
            "no Ethereum node: install anvil (https://getfoundry.sh, or `npm install -g @foundry-rs/anvil`), or name \
             a node with --rpc URL"
        )
    })?;
    let started = Command::new(&program)
        .args(["--port", &port.to_string(), "--silent"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn();
    Ok(Ended(started.with_context(|| format!("{} can't be started", program.display()))?))
}

/// On the path, or where Foundry's own installer puts it.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".foundry/bin"));
    std::env::split_paths(&path).chain(home).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// A node that has just been started is waited for.
async fn chain_id(node: &str, starting: bool) -> Result<u64> {
    let http = client()?;
    let until = tokio::time::Instant::now() + if starting { NODE_PATIENCE } else { Duration::ZERO };
    loop {
        let asked = json!({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []});
        let answered = match http.post(node).json(&asked).timeout(NODE_PATIENCE).send().await {
            Ok(response) => response.json::<Value>().await,
            Err(error) => Err(error),
        };
        match answered {
            Ok(answer) => {
                let id = answer["result"]
                    .as_str()
                    .and_then(|id| u64::from_str_radix(id.strip_prefix("0x")?, 16).ok());
                // Its address may hold a key, so it is not repeated.
                return id.context("what answers at the address of --rpc is no Ethereum node");
            }
            Err(error) if tokio::time::Instant::now() >= until => {
                bail!("the node does not answer: {}", error.without_url());
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// A Talon of its own, with nothing of this environment's settings.
async fn talon(folder: &TempDir, chain: &str, node: &str) -> Result<(Ended, String)> {
    let variable = format!("TALON_RPC_{}", chain.to_uppercase().replace('-', "_"));
    let mut command = Command::new(std::env::current_exe()?);
    for (key, _) in crate::config::environment() {
        command.env_remove(key);
    }
    command
        .arg("serve")
        .current_dir(folder)
        .env("TALON_DATA", folder.path().join("data"))
        .env("TALON_LISTEN", format!("127.0.0.1:{}", free_port()?))
        .env("TALON_LOG", "error")
        .env(variable, node)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut talon = Ended(command.spawn().context("Talon can't be started")?);
    let out = talon.0.stdout.take().context("Talon has no output")?;
    let listening = tokio::task::spawn_blocking(move || {
        let mut lines = BufReader::new(out).lines();
        let url =
            lines.by_ref().map_while(Result::ok).find_map(|l| l.strip_prefix(LISTENS).map(str::to_owned));
        // Read on, so that it never writes to a closed pipe.
        std::thread::spawn(move || lines.for_each(drop));
        url
    });
    // Its own sentence is on standard error.
    let url = listening.await?.context("Talon did not start")?;
    Ok((talon, url))
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
