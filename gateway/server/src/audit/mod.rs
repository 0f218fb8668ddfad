//! `talon audit`: has a gateway's trail exported, and checks an export without a gateway, a database or the signer.

mod export;
mod file;
mod key;

use std::fs::File;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use api::checkpoint::Checkpoint;
use clap::{Args, Subcommand};

use file::Verdict;

#[derive(Args)]
pub struct Audit {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Export an audit trail from a running gateway
    Export(export::Export),
    /// Verify an exported audit trail
    Verify(Verify),
}

/// Checks every event of the file, and that it leads to a checkpoint that the signer has signed.
#[derive(Args)]
#[command(
    after_help = "The key is the one in /.well-known/jwks.json (kty OKP, crv Ed25519). Keep it, and checkpoints, where Talon's\n\
    operators can't reach them: the file's own checkpoint is only as old as whoever cut the file chose.\n\
    Ends with 0: all that the checkpoint covers is as it was written; 1: it is not; 2: it can't be told."
)]
struct Verify {
    /// The export (talon audit export); - is standard input
    file: PathBuf,
    /// The signer's public key: 32 bytes, base64url (the JWK's x) or hex
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// A file with the JWKS, for the key
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    jwks: Option<PathBuf>,
    /// The latest checkpoint that you have kept, JSON or a file with it [default: the file's own]
    #[arg(long, value_name = "CHECKPOINT")]
    head: Option<String>,
}

/// Does it, and says how it ended.
pub fn audit(audit: &Audit) -> ExitCode {
    let asked = match &audit.command {
        Command::Export(asked) => return export::export(asked),
        Command::Verify(asked) => asked,
    };
    match verify(asked) {
        Ok(verdict) => {
            let _closed = writeln!(std::io::stdout(), "{verdict}");
            ExitCode::from(verdict.code())
        }
        Err(why) => {
            let _closed = writeln!(std::io::stderr(), "talon: {}.", why.trim_end_matches('.'));
            ExitCode::from(2)
        }
    }
}

fn verify(asked: &Verify) -> Result<Verdict, String> {
    let key = match (&asked.key, &asked.jwks) {
        (Some(key), _) => key::plain(key)?,
        (None, Some(jwks)) => key::of_jwks(&text(jwks)?)?,
        (None, None) => return Err("name the signer's public key: --key KEY, or --jwks FILE with what /.well-known/jwks.json answers".into()),
    };
    let kept = asked.head.as_deref().map(checkpoint).transpose()?;
    let open: Box<dyn BufRead> = if asked.file == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        let file = File::open(&asked.file).map_err(|error| unreadable(&asked.file, &error))?;
        Box::new(BufReader::with_capacity(1 << 20, file))
    };
    file::verify(open, &key, kept)
}

/// Its text, or a file with it.
fn checkpoint(given: &str) -> Result<Checkpoint, String> {
    let text = if given.trim_start().starts_with('{') { given.to_owned() } else { text(Path::new(given))? };
    // What POST /v1/audit/checkpoints answers, or an export's last line.
    let bare = serde_json::from_str::<Checkpoint>(&text).ok();
    bare.or_else(|| serde_json::from_str::<file::End>(&text).ok()?.checkpoint)
        .ok_or_else(|| "--head is no checkpoint: give what POST /v1/audit/checkpoints has answered".into())
}

fn text(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &std::io::Error) -> String {
    format!("{} can't be read: {error}", path.display())
}
