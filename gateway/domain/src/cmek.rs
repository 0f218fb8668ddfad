//! Values that a customer encrypts with a key of their own (CMEK) before they come here.
//!
//! Of the key, Talon keeps a fingerprint alone. A value is base64 of `0x01 | IV (12 bytes) | ciphertext | tag (16 bytes)`:
//! AES-256-GCM without further data.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::{Error, Result, secret};

/// Bytes of a customer's key.
pub const KEY: usize = 32;
/// Bytes of an IV and of a tag (NIST SP 800-38D, §5.2.1).
pub const IV: usize = 12;
pub const TAG: usize = 16;
/// First byte of an encrypted value.
pub const FORMAT: u8 = 1;

/// How a fingerprint may begin.
const PREFIX: &str = "sha256:";

/// SHA-256 of a customer's key: tells one key from another and nothing about either. In text, 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    pub fn of(key: &[u8; KEY]) -> Self {
        Self(secret::sha256(key))
    }

    /// # Errors
    /// `Invalid`, naming the field, for anything but 64 hex digits, with or without `sha256:` in front.
    pub fn parse(field: &str, text: &str) -> Result<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.strip_prefix(PREFIX).unwrap_or(text), &mut bytes)
            .map_err(|_| Error::invalid(field, "must be the key's SHA-256, 64 hex digits"))?;
        Ok(Self(bytes))
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::str::FromStr for Fingerprint {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::parse("fingerprint", text)
    }
}

/// An encrypted value, taken apart.
pub struct Encrypted {
    pub iv: [u8; IV],
    /// With its tag at the end.
    pub ciphertext: Vec<u8>,
}

impl Encrypted {
    /// `None` for anything else than the format above. Whether its tag is right, only the key tells.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let bytes = STANDARD.decode(value).ok()?;
        let rest = bytes.strip_prefix(&[FORMAT])?;
        let (iv, ciphertext) = rest.split_first_chunk::<IV>()?;
        (ciphertext.len() >= TAG).then(|| Self { iv: *iv, ciphertext: ciphertext.to_vec() })
    }

    /// As it is stored.
    pub fn to_text(&self) -> String {
        STANDARD.encode([&[FORMAT], self.iv.as_slice(), &self.ciphertext].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_the_format_or_nothing() {
        let whole = [&[1_u8][..], &[7; IV], b"ciphertexts", &[9; TAG]].concat();
        let text = STANDARD.encode(&whole);
        let parsed = Encrypted::parse(text.as_bytes()).unwrap();
        assert_eq!((parsed.iv, parsed.ciphertext.len()), ([7; IV], 11 + TAG));
        assert_eq!(parsed.to_text(), text);
        // The empty value has a tag, too.
        assert!(Encrypted::parse(STANDARD.encode(&whole[..1 + IV + TAG]).as_bytes()).is_some());
        let version_2 = [&[2_u8][..], &whole[1..]].concat();
        for bad in [
            String::new(),
            "hunter2".to_owned(),
            STANDARD.encode(&whole[..IV + TAG]),
            STANDARD.encode(version_2),
            text.replace('=', ""),
            format!(" {text}"),
            format!("{text}\n"),
            hex::encode(&whole),
        ] {
            assert!(Encrypted::parse(bad.as_bytes()).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn fingerprints_are_64_hex_digits() {
        let of = Fingerprint::of(&[1; KEY]);
        let text = of.to_string();
        assert_eq!(text, "72cd6e8422c407fb6d098690f1130b7ded7ec2f7f5e1d30bd9d521f015363793");
        for good in [text.clone(), text.to_uppercase(), format!("sha256:{text}")] {
            assert_eq!(Fingerprint::parse("f", &good).unwrap(), of);
        }
        for bad in
            ["", &text[1..], &format!("{text}0"), &format!("sha256: {text}"), &format!("0x{}", &text[2..])]
        {
            assert!(Fingerprint::parse("f", bad).unwrap_err().detail().starts_with("f: must be"), "{bad:?}");
        }
    }
}
