//! Which keystore it is: the one place that knows both.

use std::sync::Arc;

use crate::config::{Config, KeystoreConfig};
use crate::keys::{Keystore, OpenError, Roots, pkcs11, software};
use crate::start::StartError;

/// Whether the keys were made. `None`: only the HSM knows.
pub fn exists(config: &Config) -> Option<bool> {
    match config.keystore {
        KeystoreConfig::Software { .. } => Some(config.data.join(software::FILE).exists()),
        KeystoreConfig::Pkcs11(_) => None,
    }
}

/// Makes the root keys, once.
pub fn make(config: &Config) -> Result<(), StartError> {
    match &config.keystore {
        KeystoreConfig::Software { passphrase } => {
            software::create(&config.data, passphrase.as_ref().map(|secret| secret.expose()))
        }
        KeystoreConfig::Pkcs11(hsm) => pkcs11::init(hsm),
    }
    .map_err(StartError::from)
}

pub fn open(config: &Config) -> Result<Arc<dyn Keystore>, StartError> {
    let opened: Result<Arc<dyn Keystore>, OpenError> = match &config.keystore {
        KeystoreConfig::Software { passphrase } => {
            software::open(&config.data, passphrase.as_ref().map(|secret| secret.expose()))
                .map(|keystore| Arc::new(keystore) as _)
        }
        KeystoreConfig::Pkcs11(hsm) => pkcs11::open(hsm.clone()).map(|keystore| Arc::new(keystore) as _),
    };
    opened.map_err(StartError::from)
}

/// Makes a new root, while no signer has the keys open.
pub fn rotate(config: &Config) -> Result<Roots, StartError> {
    match &config.keystore {
        KeystoreConfig::Software { passphrase } => {
            software::rotate(&config.data, passphrase.as_ref().map(|secret| secret.expose()))
        }
        KeystoreConfig::Pkcs11(hsm) => pkcs11::rotate(hsm),
    }
    .map_err(StartError::from)
}

/// Destroys the older root, while no signer has the keys open.
pub fn retire(config: &Config) -> Result<Roots, StartError> {
    match &config.keystore {
        KeystoreConfig::Software { passphrase } => {
            software::retire(&config.data, passphrase.as_ref().map(|secret| secret.expose()))
        }
        KeystoreConfig::Pkcs11(hsm) => pkcs11::retire(hsm),
    }
    .map_err(StartError::from)
}
