//! What a transaction counts for: amounts, by what they are amounts of.

use std::collections::BTreeMap;

use alloy_primitives::{Address, U256};
use domain::Wei;
use serde::{Deserialize, Serialize};

/// 2^192. What is more counts as that: it is above every limit, and sums of it don't overflow.
pub const MOST: U256 = U256::from_limbs([0, 0, 0, 1]);

/// What is counted in any 24 hours, of one agent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Meter {
    /// Native value, in wei, over all chains.
    Value,
    /// Transactions.
    Count,
    /// Fees at their caps, in wei.
    Fees,
    /// Native value to an address, in wei.
    Recipient(Address),
    /// A token's smallest units, on a chain.
    Token(u64, Address),
}

/// Amounts by meter; a meter that is not in it has none.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct Tally(BTreeMap<Meter, U256>);

/// As it lies in the ledger. Up to format 4 a transaction counted for its native value alone.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Stored {
    Native(Wei),
    All(Vec<(Meter, U256)>),
}

impl From<Stored> for Tally {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::Native(value) => Self::native(value.0),
            Stored::All(all) => Self(all.into_iter().collect()),
        }
    }
}

impl From<Tally> for Stored {
    fn from(tally: Tally) -> Self {
        Self::All(tally.0.into_iter().collect())
    }
}

impl Tally {
    /// One transaction with such a value.
    pub fn native(value: U256) -> Self {
        Self(BTreeMap::from([(Meter::Value, value), (Meter::Count, U256::ONE)]))
    }

    pub fn get(&self, meter: Meter) -> U256 {
        self.0.get(&meter).copied().unwrap_or_default()
    }

    pub fn iter(&self) -> impl Iterator<Item = (Meter, U256)> {
        self.0.iter().map(|(meter, amount)| (*meter, *amount))
    }

    /// Counts an amount of one transaction, up to [`MOST`].
    pub fn count(&mut self, meter: Meter, amount: U256) {
        let sum = self.get(meter).saturating_add(amount).min(MOST);
        if !sum.is_zero() {
            self.0.insert(meter, sum);
        }
    }

    /// Adds a transaction to a sum of many.
    pub fn add(&mut self, one: &Self) {
        for (meter, amount) in one.iter() {
            let sum = self.0.entry(meter).or_default();
            *sum = sum.saturating_add(amount);
        }
    }

    /// Takes a transaction out of a sum that it was added to.
    pub fn take(&mut self, one: &Self) {
        for (meter, amount) in one.iter() {
            let left = self.get(meter).saturating_sub(amount);
            if left.is_zero() {
                self.0.remove(&meter);
            } else {
                self.0.insert(meter, left);
            }
        }
    }

    /// Of two transactions of which one will be mined, the larger amount of each.
    pub fn larger(&self, other: &Self) -> Self {
        let mut larger = self.clone();
        for (meter, amount) in other.iter() {
            let most = larger.0.entry(meter).or_default();
            *most = amount.max(*most);
        }
        larger
    }

    /// What it has more than another.
    pub fn above(&self, other: &Self) -> Self {
        let mut more = self.clone();
        more.take(other);
        more
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_from_before_is_one_transaction_of_that_value() {
        let old: Tally = serde_json::from_str("\"1000\"").unwrap();
        assert_eq!(old, Tally::native(U256::from(1000)));
        let text = serde_json::to_string(&old).unwrap();
        assert_eq!(serde_json::from_str::<Tally>(&text).unwrap(), old);
    }

    #[test]
    fn amounts_are_bounded_and_sums_are_exact() {
        let token = Meter::Token(1, Address::ZERO);
        let mut huge = Tally::default();
        huge.count(token, U256::MAX);
        huge.count(token, U256::MAX);
        huge.count(Meter::Value, U256::ZERO);
        assert_eq!(huge.iter().collect::<Vec<_>>(), [(token, MOST)]);
        let mut sum = Tally::native(U256::ONE);
        for _ in 0..1000 {
            sum.add(&huge);
        }
        for _ in 0..1000 {
            sum.take(&huge);
        }
        assert_eq!(sum, Tally::native(U256::ONE));
    }
}
