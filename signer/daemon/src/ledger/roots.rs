//! What a later root has wrapped anew, and where the rotation stands.

use std::collections::HashSet;
use std::time::Duration;

use domain::{OrgId, Time, VaultId};
use redb::ReadableTable as _;
use signer_protocol::root::Count;

use super::tables::{
    self, COUNTED, DESTROYED, ENDED, META, REWRAPPED, ROOT, ROOT_FINISHED, ROOT_SINCE, VAULT_KEYS,
};
use super::writer::{Book, Stop};
use super::{Ledger, gone};
use crate::refuse::{Result, conflict};

/// Longer than an answer from before a root was in use can be on its way into the database: a request to the signer has 10
/// seconds, a turn at the database 10, and what is lost by being early is lost for good.
pub const SETTLED: Duration = Duration::from_secs(60);

/// A statement that says the same as another one, by their digests.
#[derive(Clone, Copy, Debug)]
pub struct Again {
    pub before: [u8; 32],
    pub now: [u8; 32],
    /// Of which vault it is the key, if of any.
    pub vault: Option<(OrgId, VaultId)>,
}

/// What the ledger knows of a rotation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    pub since: Time,
    pub finished: Option<(Time, Count)>,
}

impl Ledger {
    /// The newest root that was in use with this ledger; 0 if it was never asked about.
    pub fn newest_root(&self) -> Result<u64> {
        self.read(|tx| Ok(tx.open_table(META)?.get(ROOT)?.map_or(0, |root| root.value())))
    }

    /// Takes a root as the newest; where it is another than before, a rotation begins.
    pub async fn use_root(&self, root: u32) -> Result<()> {
        if self.newest_root()? == u64::from(root) {
            return Ok(());
        }
        self.write(move |book| {
            let now = u64::try_from(book.now).unwrap_or_default();
            let mut meta = book.change(META)?;
            if meta.insert(ROOT, u64::from(root))?.map(|before| before.value()) != Some(u64::from(root)) {
                meta.insert(ROOT_SINCE, now)?;
                meta.remove(ROOT_FINISHED)?;
            }
            Ok(())
        })
        .await
    }

    pub fn rotation(&self) -> Result<Progress> {
        self.read(|tx| {
            let meta = tx.open_table(META)?;
            let number = |key| Ok::<_, redb::Error>(meta.get(key)?.map(|found| found.value()));
            let time = |millis| Time::from_millis(i64::try_from(millis).unwrap_or(i64::MAX));
            let [vault_keys, signing_keys, second_factors, webhook_keys] =
                COUNTED.map(|key| number(key).map(Option::unwrap_or_default));
            let count = Count {
                vault_keys: vault_keys?,
                signing_keys: signing_keys?,
                second_factors: second_factors?,
                webhook_keys: webhook_keys?,
            };
            Ok(Progress {
                since: time(number(ROOT_SINCE)?.unwrap_or_default()),
                finished: number(ROOT_FINISHED)?.map(|at| (time(at), count)),
            })
        })
    }

    /// Remembers statements that were wrapped anew, before they are answered. What was finished is not any more.
    ///
    /// # Errors
    /// `Destroyed`: a vault among them was destroyed at this moment, and none of them may leave.
    pub async fn rewrapped(&self, again: Vec<Again>, root: u32) -> Result<()> {
        if again.is_empty() && self.rotation()?.finished.is_none() {
            return Ok(());
        }
        self.write(move |book| {
            for (org, vault) in again.iter().filter_map(|one| one.vault) {
                book.lives(org)?;
                if book.table(DESTROYED)?.get(&tables::vault(org, vault))?.is_some() {
                    return Err(gone().into());
                }
            }
            for Again { before, now, .. } in again {
                let first = book.first(before)?;
                book.change(REWRAPPED)?.insert(now, (first, root))?;
            }
            book.change(META)?.remove(ROOT_FINISHED)?;
            Ok(())
        })
        .await
    }

    /// `false`: it was said before.
    ///
    /// # Errors
    /// `Conflict`: of another root, or too early to be sure.
    pub async fn finish_rotation(&self, root: u32, count: Count) -> Result<bool> {
        self.write(move |book| {
            let number =
                |book: &Book<'_>, key| Ok::<_, Stop>(book.table(META)?.get(key)?.map(|found| found.value()));
            let since = number(book, ROOT_SINCE)?.unwrap_or_default();
            let settled = i64::try_from(since).unwrap_or(i64::MAX).saturating_add(settled_millis());
            if number(book, ROOT)? != Some(u64::from(root)) || book.now < settled {
                return Err(
                    conflict("The root is not long enough in use to say that nothing is left.").into()
                );
            }
            if number(book, ROOT_FINISHED)?.is_some() {
                return Ok(false);
            }
            let now = u64::try_from(book.now).unwrap_or_default();
            let mut meta = book.change(META)?;
            meta.insert(ROOT_FINISHED, now)?;
            let counts = [count.vault_keys, count.signing_keys, count.second_factors, count.webhook_keys];
            for (key, count) in COUNTED.into_iter().zip(counts) {
                meta.insert(key, count)?;
            }
            Ok(true)
        })
        .await
    }

    /// Vaults that are alive, as far as the ledger knows, and whose key it has not seen under this root. There may be some
    /// without a row in any database: their keys were made, and whoever asked was cut short.
    pub fn vaults_not_under(&self, root: u32) -> Result<u64> {
        self.read(|tx| {
            let mut under = HashSet::new();
            for entry in tx.open_table(REWRAPPED)?.iter()? {
                let (first, at) = entry?.1.value();
                if at == root {
                    under.insert(first);
                }
            }
            let (destroyed, ended) = (tx.open_table(DESTROYED)?, tx.open_table(ENDED)?);
            let mut missing = 0;
            for entry in tx.open_table(VAULT_KEYS)?.iter()? {
                let (vault, key) = entry?;
                let vault = vault.value();
                let org = vault.first_chunk::<16>().copied().unwrap_or_default();
                let over = destroyed.get(&vault)?.is_some() || ended.get(&org)?.is_some();
                if !over && !under.contains(&key.value()) {
                    missing += 1;
                }
            }
            Ok(missing)
        })
    }

    /// The root before this one is no more: statements that it wraps need not be known.
    pub async fn retired(&self, newest: u32) -> Result<()> {
        self.write(move |book| {
            book.change(REWRAPPED)?.retain(|_, (_, root)| root >= newest)?;
            Ok(())
        })
        .await
    }

    /// The first statement that said what this one says: `expected`, if it is one of those that do.
    pub fn first(&self, expected: [u8; 32], shown: [u8; 32]) -> Result<[u8; 32]> {
        if expected == shown {
            return Ok(shown);
        }
        self.read(|tx| Ok(tx.open_table(REWRAPPED)?.get(&shown)?.map_or(shown, |known| known.value().0)))
    }
}

impl Book<'_> {
    /// The first statement that said what this one says.
    pub fn first(&self, shown: [u8; 32]) -> Result<[u8; 32], Stop> {
        Ok(self.table(REWRAPPED)?.get(&shown)?.map_or(shown, |known| known.value().0))
    }

    /// Of the first root there is nothing to tell apart.
    pub fn made_under(&mut self, root: u32, key: [u8; 32]) -> Result<(), Stop> {
        if root > 1 {
            self.change(REWRAPPED)?.insert(&key, (key, root))?;
        }
        Ok(())
    }
}

fn settled_millis() -> i64 {
    i64::try_from(SETTLED.as_millis()).unwrap_or(i64::MAX)
}
