//! A signer as a process of its own: isolated first, then run.

use std::process::ExitCode;

use domain::Clock;
use tracing_subscriber::EnvFilter;

use crate::certificates;
use crate::config::Config;
use crate::options::Options;
use crate::recovery::{ForgetHeadOptions, ForgetOptions, forget_head, forget_passkeys, forget_second_factor};
use crate::restore::{RestoreOptions, restore_ledger};
use crate::rotation::{RetireOptions, retire_root, rotate_root};
use crate::start::{StartError, init, run};

/// `talon-signer run` and `talon signer`: everything but parsing the command line.
pub fn main(options: Options) -> ExitCode {
    ended(options.config().and_then(|config| in_isolation(&config)))
}

/// `talon-signer init`: makes the root keys and an empty ledger.
pub fn main_init(options: Options) -> ExitCode {
    ended(options.config().and_then(|config| init(&config)))
}

/// `talon-signer certificates`: makes a set, and prints where each file goes.
pub fn main_certificates(options: certificates::Options) -> ExitCode {
    use std::io::Write as _;
    let made = certificates::make(&options, Clock::default().now());
    ended(made.and_then(|text| std::io::stdout().write_all(text.as_bytes()).map_err(StartError::from)))
}

/// `talon-signer forget-second-factor`: takes a lost one from a person.
pub fn main_forget(options: &ForgetOptions) -> ExitCode {
    ended(forget_second_factor(options))
}

/// `talon-signer forget-head`: lets an audit trail go on whose database was put back.
pub fn main_forget_head(options: &ForgetHeadOptions) -> ExitCode {
    use std::io::Write as _;
    ended(
        forget_head(options).and_then(|said| writeln!(std::io::stdout(), "{said}").map_err(StartError::from)),
    )
}

/// `talon-signer forget-passkeys`: takes lost ones from a person.
pub fn main_forget_passkeys(options: &ForgetOptions) -> ExitCode {
    ended(forget_passkeys(options))
}

/// `talon-signer restore-ledger`: puts a backup's ledger in place.
pub fn main_restore(options: RestoreOptions) -> ExitCode {
    ended(restore_ledger(options))
}

/// `talon-signer rotate-root`: makes a new root key.
pub fn main_rotate(options: Options) -> ExitCode {
    ended(rotate_root(options))
}

/// `talon-signer retire-root`: destroys the root key before it.
pub fn main_retire(options: RetireOptions) -> ExitCode {
    ended(retire_root(options))
}

fn in_isolation(config: &Config) -> Result<(), StartError> {
    // Standard output is for `ready` alone. Logging may be set up already, by the executable around us.
    let filter = EnvFilter::try_from_env("TALON_LOG").unwrap_or_else(|_| EnvFilter::new("info,tarpc=warn"));
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
    crate::isolate(config)?;
    let failed = |error: std::io::Error| StartError::new(format!("the runtime does not start ({error})"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(failed)?;
    let outcome = runtime.block_on(run(config.clone()));
    // What is in work has been answered or never will be; the ledger has committed what it took.
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    outcome
}

fn ended(outcome: Result<(), StartError>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr(), "talon-signer: {error}");
            ExitCode::FAILURE
        }
    }
}
