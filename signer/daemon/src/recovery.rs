//! What an operator does at the signer's own host, while it does not run: whoever can do this has the ledger's file.

use std::path::PathBuf;

use domain::{Clock, PrincipalId, UserId};
use signer_protocol::Refusal;

use crate::ledger::{self, Ledger};
use crate::start::StartError;

/// Options of `talon-signer forget-second-factor` and `forget-passkeys`.
#[derive(Clone, Debug, clap::Args)]
pub struct ForgetOptions {
    /// The person's id, as the audit trail and the list of members have it.
    #[arg(value_name = "USER_ID")]
    pub user: UserId,

    /// The signer's own folder; stop the signer first.
    #[arg(long, env = "TALON_SIGNER_DATA", value_name = "FOLDER", default_value = "talon-signer-data")]
    pub data: PathBuf,
}

/// Takes the second factor from a person who has lost it. The password stays what it is.
///
/// # Errors
/// If the signer runs, the folder holds no ledger, or nobody has the id.
pub fn forget_second_factor(options: &ForgetOptions) -> Result<(), StartError> {
    on_ledger(options, async |ledger, user| ledger.forget_second_factor(user).await)
}

/// Takes all passkeys from a person who has lost them. What waits for one of theirs then needs none.
///
/// # Errors
/// As for [`forget_second_factor`].
pub fn forget_passkeys(options: &ForgetOptions) -> Result<(), StartError> {
    on_ledger(options, async |ledger, user| ledger.forget_passkeys(user).await)
}

fn on_ledger(
    options: &ForgetOptions,
    change: impl AsyncFnOnce(&Ledger, UserId) -> Result<(), Refusal>,
) -> Result<(), StartError> {
    let file = options.data.join(ledger::FILE);
    if !file.exists() {
        return Err(StartError::new(format!(
            "{} is missing: name the signer's folder by --data",
            file.display()
        )));
    }
    let ledger = Ledger::open(&file, Clock::default()).map_err(StartError::from)?;
    let refused = |refusal: Refusal| StartError::from(refusal);
    if !ledger.knows(PrincipalId::User(options.user)).map_err(refused)? {
        return Err(StartError::new(format!("the ledger knows no person {}", options.user)));
    }
    let failed = |error: std::io::Error| StartError::new(format!("the runtime does not start ({error})"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(failed)?;
    runtime.block_on(change(&ledger, options.user)).map_err(refused)
}
