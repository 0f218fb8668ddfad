//! What the keys are inside the HSM.

use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use zeroize::Zeroize as _;

use crate::keys::Key;

/// AES-256: wraps vault keys and signing keys.
pub const ROOT_LABEL: &str = "talon-root";
/// HMAC-SHA-256.
pub const MAC_LABEL: &str = "talon-mac";
/// Ed25519, both halves.
pub const TOKEN_LABEL: &str = "talon-token";

/// secp256k1, 1.3.132.0.10 (SEC 2 §A.2), DER.
const SECP256K1: [u8; 7] = [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a];
/// Ed25519, 1.3.101.112 (RFC 8410 §3), DER.
const ED25519: [u8; 5] = [0x06, 0x03, 0x2b, 0x65, 0x70];

/// A key of the token itself, which outlives every session and can't leave.
fn kept(label: &str) -> Vec<Attribute> {
    vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Label(label.into()),
        Attribute::Id(label.into()),
    ]
}

pub fn new_root() -> Vec<Attribute> {
    let uses = [
        Attribute::ValueLen(32.into()),
        Attribute::Wrap(true),
        Attribute::Unwrap(true),
        Attribute::Encrypt(false),
        Attribute::Decrypt(false),
    ];
    kept(ROOT_LABEL).into_iter().chain(uses).collect()
}

pub fn new_mac() -> Vec<Attribute> {
    let uses = [
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::ValueLen(32.into()),
        Attribute::Sign(true),
        Attribute::Verify(true),
    ];
    kept(MAC_LABEL).into_iter().chain(uses).collect()
}

pub fn new_token_private() -> Vec<Attribute> {
    kept(TOKEN_LABEL).into_iter().chain([Attribute::Sign(true)]).collect()
}

pub fn new_token_public() -> Vec<Attribute> {
    vec![
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Verify(true),
        Attribute::EcParams(ED25519.into()),
        Attribute::Label(TOKEN_LABEL.into()),
        Attribute::Id(TOKEN_LABEL.into()),
    ]
}

/// How a key of the token is found.
pub fn labelled(class: ObjectClass, label: &str) -> [Attribute; 3] {
    [Attribute::Token(true), Attribute::Class(class), Attribute::Label(label.into())]
}

/// A vault's key on its way to being wrapped: that alone is why it is extractable.
pub fn new_vault_key() -> [Attribute; 6] {
    [
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(true),
        Attribute::ValueLen(32.into()),
        Attribute::Encrypt(false),
    ]
}

/// A vault's key in use.
pub fn vault_key() -> [Attribute; 10] {
    [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
    ]
}

/// A signing key in use.
pub fn signing_key() -> [Attribute; 7] {
    [
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::KeyType(KeyType::EC),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
    ]
}

/// Lends the description of a signing key that comes from outside, and zeroes the copy of its scalar in it.
pub fn with_imported_signing_key(
    scalar: &Key,
    import: impl FnOnce(&[Attribute]) -> cryptoki::error::Result<ObjectHandle>,
) -> cryptoki::error::Result<ObjectHandle> {
    let mut template = [
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::KeyType(KeyType::EC),
        Attribute::EcParams(SECP256K1.into()),
        Attribute::Value(scalar.to_vec()),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(true),
        Attribute::Sign(false),
    ];
    let imported = import(&template);
    for attribute in &mut template {
        if let Attribute::Value(scalar) = attribute {
            scalar.zeroize();
        }
    }
    imported
}
