//! `talon recover`: lets somebody in who can't get a mail, or whom their organisation's own IP rules keep out, on the word
//! of whoever operates the gateway's host. It needs no token, for who runs it may have lost theirs; it writes to the database,
//! whether a gateway runs or not.

use std::io::Write as _;

use clap::Args;
use store::Store;

use crate::StartError;
use crate::config::{Config, environment};
use crate::reached::Reached;
use crate::settings::Flags;
use crate::worker::{database_file, database_folder};

/// Whose account, and which database.
#[derive(Args)]
pub struct Recover {
    /// The email of the account
    email: String,
    /// Remove all IP rules of the account's organisation, for when they let nobody in; prints no link
    #[arg(long)]
    ip_rules: bool,
    #[command(flatten)]
    flags: Flags,
}

/// Prints a link with which its holder sets a new password, once, within 30 minutes; or removes IP rules.
///
/// # Errors
/// See [`StartError`]: there is no database, or no such account.
pub fn recover(asked: &Recover) -> Result<(), StartError> {
    let config = Config::load(&asked.flags, &environment())?;
    let url = match &config.database_url {
        Some(url) => url.expose().to_owned(),
        None => crate::data::database_url(&config.data),
    };
    // Opening one that is not there would make it.
    if database_file(&url).is_some_and(|file| !file.exists()) {
        let folder = database_folder(&url).unwrap_or_default();
        let text =
            format!("there is no database in {}: name the gateway's data folder (--data)", folder.display());
        return Err(StartError::Config(text));
    }
    let runtime =
        tokio::runtime::Runtime::new().map_err(|error| StartError::Process("the runtime", error))?;
    let text = runtime.block_on(async {
        let store = Store::open(&url).await?;
        if asked.ip_rules {
            let lifted = api::lift_ip_rules(&store, &asked.email).await?;
            return Ok(format!("IP rules removed: {lifted}. Log in, and set those that you want.\n"));
        }
        let signer = Reached::signer(&config).await?;
        let link = api::recover(&store, &signer.client, &config.public_url, &asked.email).await;
        signer.leave().await;
        let link = link?;
        Ok::<_, StartError>(format!("Good once, for 30 minutes: {}\n", link.expose()))
    })?;
    // The link is lost if nobody reads it; another can be made.
    let _closed = std::io::stdout().write_all(text.as_bytes());
    Ok(())
}
