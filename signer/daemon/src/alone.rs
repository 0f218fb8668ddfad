//! Small secrets that the signer uses and nobody reads: each under a key of its own, which the root key wraps. There is
//! no statement of that key, so no request opens what it guards.

use signer_protocol::wire::{Blob, Secret};

use crate::keys::{KeyError, Keystore};
use crate::sealing::{disclose, enclose};

/// The wrapped key with its length in front (16 bits, big-endian), and the secret under it, bound to `aad`.
pub fn lock(keys: &dyn Keystore, aad: &[u8], secret: &[u8]) -> Result<Blob, KeyError> {
    let key = keys.new_vault_key()?;
    let sealed = enclose(keys, &key, aad, secret)?;
    joined(&key, &sealed)
}

/// The same with its key under the newest root. `None`: it is there already.
///
/// # Errors
/// `Rejected` for what was not locked here.
pub fn relock(keys: &dyn Keystore, blob: &[u8]) -> Result<Option<Blob>, KeyError> {
    let (key, sealed) = parts(blob)?;
    keys.rewrap_vault_key(key)?.map(|key| joined(&key, sealed)).transpose()
}

fn joined(key: &[u8], sealed: &[u8]) -> Result<Blob, KeyError> {
    let length = u16::try_from(key.len())
        .map_err(|_| KeyError::Unavailable("a wrapped key has an unexpected length".into()))?;
    Ok(Blob([&length.to_be_bytes()[..], key, sealed].concat()))
}

fn parts(blob: &[u8]) -> Result<(&[u8], &[u8]), KeyError> {
    let split = || {
        let (length, rest) = blob.split_first_chunk()?;
        rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
    };
    split().ok_or_else(|| KeyError::Rejected("a sealed secret is not one of this signer's".into()))
}

/// What was locked with the same `aad`.
///
/// # Errors
/// `Rejected` for anything else.
pub fn unlock(keys: &dyn Keystore, aad: &[u8], blob: &[u8]) -> Result<Secret, KeyError> {
    let (key, sealed) = parts(blob)?;
    disclose(keys, key, aad, sealed)
}
