//! `talon serve`: two children, the signer and the worker that serves, and this process to look after them.
//!
//! The worker locks itself out of the signer's folder, so it could not start the signer again; this process can,
//! and does nothing else. Each child holds the other end of a pipe and ends when it closes: however this process
//! dies, nothing is left running.

use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::signal::unix::{SignalKind, signal};

use crate::StartError;
use crate::config::{Config, ServeOptions, SignerAt, environment};
use crate::data::Data;
use crate::worker;

/// Tells a child that it is the worker.
pub const WORKER: &str = "--worker";
/// Between a signer's death and the next one's start.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// What the worker has to finish its requests in.
const GOODBYE: Duration = Duration::from_secs(15);
/// Only the signer needs them.
const SIGNERS_SECRETS: [&str; 2] = ["TALON_PKCS11_PIN", "TALON_KEYSTORE_PASSPHRASE"];

/// Starts everything, and ends with it.
///
/// # Errors
/// See [`StartError`].
pub fn serve(options: ServeOptions) -> Result<ExitCode, StartError> {
    let config = Config::load(&options, &environment())?;
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(tracing_subscriber::EnvFilter::try_new(&config.log).map_err(|e| {
            StartError::Config(format!("log is not a filter: {e}"))
        })?)
        .init();
    let data = Data::open(&config.data)?;
    if options.worker {
        return worker::run(config, data);
    }
    let _lock = data.lock()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| StartError::Process("the runtime", e))?;
    runtime.block_on(supervise(config, data))
}

async fn supervise(config: Config, data: Data) -> Result<ExitCode, StartError> {
    let mut signer = match &config.signer {
        SignerAt::Spawn => Some(start_signer(&data).await?),
        SignerAt::Unix(_) => None,
    };
    let (mut worker, leash) = start_worker()?;
    let failed = |e| StartError::Process("the signal handler", e);
    let mut term = signal(SignalKind::terminate()).map_err(failed)?;
    let mut int = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut pause = FIRST_PAUSE;
    loop {
        tokio::select! {
            ended = worker.wait() => {
                let code = ended.ok().and_then(|status| status.code()).and_then(|code| u8::try_from(code).ok());
                return Ok(code.map_or(ExitCode::FAILURE, ExitCode::from));
            }
            _ = died(&mut signer) => {
                tracing::error!("the signer ended; starting it again");
                tokio::time::sleep(pause).await;
                match start_signer(&data).await {
                    Ok(again) => {
                        pause = FIRST_PAUSE;
                        signer = Some(again);
                    }
                    Err(_) => pause = (pause * 2).min(LONGEST_PAUSE),
                }
            }
            _ = term.recv() => break,
            _ = int.recv() => break,
        }
    }
    // The pipe closes: the worker finishes its requests, then the signer ends.
    drop(leash);
    let _late = tokio::time::timeout(GOODBYE, worker.wait()).await;
    let _gone = worker.kill().await;
    if let Some((mut signer, leash)) = signer {
        drop(leash);
        let _late = tokio::time::timeout(GOODBYE, signer.wait()).await;
    }
    Ok(ExitCode::SUCCESS)
}

/// A signer, and what keeps it alive.
type Leashed = (Child, ChildStdin);

async fn died(signer: &mut Option<Leashed>) {
    match signer {
        Some((child, _)) => {
            let _status = child.wait().await;
            *signer = None;
        }
        // An unsuccessful start is followed by another.
        None => tokio::time::sleep(FIRST_PAUSE).await,
    }
}

/// Starts the signer and waits until it listens. It says itself why it does not.
async fn start_signer(data: &Data) -> Result<Leashed, StartError> {
    let failed = |e| StartError::Process("the signer", e);
    let own = std::env::current_exe().map_err(failed)?;
    let sibling = own.with_file_name("talon-signer");
    let mut command = if sibling.exists() { Command::new(sibling) } else { signer_of(own) };
    command
        .arg("run")
        .arg("--socket")
        .arg(data.socket())
        .arg("--data")
        .arg(data.signer())
        .arg("--parent-stdin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(failed)?;
    let (Some(leash), Some(said)) = (child.stdin.take(), child.stdout.take()) else { return Err(StartError::Signer) };
    let mut line = String::new();
    let listening = BufReader::new(said).read_line(&mut line).await.is_ok() && line.trim() == "ready";
    if listening { Ok((child, leash)) } else { Err(StartError::Signer) }
}

fn signer_of(own: PathBuf) -> Command {
    let mut command = Command::new(own);
    command.arg("signer");
    command
}

/// Starts this executable again, with the same flags, as the worker.
fn start_worker() -> Result<Leashed, StartError> {
    let failed = |e| StartError::Process("the gateway", e);
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if arguments.first().is_none_or(|first| first != "serve") {
        command.arg("serve");
    }
    command.args(arguments).arg(WORKER).stdin(Stdio::piped()).kill_on_drop(true);
    for secret in SIGNERS_SECRETS {
        command.env_remove(secret);
    }
    let mut child = command.spawn().map_err(failed)?;
    let leash = child.stdin.take().ok_or(StartError::Signer)?;
    Ok((child, leash))
}
