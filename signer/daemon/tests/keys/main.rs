//! Both keystores: what each must do, and what is its own.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod both;
mod pkcs11;
mod softhsm;
mod software;

use domain::SecretBytes;
use signer::keys::{CacheSizes, Key, KeyError, Keystore, OpenError, Result, Roots};

/// A keystore with roots of its own, and the means to open it again.
pub struct Made {
    pub keystore: Box<dyn Keystore>,
    pub reopen: Box<dyn Fn(CacheSizes) -> Box<dyn Keystore>>,
    /// A new root, and the end of the one before it: while the keystore is not open.
    pub rotate: Box<dyn Fn() -> std::result::Result<Roots, OpenError>>,
    pub retire: Box<dyn Fn() -> std::result::Result<Roots, OpenError>>,
}

pub fn software() -> Made {
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    signer::keys::software::create(folder.path(), None).unwrap();
    let (rotating, retiring) = (folder.clone(), folder.clone());
    let reopen = move |sizes| -> Box<dyn Keystore> {
        Box::new(signer::keys::software::open(folder.path(), None).unwrap().with_caches(sizes))
    };
    Made {
        keystore: reopen(CacheSizes::default()),
        reopen: Box::new(reopen),
        rotate: Box::new(move || signer::keys::software::rotate(rotating.path(), None)),
        retire: Box::new(move || signer::keys::software::retire(retiring.path(), None)),
    }
}

pub fn pkcs11() -> Made {
    let config = softhsm::token();
    signer::keys::pkcs11::init(&config).unwrap();
    let (rotating, retiring) = (config.clone(), config.clone());
    let reopen = move |caches| -> Box<dyn Keystore> {
        Box::new(
            signer::keys::pkcs11::open(signer::keys::pkcs11::Config { caches, ..config.clone() }).unwrap(),
        )
    };
    Made {
        keystore: reopen(CacheSizes::default()),
        reopen: Box::new(reopen),
        rotate: Box::new(move || signer::keys::pkcs11::rotate(&rotating)),
        retire: Box::new(move || signer::keys::pkcs11::retire(&retiring)),
    }
}

pub fn random_key() -> Key {
    let mut key = Key::default();
    getrandom::fill(&mut *key).unwrap();
    key
}

pub fn secret(text: &str) -> SecretBytes {
    SecretBytes::from(text.as_bytes().to_vec())
}

#[track_caller]
pub fn assert_rejected<T>(result: Result<T>) {
    match result {
        Err(KeyError::Rejected(_)) => {}
        Err(error) => panic!("not rejected but: {error}"),
        Ok(_) => panic!("accepted"),
    }
}
