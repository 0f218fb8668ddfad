//! The two child processes: how each is started, when it is ready, and how it ends with its parent.
//!
//! Each holds one end of something whose other end is ours. However this process dies, the kernel closes it, and
//! the child ends at once: nothing is left running.

use std::ffi::OsStr;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::net::{Shutdown, shutdown};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::JoinHandle;

use crate::StartError;
use crate::config::{Config, Variable, environment};
use crate::data::Data;

/// The line with which a child says that it listens.
pub const READY: &str = "ready";
/// Tells a child that it is the worker.
const WORKER: &str = "--worker";
/// This executable, even after another has taken its place on the disk.
const OWN: &str = "/proc/self/exe";
/// Until a child is ready. Opening an HSM, or migrating a large database, takes its time.
const PATIENCE: Duration = Duration::from_secs(120);
/// How the signer begins the sentence that says why it ends.
const SENTENCE: &str = "talon-signer: ";

/// A child that is ready.
pub struct Running {
    child: Child,
    /// Our end of what ties the child to us.
    leash: Box<dyn Send>,
}

impl Running {
    pub async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Asks it to end, and after a while makes it.
    pub async fn end(mut self, patience: Duration) {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // Gone already: all the better.
            let _gone = kill_process(pid, Signal::TERM);
        }
        let _late = tokio::time::timeout(patience, self.child.wait()).await;
        drop(self.leash);
        let _gone = self.child.kill().await;
    }
}

/// The signer: an executable of its own where there is one beside ours, else this one.
pub struct Signer {
    executable: Option<PathBuf>,
    data: PathBuf,
    socket: PathBuf,
    told: Vec<Variable>,
    /// The HSM's keys are made by `init` alone.
    needs_init: bool,
}

impl Signer {
    pub fn new(config: &Config, data: &Data) -> Self {
        let sibling = std::env::current_exe().map(|own| own.with_file_name("talon-signer"));
        let (socket, data) = (data.socket(), data.signer());
        Self {
            executable: sibling.ok().filter(|path| path.exists()),
            needs_init: config.has_hsm() && !data.join(signer::ledger::FILE).exists(),
            told: config.for_signer(),
            socket,
            data,
        }
    }

    /// Starts it for the first time: an HSM without keys of Talon's gets them.
    ///
    /// # Errors
    /// See [`Self::start`].
    pub async fn first_start(&self) -> Result<Running, StartError> {
        if self.needs_init {
            let (mut child, sentence) = self.spawn(&["init".as_ref()])?;
            let ended = child.wait().await.map_err(|error| StartError::Process("the signer", error))?;
            let sentence = sentence.await.unwrap_or_default();
            if !ended.success() {
                return Err(StartError::SignerInit(sentence, self.data.join(signer::ledger::FILE)));
            }
        }
        self.start().await
    }

    /// Starts it, and waits until it listens.
    ///
    /// # Errors
    /// With its own sentence, if it ends before it does.
    pub async fn start(&self) -> Result<Running, StartError> {
        let (mut child, sentence) = self.spawn(&["run".as_ref()])?;
        // Taken out: waiting for a child closes what is left in it.
        let (leash, out) = (child.stdin.take(), child.stdout.take());
        if let Some(out) = out
            && until_ready(out).await.is_some()
        {
            return Ok(Running { child, leash: Box::new(leash) });
        }
        let _gone = child.kill().await;
        let sentence = sentence.await.unwrap_or_default();
        let late = || "it ended, or was not ready in time".to_owned();
        Err(StartError::Signer(if sentence.is_empty() { late() } else { sentence }))
    }

    /// Has it put a backup's ledger in place, and end; with a flag that says what becomes of the one that is there.
    ///
    /// # Errors
    /// With its own sentence.
    pub async fn restore_ledger(&self, backup: &Path, flag: Option<&str>) -> Result<(), StartError> {
        let mut words = vec![OsStr::new("restore-ledger"), backup.as_os_str()];
        words.extend(flag.map(OsStr::new));
        let (mut child, sentence) = self.spawn(&words)?;
        let ended = child.wait().await.map_err(|error| StartError::Process("the signer", error))?;
        if ended.success() { Ok(()) } else { Err(StartError::Config(sentence.await.unwrap_or_default())) }
    }

    /// The child, and the sentence that it ends with.
    fn spawn(&self, words: &[&OsStr]) -> Result<(Child, JoinHandle<String>), StartError> {
        let failed = |error| StartError::Process("the signer", error);
        let mut command = match &self.executable {
            Some(executable) => Command::new(executable),
            None => own(&["signer"]),
        };
        command
            .args(words)
            .arg("--parent-stdin")
            .arg("--socket")
            .arg(&self.socket)
            .arg("--data")
            .arg(&self.data);
        // Its log comes through a pipe: colours would be noise.
        command.env("NO_COLOR", "1").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = spawn(command, &self.told).map_err(failed)?;
        let err = child.stderr.take().ok_or_else(|| failed(std::io::ErrorKind::BrokenPipe.into()))?;
        Ok((child, tokio::spawn(relay(err))))
    }
}

/// The process that serves.
pub struct Worker {
    told: Vec<Variable>,
    listener: TcpListener,
}

impl Worker {
    /// The listener is kept here: while a worker is started again, callers wait instead of being refused.
    pub fn new(told: Vec<Variable>, listener: TcpListener) -> Self {
        Self { told, listener }
    }

    /// Refuses connections from now on, whoever holds the listener.
    pub fn close(&self) {
        let _closed = shutdown(&self.listener, Shutdown::Both);
    }

    /// Starts it, waits until it serves, and hands on to our own standard output what it tells the operator.
    ///
    /// # Errors
    /// If it ends before it does; it has said why.
    pub async fn start(&self) -> Result<Running, StartError> {
        let failed = |error| StartError::Process("the gateway", error);
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        let listener = self.listener.try_clone().map_err(failed)?;
        let mut command = own(&["serve", WORKER]);
        command.stdin(OwnedFd::from(listener)).stdout(OwnedFd::from(theirs));
        let child = spawn(command, &self.told).map_err(failed)?;
        ours.set_nonblocking(true).map_err(failed)?;
        let (reader, leash) = tokio::net::UnixStream::from_std(ours).map_err(failed)?.into_split();
        let told = until_ready(reader).await.ok_or(StartError::Worker)?;
        let _closed = std::io::Write::write_all(&mut std::io::stdout(), told.as_bytes());
        // Requests are served from here on, and not before the operator knows where.
        let _ended = leash.try_write(b"\n");
        Ok(Running { child, leash: Box::new(leash) })
    }
}

fn own(arguments: &[&str]) -> Command {
    let mut command = Command::new(OWN);
    command.arg0("talon").args(arguments);
    command
}

/// With its own variables of ours, and no others: what one child may know is not for the other.
fn spawn(mut command: Command, told: &[Variable]) -> std::io::Result<Child> {
    for (name, _) in environment() {
        command.env_remove(name);
    }
    command.envs(told.iter().map(|(name, text)| (name, text.expose())));
    // A group of its own: a terminal's ctrl-c is for us, and we end them in order.
    command.process_group(0).kill_on_drop(true).spawn()
}

/// What it says before it is ready. `None`: it ended, or took too long.
async fn until_ready(out: impl AsyncRead + Unpin) -> Option<String> {
    let read = async {
        let (mut lines, mut said) = (BufReader::new(out).lines(), String::new());
        while let Ok(Some(line)) = lines.next_line().await {
            if line == READY {
                return Some(said);
            }
            said.push_str(&line);
            said.push('\n');
        }
        None
    };
    tokio::time::timeout(PATIENCE, read).await.ok().flatten()
}

/// Hands on what the signer logs, and keeps back the sentence with which it ends.
async fn relay(err: ChildStderr) -> String {
    let (mut lines, mut sentence) = (BufReader::new(err).lines(), String::new());
    while let Ok(Some(line)) = lines.next_line().await {
        match line.strip_prefix(SENTENCE) {
            Some(last) => last.clone_into(&mut sentence),
            None => {
                let _closed =
                    std::io::Write::write_all(&mut std::io::stderr(), format!("{line}\n").as_bytes());
            }
        }
    }
    sentence
}
