//! Starting and ending: data folder, keystore, ledger, socket.

use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::authority::Authority;
use crate::config::Config;
use crate::keys::Roots;
use crate::ledger::{self, Ledger};
use crate::service::Service;
use crate::{keystore, listen, remote};

/// Why a signer does not start: one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(String);

impl StartError {
    pub fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }

    pub(crate) fn from(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// Runs a signer until it is told to end (SIGTERM, ctrl-c, or the parent's end), and prints `ready` on standard
/// output once it listens. [`crate::isolate`] comes first, while the process still has one thread.
///
/// # Errors
/// If it can't start, or its socket fails.
pub async fn run(config: Config) -> Result<(), StartError> {
    let authority = open(&config)?;
    let socket = config.socket.as_deref().map(|path| listen::bind(path, config.peer_uid)).transpose()?;
    let tls = config.tls.as_ref().map(remote::bind).transpose()?;
    let ending = listen::ending(config.parent_stdin).map_err(StartError::from)?;
    announce().map_err(StartError::from)?;
    let service = Service(Arc::new(authority));
    let here = async {
        match socket {
            Some(socket) => listen::serve(socket, service.clone(), config.peer_uid).await,
            None => std::future::pending().await,
        }
    };
    let elsewhere = async {
        match tls {
            Some(tls) => tls.serve(service.clone()).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = here => {}
        () = elsewhere => {}
        () = ending => {}
    }
    if let Some(path) = &config.socket {
        let _ = std::fs::remove_file(path);
    }
    Ok(())
}

/// Makes what a first start needs: the keystore's root keys, and an empty ledger.
///
/// # Errors
/// If there is a keystore or a ledger already.
pub fn init(config: &Config) -> Result<(), StartError> {
    folder(&config.data)?;
    let ledger = config.data.join(ledger::FILE);
    if ledger.exists() && !marker(config).exists() {
        return Err(StartError::new(format!("{} exists: this signer was set up before", ledger.display())));
    }
    if keystore::exists(config) == Some(true) && !marker(config).exists() {
        return Err(StartError::new(format!("{} holds a keystore already", config.data.display())));
    }
    first_start(config)
}

/// Opens keystore and ledger. The software keystore is made on a first start; an HSM's keys are made by `init`
/// alone. Keys without a ledger would forget what was spent, a ledger without keys can open nothing: both are
/// refused.
pub(crate) fn open(config: &Config) -> Result<Authority, StartError> {
    folder(&config.data)?;
    let file = config.data.join(ledger::FILE);
    let data = config.data.display();
    match (keystore::exists(config), file.exists()) {
        (Some(false), false) => first_start(config)?,
        (Some(_), _) if marker(config).exists() => first_start(config)?,
        (Some(true), false) => {
            return Err(StartError::new(format!(
                "{} is missing beside its keystore: restore the ledger from the newest backup (without it, limits and \
                 revocations would be forgotten)",
                file.display()
            )));
        }
        (Some(false), true) => {
            return Err(StartError::new(format!(
                "the keystore in {data} is missing beside its ledger: restore it from a backup (a new one could open \
                 nothing)"
            )));
        }
        (None, false) => {
            return Err(StartError::new(format!(
                "{} is missing: run `talon-signer init` on a first start, or restore it from the newest backup",
                file.display()
            )));
        }
        (_, true) => {}
    }
    // The ledger first: it is the lock on the folder.
    let ledger = Ledger::open(&file, config.clock.clone()).map_err(StartError::from)?;
    let keystore = keystore::open(config)?;
    keystore.health().map_err(StartError::from)?;
    not_older(keystore.roots(), ledger.newest_root().map_err(StartError::from)?)?;
    Authority::new(keystore, config.key_threads, ledger, config.clock.clone(), config.limits.clone())
}

/// Refuses a keystore from before the newest root that its ledger knows.
pub(crate) fn not_older(Roots { newest, .. }: Roots, known: u64) -> Result<(), StartError> {
    if known > u64::from(newest) {
        return Err(StartError::new(format!(
            "the keystore is older than its ledger: it has root {newest}, and root {known} was in use; put the copy in place that \
             was made after the last rotate-root"
        )));
    }
    Ok(())
}

/// There while a first start is not finished: a crash in it leaves keys without a ledger, which is then no loss.
fn marker(config: &Config) -> PathBuf {
    config.data.join("first-start")
}

fn first_start(config: &Config) -> Result<(), StartError> {
    let (marker, ledger) = (marker(config), config.data.join(ledger::FILE));
    let failed =
        |error: std::io::Error| StartError::new(format!("{} can't be used ({error})", marker.display()));
    let resumed = marker.exists();
    std::fs::File::create(&marker).and_then(|file| file.sync_all()).map_err(failed)?;
    // A first start that was cut short may have made them; whether an HSM has them shows by opening. Without the
    // marker, keys that are there belong to a ledger that is lost, and making them anew says so.
    let made = keystore::exists(config).unwrap_or_else(|| resumed && keystore::open(config).is_ok());
    if !made {
        keystore::make(config)?;
    }
    Ledger::open(&ledger, config.clock.clone()).map_err(StartError::from)?;
    std::fs::remove_file(&marker).map_err(failed)
}

/// A folder that only the signer's user enters.
pub(crate) fn folder(path: &Path) -> Result<(), StartError> {
    let failed =
        |error: std::io::Error| StartError::new(format!("{} can't be used ({error})", path.display()));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    let found = std::fs::metadata(path).map_err(failed)?;
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(StartError::new(format!("{} belongs to another user", path.display())));
    }
    if found.permissions().mode() & 0o077 != 0 {
        return Err(StartError::new(format!(
            "{} is open to other users: run chmod 700 on it",
            path.display()
        )));
    }
    Ok(())
}

/// One line that a parent process waits for.
fn announce() -> std::io::Result<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    out.write_all(b"ready\n")?;
    out.flush()
}
