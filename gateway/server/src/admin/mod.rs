//! `talon admin`: what operators do, from a shell. It asks a running gateway over REST with an operator's token, so
//! that the same rules hold and the same trail is kept; nothing is written behind the gateway's back.

mod chains;
pub(crate) mod client;
mod root;
mod settings;
mod table;

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;

use client::Client;

/// Ends with 0; with 1 if the gateway refuses; with 2 if what was given can't be used; with 3 if the gateway can't
/// be reached or is not well.
#[derive(Args)]
#[command(after_help = "TALON_TOKEN holds an operator's token, unless --token-file names a file with it.\n\
    Ends with 0; 1: the gateway refuses; 2: what was given can't be used; 3: the gateway is away or not well.")]
pub struct Admin {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    to: To,
    /// Print the gateway's answer as JSON; nothing where there is none
    #[arg(long, global = true)]
    json: bool,
}

/// Which gateway, and as whom.
#[derive(Args)]
pub(crate) struct To {
    /// The gateway's address, such as https://vault.example.org [default: what the configuration says]
    #[arg(long, global = true, value_name = "URL")]
    url: Option<String>,
    /// The gateway's configuration file, for its address [env: TALON_CONFIG] [default: talon.toml, where there is one]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A file with the token, over TALON_TOKEN; - is standard input
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A file with certificates to trust beside the system's, PEM
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// The chains that transactions can go to
    Chains {
        #[command(subcommand)]
        command: chains::Command,
    },
    /// What can be changed while Talon runs
    Settings {
        #[command(subcommand)]
        command: settings::Command,
    },
    /// Which root key wraps, and whether the one before it can be retired
    Root,
}

/// Why it did not come to pass: one sentence for whoever asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// What was given can't be used.
    #[error("{0}")]
    Usage(String),
    /// The gateway refuses, and says why.
    #[error("{0}")]
    Refused(String),
    /// The gateway can't be reached, or is not well.
    #[error("{0}")]
    Away(String),
}

impl Failure {
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Refused(_) => 1,
            Self::Usage(_) => 2,
            Self::Away(_) => 3,
        }
    }

    /// Says it, and ends with its code.
    pub(crate) fn told(&self) -> ExitCode {
        let line = format!("talon: {}.\n", table::printable(&self.to_string()).trim_end_matches('.'));
        let _closed = std::io::stderr().write_all(line.as_bytes());
        ExitCode::from(self.code())
    }
}

/// What to show: the gateway's answer, and the same for people.
struct Shown {
    json: Value,
    text: String,
}

/// Does it, and says how it ended.
pub fn admin(admin: &Admin) -> ExitCode {
    match run(admin) {
        Ok(shown) => {
            let text = match (admin.json, shown.json) {
                (true, Value::Null) => String::new(),
                (true, json) => format!("{json:#}\n"),
                (false, _) => shown.text,
            };
            let _closed = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(failure) => failure.told(),
    }
}

fn run(admin: &Admin) -> Result<Shown, Failure> {
    let client = Client::new(&admin.to, "an operator's")?;
    let broken = |error| Failure::Usage(format!("the runtime could not be started: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(broken)?;
    runtime.block_on(async {
        match &admin.command {
            Command::Chains { command } => chains::run(&client, command).await,
            Command::Settings { command } => settings::run(&client, command).await,
            Command::Root => root::show(&client).await,
        }
    })
}

/// A file with one secret, or standard input: a command line would show it in the list of processes.
fn secret_file(what: &str, path: &Path) -> Result<domain::SecretText, Failure> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text))
    };
    read.map_err(|error| Failure::Usage(format!("{what} {} can't be read: {error}", path.display())))?;
    Ok(domain::SecretText::from(text.trim().to_owned()))
}
