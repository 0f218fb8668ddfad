//! Values made here: from the system's randomness, each character as likely as the others.

use serde::Deserialize;
use zeroize::Zeroizing;

use crate::{Result, SecretText};

/// Characters of a generated value.
pub const LENGTHS: std::ops::RangeInclusive<usize> = 8..=4096;
pub const DEFAULT_LENGTH: usize = 32;

/// What a generated value is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Charset {
    /// `A-Z`, `a-z`, `0-9`: 5.95 bits a character.
    #[default]
    Alphanumeric,
    /// `0-9`, `a-f`: 4 bits a character.
    Hex,
    /// RFC 4648 §5: 6 bits a character.
    Base64url,
    /// Every printable character of ASCII but the space: 6.55 bits a character.
    #[serde(alias = "printable")]
    Ascii,
    /// `0-9`: 3.32 bits a character.
    Digits,
}

const ALPHANUMERIC: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const BASE64URL: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const HEX: &[u8] = b"0123456789abcdef";
const DIGITS: &[u8] = b"0123456789";
const PRINTABLE: &[u8] =
    b"!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~";

/// The order of secp256k1's group (SEC 2 §2.4.1); a key is below it and not zero.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xba,
    0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
];

impl Charset {
    fn characters(self) -> &'static [u8] {
        match self {
            Self::Alphanumeric => ALPHANUMERIC,
            Self::Hex => HEX,
            Self::Base64url => BASE64URL,
            Self::Ascii => PRINTABLE,
            Self::Digits => DIGITS,
        }
    }
}

/// Fills with random bytes.
pub type Random<'a> = &'a mut dyn FnMut(&mut [u8]) -> Result<()>;

/// A text of so many characters.
///
/// # Errors
/// Whatever keeps `random` from giving bytes.
pub fn text(charset: Charset, length: usize, random: Random<'_>) -> Result<SecretText> {
    let characters = charset.characters();
    // A byte beyond the last whole multiple would make the first characters likelier.
    let fair = 256 - 256 % characters.len();
    let mut bytes = Zeroizing::new([0; 256]);
    let mut text = String::with_capacity(length);
    while text.len() < length {
        random(&mut *bytes)?;
        let fitting = bytes.iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < fair);
        let missing = length - text.len();
        text.extend(fitting.take(missing).map(|byte| char::from(characters[byte % characters.len()])));
    }
    Ok(SecretText::from(text))
}

/// A private key of secp256k1: 32 bytes as `0x` and hex.
///
/// # Errors
/// Whatever keeps `random` from giving bytes.
pub fn private_key(random: Random<'_>) -> Result<SecretText> {
    let mut key = Zeroizing::new([0; 32]);
    while *key == [0; 32] || *key >= ORDER {
        random(&mut *key)?;
    }
    let mut text = String::with_capacity(66);
    text.push_str("0x");
    for byte in key.iter() {
        text.extend([byte >> 4, byte & 15].map(|half| char::from(HEX[usize::from(half)])));
    }
    Ok(SecretText::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Charset; 5] =
        [Charset::Alphanumeric, Charset::Hex, Charset::Base64url, Charset::Ascii, Charset::Digits];

    #[test]
    fn every_byte_gives_each_character_as_often_as_any_other() {
        // All bytes in turn: 256 at a time, as they are asked for.
        let mut all = |bytes: &mut [u8]| {
            for (value, byte) in (0..=255).zip(bytes) {
                *byte = value;
            }
            Ok(())
        };
        for charset in ALL {
            let characters = charset.characters();
            let fair = 256 - 256 % characters.len();
            let text = text(charset, fair, &mut all).unwrap();
            for character in characters {
                let count = text.expose().bytes().filter(|byte| byte == character).count();
                assert_eq!(count, fair / characters.len(), "{charset:?} {}", char::from(*character));
            }
        }
        assert_eq!(PRINTABLE, (0x21..=0x7e).collect::<Vec<u8>>());
    }

    #[test]
    fn lengths_are_exact() {
        let mut seed = 1_u8;
        let mut random = |bytes: &mut [u8]| {
            for byte in bytes {
                seed = seed.wrapping_mul(13).wrapping_add(7);
                *byte = seed;
            }
            Ok(())
        };
        for charset in ALL {
            for length in [8, 32, 257, 4096] {
                assert_eq!(text(charset, length, &mut random).unwrap().expose().len(), length);
            }
        }
    }

    #[test]
    fn a_key_is_within_the_group() {
        let mut below = ORDER;
        below[31] -= 1;
        let mut draws = [[0; 32], [0xff; 32], ORDER, below].into_iter();
        let mut random = |bytes: &mut [u8]| {
            bytes.copy_from_slice(&draws.next().unwrap());
            Ok(())
        };
        let key = private_key(&mut random).unwrap();
        assert_eq!(key.expose(), "0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364140");
    }
}
