//! What an operator does at the signer's own host, while it does not run: whoever can do this has the ledger's file.

use std::path::{Path, PathBuf};

use domain::{Clock, OrgId, PrincipalId, Time, UserId};
use signer_protocol::Refusal;

use crate::ledger::{self, Head, Ledger};
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
    of_person(options, async |ledger, user| ledger.forget_second_factor(user).await)
}

/// Takes all passkeys from a person who has lost them. What waits for one of theirs then needs none.
///
/// # Errors
/// As for [`forget_second_factor`].
pub fn forget_passkeys(options: &ForgetOptions) -> Result<(), StartError> {
    of_person(options, async |ledger, user| ledger.forget_passkeys(user).await)
}

fn of_person(
    options: &ForgetOptions,
    change: impl AsyncFnOnce(&Ledger, UserId) -> Result<(), Refusal>,
) -> Result<(), StartError> {
    let ledger = opened(&options.data)?;
    if !ledger.knows(PrincipalId::User(options.user)).map_err(StartError::from)? {
        return Err(StartError::new(format!("the ledger knows no person {}", options.user)));
    }
    waited_for(change(&ledger, options.user))
}

/// Options of `talon-signer forget-head`.
#[derive(Clone, Debug, clap::Args)]
pub struct ForgetHeadOptions {
    /// The organisation's id, as the log and the audit trail have it.
    #[arg(value_name = "ORG_ID")]
    pub org: OrgId,

    /// The signer's own folder; stop the signer first.
    #[arg(long, env = "TALON_SIGNER_DATA", value_name = "FOLDER", default_value = "talon-signer-data")]
    pub data: PathBuf,
}

/// Lets the audit trail of an organisation go on whose database was put back. What was signed before is kept, and told to whoever
/// verifies the trail. Says what was forgotten.
///
/// # Errors
/// If the signer runs, the folder holds no ledger, or nothing was signed of that trail.
pub fn forget_head(options: &ForgetHeadOptions) -> Result<String, StartError> {
    let ledger = opened(&options.data)?;
    let forgotten = waited_for(ledger.forget_head(options.org, Clock::default().now()))?;
    let Some(Head { sequence, hash, signed_at }) = forgotten else {
        return Err(StartError::new(format!(
            "nothing was signed of the audit trail of {}: there is nothing to forget",
            options.org
        )));
    };
    Ok(format!(
        "Forgotten of the audit trail of {}: event {sequence}, hash {}, signed at {}. GET /v1/audit/verify says so from now on.",
        options.org,
        hex::encode(hash),
        Time::from_millis(signed_at)
    ))
}

fn opened(data: &Path) -> Result<Ledger, StartError> {
    let file = data.join(ledger::FILE);
    if !file.exists() {
        return Err(StartError::new(format!(
            "{} is missing: name the signer's folder by --data",
            file.display()
        )));
    }
    Ledger::open(&file, Clock::default()).map_err(StartError::from)
}

fn waited_for<T>(change: impl Future<Output = Result<T, Refusal>>) -> Result<T, StartError> {
    let failed = |error: std::io::Error| StartError::new(format!("the runtime does not start ({error})"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(failed)?;
    runtime.block_on(change).map_err(StartError::from)
}
