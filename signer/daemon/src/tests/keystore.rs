//! A keystore for tests of the rules: plain, and it signs with a high S half of the time, as HSMs do.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use ed25519_dalek::Signer as _;
use hmac::{Hmac, Mac as _};
use k256::ecdsa::signature::hazmat::PrehashSigner as _;

use crate::keys::{FIRST, Key, KeyError, Keystore, Result, Roots, mark, split, unknown};

pub struct MemoryKeystore {
    /// With their numbers, the newest last.
    roots: Mutex<Vec<(u32, Aes256Gcm)>>,
    mac: [u8; 32],
    token: ed25519_dalek::SigningKey,
    /// Counts what the HSM would be asked.
    pub macs: AtomicU64,
    signatures: AtomicU64,
}

impl MemoryKeystore {
    pub fn new() -> Self {
        let [mut root, mut mac, mut token] = [[0; 32]; 3];
        for key in [&mut root, &mut mac, &mut token] {
            getrandom::fill(key).unwrap();
        }
        Self {
            roots: Mutex::new(vec![(FIRST, Aes256Gcm::new(&root.into()))]),
            mac,
            token: ed25519_dalek::SigningKey::from_bytes(&token),
            macs: AtomicU64::new(0),
            signatures: AtomicU64::new(0),
        }
    }

    /// As `talon-signer rotate-root` does it.
    pub fn rotate(&self) {
        let mut root = [0; 32];
        getrandom::fill(&mut root).unwrap();
        let next = self.roots().newest + 1;
        self.roots.lock().unwrap().push((next, Aes256Gcm::new(&root.into())));
    }

    /// As `talon-signer retire-root` does it.
    pub fn retire(&self) {
        self.roots.lock().unwrap().remove(0);
    }

    fn wrap(&self, aad: &[u8], key: &[u8]) -> Vec<u8> {
        let roots = self.roots.lock().unwrap();
        let (number, newest) = roots.last().unwrap();
        mark(*number, encrypt(newest, aad, key))
    }

    fn unwrap(&self, aad: &[u8], wrapped: &[u8]) -> Result<Key> {
        let (number, body) = split(wrapped);
        let roots = self.roots.lock().unwrap();
        let root = roots.iter().find(|(known, _)| *known == number).ok_or_else(|| unknown(number))?;
        decrypt(&root.1, aad, body)
    }

    fn rewrap(&self, aad: &[u8], wrapped: &[u8]) -> Result<Option<Vec<u8>>> {
        if !self.roots().is_older(wrapped)? {
            return Ok(None);
        }
        Ok(Some(self.wrap(aad, &*self.unwrap(aad, wrapped)?)))
    }
}

fn encrypt(cipher: &Aes256Gcm, aad: &[u8], msg: &[u8]) -> Vec<u8> {
    let mut nonce = [0; 12];
    getrandom::fill(&mut nonce).unwrap();
    let ciphertext = cipher.encrypt(&Nonce::from(nonce), Payload { msg, aad }).unwrap();
    [&nonce[..], &ciphertext].concat()
}

fn decrypt(cipher: &Aes256Gcm, aad: &[u8], wrapped: &[u8]) -> Result<Key> {
    let rejected = || KeyError::Rejected("wrong".into());
    let (nonce, msg) = wrapped.split_first_chunk::<12>().ok_or_else(rejected)?;
    let plain = cipher.decrypt(&Nonce::from(*nonce), Payload { msg, aad }).map_err(|_| rejected())?;
    Ok(Key::new(plain.try_into().map_err(|_| rejected())?))
}

impl Keystore for MemoryKeystore {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn health(&self) -> Result<()> {
        Ok(())
    }

    fn mac(&self, message: &[u8]) -> Result<[u8; 32]> {
        self.macs.fetch_add(1, Ordering::Relaxed);
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&self.mac).unwrap();
        mac.update(message);
        Ok(mac.finalize().into_bytes().into())
    }

    fn sign_token(&self, message: &[u8]) -> Result<[u8; 64]> {
        Ok(self.token.sign(message).to_bytes())
    }

    fn token_public_key(&self) -> [u8; 32] {
        self.token.verifying_key().to_bytes()
    }

    fn roots(&self) -> Roots {
        let roots = self.roots.lock().unwrap();
        let older = (roots.len() > 1).then(|| roots[0].0);
        Roots { newest: roots.last().unwrap().0, older }
    }

    fn rewrap_vault_key(&self, wrapped: &[u8]) -> Result<Option<Vec<u8>>> {
        self.rewrap(b"vault", wrapped)
    }

    fn rewrap_signing_key(&self, wrapped: &[u8]) -> Result<Option<Vec<u8>>> {
        self.rewrap(b"signing", wrapped)
    }

    fn new_vault_key(&self) -> Result<Vec<u8>> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).unwrap();
        Ok(self.wrap(b"vault", &key))
    }

    fn wrap_data_key(&self, vault_key: &[u8], aad: &[u8], data_key: &Key) -> Result<Vec<u8>> {
        let vault = Aes256Gcm::new((&*self.unwrap(b"vault", vault_key)?).into());
        Ok(encrypt(&vault, aad, &**data_key))
    }

    fn unwrap_data_key(&self, vault_key: &[u8], aad: &[u8], wrapped: &[u8]) -> Result<Key> {
        let vault = Aes256Gcm::new((&*self.unwrap(b"vault", vault_key)?).into());
        decrypt(&vault, aad, wrapped)
    }

    fn import_signing_key(&self, scalar: &Key) -> Result<Vec<u8>> {
        Ok(self.wrap(b"signing", &**scalar))
    }

    fn sign_digest(&self, signing_key: &[u8], digest: &[u8; 32]) -> Result<[u8; 64]> {
        let scalar = self.unwrap(b"signing", signing_key)?;
        let key = k256::ecdsa::SigningKey::from_slice(&*scalar).unwrap();
        let signature: k256::ecdsa::Signature = key.sign_prehash(digest).unwrap();
        let signature = signature.normalize_s().unwrap_or(signature);
        let (r, s) = signature.split_scalars();
        let high = self.signatures.fetch_add(1, Ordering::Relaxed) % 2 == 1;
        let s = if high { -*s } else { *s };
        Ok(k256::ecdsa::Signature::from_scalars(r.to_bytes(), s.to_bytes()).unwrap().to_bytes().into())
    }
}
