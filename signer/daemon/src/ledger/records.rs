//! Floors under records: the newest version seen of each, so that an older one is refused whoever brings it back.

use domain::{ApiKeyId, PrincipalId};
use redb::ReadableTable as _;

use super::tables::{self, FLOORS, RecordKey};
use super::{Ledger, rolled_back};
use crate::refuse::{Result, conflict};

impl Ledger {
    /// Takes a record as its principal's newest, or refuses it as rolled back.
    pub async fn newest(&self, id: PrincipalId, version: u64, digest: [u8; 32]) -> Result<()> {
        self.raise(tables::principal(id), version, digest).await
    }

    /// Takes a record as its API key's newest, or refuses it as rolled back.
    pub async fn newest_key(&self, id: ApiKeyId, version: u64, digest: [u8; 32]) -> Result<()> {
        self.raise(tables::api_key(id), version, digest).await
    }

    /// Takes the first record of an API key; its id must be new.
    pub async fn make_key(&self, id: ApiKeyId, version: u64, digest: [u8; 32]) -> Result<()> {
        let key = tables::api_key(id);
        self.write(move |book| {
            if book.table(FLOORS)?.get(&key)?.is_some() {
                return Err(conflict("id: an API key has had it.").into());
            }
            book.raise(&key, version, digest)
        })
        .await
    }

    /// The newest version of an API key; `None` if none was ever seen.
    pub fn key_version(&self, id: ApiKeyId) -> Result<Option<u64>> {
        Ok(self.floor(&tables::api_key(id))?.map(|(version, _)| version))
    }

    /// Whether a principal of that id was ever seen.
    pub fn knows(&self, id: PrincipalId) -> Result<bool> {
        Ok(self.floor(&tables::principal(id))?.is_some())
    }

    async fn raise(&self, key: RecordKey, version: u64, digest: [u8; 32]) -> Result<()> {
        match self.floor(&key)? {
            Some(floor) if floor == (version, digest) => Ok(()),
            Some((newest, _)) if version <= newest => Err(rolled_back()),
            _ => self.write(move |book| book.raise(&key, version, digest)).await,
        }
    }

    fn floor(&self, key: &RecordKey) -> Result<Option<(u64, [u8; 32])>> {
        self.read(|tx| Ok(tx.open_table(FLOORS)?.get(key)?.map(|floor| floor.value())))
    }
}
