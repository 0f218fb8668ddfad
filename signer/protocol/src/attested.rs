//! Statements of the signer that live in somebody else's database.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Length of the authentication code: HMAC-SHA-256.
pub const MAC_LENGTH: usize = 32;

/// What the kind of statement is called inside its authentication code, so that no statement of one kind
/// passes as another.
pub trait Statement: Serialize + DeserializeOwned {
    /// Unique, with the format's version: `talon/principal/1`.
    const DOMAIN: &'static str;
}

/// A statement `T` with the signer's authentication code over it: the code, then the statement as JSON.
///
/// Anyone may look at it with [`Attested::peek`]; only the signer can tell whether it is genuine.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attested<T> {
    #[serde(with = "serde_bytes")]
    bytes: Vec<u8>,
    #[serde(skip)]
    statement: PhantomData<fn() -> T>,
}

impl<T: Statement> Attested<T> {
    /// Puts code and body together. Only the signer can make a code that it will accept.
    pub fn from_parts(mac: [u8; MAC_LENGTH], body: &[u8]) -> Self {
        Self::from_bytes([&mac[..], body].concat())
    }

    /// As read from the database.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self { bytes, statement: PhantomData }
    }

    /// As stored in the database.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Code and body, or `None` if it is too short to hold a code.
    pub fn parts(&self) -> Option<(&[u8; MAC_LENGTH], &[u8])> {
        self.bytes.split_first_chunk()
    }

    /// What the statement says, without knowing whether the signer said it.
    ///
    /// # Errors
    /// If the bytes are no statement of this kind.
    pub fn peek(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(self.bytes.get(MAC_LENGTH..).unwrap_or_default())
    }
}

impl<T: Statement> std::fmt::Debug for Attested<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Attested<{}>({} bytes)", T::DOMAIN, self.bytes.len())
    }
}
