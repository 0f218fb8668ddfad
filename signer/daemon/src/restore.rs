//! `talon-signer restore-ledger`: a backup's ledger, put beside the keystore that it belongs to.

use std::fs::File;
use std::io::{BufReader, Write as _};
use std::path::{Path, PathBuf};

use domain::Clock;
use sha2::{Digest as _, Sha256};
use signer_protocol::attested::Attested;
use signer_protocol::backup::{FileError, Kind, LedgerCopy, Reader};
use subtle::ConstantTimeEq as _;

use crate::config::Config;
use crate::keys::{FIRST, Keystore, Roots};
use crate::ledger::{self, OldLedger, Written};
use crate::options::Options;
use crate::start::{StartError, folder};
use crate::{keystore, statements};

/// Options of `talon-signer restore-ledger`.
#[derive(Clone, Debug, clap::Args)]
pub struct RestoreOptions {
    /// The backup.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Replace a ledger that is newer than the backup's, or of which that can't be told.
    #[arg(long)]
    pub accept_older_ledger: bool,

    #[command(flatten)]
    pub signer: Options,
}

/// What is forgotten with the newer part of a ledger.
const FORGOTTEN: &str = "what was spent since does not count against limits, and tokens, codes, devices and shares that were \
     ended or used since are good again until they expire, and of audit trails a second history may be signed: rotate agents' keys, and let 24 hours pass before you rely on a \
     daily limit";

/// Puts the ledger in place, whole or not at all, while no signer runs on the folder.
///
/// # Errors
/// If there is no keystore, the ledger is not of this keystore or damaged, or the one that is there is newer.
pub fn restore_ledger(options: RestoreOptions) -> Result<(), StartError> {
    restore(&options.signer.config()?, &options.file, options.accept_older_ledger)
}

pub(crate) fn restore(config: &Config, file: &Path, accepted: bool) -> Result<(), StartError> {
    folder(&config.data)?;
    let keystore = opened(config)?;
    let copy = genuine(file, &*keystore)?;
    let place = config.data.join(ledger::FILE);
    let old = place.exists().then(|| OldLedger::open(&place)).transpose().map_err(StartError::from)?;
    if let Some(old) = &old
        && (old.mark.line != copy.line || old.mark.sequence > copy.sequence)
    {
        let found = format!("{} is newer than the backup's ledger, or of another history", place.display());
        if !accepted {
            return Err(StartError::new(format!(
                "{found}: start on it as it is, or replace it with --accept-older-ledger; then {FORGOTTEN}"
            )));
        }
        say(&format!("WARNING: {found}, and is replaced all the same: {FORGOTTEN}."));
    }
    put(file, &place, &copy, keystore.roots(), &config.clock)?;
    drop(old);
    say(&format!("The ledger of {} is in place.", copy.taken_at));
    Ok(())
}

fn opened(config: &Config) -> Result<std::sync::Arc<dyn Keystore>, StartError> {
    if keystore::exists(config) == Some(false) {
        return Err(StartError::new(format!(
            "the keystore in {} is missing: put it there first (a backup holds no key)",
            config.data.display()
        )));
    }
    keystore::open(config)
}

/// What the signer said of the ledger in the file, if this keystore's signer said it and it is true.
fn genuine(file: &Path, keystore: &dyn Keystore) -> Result<LedgerCopy, StartError> {
    let (mut hash, mut said) = (Sha256::new(), None::<Attested<LedgerCopy>>);
    let unusable = |error| unusable(file, &error);
    let mut frames = frames(file)?;
    while let Some((kind, payload)) = frames.read().map_err(unusable)? {
        match kind {
            Kind::Ledger => hash.update(&payload),
            Kind::LedgerEnd => said = Some(Attested::from_bytes(payload)),
            _ => {}
        }
    }
    let said = said.ok_or_else(|| unusable(FileError::Damaged))?;
    let other = || {
        StartError::new(format!(
            "the ledger in {} was not written by a signer with this keystore: restore beside the keystore that it belongs to",
            file.display()
        ))
    };
    let (mac, body) = said.parts().ok_or_else(other)?;
    let expected = keystore.mac(&statements::message::<LedgerCopy>(body)).map_err(StartError::from)?;
    if !bool::from(expected.ct_eq(mac)) {
        return Err(other());
    }
    let copy = said.peek().map_err(|_| unusable(FileError::Newer))?;
    if hash.finalize()[..] != copy.sha256.0[..] {
        return Err(unusable(FileError::Damaged));
    }
    if copy.format > ledger::NEWEST {
        return Err(unusable(FileError::Newer));
    }
    Ok(copy)
}

/// Under its name there is the old ledger or the new one, never a part.
fn put(file: &Path, place: &Path, copy: &LedgerCopy, roots: Roots, clock: &Clock) -> Result<(), StartError> {
    let failed = |cause: String| StartError::new(format!("{} can't be written ({cause})", place.display()));
    let unfinished = place.with_extension("restoring");
    if unfinished.exists() {
        std::fs::remove_file(&unfinished).map_err(|error| failed(error.to_string()))?;
    }
    let mut frames = frames(file)?;
    let mut hash = Sha256::new();
    let parts = std::iter::from_fn(|| {
        loop {
            match frames.read() {
                Ok(Some((Kind::Ledger, part))) => {
                    hash.update(&part);
                    return Some(Ok(part));
                }
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) => return Some(Err(error.to_string())),
            }
        }
    });
    let Written { entries, root } = ledger::write_copy(&unfinished, parts, clock.now()).map_err(failed)?;
    // Read a second time: it may be another file by now.
    if entries != copy.entries || hash.finalize()[..] != copy.sha256.0[..] {
        return Err(unusable(file, &FileError::Damaged));
    }
    if let Err(other) = opens(roots, root) {
        std::fs::remove_file(&unfinished).map_err(|error| failed(error.to_string()))?;
        return Err(StartError::new(format!("{}: {other}", file.display())));
    }
    std::fs::rename(&unfinished, place)
        .and_then(|()| File::open(place.parent().unwrap_or(Path::new(".")))?.sync_all())
        .map_err(|error| failed(error.to_string()))
}

/// Whether what was wrapped with this ledger's newest root can be opened here.
fn opens(roots: Roots, root: u64) -> Result<(), String> {
    let here = [Some(roots.newest), roots.older].map(|here| here.map(u64::from));
    // As long as nobody asked, it is the first.
    let root = root.max(FIRST.into());
    if here.contains(&Some(root)) {
        return Ok(());
    }
    let there = here.iter().flatten().map(u64::to_string).collect::<Vec<_>>().join(" and ");
    Err(format!(
        "what it holds is wrapped by root {root}, and the keystore has root {there}: put a copy of the keystore in place that has \
         root {root}; where there is none, because that root was retired, nobody opens this backup"
    ))
}

fn frames(file: &Path) -> Result<Reader<BufReader<File>>, StartError> {
    let read = File::open(file).map_err(FileError::from).and_then(|open| Reader::begin(BufReader::new(open)));
    read.map(|(reader, _)| reader).map_err(|error| unusable(file, &error))
}

fn unusable(file: &Path, error: &FileError) -> StartError {
    StartError::new(format!("{}: {error}", file.display()))
}

fn say(line: &str) {
    let _closed = writeln!(std::io::stderr(), "{line}");
}
