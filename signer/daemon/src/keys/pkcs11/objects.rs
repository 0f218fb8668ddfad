//! What the keys are inside the HSM.

use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use zeroize::Zeroize as _;

use crate::keys::Key;
use crate::keys::roots::FIRST;

/// AES-256: wraps vault keys and signing keys. The root of a later rotation has its number behind: `talon-root-2`.
pub const ROOT_LABEL: &str = "talon-root";
/// HMAC-SHA-256.
pub const MAC_LABEL: &str = "talon-mac";
/// Ed25519, both halves.
pub const TOKEN_LABEL: &str = "talon-token";

/// secp256k1, 1.3.132.0.10 (SEC 2 §A.2), DER.
const SECP256K1: [u8; 7] = [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a];
/// Ed25519, 1.3.101.112 (RFC 8410 §3), DER.
const ED25519: [u8; 5] = [0x06, 0x03, 0x2b, 0x65, 0x70];

/// How the root of that number is called.
pub fn root_label(number: u32) -> String {
    if number == FIRST { ROOT_LABEL.to_owned() } else { format!("{ROOT_LABEL}-{number}") }
}

/// The number of the root that is called so. `None`: it is no root of Talon's.
pub fn root_number(label: &str) -> Option<u32> {
    let rest = label.strip_prefix(ROOT_LABEL)?;
    let number = if rest.is_empty() { FIRST } else { rest.strip_prefix('-')?.parse().ok()? };
    (number >= FIRST && root_label(number) == label).then_some(number)
}

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

pub fn new_root(number: u32) -> Vec<Attribute> {
    let uses = [
        Attribute::ValueLen(32.into()),
        Attribute::Wrap(true),
        Attribute::Unwrap(true),
        Attribute::Encrypt(false),
        Attribute::Decrypt(false),
    ];
    kept(&root_label(number)).into_iter().chain(uses).collect()
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

/// Keys of the token among which the roots are.
pub fn kept_secret_keys() -> [Attribute; 2] {
    [Attribute::Token(true), Attribute::Class(ObjectClass::SECRET_KEY)]
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

/// A vault's key on its way from one root to another.
pub fn passing_vault_key() -> [Attribute; 8] {
    [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(true),
        Attribute::Encrypt(false),
        Attribute::Decrypt(false),
    ]
}

/// A signing key on its way from one root to another.
pub fn passing_signing_key() -> [Attribute; 7] {
    [
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::KeyType(KeyType::EC),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(true),
        Attribute::Sign(false),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_is_known_by_its_label() {
        for number in [1, 2, 10, u32::MAX] {
            assert_eq!(root_number(&root_label(number)), Some(number));
        }
        assert_eq!(root_label(1), ROOT_LABEL, "as before there were others");
        for other in [
            "talon-root-1",
            "talon-root-0",
            "talon-root-02",
            "talon-root-+2",
            "talon-root2",
            "talon-root-",
            "talon-mac",
            "",
        ] {
            assert_eq!(root_number(other), None, "{other}");
        }
    }
}
