//! Values that must not leak: they can't be printed, compared or serialised by accident.

use base64::Engine as _;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::{Error, Result};

/// Bytes of a stack that are overwritten: more than the frames of a hash take.
const FRAMES: usize = 16 * 1024;

/// Does something with a secret, and overwrites what that leaves on the stack: a hash keeps the last bytes that it was given, and
/// a thread that rests keeps them as long as it rests.
pub fn leaving_no_trace<T>(work: impl FnOnce() -> T) -> T {
    #[inline(never)]
    fn within_a_frame<T>(work: impl FnOnce() -> T) -> T {
        work()
    }
    #[inline(never)]
    fn overwrite() {
        std::hint::black_box(&mut [0_u8; FRAMES]);
    }
    let done = within_a_frame(work);
    overwrite();
    done
}

/// SHA-256 of a secret.
pub fn sha256(secret: &[u8]) -> [u8; 32] {
    leaving_no_trace(|| Sha256::digest(secret).into())
}

/// A secret text: a value, a password, an API key, a token. Zeroed when dropped; no `Serialize`, a blank `Debug`.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct SecretText(SecretString);

impl SecretText {
    /// The text itself. Each use is a place to review.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretText(…)")
    }
}

impl schemars::JsonSchema for SecretText {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SecretText".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string" })
    }
}

/// Secret bytes on their way between the gateway and the signer. Zeroed when dropped, a blank `Debug`.
#[derive(Clone)]
pub struct SecretBytes(SecretSlice<u8>);

impl SecretBytes {
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

impl From<Vec<u8>> for SecretBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl std::fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretBytes(…)")
    }
}

/// Letters and digits that nobody mistakes for each other, one for each random byte: five bits each. For codes that people
/// read and type.
pub fn letters<const N: usize>(random: [u8; N]) -> [u8; N] {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    random.map(|byte| ALPHABET[usize::from(byte % 32)])
}

/// A value on its way out to a caller who may have it: the one type of the two that serialises. Grep for
/// `Revealed::new` to find every way out.
#[derive(Serialize, schemars::JsonSchema)]
#[serde(transparent)]
#[schemars(transparent)]
pub struct Revealed(#[schemars(with = "String")] Zeroizing<String>);

impl Revealed {
    pub fn new(text: &SecretText) -> Self {
        Self(Zeroizing::new(text.expose().to_owned()))
    }

    /// An opened value. Values are text; bytes that are not UTF-8 can only come from a broken store.
    ///
    /// # Errors
    /// `Internal` if the bytes are not UTF-8.
    pub fn from_bytes(bytes: &SecretBytes) -> Result<Self> {
        std::str::from_utf8(bytes.expose())
            .map(|text| Self(Zeroizing::new(text.to_owned())))
            .map_err(|_| Error::internal("an opened value is not UTF-8"))
    }
}

/// What a secret is. Decides who may read it and what it can be used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretType {
    Password,
    ApiKey,
    PrivateKey,
    Certificate,
    File,
    Note,
    SshKey,
    EnvBundle,
    #[default]
    Generic,
}

impl SecretType {
    pub const ALL: [Self; 9] = [
        Self::Password,
        Self::ApiKey,
        Self::PrivateKey,
        Self::Certificate,
        Self::File,
        Self::Note,
        Self::SshKey,
        Self::EnvBundle,
        Self::Generic,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::ApiKey => "api_key",
            Self::PrivateKey => "private_key",
            Self::Certificate => "certificate",
            Self::File => "file",
            Self::Note => "note",
            Self::SshKey => "ssh_key",
            Self::EnvBundle => "env_bundle",
            Self::Generic => "generic",
        }
    }

    /// Keys that an agent with `intents_api_enabled` may use but never read, write or share.
    pub fn is_key(self) -> bool {
        matches!(self, Self::PrivateKey | Self::SshKey)
    }
}

impl std::str::FromStr for SecretType {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|t| t.as_str() == text).ok_or_else(|| {
            Error::invalid("type", format!("must be one of {}", Self::ALL.map(Self::as_str).join(", ")))
        })
    }
}

/// Makes a key such as `ocv_…` from 32 random bytes (base64url, no padding: RFC 4648 §5).
pub fn api_key(prefix: &str, random: &[u8; 32]) -> SecretText {
    let mut text = String::with_capacity(prefix.len() + 43);
    text.push_str(prefix);
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode_string(random, &mut text);
    SecretText::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_print() {
        let text = SecretText::from("hunter2".to_owned());
        let bytes = SecretBytes::from(b"hunter2".to_vec());
        assert!(!format!("{text:?} {bytes:?}").contains("hunter2"));
    }

    #[test]
    fn keys_are_base64url_without_padding() {
        assert_eq!(api_key("ocv_", &[0xff; 32]).expose(), format!("ocv_{}8", "_".repeat(42)));
    }
}
