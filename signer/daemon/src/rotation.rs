//! `talon-signer rotate-root` and `retire-root`: a new root key, and the end of the one before it. Both are done at the signer's
//! host while it does not run.

use std::io::Write as _;

use signer_protocol::Refusal;

use crate::config::Config;
use crate::keys::Roots;
use crate::keystore;
use crate::ledger::{self, Ledger};
use crate::options::Options;
use crate::start::{StartError, folder};

/// Options of `talon-signer retire-root`.
#[derive(Clone, Debug, clap::Args)]
pub struct RetireOptions {
    /// Retire it though the ledger knows so many vaults whose key was not wrapped anew: what they hold is lost.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub accept_missing: u64,

    /// Retire it though the gateway has not said that nothing is left under it: what is left is lost.
    #[arg(long)]
    pub force: bool,

    #[command(flatten)]
    pub signer: Options,
}

/// Makes a new root beside the one that there is.
///
/// # Errors
/// If a signer runs, a rotation is under way, or keystore and ledger are not both there.
pub fn rotate_root(options: Options) -> Result<(), StartError> {
    let text = rotate(&options.config()?)?;
    std::io::stdout().write_all(text.as_bytes()).map_err(StartError::from)
}

pub(crate) fn rotate(config: &Config) -> Result<String, StartError> {
    let ledger = held(config)?;
    // What can't be opened is not made anew.
    keystore::open(config)?;
    let Roots { newest, older } = keystore::rotate(config)?;
    // Who is killed before that has a ledger that learns it from the next start.
    settled(ledger.use_root(newest))?;
    let older = older.unwrap_or_default();
    Ok(format!(
        "Root {newest} wraps from now on. Copy the keystore again, and start Talon: what root {older} wraps is wrapped anew. When \
         `talon admin root` says that nothing is left, stop Talon, take a backup, and run retire-root.\n"
    ))
}

/// Destroys the older root.
///
/// # Errors
/// If a signer runs, there is one root alone, or anything is left under the older one.
pub fn retire_root(options: RetireOptions) -> Result<(), StartError> {
    let config = options.signer.config()?;
    let text = retire(&config, options.accept_missing, options.force)?;
    std::io::stdout().write_all(text.as_bytes()).map_err(StartError::from)
}

pub(crate) fn retire(config: &Config, accept_missing: u64, force: bool) -> Result<String, StartError> {
    let ledger = held(config)?;
    let Roots { newest, older: Some(older) } = keystore::open(config)?.roots() else {
        return Err(StartError::from(crate::keys::OpenError::OneRoot));
    };
    let refused = |refusal: Refusal| StartError::from(refusal);
    let progress = ledger.rotation().map_err(refused)?;
    let finished =
        if ledger.newest_root().map_err(refused)? == u64::from(newest) { progress.finished } else { None };
    let missing = ledger.vaults_not_under(newest).map_err(refused)?;
    if !force {
        if finished.is_none() {
            return Err(StartError::new(format!(
                "the gateway has not said that nothing is left under root {older}: start Talon, and wait until `talon admin root` \
                 says so (--force retires it all the same, and loses what is left)"
            )));
        }
        if missing > accept_missing {
            return Err(StartError::new(format!(
                "of {missing} vaults that the ledger knows, no key came to be wrapped anew: they were never stored (whoever made \
                 them was cut short), or somebody took them out of the database. If you miss none, retire the root with \
                 --accept-missing {missing}"
            )));
        }
    }
    keystore::retire(config)?;
    settled(async {
        ledger.use_root(newest).await?;
        ledger.retired(newest).await
    })?;
    let counted = finished.map_or_else(String::new, |(at, count)| {
        format!(
            " On {at} there were under root {newest}: {} keys of vaults, {} keys that sign, {} second factors, {} keys of webhooks.",
            count.vault_keys, count.signing_keys, count.second_factors, count.webhook_keys
        )
    });
    Ok(format!(
        "Root {older} is destroyed.{counted} Backups from before can't be opened any more, once you have destroyed every copy of \
         the keystore from before, too.\n"
    ))
}

/// A change of the ledger, from a command that has no runtime.
fn settled(change: impl Future<Output = crate::refuse::Result<()>>) -> Result<(), StartError> {
    let failed = |error: std::io::Error| StartError::new(format!("the runtime does not start ({error})"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(failed)?;
    runtime.block_on(change).map_err(StartError::from)
}

/// The ledger, which no signer has open as long.
fn held(config: &Config) -> Result<Ledger, StartError> {
    folder(&config.data)?;
    let file = config.data.join(ledger::FILE);
    if !file.exists() {
        return Err(StartError::new(format!(
            "{} is missing: name the signer's folder by --data",
            file.display()
        )));
    }
    Ledger::open(&file, config.clock.clone()).map_err(StartError::from)
}
