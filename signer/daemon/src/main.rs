//! `talon-signer`: the signer alone, for a host or a user of its own.

use std::process::ExitCode;

use clap::Parser;
use zeroizing_alloc::ZeroAlloc;

/// What is freed is zeroed, whoever has copied a secret there: buffers of libraries included.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<std::alloc::System> = ZeroAlloc(std::alloc::System);

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
    /// Lets an audit trail go on whose database was put back, while the signer is stopped.
    ForgetHead(signer::ForgetHeadOptions),
    /// Takes all passkeys from a person who has lost them, while the signer is stopped.
    ForgetPasskeys(signer::ForgetOptions),
    /// Puts the ledger of a backup in place, beside the keystore that it belongs to.
    RestoreLedger(Box<signer::RestoreOptions>),
    /// Makes a new root key, which wraps from then on, while the signer is stopped.
    RotateRoot(Box<signer::Options>),
    /// Destroys the root key before it, once nothing is left under it, while the signer is stopped.
    RetireRoot(Box<signer::RetireOptions>),
}

fn main() -> ExitCode {
    match Command::parse() {
        Command::Run(options) => signer::main(*options),
        Command::Init(options) => signer::main_init(*options),
        Command::Certificates(options) => signer::main_certificates(options),
        Command::ForgetSecondFactor(options) => signer::main_forget(&options),
        Command::ForgetHead(options) => signer::main_forget_head(&options),
        Command::ForgetPasskeys(options) => signer::main_forget_passkeys(&options),
        Command::RestoreLedger(options) => signer::main_restore(*options),
        Command::RotateRoot(options) => signer::main_rotate(*options),
        Command::RetireRoot(options) => signer::main_retire(*options),
    }
}
