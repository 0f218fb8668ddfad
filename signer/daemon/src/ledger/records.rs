//! Floors under records: the newest version seen of each, so that an older one is refused whoever brings it back.

use domain::{ApiKeyId, OrgId, PrincipalId, Role};
use redb::ReadableTable as _;

use super::organisations::over;
use super::tables::{self, ENDED, FLOORS, RecordKey, SEATS};
use super::writer::{Book, Stop};
use super::{Ledger, rolled_back};
use crate::refuse::{Result, conflict};

/// What the ledger keeps of a principal's record.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub id: PrincipalId,
    pub org: OrgId,
    /// Of a person who may act.
    pub role: Option<Role>,
    pub version: u64,
    pub digest: [u8; 32],
}

impl Ledger {
    /// Takes a record as its principal's newest, or refuses it as rolled back, or as of an organisation that was ended.
    pub async fn newest(&self, seen: Seen) -> Result<()> {
        let key = tables::principal(seen.id);
        let (floor, ended) = self.read(|tx| {
            let floor = tx.open_table(FLOORS)?.get(&key)?.map(|floor| floor.value());
            Ok((floor, tx.open_table(ENDED)?.get(seen.org.as_bytes())?.is_some()))
        })?;
        if ended {
            return Err(over());
        }
        match floor {
            Some(floor) if floor == (seen.version, seen.digest) => Ok(()),
            Some((newest, _)) if seen.version <= newest => Err(rolled_back()),
            _ => self.write(move |book| book.see(&seen)).await,
        }
    }

    /// Takes a record as its API key's newest, or refuses it as rolled back.
    pub async fn newest_key(&self, id: ApiKeyId, version: u64, digest: [u8; 32]) -> Result<()> {
        let key = tables::api_key(id);
        match self.floor(&key)? {
            Some(floor) if floor == (version, digest) => Ok(()),
            Some((newest, _)) if version <= newest => Err(rolled_back()),
            _ => self.write(move |book| book.raise(&key, version, digest)).await,
        }
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

    fn floor(&self, key: &RecordKey) -> Result<Option<(u64, [u8; 32])>> {
        self.read(|tx| Ok(tx.open_table(FLOORS)?.get(key)?.map(|floor| floor.value())))
    }
}

impl Book<'_> {
    /// Takes a principal's record as the newest, and a person's place with it.
    pub fn see(&mut self, seen: &Seen) -> Result<(), Stop> {
        self.lives(seen.org)?;
        self.raise(&tables::principal(seen.id), seen.version, seen.digest)?;
        if let PrincipalId::User(user) = seen.id {
            self.change(SEATS)?.insert(user.as_bytes(), (*seen.org.as_bytes(), tables::rank(seen.role)))?;
        }
        Ok(())
    }
}
