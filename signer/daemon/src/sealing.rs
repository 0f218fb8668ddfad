//! Values at rest: sealed under a data key of their own, which the vault's key guards.

use std::sync::Arc;

use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use domain::{OrgId, Role, VaultId};
use signer_protocol::attested::Attested;
use signer_protocol::passkey::challenge_of_destruction;
use signer_protocol::record::Principal;
use signer_protocol::sealing::{DestroyVaultKey, Holds, Label, MakeVaultKey, Open, Seal, Sealed, VaultKey};
use signer_protocol::wire::{Blob, Secret};

use crate::authority::Authority;
use crate::callers::Checked;
use crate::encoding::length_prefixed;
use crate::identities::opens_its_own_alone;
use crate::keys::{Key, KeyError, Keystore};
use crate::ledger::{KeyMark, gone, over};
use crate::refuse::{Result, forbidden, invalid, tampered};
use crate::statements::digest;

/// First byte of a sealed value, and part of what it is bound to.
const FORMAT: u8 = 1;

/// Bytes of a value, at most.
const MAX_VALUE: usize = 1 << 20;

const NONCE: usize = 12;

/// Bytes of a wrapped data key: nonce, key, tag.
const WRAPPED: usize = 12 + 32 + 16;

impl Authority {
    /// A key for a new vault of the caller's organisation.
    pub async fn make_vault_key(&self, request: MakeVaultKey) -> Result<Attested<VaultKey>> {
        let by = self.caller(&request.by).await?;
        by.reaches_vault(by.org(), request.vault)?;
        self.new_vault_key(by.record(), request.vault, Holds::Values).await
    }

    /// The vault's one key: no other is ever taken for it. Whether `creator` reaches the vault, its caller has asked.
    pub(crate) async fn new_vault_key(
        &self,
        creator: &Principal,
        vault: VaultId,
        holds: Holds,
    ) -> Result<Attested<VaultKey>> {
        self.not_destroyed(creator.org, vault)?;
        let wrapped = Blob(self.pool.on_keys(|keys| keys.new_vault_key()).await?);
        let key = VaultKey { org: creator.org, vault, creator: creator.id, holds, wrapped };
        let attested = self.statements.attest(&key).await?;
        let root = self.pool.keystore().roots().newest;
        self.ledger.make_vault_key(mark(&key, &attested), root).await?;
        Ok(attested)
    }

    /// Refuses a vault's key from now on.
    pub async fn destroy_vault_key(&self, request: DestroyVaultKey) -> Result<()> {
        let by = self.caller(&request.by).await?;
        let key = self.statements.verify(&request.key).await?;
        by.reaches_vault(key.org, key.vault)?;
        if key.holds == Holds::Identities {
            return Err(forbidden("The vault of the agents' identities lasts as long as its organisation."));
        }
        by.rules_vault(&key)?;
        // Through a key or a device of the person's, too.
        let challenge = challenge_of_destruction(&request.by.record, &request.key);
        self.confirmed_by_passkey(&by, request.passkey.as_ref(), challenge, false).await?;
        let manages = by.record().role.is_some_and(Role::manages);
        self.ledger.destroy(mark(&key, &request.key), manages).await
    }

    /// Seals a value; of a private key it makes the signing key too.
    pub async fn seal(&self, request: Seal) -> Result<Sealed> {
        let Seal { by, vault_key: attested, label, value, signing_only } = request;
        let vault_key = self.may_touch(&self.caller(&by).await?, &attested, &label).await?;
        if vault_key.holds != Holds::Values {
            return Err(forbidden("Agents' identities are made by the signer; nobody stores one."));
        }
        if value.expose().len() > MAX_VALUE {
            return Err(invalid("value: must have at most 1 MiB."));
        }
        self.ledger.vault_key(mark(&vault_key, &attested)).await?;
        let signing_key = self.import(&label, &value).await?;
        if signing_only {
            return match signing_key {
                Some(_) => Ok(Sealed { value: None, signing_key }),
                None => {
                    Err(invalid("signing_only: takes a private_key of 32 bytes in hex, valid on secp256k1."))
                }
            };
        }
        let sealed =
            self.pool.on_keys(move |keys| seal(keys, &vault_key.wrapped.0, &label, value.expose())).await?;
        Ok(Sealed { value: Some(Blob(sealed)), signing_key })
    }

    /// Opens a value for a caller who may have it.
    pub async fn open(&self, request: Open) -> Result<Secret> {
        let Open { by, vault_key: attested, label, sealed } = request;
        let by = self.caller(&by).await?;
        let vault_key = self.may_touch(&by, &attested, &label).await?;
        opens_its_own_alone(&by, &vault_key, &label.path)?;
        self.ledger.vault_key(mark(&vault_key, &attested)).await?;
        self.pool.on_keys(move |keys| disclose_value(keys, &vault_key.wrapped.0, &label, &sealed.0)).await
    }

    /// What reading and writing have in common: organisation, vault, path, type, and that the vault lives.
    /// Answers with the key; whether it is the vault's own, the ledger says.
    pub(crate) async fn may_touch(
        &self,
        by: &Checked,
        key: &Attested<VaultKey>,
        label: &Label,
    ) -> Result<Arc<VaultKey>> {
        let key = self.statements.verify(key).await?;
        if (key.org, key.vault) != (label.org, label.vault) {
            return Err(tampered("The key is another vault's."));
        }
        by.reaches_vault(label.org, label.vault)?;
        by.reaches_path(&label.path)?;
        if label.kind.is_key() && by.never_touches_keys() {
            return Err(forbidden(format!(
                "An agent with intents_api_enabled uses keys and never reads or writes one: {} is out of its reach.",
                label.kind.as_str()
            )));
        }
        self.not_destroyed(label.org, label.vault)?;
        Ok(key)
    }

    /// Neither the vault's key nor its organisation has ended.
    pub(crate) fn not_destroyed(&self, org: OrgId, vault: VaultId) -> Result<()> {
        if self.ledger.ended(org)? {
            return Err(over());
        }
        if self.ledger.destroyed(org, vault)? {
            return Err(gone());
        }
        Ok(())
    }
}

impl Checked {
    /// Whether the caller decides on the vault as a whole, and all that it holds.
    pub fn rules_vault(&self, key: &VaultKey) -> Result<()> {
        self.unbounded()?;
        let manages = self.record().role.is_some_and(Role::manages);
        if self.never_touches_keys() || !(manages || self.record().id == key.creator) {
            return Err(forbidden(
                "Only owners, admins and the vault's creator do this; an agent with intents never.",
            ));
        }
        Ok(())
    }
}

/// What the ledger knows a vault's key by.
pub(crate) fn mark(key: &VaultKey, attested: &Attested<VaultKey>) -> KeyMark {
    KeyMark { org: key.org, vault: key.vault, digest: digest(attested) }
}

/// All that a value is bound to.
fn aad(label: &Label) -> Vec<u8> {
    length_prefixed(&[
        b"talon/sealed",
        &[FORMAT],
        b"value",
        label.org.as_bytes(),
        label.vault.as_bytes(),
        label.path.as_str().as_bytes(),
        &label.version.to_be_bytes(),
        label.kind.as_str().as_bytes(),
    ])
}

/// Format, wrapped data key, nonce, ciphertext with its tag.
pub(crate) fn seal(
    keys: &dyn Keystore,
    vault_key: &[u8],
    label: &Label,
    value: &[u8],
) -> Result<Vec<u8>, KeyError> {
    enclose(keys, vault_key, &aad(label), value)
}

/// Bound to what `aad` says: it opens with the same alone.
pub(crate) fn enclose(
    keys: &dyn Keystore,
    vault_key: &[u8],
    aad: &[u8],
    value: &[u8],
) -> Result<Vec<u8>, KeyError> {
    let mut data_key = Key::default();
    let mut nonce = [0; NONCE];
    random(&mut *data_key)?;
    random(&mut nonce)?;
    let wrapped = keys.wrap_data_key(vault_key, aad, &data_key)?;
    if wrapped.len() != WRAPPED {
        return Err(KeyError::Unavailable("a wrapped data key has an unexpected length".into()));
    }
    let ciphertext = Aes256Gcm::new((&*data_key).into())
        .encrypt(&Nonce::from(nonce), Payload { msg: value, aad })
        .map_err(|_| KeyError::Unavailable("AES-GCM failed".into()))?;
    Ok([&[FORMAT], wrapped.as_slice(), &nonce, &ciphertext].concat())
}

pub(crate) fn disclose_value(
    keys: &dyn Keystore,
    vault_key: &[u8],
    label: &Label,
    sealed: &[u8],
) -> Result<Secret, KeyError> {
    disclose(keys, vault_key, &aad(label), sealed)
}

pub(crate) fn disclose(
    keys: &dyn Keystore,
    vault_key: &[u8],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Secret, KeyError> {
    let rejected = || KeyError::Rejected("a sealed value does not belong where it was found".into());
    let (format, rest) = sealed.split_first().ok_or_else(rejected)?;
    if *format != FORMAT {
        return Err(rejected());
    }
    let (wrapped, rest) = rest.split_first_chunk::<WRAPPED>().ok_or_else(rejected)?;
    let (nonce, ciphertext) = rest.split_first_chunk::<NONCE>().ok_or_else(rejected)?;
    let data_key = keys.unwrap_data_key(vault_key, aad, wrapped)?;
    Aes256Gcm::new((&*data_key).into())
        .decrypt(&Nonce::from(*nonce), Payload { msg: ciphertext, aad })
        .map(Secret::from)
        .map_err(|_| rejected())
}

pub(crate) fn random(bytes: &mut [u8]) -> Result<(), KeyError> {
    getrandom::fill(bytes).map_err(|error| KeyError::Unavailable(format!("no random bytes: {error}")))
}
