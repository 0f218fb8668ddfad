//! The keystore of an HSM, through PKCS#11: root keys that never leave it, and keys unwrapped inside it.

mod connection;
mod failure;
mod init;
mod link;
mod module;
mod objects;
mod rotation;

use std::path::PathBuf;

use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::session::Session;
use domain::SecretBytes;
use zeroize::Zeroizing;

use super::roots::{self, Roots};
use super::{CacheSizes, Key, Keystore, NONCE, OpenError, Result, SEALED_KEY, TAG, random, signing_key};
use connection::Connection;
use failure::Failure;
use link::Link;

pub use init::init;
pub use objects::{MAC_LABEL, ROOT_LABEL, TOKEN_LABEL};
pub use rotation::{retire, rotate};

/// An AES-256 key under AES key wrap (RFC 3394): 8 bytes of integrity before it.
const WRAPPED_VAULT_KEY: usize = 40;
/// More than a secp256k1 key in PKCS#8 under padded key wrap (RFC 5649) takes, whatever a module adds to it.
const LONGEST_WRAPPED_SIGNING_KEY: usize = 1024;

/// Where the HSM is and how to get in.
#[derive(Clone, Debug)]
pub struct Config {
    /// The module, a shared library such as `/usr/lib/softhsm/libsofthsm2.so`.
    pub module: PathBuf,
    /// The token's label, not its slot: slots are numbered anew on each start.
    pub token: String,
    /// The user's PIN. Kept, for logging in again after the HSM was away.
    pub pin: SecretBytes,
    /// How many calls may run inside the HSM at once.
    pub sessions: usize,
    pub caches: CacheSizes,
}

pub struct Pkcs11 {
    link: Link,
    token_public_key: [u8; 32],
    roots: Roots,
}

/// Logs in and finds the keys that [`init`] made.
///
/// # Errors
/// A sentence for the operator: no module, token or keys, a wrong PIN, two keys under one label, keys that could be
/// read out.
pub fn open(config: Config) -> std::result::Result<Pkcs11, OpenError> {
    let connection = Connection::open(&config)?;
    let (token_public_key, roots) = (connection.token_public_key(), connection.roots());
    Ok(Pkcs11 { link: Link::new(config, connection), token_public_key, roots })
}

impl Keystore for Pkcs11 {
    fn kind(&self) -> &'static str {
        "pkcs11"
    }

    fn mac(&self, message: &[u8]) -> Result<[u8; 32]> {
        self.link.call(|connection, session| connection.mac(session, message))
    }

    fn sign_token(&self, message: &[u8]) -> Result<[u8; 64]> {
        self.link.call(|connection, session| connection.sign_token(session, message))
    }

    fn token_public_key(&self) -> [u8; 32] {
        self.token_public_key
    }

    fn roots(&self) -> Roots {
        self.roots
    }

    fn rewrap_vault_key(&self, wrapped: &[u8]) -> Result<Option<Vec<u8>>> {
        self.link.call(|connection, session| {
            check_vault_key(wrapped)?;
            connection.rewrapped(session, &Mechanism::AesKeyWrap, wrapped, &objects::passing_vault_key())
        })
    }

    fn rewrap_signing_key(&self, wrapped: &[u8]) -> Result<Option<Vec<u8>>> {
        self.link.call(|connection, session| {
            check_signing_key(wrapped)?;
            connection.rewrapped(session, &Mechanism::AesKeyWrapPad, wrapped, &objects::passing_signing_key())
        })
    }

    /// Made and wrapped inside the HSM, and then forgotten by it.
    fn new_vault_key(&self) -> Result<Vec<u8>> {
        self.link.call(|connection, session| {
            let key = session.generate_key(&Mechanism::AesKeyGen, &objects::new_vault_key())?;
            connection.wrap_and_destroy(session, &Mechanism::AesKeyWrap, key)
        })
    }

    fn wrap_data_key(&self, vault_key: &[u8], aad: &[u8], data_key: &Key) -> Result<Vec<u8>> {
        let nonce = random::<NONCE>()?;
        self.link.call(|connection, session| {
            let key = vault_key_of(connection, session, vault_key)?;
            let mut iv = nonce;
            let gcm = Mechanism::AesGcm(GcmParams::new(&mut iv, aad, TAG_BITS.into())?);
            let body = session.encrypt(&gcm, key.handle(), &**data_key)?;
            let sealed = [&nonce, &*body].concat();
            if sealed.len() == SEALED_KEY {
                Ok(sealed)
            } else {
                Err(Failure::odd("a sealed key", sealed.len()))
            }
        })
    }

    fn unwrap_data_key(&self, vault_key: &[u8], aad: &[u8], wrapped: &[u8]) -> Result<Key> {
        self.link.call(|connection, session| {
            let (iv, body) = wrapped.split_first_chunk::<NONCE>().ok_or(Failure::Input)?;
            if wrapped.len() != SEALED_KEY {
                return Err(Failure::Input);
            }
            let key = vault_key_of(connection, session, vault_key)?;
            let mut iv = *iv;
            let gcm = Mechanism::AesGcm(GcmParams::new(&mut iv, aad, TAG_BITS.into())?);
            let opened = session.decrypt(&gcm, key.handle(), body).map(Zeroizing::new);
            let opened = connection.about_input(session, opened)?;
            let opened: &[u8; 32] =
                opened.as_slice().try_into().map_err(|_| Failure::odd("an opened key", opened.len()))?;
            Ok(Key::new(*opened))
        })
    }

    /// The scalar enters the HSM as a session object, sensitive from the start, which lives until it is wrapped.
    fn import_signing_key(&self, scalar: &Key) -> Result<Vec<u8>> {
        signing_key(scalar)?;
        self.link.call(|connection, session| {
            let key = objects::with_imported_signing_key(scalar, |template| session.create_object(template))?;
            connection.wrap_and_destroy(session, &Mechanism::AesKeyWrapPad, key)
        })
    }

    fn sign_digest(&self, signing_key: &[u8], digest: &[u8; 32]) -> Result<[u8; 64]> {
        self.link.call(|connection, session| {
            check_signing_key(signing_key)?;
            let key =
                connection.unwrapped(session, &connection.signing_keys, signing_key, |root, body| {
                    session.unwrap_key(&Mechanism::AesKeyWrapPad, root, body, &objects::signing_key())
                })?;
            let signature = session.sign(&Mechanism::Ecdsa, key.handle(), digest)?;
            signature.as_slice().try_into().map_err(|_| Failure::odd("a signature", signature.len()))
        })
    }
}

const TAG_BITS: u64 = TAG as u64 * 8;

fn vault_key_of(
    connection: &Connection,
    session: &Session,
    wrapped: &[u8],
) -> std::result::Result<std::sync::Arc<connection::Unwrapped>, Failure> {
    check_vault_key(wrapped)?;
    connection.unwrapped(session, &connection.vault_keys, wrapped, |root, body| {
        session.unwrap_key(&Mechanism::AesKeyWrap, root, body, &objects::vault_key())
    })
}

fn check_vault_key(wrapped: &[u8]) -> std::result::Result<(), Failure> {
    if roots::split(wrapped).1.len() == WRAPPED_VAULT_KEY { Ok(()) } else { Err(Failure::Input) }
}

fn check_signing_key(wrapped: &[u8]) -> std::result::Result<(), Failure> {
    if wrapped.len() <= LONGEST_WRAPPED_SIGNING_KEY { Ok(()) } else { Err(Failure::Input) }
}

/// Pure Ed25519 (RFC 8032 §5.1): no context, no prehash.
fn ed25519() -> Mechanism<'static> {
    Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Ed25519))
}
