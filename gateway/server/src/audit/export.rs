//! `talon audit export`: the trail out of a running gateway, into a file that is whole or not there.

use std::fmt;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use api::checkpoint::Checkpoint;
use clap::Args;
use tempfile::NamedTempFile;

use super::file::End;
use crate::admin::client::Client;
use crate::admin::{Failure, To};

/// Of the last line, in bytes: it holds a checkpoint.
const LAST_LINE: usize = 16 << 10;
/// How an event's line begins.
const EVENT: &[u8] = b"{\"sequence\":";

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
    let mut closed = false;
    let done = if asked.file == Path::new("-") {
        fetch(asked, &mut Out(std::io::stdout().lock(), &mut closed))
    } else {
        into_file(asked)
    };
    match done {
        Ok(got) => {
            let _unheard = writeln!(std::io::stderr(), "{}: {got}.", asked.file.display());
            ExitCode::SUCCESS
        }
        // Whoever reads has had enough: `| head`.
        Err(_) if closed => ExitCode::SUCCESS,
        Err(failure) => failure.told(),
    }
}

/// Standard output, and whether it was closed by whoever reads it.
struct Out<'a>(std::io::StdoutLock<'static>, &'a mut bool);

impl Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes).inspect_err(|error| *self.1 |= error.kind() == ErrorKind::BrokenPipe)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush().inspect_err(|error| *self.1 |= error.kind() == ErrorKind::BrokenPipe)
    }
}

/// What came.
struct Got {
    events: usize,
    head: Option<Checkpoint>,
}

impl fmt::Display for Got {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} events, ", self.events)?;
        match &self.head {
            Some(head) => {
                write!(f, "signed up to event {}: ", head.sequence)?;
                head.hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            None => f.write_str("none of them signed"),
        }
    }
}

/// Under the name there is the whole of it, or nothing.
fn into_file(asked: &Export) -> Result<Got, Failure> {
    let place = &asked.file;
    let unusable = |why: String| Failure::Usage(format!("{} can't be written: {why}", place.display()));
    if place.exists() {
        return Err(Failure::Usage(format!("{} exists: choose another name", place.display())));
    }
    let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut unfinished = NamedTempFile::new_in(folder).map_err(|error| unusable(error.to_string()))?;
    let got = fetch(asked, &mut std::io::BufWriter::new(unfinished.as_file_mut()))?;
    unfinished.as_file().sync_all().map_err(|error| unusable(error.to_string()))?;
    unfinished.persist_noclobber(place).map_err(|error| unusable(error.error.to_string()))?;
    Ok(got)
}

fn fetch(asked: &Export, into: &mut dyn Write) -> Result<Got, Failure> {
    let client = Client::new(&asked.gateway, "an owner's or admin's")?;
    let broken = |error| Failure::Usage(format!("the runtime could not be started: {error}"));
    let unwritten = |error: std::io::Error| Failure::Usage(format!("the export can't be written: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(broken)?;
    let span = [("from", asked.from.as_deref()), ("to", asked.until.as_deref())];
    let query: Vec<(&str, &str)> = span.into_iter().filter_map(|(name, time)| Some((name, time?))).collect();
    let (mut end, mut events) = (Vec::new(), Events::default());
    let take = |piece: &[u8]| {
        events.count(piece);
        end.extend_from_slice(piece);
        let before = end.len().saturating_sub(LAST_LINE);
        end.drain(..before);
        into.write_all(piece).map_err(unwritten)
    };
    runtime.block_on(client.download(&["audit", "export"], &query, take))?;
    let Some(End { checkpoint }) = last(&end) else {
        return Err(Failure::Away("the export broke off before its last line: ask again".into()));
    };
    into.flush().map_err(unwritten)?;
    Ok(Got { events: events.0, head: checkpoint })
}

/// Lines that are events: they begin with their number, and the others don't.
#[derive(Default)]
struct Events(usize, Vec<u8>);

impl Events {
    fn count(&mut self, piece: &[u8]) {
        for byte in piece {
            match byte {
                b'\n' => self.1.clear(),
                byte if self.1.len() < EVENT.len() => {
                    self.1.push(*byte);
                    self.0 += usize::from(self.1 == EVENT);
                }
                _ => {}
            }
        }
    }
}

/// The last line of an export, if it ends with one.
fn last(end: &[u8]) -> Option<End> {
    let last = end.strip_suffix(b"\n")?.rsplit(|byte| *byte == b'\n').next()?;
    serde_json::from_slice(last).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_that_broke_off_is_not_whole() {
        let whole = b"{\"sequence\":1}\n{\"checkpoint\":null}\n";
        assert!(last(whole).is_some());
        assert!((0..whole.len()).all(|cut| last(&whole[..cut]).is_none()));
        assert!(last(b"{\"detail\":\"no\"}\n").is_none() && last(b"{}\n").is_none());
        let mut events = Events::default();
        whole.chunks(3).for_each(|piece| events.count(piece));
        assert_eq!(events.0, 1);
    }
}
