//! Vaults: the one key of each, and which are gone. Written once, and for ever.

use domain::{OrgId, VaultId};
use redb::ReadableTable as _;
use signer_protocol::{Reason, Refusal};

use super::Ledger;
use super::tables::{self, DESTROYED, KEYS_SINCE, META, VAULT_KEYS};
use crate::refuse::{Result, conflict, forbidden, tampered};

/// A vault, by its organisation too, and the SHA-256 of its key's statement.
#[derive(Clone, Copy, Debug)]
pub struct KeyMark {
    pub org: OrgId,
    pub vault: VaultId,
    pub digest: [u8; 32],
}

impl Ledger {
    /// Takes a new key, which that root wraps, as its vault's own. A vault has one key; ids from before the ledger kept them
    /// may have one that it has not seen, so they get none.
    pub async fn make_vault_key(&self, key: KeyMark, root: u32) -> Result<()> {
        let vault = tables::vault(key.org, key.vault);
        self.write(move |book| {
            if book.table(DESTROYED)?.get(&vault)?.is_some() {
                return Err(gone().into());
            }
            if book.table(VAULT_KEYS)?.get(&vault)?.is_some() {
                return Err(conflict("vault: has a key.").into());
            }
            let since = book.table(META)?.get(KEYS_SINCE)?.map(|since| since.value());
            if since.is_some_and(|since| made_at(key.vault) < since) {
                return Err(
                    conflict("vault: is older than the ledger's list of keys; take a fresh id.").into()
                );
            }
            book.change(VAULT_KEYS)?.insert(&vault, key.digest)?;
            book.made_under(root, key.digest)
        })
        .await
    }

    /// Refuses a key that is not its vault's own. A vault whose key was made before the ledger kept them gets the
    /// first that is shown.
    pub async fn vault_key(&self, key: KeyMark) -> Result<()> {
        let vault = tables::vault(key.org, key.vault);
        let known = self.read(|tx| Ok(tx.open_table(VAULT_KEYS)?.get(&vault)?.map(|known| known.value())))?;
        if let Some(known) = known {
            return own(known, self.first(known, key.digest)?);
        }
        self.write(move |book| {
            if book.table(DESTROYED)?.get(&vault)?.is_some() {
                return Err(gone().into());
            }
            let known = book.table(VAULT_KEYS)?.get(&vault)?.map(|known| known.value());
            let shown = book.first(key.digest)?;
            match known {
                Some(known) => own(known, shown)?,
                None => {
                    book.change(VAULT_KEYS)?.insert(&vault, shown)?;
                }
            }
            Ok(())
        })
        .await
    }

    /// Refuses a key that is not its vault's own, and keeps none of a vault from before.
    pub fn not_anothers(&self, key: KeyMark) -> Result<()> {
        let vault = tables::vault(key.org, key.vault);
        let known = self.read(|tx| Ok(tx.open_table(VAULT_KEYS)?.get(&vault)?.map(|known| known.value())))?;
        known.map_or(Ok(()), |known| own(known, self.first(known, key.digest)?))
    }

    pub fn destroyed(&self, org: OrgId, vault: VaultId) -> Result<bool> {
        self.read(|tx| Ok(tx.open_table(DESTROYED)?.get(&tables::vault(org, vault))?.is_some()))
    }

    /// Remembers for ever that a vault's key is gone. A key that the ledger has not seen is destroyed only for
    /// somebody who `manages` the organisation, and so may destroy any of its vaults.
    pub async fn destroy(&self, key: KeyMark, manages: bool) -> Result<()> {
        let vault = tables::vault(key.org, key.vault);
        self.write(move |book| {
            let known = book.table(VAULT_KEYS)?.get(&vault)?.map(|known| known.value());
            match known {
                Some(known) => own(known, book.first(key.digest)?)?,
                None if !manages => {
                    return Err(forbidden(
                        "The vault's key is older than the ledger's list of keys: an owner or admin destroys it.",
                    )
                    .into());
                }
                None => {}
            }
            book.change(DESTROYED)?.insert(&vault, ())?;
            Ok(())
        })
        .await
    }
}

fn own(known: [u8; 32], shown: [u8; 32]) -> Result<()> {
    if known == shown { Ok(()) } else { Err(tampered("The key is not the vault's own.")) }
}

pub fn gone() -> Refusal {
    Refusal::new(Reason::Destroyed, "The vault's key was destroyed: its values are gone.")
}

/// Milliseconds: the first 48 bits of an id (RFC 9562 §5.7).
fn made_at(vault: VaultId) -> u64 {
    vault.as_bytes()[..6].iter().fold(0, |time, byte| time << 8 | u64::from(*byte))
}
