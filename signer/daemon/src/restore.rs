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
use crate::start::{StartError, folder, not_older};
use crate::{keystore, statements};

/// Options of `talon-signer restore-ledger`.
#[derive(Clone, Debug, clap::Args)]
pub struct RestoreOptions {
    /// The backup.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Replace a ledger that is newer than the backup's, or of which that can't be told.
    #[arg(long, conflicts_with = "keep_ledger")]
    pub accept_older_ledger: bool,

    /// Leave the ledger that is there, if the backup opens beside it.
    #[arg(long)]
    pub keep_ledger: bool,

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
/// If there is no keystore, the ledger is not of this keystore or damaged, or the one that is there is newer. If it is to be
/// kept: as well if there is none.
pub fn restore_ledger(options: RestoreOptions) -> Result<(), StartError> {
    let config = options.signer.config()?;
    if options.keep_ledger {
        keep(&config, &options.file)
    } else {
        restore(&config, &options.file, options.accept_older_ledger)
    }
}

pub(crate) fn restore(config: &Config, file: &Path, accepted: bool) -> Result<(), StartError> {
    folder(&config.data)?;
    let keystore = opened(config)?;
    let copy = genuine(file, &*keystore)?;
    let place = config.data.join(ledger::FILE);
    let old = place.exists().then(|| OldLedger::open(&place)).transpose().map_err(StartError::from)?;
    let newer =
        old.as_ref().is_some_and(|old| old.mark.line != copy.line || old.mark.sequence > copy.sequence);
    if newer && !accepted {
        return Err(StartError::new(format!(
            "{} is newer than the backup's ledger, or of another history: start on it as it is, or replace it with \
             --accept-older-ledger; then {FORGOTTEN}",
            place.display()
        )));
    }
    put(file, &place, &copy, keystore.roots(), &config.clock)?;
    drop(old);
    if newer {
        say(&format!(
            "WARNING: the ledger in {} was newer than the backup's, or of another history, and was replaced all the same: \
             {FORGOTTEN}.",
            place.display()
        ));
    }
    say(&format!("The ledger of {} is in place.", copy.taken_at));
    Ok(())
}

/// Leaves the ledger that is there, beside a database that is to come from this backup. Under the older root there may be
/// something again: that root is not retired before a start has looked.
pub(crate) fn keep(config: &Config, file: &Path) -> Result<(), StartError> {
    folder(&config.data)?;
    let keystore = opened(config)?;
    let place = config.data.join(ledger::FILE);
    if !place.exists() {
        return Err(StartError::new(format!(
            "{} is missing, so it can't be kept: put it there first, or take the backup's by leaving --keep-ledger out",
            place.display()
        )));
    }
    let kept = OldLedger::open(&place).map_err(StartError::from)?;
    if kept.mark.format > ledger::NEWEST {
        let (file, found) = (place.display().to_string(), kept.mark.format);
        return Err(StartError::from(ledger::OpenError::Newer { file, found }));
    }
    not_older(keystore.roots(), kept.root)?;
    let copy = genuine(file, &*keystore)?;
    // That it could be put in place shows that it opens here.
    let unused = written(file, &place, &copy, keystore.roots(), &config.clock)?;
    std::fs::remove_file(&unused).map_err(|error| unwritten(&unused, &error.to_string()))?;
    kept.unfinish().map_err(|cause| unwritten(&place, &cause))?;
    say("The ledger that was there is kept.");
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
    let unfinished = written(file, place, copy, roots, clock)?;
    std::fs::rename(&unfinished, place)
        .and_then(|()| File::open(place.parent().unwrap_or(Path::new(".")))?.sync_all())
        .map_err(|error| unwritten(place, &error.to_string()))
}

/// The new ledger, under a name of its own: whole, and of a root that is here.
fn written(
    file: &Path,
    place: &Path,
    copy: &LedgerCopy,
    roots: Roots,
    clock: &Clock,
) -> Result<PathBuf, StartError> {
    let failed = |cause: String| unwritten(place, &cause);
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
    Ok(unfinished)
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

fn unwritten(place: &Path, cause: &str) -> StartError {
    StartError::new(format!("{} can't be written ({cause})", place.display()))
}

fn say(line: &str) {
    let _closed = writeln!(std::io::stderr(), "{line}");
}
