//! Numbers as nodes write them.

use alloy_primitives::U256;
use serde::Deserialize;

/// A QUANTITY (<https://ethereum.org/developers/docs/apis/json-rpc/#hex-encoding>): `0x` and hexadecimal digits.
/// Strict, for a nonce or a fee that is half read is a wrong one: no `0x` alone, no decimals, nothing too large.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Deserialize)]
#[serde(try_from = "String", bound = "T: TryFrom<U256>")]
pub(crate) struct Quantity<T>(pub T);

impl<T: TryFrom<U256>> TryFrom<String> for Quantity<T> {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let digits = text.strip_prefix("0x").ok_or("a number that does not begin with 0x")?;
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err("a number that is not hexadecimal");
        }
        let number = U256::from_str_radix(digits, 16).map_err(|_| "a number that is too large")?;
        T::try_from(number).map(Self).map_err(|_| "a number that is too large")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: TryFrom<U256>>(text: &str) -> Option<T> {
        serde_json::from_value(text.into()).ok().map(|Quantity(number)| number)
    }

    #[test]
    fn numbers_are_read_whole_or_not_at_all() {
        assert_eq!(read::<u64>("0x0"), Some(0));
        assert_eq!(read::<u64>("0x5208"), Some(21_000));
        assert_eq!(read::<u64>("0xFFFFFFFFffffffff"), Some(u64::MAX));
        assert_eq!(read::<u64>("0x0000000000000000000000001"), Some(1), "some nodes pad");
        assert_eq!(read::<U256>(&format!("0x{}", "f".repeat(64))), Some(U256::MAX));
        for bad in [
            "",
            "0",
            "12",
            "0x",
            "0X1",
            "0x-1",
            "0x+1",
            "0x1_0",
            "0xg",
            " 0x1",
            "0x1 ",
            "-0x1",
            "0b1",
            "0x10000000000000000",
        ] {
            assert_eq!(read::<u64>(bad), None, "{bad}");
        }
        assert_eq!(read::<U256>(&format!("0x1{}", "0".repeat(64))), None);
        assert!(serde_json::from_str::<Quantity<u64>>("1").is_err());
    }
}
