//! `talon migrate`: brings the database up to date, and ends.

use store::Store;

use crate::StartError;
use crate::config::{Config, environment};
use crate::data::Data;
use crate::settings::Flags;

/// # Errors
/// See [`StartError`]: the database is in use, can't be reached, or a newer version wrote it.
pub fn migrate(flags: &Flags) -> Result<(), StartError> {
    let config = Config::load(flags, &environment())?;
    let data = Data::open(&config.data)?;
    let _lock = data.lock()?;
    let url = config.database_url.map_or_else(|| data.database_url(), |url| url.expose().to_owned());
    let runtime =
        tokio::runtime::Runtime::new().map_err(|error| StartError::Process("the runtime", error))?;
    runtime.block_on(Store::open(&url))?;
    Ok(())
}
