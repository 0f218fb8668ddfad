//! `talon backup`: database and ledger as they are at one moment, in one file, beside a gateway that runs or not.

use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use domain::Clock;
use signer_protocol::Client;
use signer_protocol::backup::{CopyLedger, Header, Kind, LedgerPart, Writer};
use store::backup::{Snapshot, Still};
use tempfile::NamedTempFile;

use crate::config::{Config, SignerAt, environment};
use crate::reached::Reached;
use crate::settings::Flags;
use crate::worker::database_file;
use crate::{StartError, cells};

/// Rows go to the file in pieces of about this size.
const PIECE: usize = 1 << 20;

/// Where the backup goes, and what of.
#[derive(Args)]
pub struct Backup {
    /// The file to write; there must be none of this name
    file: PathBuf,
    #[command(flatten)]
    flags: Flags,
}

/// Writes the backup: under its name there is the whole of it, or nothing.
///
/// # Errors
/// See [`StartError`]: nothing to back up, the signer does not answer, or the file can't be written.
pub fn backup(asked: &Backup) -> Result<(), StartError> {
    let config = Config::load(&asked.flags, &environment())?;
    if asked.file.exists() {
        return Err(said(format!("{} exists: choose another name", asked.file.display())));
    }
    let runtime =
        tokio::runtime::Runtime::new().map_err(|error| StartError::Process("the runtime", error))?;
    let rows = runtime.block_on(write(&config, &asked.file))?;
    let text = format!(
        "{}: {rows} rows, and the signer's ledger. It holds no key: keep the keystore apart, and as well.\n",
        asked.file.display()
    );
    let _closed = std::io::stdout().write_all(text.as_bytes());
    Ok(())
}

async fn write(config: &Config, file: &Path) -> Result<u64, StartError> {
    let url = match &config.database_url {
        Some(url) => url.expose().to_owned(),
        None => crate::data::database_url(&config.data),
    };
    // Opening one that is not there would make it.
    if let Some(missing) = database_file(&url).filter(|file| !file.exists()) {
        return Err(said(format!(
            "there is no database {}: name the data folder (--data)",
            missing.display()
        )));
    }
    let reached = Reached::signer(config).await?;
    let written = gathered(&reached.client, &url, file).await;
    reached.leave().await;
    written
}

async fn gathered(signer: &Client, url: &str, file: &Path) -> Result<u64, StartError> {
    let unwritten = |error: std::io::Error| said(format!("{} can't be written: {error}", file.display()));
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Mode 0600, and gone if this fails.
    let draft = NamedTempFile::with_prefix_in(".talon-backup-", folder).map_err(unwritten)?;

    let still = Still::begin(url).await?;
    let first = ask(signer, CopyLedger::Begin).await?;
    let mut database = still.release().await?;

    let header = Header {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        schema: database.version().await?,
        created_at: Clock::default().now(),
    };
    let failed = |error| said(format!("{}: {error}", file.display()));
    let mut out = Writer::begin(BufWriter::new(draft), &header).map_err(failed)?;
    copy_ledger(signer, first.copy, |kind, bytes| out.frame(kind, bytes).map_err(failed)).await?;
    let rows = copy_tables(&mut database, |kind, bytes| out.frame(kind, bytes).map_err(failed)).await?;

    let draft =
        out.finish(rows).map_err(failed)?.into_inner().map_err(|error| unwritten(error.into_error()))?;
    draft.as_file().sync_all().map_err(unwritten)?;
    draft.persist_noclobber(file).map_err(|error| unwritten(error.error))?;
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(unwritten)?;
    Ok(rows)
}

async fn copy_ledger(
    signer: &Client,
    copy: u64,
    mut out: impl FnMut(Kind, &[u8]) -> Result<(), StartError>,
) -> Result<(), StartError> {
    loop {
        let part = ask(signer, CopyLedger::Next { copy }).await?;
        match part.end {
            Some(end) => return out(Kind::LedgerEnd, end.as_bytes()),
            None => out(Kind::Ledger, &part.bytes.0)?,
        }
    }
}

async fn copy_tables(
    database: &mut Snapshot,
    mut out: impl FnMut(Kind, &[u8]) -> Result<(), StartError>,
) -> Result<u64, StartError> {
    let mut count = 0;
    for table in database.tables().to_vec() {
        out(Kind::Table, cells::describe(&table).to_string().as_bytes())?;
        let (mut piece, mut trouble) = (Vec::new(), None);
        let each = |row: Vec<store::backup::Cell>| {
            cells::write(&mut piece, &row);
            count += 1;
            if piece.len() >= PIECE {
                let written = out(Kind::Rows, &std::mem::take(&mut piece));
                written.map_err(|error| {
                    let sentence = error.to_string();
                    trouble = Some(error);
                    domain::Error::internal(sentence)
                })?;
            }
            Ok(())
        };
        let read = database.rows(&table, each).await;
        if let Some(trouble) = trouble {
            return Err(trouble);
        }
        read?;
        if !piece.is_empty() {
            out(Kind::Rows, &piece)?;
        }
    }
    Ok(count)
}

async fn ask(signer: &Client, request: CopyLedger) -> Result<LedgerPart, StartError> {
    let answer = signer.call(async |signer, cx| signer.copy_ledger(cx, request).await).await;
    answer.map_err(|refusal| {
        let cause = signer.trouble().unwrap_or_else(|| refusal.detail.clone());
        StartError::SignerAway(signer.address().to_string(), cause)
    })
}

fn said(sentence: String) -> StartError {
    StartError::Config(sentence)
}

/// Whether a signer is one of our own.
pub fn is_own(signer: &SignerAt) -> bool {
    *signer == SignerAt::Spawn
}
