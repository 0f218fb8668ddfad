//! The chains that a new installation knows.

use serde::Deserialize;

/// A chain as the registry is seeded with it. Its node's address is the operator's to give.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seed {
    /// Unique; how requests name the chain: `base-sepolia`.
    pub name: String,
    pub display_name: String,
    /// EIP-155.
    pub chain_id: u64,
    /// The currency's symbol: `ETH`.
    pub native_currency: String,
    pub explorer_url: Option<String>,
    pub is_testnet: bool,
}

const SEEDS: &str = include_str!("../chains.json");

/// All of them, in the file's order.
pub fn seeds() -> Vec<Seed> {
    // The file is compiled in, and a test reads it: it can't be broken here.
    serde_json::from_str(SEEDS).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_file_is_whole_and_unambiguous() {
        let read: Vec<Seed> = serde_json::from_str(SEEDS).unwrap();
        assert_eq!(read, seeds());
        let names: BTreeSet<_> = read.iter().map(|seed| &seed.name).collect();
        let ids: BTreeSet<_> = read.iter().map(|seed| seed.chain_id).collect();
        assert_eq!((names.len(), ids.len()), (read.len(), read.len()), "a name or a chain id appears twice");
        for seed in &read {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(seed.name.chars().all(plain), "{} can't be part of an address", seed.name);
            assert!(seed.name.parse::<u64>().is_err(), "{} could be a chain id", seed.name);
            assert!(i64::try_from(seed.chain_id).is_ok(), "{} does not fit a BIGINT", seed.chain_id);
            assert!(
                seed.explorer_url.as_ref().is_none_or(|url| url.starts_with("https://")),
                "{}",
                seed.name
            );
        }
        let main = read.iter().find(|seed| seed.chain_id == 1).unwrap();
        assert_eq!((main.name.as_str(), main.native_currency.as_str()), ("ethereum", "ETH"));
    }
}
