//! `talon-signer`: the signer alone, for a host or a user of its own.

use std::process::ExitCode;

use clap::Parser;

/// The only process that opens a secret or uses a key.
#[derive(Parser)]
#[command(name = "talon-signer", version)]
enum Command {
    /// Listens for a gateway until it is told to end.
    Run(Box<signer::Options>),
    /// Makes the root keys and an empty ledger, once.
    Init(Box<signer::Options>),
    /// Makes the certificates for a gateway on another host.
    Certificates(signer::CertificateOptions),
    /// Takes the second factor from a person who has lost it, while the signer is stopped.
    ForgetSecondFactor(signer::ForgetOptions),
    /// Takes all passkeys from a person who has lost them, while the signer is stopped.
    ForgetPasskeys(signer::ForgetOptions),
    /// Puts the ledger of a backup in place, beside the keystore that it belongs to.
    RestoreLedger(Box<signer::RestoreOptions>),
}

fn main() -> ExitCode {
    match Command::parse() {
        Command::Run(options) => signer::main(*options),
        Command::Init(options) => signer::main_init(*options),
        Command::Certificates(options) => signer::main_certificates(options),
        Command::ForgetSecondFactor(options) => signer::main_forget(&options),
        Command::ForgetPasskeys(options) => signer::main_forget_passkeys(&options),
        Command::RestoreLedger(options) => signer::main_restore(*options),
    }
}
