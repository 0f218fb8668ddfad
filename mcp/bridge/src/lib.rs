//! MCP over standard input and output, for desktop clients: each line goes to the gateway's own `/mcp`, and the answer
//! comes back as a line. The bridge knows no tool, so that none can differ from the gateway's.

mod answer;
mod credential;
mod forward;
mod line;
mod message;
mod options;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use forward::Gateway;
pub use options::Options;

/// Requests on their way at the same time; a client that sends more waits.
const AT_ONCE: usize = 32;
/// Answers that are ready and not yet written.
const WAITING: usize = 64;

/// Why the bridge ends: one sentence.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    #[error("{0}")]
    Settings(String),
    #[error("standard input or output failed: {0}")]
    Stdio(#[from] std::io::Error),
    #[error("the HTTP client can't be made: {0}")]
    Client(#[from] reqwest::Error),
}

/// Runs until standard input ends.
pub fn main(options: Options) -> ExitCode {
    let run = || {
        let gateway = Gateway::new(&options)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(bridge(gateway))
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error);
            ExitCode::FAILURE
        }
    }
}

/// To standard error; standard output is for the protocol alone. Never a value, never a credential.
fn say(what: impl std::fmt::Display) {
    let _closed = writeln!(std::io::stderr(), "talon-mcp: {what}");
}

async fn bridge(gateway: Gateway) -> Result<(), BridgeError> {
    say(format_args!("forwarding to {}", gateway.address()));
    let gateway = Arc::new(gateway);
    let (answers, mut ready) = mpsc::channel::<String>(WAITING);
    let writer = tokio::spawn(async move {
        let mut out = tokio::io::stdout();
        while let Some(mut line) = ready.recv().await {
            line.push('\n');
            out.write_all(line.as_bytes()).await?;
            out.flush().await?;
        }
        Ok::<(), std::io::Error>(())
    });
    let (places, mut requests) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
    let mut input = BufReader::new(tokio::io::stdin());
    while let Some(line) = line::next(&mut input).await? {
        // Never closed.
        let Ok(place) = places.clone().acquire_owned().await else { break };
        let (gateway, answers) = (gateway.clone(), answers.clone());
        requests.spawn(async move {
            let _place = place;
            if let Some(answer) = gateway.forward(line).await {
                // Nobody reads any more: the client is gone, and standard input is about to end.
                let _gone = answers.send(answer).await;
            }
        });
        while requests.try_join_next().is_some() {}
    }
    while requests.join_next().await.is_some() {}
    drop(answers);
    match writer.await {
        Ok(written) => Ok(written?),
        Err(_) => Ok(()),
    }
}
