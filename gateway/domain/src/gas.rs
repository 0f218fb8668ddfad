//! What a transaction costs before anything runs: a node refuses one whose gas limit does not cover it.

use crate::AccessList;

/// Of every transaction.
const BASE: u64 = 21_000;

/// The least gas limit that a node takes for a call: the base, calldata at 4 gas for each zero byte and 16 for each
/// other (EIP-2028), the access list (EIP-2930); and no less than calldata's floor of 10 and 40 (EIP-7623).
pub fn least(data: &[u8], list: &AccessList) -> u64 {
    let tokens = data.iter().map(|byte| if *byte == 0 { 1 } else { 4 }).sum::<u64>();
    let ordinary = (BASE + tokens * 4).saturating_add(list.gas());
    ordinary.max(BASE + tokens * 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calldata_is_paid_for_by_the_byte() {
        let none = AccessList::default();
        assert_eq!(least(&[], &none), 21_000);
        // One zero byte is one token, another byte four; the floor is dearer than the old price.
        assert_eq!(least(&[0], &none), 21_010);
        assert_eq!(least(&[1], &none), 21_040);
        assert_eq!(least(&[0, 0, 7, 9], &none), 21_100);
        assert_eq!(least(&[1; 1000], &none), 61_000);
    }

    #[test]
    fn a_long_list_outweighs_the_floor() {
        let account = crate::Accessed { address: alloy_primitives::Address::ZERO, storage_keys: Vec::new() };
        let list = AccessList::new(vec![account; 10]).unwrap();
        assert_eq!(least(&[1; 10], &list), 21_000 + 160 + 24_000);
    }
}
