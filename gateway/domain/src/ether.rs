//! Native currency amounts: wei as 256-bit integers, decimal ether at the edge.

use alloy_primitives::U256;

use crate::{Error, Result};

/// Decimals of a native currency on every EVM chain.
const DECIMALS: usize = 18;

/// An amount of a chain's native currency in its smallest unit. Decimal text on the wire and in the database.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Wei(pub U256);

impl Wei {
    pub const ZERO: Self = Self(U256::ZERO);

    /// Parses decimal ether ("0.5", "12", "0.000000000000000001"), exact to 18 places: no sign, exponent,
    /// spaces or separators.
    ///
    /// # Errors
    /// `Invalid`, naming `field`.
    pub fn parse_ether(field: &str, text: &str) -> Result<Self> {
        let bad =
            || Error::invalid(field, "must be decimal ether such as \"0.5\", with at most 18 decimal places");
        let (whole, fraction) = match text.split_once('.') {
            Some((_, "")) => return Err(bad()),
            Some(parts) => parts,
            None => (text, ""),
        };
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty()
            || whole.len() > 60
            || fraction.len() > DECIMALS
            || !digits(whole)
            || !digits(fraction)
        {
            return Err(bad());
        }
        U256::from_str_radix(&format!("{whole}{fraction:0<DECIMALS$}"), 10).map(Self).map_err(|_| bad())
    }

    /// Parses a decimal integer of wei, at most 2^256 - 1.
    ///
    /// # Errors
    /// `Invalid`, naming `field`.
    pub fn parse_wei(field: &str, text: &str) -> Result<Self> {
        let bad = || Error::invalid(field, "must be a decimal integer of wei");
        if text.is_empty() || text.len() > 78 || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad());
        }
        U256::from_str_radix(text, 10).map(Self).map_err(|_| bad())
    }

    /// The amount as decimal ether, without trailing zeros: what a person reads.
    pub fn to_ether(self) -> String {
        let text = format!("{:0>width$}", self.0.to_string(), width = DECIMALS + 1);
        let (whole, fraction) = text.split_at(text.len() - DECIMALS);
        match fraction.trim_end_matches('0') {
            "" => whole.to_owned(),
            fraction => format!("{whole}.{fraction}"),
        }
    }

    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl std::fmt::Display for Wei {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl serde::Serialize for Wei {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Wei {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse_wei("amount", &text).map_err(|e| serde::de::Error::custom(e.detail()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ether_is_exact() {
        let wei = |text| Wei::parse_ether("value", text).unwrap().to_string();
        assert_eq!(wei("0.5"), "500000000000000000");
        assert_eq!(wei("0.000000000000000001"), "1");
        assert_eq!(wei("1000000"), "1000000000000000000000000");
        for bad in [
            "",
            ".",
            "1.",
            ".5",
            "-1",
            "+1",
            "1e3",
            " 1",
            "1 ",
            "0x1",
            "1,5",
            "0.0000000000000000001",
            "1.2.3",
            "٣",
        ] {
            assert!(Wei::parse_ether("value", bad).is_err(), "{bad:?} was taken");
        }
    }

    proptest! {
        #[test]
        fn ether_round_trips(low: u128, high in 0u64..1000) {
            let wei = Wei((U256::from(high) << 128) + U256::from(low));
            prop_assert_eq!(Wei::parse_ether("value", &wei.to_ether()).unwrap(), wei);
        }
    }
}
