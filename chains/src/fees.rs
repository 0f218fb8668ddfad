//! What a unit of gas costs now.

use serde::Deserialize;

use crate::quantity::Quantity;

/// What the chain asks for now, in wei a unit of gas. Advice: the agent's caps decide.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quote {
    Legacy {
        gas_price: u128,
    },
    /// EIP-1559. The cap leaves room for the base fee to double, which takes six full blocks.
    Eip1559 {
        /// Of the latest block or the next, whichever is higher.
        base_fee: u128,
        max_fee_per_gas: u128,
        max_priority_fee_per_gas: u128,
    },
}

impl Quote {
    /// The base fee, where it is more than `cap`: signed at less, a transaction is in no block, and its nonce is held against
    /// everyone who shares the key.
    pub fn base_fee_above(&self, cap: u128) -> Option<u128> {
        match *self {
            Self::Eip1559 { base_fee, .. } => Some(base_fee).filter(|base_fee| *base_fee > cap),
            Self::Legacy { .. } => None,
        }
    }
}

/// What the latest block tells of the next ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    pub quote: Quote,
    /// Of all that is in one block together. `None`: the node does not say.
    pub gas_limit: Option<u64>,
}

/// The most that one transaction may ask for since EIP-7825.
pub(crate) const GAS_CAP: u64 = 1 << 24;
/// Where that is known to be in force: Ethereum, Sepolia, Hoodi. Nobody can be asked about it.
const CAPPED: [u64; 3] = [1, 11_155_111, 560_048];

impl Head {
    /// The most gas that a transaction may ask for, to be in a block of this chain. `None`: it is not known.
    pub fn most_gas(&self, chain_id: u64) -> Option<u64> {
        let cap = CAPPED.contains(&chain_id).then_some(GAS_CAP);
        self.gas_limit.into_iter().chain(cap).min()
    }
}

/// Blocks whose tips are looked at.
pub(crate) const BLOCKS: &str = "0xa";
/// Of the tips in a block, by gas: half paid less.
pub(crate) const PERCENTILE: u8 = 50;
/// Below it go-ethereum's block builder leaves a transaction out (`--miner.gasprice`: 0.001 gwei).
const LEAST_TIP: u128 = 1_000_000;

/// What is read of the latest block.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Header {
    /// `None` before EIP-1559.
    pub base_fee_per_gas: Option<Quantity<u128>>,
    pub gas_limit: Option<Quantity<u64>>,
}

/// `eth_feeHistory`: what the last blocks cost.
#[derive(Default, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FeeHistory {
    /// One more than there are blocks: the last is the next block's.
    base_fee_per_gas: Vec<Quantity<u128>>,
    /// Of each block, the tip at each percentile; absent for blocks that a node has pruned.
    #[serde(default)]
    reward: Option<Vec<Vec<Quantity<u128>>>>,
}

impl FeeHistory {
    pub(crate) fn next_base_fee(&self) -> Option<u128> {
        self.base_fee_per_gas.last().map(|Quantity(wei)| *wei)
    }

    /// The median of what blocks were paid; blocks that were paid nothing were empty and say nothing.
    pub(crate) fn tip(&self) -> Option<u128> {
        let blocks = self.reward.iter().flatten();
        let mut tips: Vec<u128> = blocks
            .filter_map(|block| block.first())
            .map(|Quantity(wei)| *wei)
            .filter(|tip| *tip > 0)
            .collect();
        tips.sort_unstable();
        tips.get(tips.len() / 2).copied()
    }
}

impl Quote {
    pub(crate) fn eip1559(base_fee: u128, tip: u128) -> Self {
        let tip = tip.max(LEAST_TIP);
        Self::Eip1559 {
            base_fee,
            max_fee_per_gas: base_fee.saturating_mul(2).saturating_add(tip),
            max_priority_fee_per_gas: tip,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn history(base_fees: &[u128], tips: &[u128]) -> FeeHistory {
        FeeHistory {
            base_fee_per_gas: base_fees.iter().map(|fee| Quantity(*fee)).collect(),
            reward: Some(tips.iter().map(|tip| vec![Quantity(*tip)]).collect()),
        }
    }

    #[test]
    fn the_tip_is_the_median_of_blocks_that_were_paid() {
        assert_eq!(history(&[7, 8], &[0, 30, 0, 10, 20]).tip(), Some(20));
        assert_eq!(history(&[7, 8], &[0, 0]).tip(), None);
        assert_eq!(history(&[7, 8], &[]).tip(), None);
        // One block full of bribes moves nothing.
        assert_eq!(history(&[7, 8], &[10, 10, 10, u128::MAX]).tip(), Some(10));
        let none: FeeHistory =
            serde_json::from_str(r#"{"baseFeePerGas":["0x7","0x8"],"reward":null}"#).unwrap();
        assert_eq!((none.tip(), none.next_base_fee()), (None, Some(8)));
        let rewards: FeeHistory = serde_json::from_str(r#"{"baseFeePerGas":[],"reward":[[]]}"#).unwrap();
        assert_eq!((rewards.tip(), rewards.next_base_fee()), (None, None));
    }

    #[test]
    fn one_transaction_has_no_more_than_a_block_and_on_ethereum_no_more_than_its_cap() {
        let head = |gas_limit| Head { quote: Quote::Legacy { gas_price: 1 }, gas_limit };
        assert_eq!(head(Some(60_000_000)).most_gas(31_337), Some(60_000_000));
        assert_eq!(head(Some(60_000_000)).most_gas(1), Some(GAS_CAP));
        assert_eq!(head(Some(9_000_000)).most_gas(1), Some(9_000_000));
        assert_eq!((head(None).most_gas(1), head(None).most_gas(2)), (Some(GAS_CAP), None));
    }

    proptest! {
        #[test]
        fn a_quote_always_makes_a_valid_transaction(base: u128, tip: u128) {
            let Quote::Eip1559 { max_fee_per_gas: cap, max_priority_fee_per_gas: tip, .. } = Quote::eip1559(base, tip)
            else { panic!("not EIP-1559") };
            // EIP-1559: a tip above the cap makes the transaction invalid.
            prop_assert!(tip <= cap && tip >= LEAST_TIP && cap >= base);
        }
    }
}
