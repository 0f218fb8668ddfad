//! Where the keys are: one trait, two keystores, the same formats.

use zeroize::Zeroizing;

mod error;
mod locked;
pub mod pkcs11;
mod ready;
mod roots;
pub mod software;

pub use error::OpenError;
pub use roots::{FIRST, Roots};
#[cfg(test)]
pub use roots::{mark, split, unknown};

/// A 256-bit key in memory, zeroed when dropped.
pub type Key = Zeroizing<[u8; 32]>;

/// What can go wrong inside a keystore. The text is for the log and for a start-up message, never a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// What was given is not what this keystore made: a wrong tag, a blob of another root.
    #[error("{0}")]
    Rejected(String),
    /// The keystore can't be used now: the module, the token or a session failed.
    #[error("the keystore is not available: {0}")]
    Unavailable(String),
}

pub type Result<T> = std::result::Result<T, KeyError>;

/// The root keys and what they guard. Calls block (an HSM's take milliseconds): they are made from the keystore's
/// own threads, never from an async one.
///
/// Wrapped keys are opaque to the caller, made and read by the same keystore alone.
pub trait Keystore: Send + Sync + 'static {
    /// `software` or `pkcs11`.
    fn kind(&self) -> &'static str;

    /// Whether its calls may wait for something outside of this process. Those that only compute take less time than to
    /// hand them to another thread.
    fn waits(&self) -> bool {
        true
    }

    /// Asks the keystore itself, by using the MAC key.
    ///
    /// # Errors
    /// `Unavailable`, with the cause.
    fn health(&self) -> Result<()> {
        self.mac(b"talon/health/1").map(drop)
    }

    /// HMAC-SHA-256 under the MAC key.
    ///
    /// # Errors
    /// `Unavailable` alone.
    fn mac(&self, message: &[u8]) -> Result<[u8; 32]>;

    /// Ed25519 (RFC 8032), under the token key.
    ///
    /// # Errors
    /// `Unavailable` alone.
    fn sign_token(&self, message: &[u8]) -> Result<[u8; 64]>;

    fn token_public_key(&self) -> [u8; 32];

    /// The root keys that are there. MAC key and token key are none of them, and stay what they are.
    fn roots(&self) -> Roots;

    /// Wraps a vault's key, from [`Keystore::new_vault_key`], by the newest root. `None`: it is already.
    ///
    /// # Errors
    /// `Rejected` if it is not of this keystore, or of a root that was retired.
    fn rewrap_vault_key(&self, wrapped: &[u8]) -> Result<Option<Vec<u8>>>;

    /// The same for a signing key.
    ///
    /// # Errors
    /// As for [`Keystore::rewrap_vault_key`].
    fn rewrap_signing_key(&self, wrapped: &[u8]) -> Result<Option<Vec<u8>>>;

    /// A fresh AES-256 key, wrapped by the newest root key.
    ///
    /// # Errors
    /// `Unavailable` alone.
    fn new_vault_key(&self) -> Result<Vec<u8>>;

    /// AES-256-GCM of a data key under a vault's key, with a fresh nonce in front (12 + 32 + 16 bytes).
    ///
    /// # Errors
    /// `Rejected` if the vault's key is not of this keystore.
    fn wrap_data_key(&self, vault_key: &[u8], aad: &[u8], data_key: &Key) -> Result<Vec<u8>>;

    /// # Errors
    /// `Rejected` if the tag or the vault's key is wrong.
    fn unwrap_data_key(&self, vault_key: &[u8], aad: &[u8], wrapped: &[u8]) -> Result<Key>;

    /// Wraps a secp256k1 key (a scalar from 1 to n - 1, big-endian) under the newest root key.
    ///
    /// # Errors
    /// `Rejected` if the scalar is out of range.
    fn import_signing_key(&self, scalar: &Key) -> Result<Vec<u8>>;

    /// ECDSA over a 32-byte digest: r and s, big-endian, s as it comes (the caller makes it low).
    ///
    /// # Errors
    /// `Rejected` if the signing key is not of this keystore.
    fn sign_digest(&self, signing_key: &[u8], digest: &[u8; 32]) -> Result<[u8; 64]>;
}

/// How many unwrapped keys a keystore holds ready. Beyond that, the least recently used are unwrapped anew.
#[derive(Clone, Copy, Debug)]
pub struct CacheSizes {
    pub vault_keys: usize,
    pub signing_keys: usize,
}

impl Default for CacheSizes {
    /// In the software keystore a key takes a locked page (4 KiB), so the two fit into half of the 8 MiB that
    /// Linux lets a process lock by default. An HSM's session objects are of the same order.
    fn default() -> Self {
        Self { vault_keys: 512, signing_keys: 512 }
    }
}

/// AES-GCM's nonce and tag (NIST SP 800-38D), around a 32-byte key.
const NONCE: usize = 12;
const TAG: usize = 16;
const SEALED_KEY: usize = NONCE + 32 + TAG;

const DOES_NOT_OPEN: &str =
    "a wrapped key does not open: it is of another keystore, vault or place, or was altered";

fn rejected(cause: &str) -> KeyError {
    KeyError::Rejected(cause.to_owned())
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    fill_random(&mut bytes)?;
    Ok(bytes)
}

fn fill_random(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes)
        .map_err(|error| KeyError::Unavailable(format!("the system gives no randomness: {error}")))
}

/// A valid secp256k1 key, or `Rejected`.
fn signing_key(scalar: &[u8; 32]) -> Result<k256::ecdsa::SigningKey> {
    k256::ecdsa::SigningKey::from_bytes(scalar.into())
        .map_err(|_| rejected("a secp256k1 key must be a number from 1 to the order of the curve - 1"))
}
