//! `talon`: the gateway, and what belongs to it.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use gateway::StartError;
use gateway::settings::Flags;
use zeroizing_alloc::ZeroAlloc;

/// What is freed is zeroed, whoever has copied a secret there: buffers of libraries included.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<std::alloc::System> = ZeroAlloc(std::alloc::System);

/// A self-hosted vault and signing gateway for AI agents.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Flags,
}

#[derive(Subcommand)]
enum Command {
    /// Start everything: the signer, the database, REST (the default).
    Serve(Flags),
    /// The signer alone.
    Signer {
        #[command(subcommand)]
        command: SignerCommand,
    },
    /// Bring the database up to date, and end.
    Migrate(Flags),
    /// Print a link with which somebody who is locked out sets a new password.
    Recover(gateway::Recover),
    /// Write database and ledger as they are now to a file, beside a gateway that runs or not.
    Backup(gateway::Backup),
    /// Put a backup into an empty database, and its ledger beside the keystore.
    Restore(gateway::Restore),
    /// Operate a gateway that runs: its chains and settings.
    Admin(gateway::Admin),
    /// Export an audit trail, and check an export.
    Audit(gateway::Audit),
    /// Tell the whole story on a real chain, in a temporary folder.
    Demo(gateway::demo::Options),
    /// Print the OpenAPI 3.1 document.
    Openapi,
    /// MCP over standard input and output, forwarded to a gateway: what talon-mcp does.
    Mcp(mcp_bridge::Options),
    /// Print the MCP tools, with their schemas.
    Tools,
}

#[derive(Subcommand)]
enum SignerCommand {
    /// Listen and serve.
    Run(Box<signer::Options>),
    /// Make the root keys, once.
    Init(Box<signer::Options>),
    /// Make the certificates for a signer on another host.
    Certificates(signer::CertificateOptions),
    /// Take the second factor from a person who has lost it, while everything is stopped.
    ForgetSecondFactor(signer::ForgetOptions),
    /// Let an audit trail go on whose database was put back, while everything is stopped.
    ForgetHead(signer::ForgetHeadOptions),
    /// Take all passkeys from a person who has lost them, while everything is stopped.
    ForgetPasskeys(signer::ForgetOptions),
    /// Put the ledger of a backup in place, beside the keystore that it belongs to.
    RestoreLedger(Box<signer::RestoreOptions>),
    /// Make a new root key, which wraps from then on, while everything is stopped.
    RotateRoot(Box<signer::Options>),
    /// Destroy the root key before it, once nothing is left under it, while everything is stopped.
    RetireRoot(Box<signer::RetireOptions>),
}

fn main() -> ExitCode {
    // Everything that is written is for this user alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        // The worker's sentence is on standard error already.
        Err(error) if matches!(error.downcast_ref(), Some(StartError::Worker)) => ExitCode::FAILURE,
        Err(error) => {
            let line = format!("talon: {}.\n", error.to_string().trim_end_matches('.'));
            let _closed = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Box<dyn std::error::Error>> {
    match cli.command {
        None => Ok(gateway::serve(&cli.serve)?),
        Some(Command::Serve(options)) => Ok(gateway::serve(&options)?),
        Some(Command::Signer { command: SignerCommand::Run(options) }) => Ok(signer::main(*options)),
        Some(Command::Signer { command: SignerCommand::Init(options) }) => Ok(signer::main_init(*options)),
        Some(Command::Signer { command: SignerCommand::Certificates(options) }) => {
            Ok(signer::main_certificates(options))
        }
        Some(Command::Signer { command: SignerCommand::ForgetSecondFactor(options) }) => {
            Ok(signer::main_forget(&options))
        }
        Some(Command::Signer { command: SignerCommand::ForgetHead(options) }) => {
            Ok(signer::main_forget_head(&options))
        }
        Some(Command::Signer { command: SignerCommand::ForgetPasskeys(options) }) => {
            Ok(signer::main_forget_passkeys(&options))
        }
        Some(Command::Signer { command: SignerCommand::RestoreLedger(options) }) => {
            Ok(signer::main_restore(*options))
        }
        Some(Command::Signer { command: SignerCommand::RotateRoot(options) }) => {
            Ok(signer::main_rotate(*options))
        }
        Some(Command::Signer { command: SignerCommand::RetireRoot(options) }) => {
            Ok(signer::main_retire(*options))
        }
        Some(Command::Backup(asked)) => {
            gateway::backup(&asked)?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Restore(asked)) => {
            gateway::restore(&asked)?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Migrate(options)) => {
            gateway::migrate(&options)?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Recover(asked)) => {
            gateway::recover(&asked)?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Admin(options)) => Ok(gateway::admin(&options)),
        Some(Command::Audit(options)) => Ok(gateway::audit(&options)),
        Some(Command::Demo(options)) => Ok(gateway::demo::run(&options)?),
        Some(Command::Openapi) => print(&api::openapi::document()),
        Some(Command::Mcp(options)) => Ok(mcp_bridge::main(options)),
        Some(Command::Tools) => print(&mcp::document()?),
    }
}

fn print(document: &serde_json::Value) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let document = serde_json::to_string_pretty(document)?;
    match std::io::Write::write_all(&mut std::io::stdout(), format!("{document}\n").as_bytes()) {
        // Whoever reads has had enough: `| head`.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        written => Ok(written.map(|()| ExitCode::SUCCESS)?),
    }
}
