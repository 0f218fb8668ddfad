//! Bytes on the wire: MessagePack frames, at most [`MAX_FRAME`] long.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{SecretBytes, SecretText};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroize as _;

/// A 1 MiB value, its sealed form, and room for records.
pub const MAX_FRAME: usize = 4 * 1024 * 1024;

/// Bytes that are not secret: sealed values, wrapped keys, raw transactions. Bytes on the wire, base64 inside a
/// statement's JSON.
#[derive(Clone, PartialEq, Eq)]
pub struct Blob(pub Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&STANDARD.encode(&self.0))
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
            STANDARD.decode(text.as_bytes()).map(Self).map_err(serde::de::Error::custom)
        } else {
            serde_bytes::ByteBuf::deserialize(deserializer).map(|bytes| Self(bytes.into_vec()))
        }
    }
}

impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Blob({} bytes)", self.0.len())
    }
}

/// Secret bytes that must cross the socket: a value, a credential, a token. Zeroed when dropped, a blank `Debug`.
#[derive(Clone)]
pub struct Secret(SecretBytes);

impl Secret {
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl From<Vec<u8>> for Secret {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<&SecretText> for Secret {
    fn from(text: &SecretText) -> Self {
        Self(text.expose().as_bytes().to_vec().into())
    }
}

impl From<Secret> for SecretBytes {
    fn from(secret: Secret) -> Self {
        secret.0
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.expose())
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut bytes = serde_bytes::ByteBuf::deserialize(deserializer)?;
        let secret = Self(bytes.to_vec().into());
        bytes.zeroize();
        Ok(secret)
    }
}
