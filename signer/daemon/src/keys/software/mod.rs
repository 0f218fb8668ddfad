//! The software keystore: root keys in a file, everything else under them.

mod file;
mod root_keys;

use std::path::Path;
use std::sync::Arc;

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};
use ed25519_dalek::Signer as _;
use hmac::{Hmac, Mac};
use k256::ecdsa::signature::hazmat::PrehashSigner;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::locked::Locked;
use super::ready::Ready;
use super::roots::{self, Roots};
use super::{
    CacheSizes, DOES_NOT_OPEN, Key, KeyError, Keystore, NONCE, OpenError, Result, SEALED_KEY, fill_random,
    random, rejected, signing_key,
};

pub use file::FILE;
use root_keys::RootKeys;

/// What a wrapped key is, inside its tag: one kind never passes as the other.
const VAULT_KEY: &[u8] = b"talon/software/vault-key/1";
const SIGNING_KEY: &[u8] = b"talon/software/signing-key/1";

struct Held {
    newest: Aes256Gcm,
    older: Option<Aes256Gcm>,
    mac: Hmac<Sha256>,
    token: ed25519_dalek::SigningKey,
}

pub struct Software {
    held: Locked<Held>,
    roots: Roots,
    vault_keys: Ready<Locked<Aes256Gcm>>,
    signing_keys: Ready<Locked<k256::ecdsa::SigningKey>>,
}

/// Makes the root keys: [`FILE`] in `folder`, sealed by the passphrase if one is given.
///
/// # Errors
/// If there is one already, or the folder can't be written.
pub fn create(folder: &Path, passphrase: Option<&[u8]>) -> std::result::Result<(), OpenError> {
    file::create(folder, passphrase)
}

/// Opens what [`create`] made.
///
/// # Errors
/// A sentence for the operator: no file, readable by others, damaged, newer, a wrong or missing passphrase.
pub fn open(folder: &Path, passphrase: Option<&[u8]>) -> std::result::Result<Software, OpenError> {
    let keys = file::read(folder, passphrase)?;
    // HMAC pads a short key with zeros to its block of 64 bytes.
    let mut mac = Zeroizing::new([0; 64]);
    mac[..32].copy_from_slice(&*keys.mac);
    let held = Held {
        newest: Aes256Gcm::new((&*keys.newest.key).into()),
        older: keys.older.as_ref().map(|root| Aes256Gcm::new((&*root.key).into())),
        mac: <Hmac<Sha256> as hmac::KeyInit>::new((&*mac).into()),
        token: ed25519_dalek::SigningKey::from_bytes(&keys.token),
    };
    Ok(Software::new(Locked::new(held), keys.roots(), CacheSizes::default()))
}

/// Makes a new root, which wraps from the next opening on; the one that there was unwraps what it has wrapped.
///
/// # Errors
/// If a rotation is under way, or as for [`open`].
pub fn rotate(folder: &Path, passphrase: Option<&[u8]>) -> std::result::Result<Roots, OpenError> {
    replaced(folder, passphrase, RootKeys::rotated)
}

/// Destroys the older root for good: what is still under it can't be opened any more.
///
/// # Errors
/// If there is none, or as for [`open`].
pub fn retire(folder: &Path, passphrase: Option<&[u8]>) -> std::result::Result<Roots, OpenError> {
    replaced(folder, passphrase, RootKeys::retired)
}

fn replaced(
    folder: &Path,
    passphrase: Option<&[u8]>,
    change: impl FnOnce(RootKeys) -> std::result::Result<RootKeys, OpenError>,
) -> std::result::Result<Roots, OpenError> {
    let keys = change(file::read(folder, passphrase)?)?;
    file::replace(folder, passphrase, &keys)?;
    Ok(keys.roots())
}

impl Software {
    fn new(held: Locked<Held>, roots: Roots, sizes: CacheSizes) -> Self {
        let (vault_keys, signing_keys) = (Ready::new(sizes.vault_keys), Ready::new(sizes.signing_keys));
        Self { held, roots, vault_keys, signing_keys }
    }

    /// The same keystore with caches of other sizes.
    pub fn with_caches(self, sizes: CacheSizes) -> Self {
        Self::new(self.held, self.roots, sizes)
    }

    fn vault_key(&self, wrapped: &[u8]) -> Result<Arc<Locked<Aes256Gcm>>> {
        self.vault_keys.get(wrapped, || {
            let key = self.unwrap(VAULT_KEY, wrapped)?;
            Ok(Locked::new(Aes256Gcm::new((&*key).into())))
        })
    }

    fn signing_key(&self, wrapped: &[u8]) -> Result<Arc<Locked<k256::ecdsa::SigningKey>>> {
        self.signing_keys.get(wrapped, || {
            let key = self.unwrap(SIGNING_KEY, wrapped)?;
            Ok(Locked::new(signing_key(&key)?))
        })
    }

    fn wrap(&self, kind: &[u8], key: &Key) -> Result<Vec<u8>> {
        Ok(roots::mark(self.roots.newest, seal_key(&self.held.newest, kind, key)?))
    }

    fn unwrap(&self, kind: &[u8], wrapped: &[u8]) -> Result<Key> {
        let cipher = match (self.roots.is_older(wrapped)?, &self.held.older) {
            (true, Some(older)) => older,
            _ => &self.held.newest,
        };
        open_key(cipher, kind, roots::split(wrapped).1)
    }

    fn rewrap(&self, kind: &[u8], wrapped: &[u8]) -> Result<Option<Vec<u8>>> {
        if !self.roots.is_older(wrapped)? {
            return Ok(None);
        }
        self.wrap(kind, &self.unwrap(kind, wrapped)?).map(Some)
    }
}

impl Keystore for Software {
    fn kind(&self) -> &'static str {
        "software"
    }

    fn waits(&self) -> bool {
        false
    }

    fn mac(&self, message: &[u8]) -> Result<[u8; 32]> {
        Ok(self.held.mac.clone().chain_update(message).finalize().into_bytes().into())
    }

    fn sign_token(&self, message: &[u8]) -> Result<[u8; 64]> {
        Ok(self.held.token.sign(message).to_bytes())
    }

    fn token_public_key(&self) -> [u8; 32] {
        self.held.token.verifying_key().to_bytes()
    }

    fn roots(&self) -> Roots {
        self.roots
    }

    fn rewrap_vault_key(&self, wrapped: &[u8]) -> Result<Option<Vec<u8>>> {
        self.rewrap(VAULT_KEY, wrapped)
    }

    fn rewrap_signing_key(&self, wrapped: &[u8]) -> Result<Option<Vec<u8>>> {
        self.rewrap(SIGNING_KEY, wrapped)
    }

    fn new_vault_key(&self) -> Result<Vec<u8>> {
        let mut key = Key::default();
        fill_random(&mut *key)?;
        self.wrap(VAULT_KEY, &key)
    }

    fn wrap_data_key(&self, vault_key: &[u8], aad: &[u8], data_key: &Key) -> Result<Vec<u8>> {
        seal_key(&**self.vault_key(vault_key)?, aad, data_key)
    }

    fn unwrap_data_key(&self, vault_key: &[u8], aad: &[u8], wrapped: &[u8]) -> Result<Key> {
        open_key(&**self.vault_key(vault_key)?, aad, wrapped)
    }

    fn import_signing_key(&self, scalar: &Key) -> Result<Vec<u8>> {
        signing_key(scalar)?;
        self.wrap(SIGNING_KEY, scalar)
    }

    /// Deterministic (RFC 6979).
    fn sign_digest(&self, signing_key: &[u8], digest: &[u8; 32]) -> Result<[u8; 64]> {
        let signature: k256::ecdsa::Signature = self
            .signing_key(signing_key)?
            .sign_prehash(digest)
            .map_err(|error| KeyError::Unavailable(format!("the signature failed: {error}")))?;
        Ok(signature.to_bytes().into())
    }
}

/// Nonce, ciphertext, tag. The nonce is random: good for 2^32 keys under one key (SP 800-38D §8.3).
fn seal_key(cipher: &Aes256Gcm, aad: &[u8], key: &Key) -> Result<Vec<u8>> {
    let nonce = random::<NONCE>()?;
    let mut sealed = Vec::with_capacity(SEALED_KEY);
    sealed.extend_from_slice(&nonce);
    let mut body = Zeroizing::new(**key);
    let tag = cipher
        .encrypt_inout_detached(&Nonce::from(nonce), aad, (&mut body[..]).into())
        .map_err(|_| rejected("what the key is bound to is too long"))?;
    sealed.extend_from_slice(&*body);
    sealed.extend_from_slice(&tag);
    Ok(sealed)
}

fn open_key(cipher: &Aes256Gcm, aad: &[u8], sealed: &[u8]) -> Result<Key> {
    let wrong = || rejected(DOES_NOT_OPEN);
    let (nonce, rest) = sealed.split_first_chunk::<NONCE>().ok_or_else(wrong)?;
    let (body, tag) = rest.split_first_chunk::<32>().ok_or_else(wrong)?;
    let tag: &[u8; 16] = tag.try_into().map_err(|_| wrong())?;
    let mut key = Key::new(*body);
    cipher
        .decrypt_inout_detached(&Nonce::from(*nonce), aad, (&mut key[..]).into(), tag.into())
        .map_err(|_| wrong())?;
    Ok(key)
}
