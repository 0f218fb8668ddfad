//! The keys of a software keystore, and how they lie in its file.

use zeroize::Zeroizing;

use super::file::fill;
use crate::keys::roots::{FIRST, Roots};
use crate::keys::{Key, OpenError};

/// The format with one root key: root, MAC and token key.
pub const ONE_ROOT: u16 = 1;
/// The format since there are rotations: MAC and token key, then each root with its number (u32) ahead, the newest first.
pub const NUMBERED: u16 = 2;

pub struct RootKeys {
    /// HMAC-SHA-256.
    pub mac: Key,
    /// Ed25519's seed.
    pub token: Key,
    pub newest: Root,
    /// While a rotation is under way.
    pub older: Option<Root>,
}

/// AES-256: wraps vault keys and signing keys.
pub struct Root {
    pub number: u32,
    pub key: Key,
}

impl Root {
    fn fresh(number: u32) -> Result<Self, OpenError> {
        Ok(Self { number, key: random()? })
    }
}

impl RootKeys {
    pub fn fresh() -> Result<Self, OpenError> {
        Ok(Self { mac: random()?, token: random()?, newest: Root::fresh(FIRST)?, older: None })
    }

    /// With a new root before the one that there was.
    pub fn rotated(self) -> Result<Self, OpenError> {
        if let Some(older) = self.older {
            return Err(OpenError::Rotating(older.number));
        }
        let number = self.newest.number.checked_add(1).ok_or(OpenError::NoMoreRoots)?;
        Ok(Self { newest: Root::fresh(number)?, older: Some(self.newest), ..self })
    }

    /// Without the older root.
    pub fn retired(self) -> Result<Self, OpenError> {
        match self.older {
            Some(_) => Ok(Self { older: None, ..self }),
            None => Err(OpenError::OneRoot),
        }
    }

    pub fn roots(&self) -> Roots {
        Roots { newest: self.newest.number, older: self.older.as_ref().map(|root| root.number) }
    }

    /// The format, the oldest that has room for it, and the bytes.
    pub fn to_bytes(&self) -> (u16, Zeroizing<Vec<u8>>) {
        // Room for all of it: a vector that grows leaves copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(256));
        if self.newest.number == FIRST {
            for key in [&self.newest.key, &self.mac, &self.token] {
                bytes.extend_from_slice(&**key);
            }
            return (ONE_ROOT, bytes);
        }
        bytes.extend_from_slice(&*self.mac);
        bytes.extend_from_slice(&*self.token);
        for root in std::iter::once(&self.newest).chain(&self.older) {
            bytes.extend_from_slice(&root.number.to_be_bytes());
            bytes.extend_from_slice(&*root.key);
        }
        (NUMBERED, bytes)
    }

    /// `None`: no such bytes were ever written.
    pub fn from_bytes(format: u16, mut bytes: &[u8]) -> Option<Self> {
        let keys = if format == ONE_ROOT {
            let newest = Root { number: FIRST, key: key(&mut bytes)? };
            Self { newest, mac: key(&mut bytes)?, token: key(&mut bytes)?, older: None }
        } else {
            let (mac, token, newest) = (key(&mut bytes)?, key(&mut bytes)?, root(&mut bytes)?);
            let older = if bytes.is_empty() { None } else { Some(root(&mut bytes)?) };
            Self { mac, token, newest, older }
        };
        let in_order = keys.older.as_ref().is_none_or(|older| older.number < keys.newest.number);
        (bytes.is_empty() && in_order).then_some(keys)
    }
}

fn key(bytes: &mut &[u8]) -> Option<Key> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(Key::new(*first))
}

fn root(bytes: &mut &[u8]) -> Option<Root> {
    let (number, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    let number = u32::from_be_bytes(*number);
    (number >= FIRST).then_some(Root { number, key: key(bytes)? })
}

fn random() -> Result<Key, OpenError> {
    let mut key = Key::default();
    fill(&mut *key)?;
    Ok(key)
}
