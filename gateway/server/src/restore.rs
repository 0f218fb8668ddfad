//! `talon restore`: a backup into an empty database, and its ledger beside the keystore that it belongs to.

use std::fs::File;
use std::io::{BufReader, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use domain::Clock;
use signer_protocol::backup::{FileError, Header, Kind, Reader};
use store::Store;
use store::restore::Restoring;

use crate::backup::is_own;
use crate::config::{Config, environment};
use crate::data::Data;
use crate::process::Signer;
use crate::settings::Flags;
use crate::worker::database_folder;
use crate::{StartError, cells, isolation};

/// What to restore, and where.
#[derive(Args)]
pub struct Restore {
    /// The backup
    file: PathBuf,
    /// Replace a ledger that is newer than the backup's: limits, nonces, codes and endings from in between are forgotten
    #[arg(long, conflicts_with = "keep_ledger")]
    accept_older_ledger: bool,
    /// Leave the ledger that is there (there must be one): whatever has changed since the backup is refused as rolled back
    #[arg(long)]
    keep_ledger: bool,
    #[command(flatten)]
    flags: Flags,
}

impl Restore {
    /// What the signer is told of the ledger that is there.
    fn flag(&self) -> Option<&'static str> {
        match (self.accept_older_ledger, self.keep_ledger) {
            (_, true) => Some("--keep-ledger"),
            (true, false) => Some("--accept-older-ledger"),
            (false, false) => None,
        }
    }
}

/// Restores all of the backup, or nothing.
///
/// # Errors
/// See [`StartError`]: a gateway runs, the database is not empty, the file is damaged, or the ledger is refused.
pub fn restore(asked: &Restore) -> Result<(), StartError> {
    let config = Config::load(&asked.flags, &environment())?;
    checked(&asked.file)?;
    let data = Data::open(&config.data)?;
    let _lock = data.lock()?;
    let url = config.database_url.as_ref().map_or_else(|| data.database_url(), |url| url.expose().to_owned());
    if is_own(&config.signer) {
        isolation::apart(&data.signer(), database_folder(&url).as_deref())?;
    }
    let runtime =
        tokio::runtime::Runtime::new().map_err(|error| StartError::Process("the runtime", error))?;
    let rows = runtime.block_on(async {
        let restoring = filled(&asked.file, &url).await?;
        let rows = restoring.rows();
        if is_own(&config.signer) {
            Signer::new(&config, &data).restore_ledger(&asked.file, asked.flag()).await?;
        }
        restoring.commit(Clock::default().now()).await?;
        Store::open(&url).await?;
        Ok::<_, StartError>(rows)
    })?;
    let elsewhere = if is_own(&config.signer) {
        String::new()
    } else {
        let flag = asked.flag().map_or_else(String::new, |flag| format!(" {flag}"));
        format!(
            " The ledger is the signer's: run talon-signer restore-ledger{flag} with this file on its host."
        )
    };
    let text = format!("{}: {rows} rows are restored.{elsewhere}\n", asked.file.display());
    let _closed = std::io::stdout().write_all(text.as_bytes());
    Ok(())
}

/// Reads the whole file once, before anything is done with it.
fn checked(file: &Path) -> Result<(), StartError> {
    let (mut frames, _) = opened(file)?;
    while frames.read().map_err(|error| unusable(file, &error))?.is_some() {}
    Ok(())
}

/// All rows, not yet committed.
async fn filled(file: &Path, url: &str) -> Result<Restoring, StartError> {
    let (mut frames, header) = opened(file)?;
    let damaged = || unusable(file, &FileError::Damaged);
    let mut restoring = Restoring::begin(url, header.schema).await?;
    let mut table = None;
    while let Some((kind, payload)) = frames.read().map_err(|error| unusable(file, &error))? {
        match kind {
            Kind::Table => table = Some(cells::described(&payload).ok_or_else(damaged)?),
            Kind::Rows => {
                let table = table.as_ref().ok_or_else(damaged)?;
                let rows = cells::read(&payload, table).ok_or_else(damaged)?;
                restoring.insert(table, &rows).await?;
            }
            Kind::Header | Kind::Ledger | Kind::LedgerEnd | Kind::End => {}
        }
    }
    if frames.rows() != Some(restoring.rows()) {
        return Err(damaged());
    }
    Ok(restoring)
}

fn opened(file: &Path) -> Result<(Reader<BufReader<File>>, Header), StartError> {
    let read = File::open(file).map_err(FileError::from).and_then(|open| Reader::begin(BufReader::new(open)));
    read.map_err(|error| unusable(file, &error))
}

fn unusable(file: &Path, error: &FileError) -> StartError {
    StartError::Config(format!("{}: {error}", file.display()))
}
