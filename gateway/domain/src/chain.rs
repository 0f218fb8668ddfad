//! What a chain may be called.

use crate::{Error, Result};

/// The largest chain id that every JSON client keeps exact: 2⁵³ − 1.
pub const LARGEST_ID: u64 = (1 << 53) - 1;

/// How requests name a chain: `base-sepolia`. It is part of paths (`keys/base-sepolia-signer`) and of a setting's name
/// (`TALON_RPC_BASE_SEPOLIA`), and starts with a letter, so that it is never taken for a chain id.
///
/// # Errors
/// `Invalid`, naming `name`.
pub fn name(text: &str) -> Result<String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let fits = text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-')
        && text.chars().all(plain);
    if fits {
        Ok(text.to_owned())
    } else {
        Err(Error::invalid(
            "name",
            "must have 1 to 64 lower-case letters, digits and hyphens, with a letter first and no hyphen last",
        ))
    }
}

/// An EIP-155 chain id.
///
/// # Errors
/// `Invalid`, naming `chain_id`.
pub fn id(number: u64) -> Result<u64> {
    if (1..=LARGEST_ID).contains(&number) {
        Ok(number)
    } else {
        Err(Error::invalid("chain_id", format!("must be 1 to {LARGEST_ID}")))
    }
}

/// A currency's symbol: `ETH`.
///
/// # Errors
/// `Invalid`, naming `native_currency`.
pub fn currency(text: &str) -> Result<String> {
    let fits = (1..=16).contains(&text.chars().count())
        && !text.chars().any(|c| c.is_whitespace() || c.is_control());
    if fits {
        Ok(text.to_owned())
    } else {
        Err(Error::invalid("native_currency", "must be a symbol of 1 to 16 characters, such as ETH"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_be_part_of_paths_and_are_never_ids() {
        for good in ["a", "base-sepolia", "zk2-l2", &"x".repeat(64)] {
            assert_eq!(name(good).unwrap(), good);
        }
        for bad in
            ["", "1", "31337", "1inch", "Base", "a_b", "a b", "a/b", "-a", "a-", "é", "a\n", &"x".repeat(65)]
        {
            assert!(name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn ids_and_symbols_have_bounds() {
        assert!(id(0).is_err() && id(LARGEST_ID + 1).is_err());
        assert_eq!((id(1).unwrap(), id(LARGEST_ID).unwrap()), (1, LARGEST_ID));
        for bad in ["", "E TH", "\u{1b}[31m", &"X".repeat(17)] {
            assert!(currency(bad).is_err(), "{bad:?}");
        }
        assert_eq!(currency("xDAI").unwrap(), "xDAI");
    }
}
