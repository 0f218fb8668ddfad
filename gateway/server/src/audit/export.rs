//! `talon audit export`: the trail out of a running gateway, into a file that is whole or not there.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use tempfile::NamedTempFile;

use super::file::End;
use crate::admin::client::Client;
use crate::admin::{Failure, To};

/// Of the last line, in bytes: it holds a checkpoint.
const LAST_LINE: usize = 16 << 10;

/// Exports your organisation's audit trail, with its last checkpoint, for `talon audit verify`. The export itself is on the trail.
#[derive(Args)]
#[command(
    after_help = "TALON_TOKEN holds the token of an owner or admin, unless --token-file names a file with it.\n\
    Ends with 0; 1: the gateway refuses; 2: what was given can't be used; 3: the gateway is away, or the export broke off."
)]
pub struct Export {
    /// The file to write; there must be none of this name. - is standard output
    file: PathBuf,
    /// From this moment on, RFC 3339; some events before it may be there, too
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Up to this moment, RFC 3339; some events after it may be there, too
    #[arg(long = "to", value_name = "TIME")]
    until: Option<String>,
    #[command(flatten)]
    gateway: To,
}

pub fn export(asked: &Export) -> ExitCode {
    let done = if asked.file == Path::new("-") {
        fetch(asked, &mut std::io::stdout().lock())
    } else {
        into_file(asked)
    };
    done.map_or_else(|failure| failure.told(), |()| ExitCode::SUCCESS)
}

/// Under the name there is the whole of it, or nothing.
fn into_file(asked: &Export) -> Result<(), Failure> {
    let place = &asked.file;
    let unusable = |why: String| Failure::Usage(format!("{} can't be written: {why}", place.display()));
    if place.exists() {
        return Err(Failure::Usage(format!("{} exists: choose another name", place.display())));
    }
    let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut unfinished = NamedTempFile::new_in(folder).map_err(|error| unusable(error.to_string()))?;
    fetch(asked, &mut std::io::BufWriter::new(unfinished.as_file_mut()))?;
    unfinished.as_file().sync_all().map_err(|error| unusable(error.to_string()))?;
    unfinished.persist_noclobber(place).map_err(|error| unusable(error.error.to_string()))?;
    Ok(())
}

fn fetch(asked: &Export, into: &mut dyn Write) -> Result<(), Failure> {
    let client = Client::new(&asked.gateway, "an owner's or admin's")?;
    let broken = |error| Failure::Usage(format!("the runtime could not be started: {error}"));
    let unwritten = |error: std::io::Error| Failure::Usage(format!("the export can't be written: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(broken)?;
    let span = [("from", asked.from.as_deref()), ("to", asked.until.as_deref())];
    let query: Vec<(&str, &str)> = span.into_iter().filter_map(|(name, time)| Some((name, time?))).collect();
    let mut end = Vec::new();
    let take = |piece: &[u8]| {
        end.extend_from_slice(piece);
        let before = end.len().saturating_sub(LAST_LINE);
        end.drain(..before);
        into.write_all(piece).map_err(unwritten)
    };
    runtime.block_on(client.download(&["audit", "export"], &query, take))?;
    if !is_whole(&end) {
        return Err(Failure::Away("the export broke off before its last line: ask again".into()));
    }
    into.flush().map_err(unwritten)
}

/// Whether what it ends with is the last line of an export.
fn is_whole(end: &[u8]) -> bool {
    let Some(text) = end.strip_suffix(b"\n") else { return false };
    let last = text.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    serde_json::from_slice::<End>(last).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_that_broke_off_is_not_whole() {
        let whole = b"{\"sequence\":1}\n{\"checkpoint\":null}\n";
        assert!(is_whole(whole));
        assert!((0..whole.len()).all(|cut| !is_whole(&whole[..cut])));
        assert!(!is_whole(b"{\"detail\":\"no\"}\n") && !is_whole(b"{}\n"));
    }
}
