//! The installation as a whole: who operates it, and the settings that they change while it runs. Kept for a second
//! at most, like everything that every request needs.

use std::sync::Arc;
use std::time::Duration;

use domain::setting::Setting;
use domain::{Error, OrgId, Result};
use moka::future::Cache;
use store::Store;
use store::settings::{self, Stored};

const FRESH: Duration = Duration::from_secs(1);
/// The organisation whose people operate this installation.
pub const OPERATORS: &str = "operators.org";

pub struct Installation {
    stored: Cache<(), Arc<Vec<Stored>>>,
}

impl Installation {
    pub fn new() -> Self {
        Self { stored: Cache::builder().max_capacity(1).time_to_live(FRESH).build() }
    }

    /// The operators' organisation; `None` before the first one has made the account.
    pub async fn operators(&self, store: &Store) -> Result<Option<OrgId>> {
        let stored = self.stored(store, OPERATORS).await?;
        stored.map(|id| id.parse()).transpose().map_err(|_| Error::internal("operators.org holds no id"))
    }

    /// Whether a setting is on.
    ///
    /// # Errors
    /// If the database can't be asked: a setting is never guessed at.
    pub async fn is_on(&self, store: &Store, setting: &Setting) -> Result<bool> {
        setting.is_on(self.stored(store, setting.key).await?.as_deref())
    }

    /// The number that a setting holds.
    ///
    /// # Errors
    /// As [`Installation::is_on`].
    pub async fn number(&self, store: &Store, setting: &Setting) -> Result<u64> {
        setting.number(self.stored(store, setting.key).await?.as_deref())
    }

    /// What is set counts at once on the gateway that sets it.
    pub async fn forget(&self) {
        self.stored.invalidate(&()).await;
    }

    async fn stored(&self, store: &Store, key: &str) -> Result<Option<String>> {
        let look_up = async { settings::list(store).await.map(Arc::new) };
        let all = self.stored.try_get_with((), look_up).await.map_err(Arc::unwrap_or_clone)?;
        Ok(all.iter().find(|row| row.key == key).map(|row| row.value.clone()))
    }
}
