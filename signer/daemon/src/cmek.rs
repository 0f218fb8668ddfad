//! A vault's values changed over from one key of a customer's to another: opened, decrypted, encrypted and sealed again,
//! in memory that is zeroed.

use std::time::Duration;

use aes_gcm::aead::{Aead as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Nonce};
use domain::cmek::{Encrypted, IV, KEY};
use signer_protocol::Attested;
use signer_protocol::cmek::{AllowRotation, Fingerprint, Rotate, Rotated, RotationGrant};
use signer_protocol::sealing::{Holds, Label};
use signer_protocol::wire::{Blob, Secret};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::authority::Authority;
use crate::encoding::sha256;
use crate::keys::{Key, KeyError};
use crate::people::in_time;
use crate::refuse::{Result, conflict, forbidden, invalid, tampered};
use crate::sealing::{disclose_value, mark, random, seal};

const LONGEST_GRANT: Duration = Duration::from_secs(24 * 60 * 60);
/// Values of one request, and their bytes when there are several.
const MOST_VALUES: usize = 100;
const MOST_BYTES: usize = 2 << 20;

impl Authority {
    /// Leave to change a vault's values over, which outlives the caller's token.
    pub async fn allow_rotation(&self, request: AllowRotation) -> Result<Attested<RotationGrant>> {
        let AllowRotation { by, job, vault_key: attested, old, new, expires_at } = request;
        let by = self.caller(&by).await?;
        let key = self.statements.verify(&attested).await?;
        by.reaches_vault(key.org, key.vault)?;
        if key.holds == Holds::Identities {
            return Err(forbidden("The vault of the agents' identities takes no key of a customer's."));
        }
        by.rules_vault(&key)?;
        in_time(expires_at, self.clock.now(), LONGEST_GRANT)?;
        if old == new {
            return Err(invalid("new: must be another key's fingerprint than old."));
        }
        self.not_destroyed(key.org, key.vault)?;
        self.ledger.vault_key(mark(&key, &attested)).await?;
        let grant = RotationGrant { job, org: key.org, vault: key.vault, old, new, expires_at };
        self.statements.attest(&grant).await
    }

    /// Changes some values over, all or none: a value that is not of the old key is named by path and version.
    pub async fn rotate(&self, request: Rotate) -> Result<Rotated> {
        let Rotate { grant, vault_key: attested, old_key, new_key, values } = request;
        let grant = self.statements.verify(&grant).await?;
        if self.clock.now() >= grant.expires_at {
            return Err(conflict("The leave to change the keys has expired; send the keys again."));
        }
        let vault_key = self.statements.verify(&attested).await?;
        let of_grant = (grant.org, grant.vault);
        if (vault_key.org, vault_key.vault) != of_grant
            || values.iter().any(|(label, _)| (label.org, label.vault) != of_grant)
        {
            return Err(tampered("The key or a value is another vault's than the one in the grant."));
        }
        let old_key = key("old_key", &old_key, &grant.old)?;
        let new_key = key("new_key", &new_key, &grant.new)?;
        let bytes: usize = values.iter().map(|(_, sealed)| sealed.0.len()).sum();
        if values.len() > MOST_VALUES || (values.len() > 1 && bytes > MOST_BYTES) {
            return Err(invalid("values: must be at most 100, and 2 MiB together."));
        }
        self.not_destroyed(grant.org, grant.vault)?;
        self.ledger.vault_key(mark(&vault_key, &attested)).await?;
        let mut changed = Vec::with_capacity(values.len());
        for (label, sealed) in values {
            let (vault_key, old_key, new_key) = (vault_key.clone(), old_key.clone(), new_key.clone());
            let done = self.pool.on_keys(move |keys| {
                let value = disclose_value(keys, &vault_key.wrapped.0, &label, &sealed.0)?;
                let Some(value) = reencrypt(&value, &old_key, &new_key)? else { return Ok(Err(label)) };
                seal(keys, &vault_key.wrapped.0, &label, value.as_bytes()).map(Ok)
            });
            changed.push(Blob(done.await?.map_err(|label| not_of_this_key(&label))?));
        }
        Ok(Rotated { values: changed })
    }
}

/// A customer's key, if it is the one with that fingerprint.
fn key(name: &str, given: &Secret, fingerprint: &Fingerprint) -> Result<Key> {
    let refused = || invalid(format!("{name}: is not the key of the grant's fingerprint."));
    let mut key = Key::default();
    if given.expose().len() != KEY {
        return Err(refused());
    }
    key.copy_from_slice(given.expose());
    if bool::from(sha256(&*key).ct_eq(fingerprint)) { Ok(key) } else { Err(refused()) }
}

/// `None`: it is not of the old key.
fn reencrypt(value: &Secret, old: &Key, new: &Key) -> Result<Option<String>, KeyError> {
    let Some(encrypted) = Encrypted::parse(value.expose()) else { return Ok(None) };
    let nonce = Nonce::from(encrypted.iv);
    let Ok(plain) = Aes256Gcm::new((&**old).into()).decrypt(&nonce, encrypted.ciphertext.as_slice()) else {
        return Ok(None);
    };
    let plain = Zeroizing::new(plain);
    let mut iv = [0; IV];
    random(&mut iv)?;
    let ciphertext = Aes256Gcm::new((&**new).into())
        .encrypt(&Nonce::from(iv), plain.as_slice())
        .map_err(|_| KeyError::Unavailable("AES-GCM failed".into()))?;
    Ok(Some(Encrypted { iv, ciphertext }.to_text()))
}

fn not_of_this_key(label: &Label) -> signer_protocol::Refusal {
    invalid(format!("{} version {} is not encrypted with the old key.", label.path, label.version))
}
