//! What a transaction costs before anything runs: a node refuses one whose gas limit does not cover it.

use alloy_primitives::Address;

use crate::AccessList;

/// Of every transaction.
const BASE: u64 = 21_000;

/// Of one that creates a contract, on top (EIP-2).
const CREATE: u64 = 32_000;

/// Of the code that creates one, a word of 32 bytes (EIP-3860).
const CODE_WORD: u64 = 2;

/// Bytes of code that creates a contract, at most (EIP-3860).
pub const MAX_INIT_CODE: usize = 49_152;

/// The least gas limit that a node takes: the base, calldata at 4 gas for each zero byte and 16 for each other (EIP-2028),
/// the access list (EIP-2930); where there is no `to`, what a new contract takes; and no less than calldata's floor of 10
/// and 40 (EIP-7623).
pub fn least(to: Option<Address>, data: &[u8], list: &AccessList) -> u64 {
    let tokens = data.iter().map(|byte| if *byte == 0 { 1 } else { 4 }).sum::<u64>();
    let words = data.chunks(32).map(|_| CODE_WORD).sum::<u64>();
    let creation = if to.is_none() { CREATE + words } else { 0 };
    let ordinary = (BASE + tokens * 4 + creation).saturating_add(list.gas());
    ordinary.max(BASE + tokens * 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO: Option<Address> = Some(Address::ZERO);

    #[test]
    fn calldata_is_paid_for_by_the_byte() {
        let none = AccessList::default();
        let least = |data: &[u8]| least(TO, data, &none);
        assert_eq!(least(&[]), 21_000);
        // One zero byte is one token, another byte four; the floor is dearer than the old price.
        assert_eq!(least(&[0]), 21_010);
        assert_eq!(least(&[1]), 21_040);
        assert_eq!(least(&[0, 0, 7, 9]), 21_100);
        assert_eq!(least(&[1; 1000]), 61_000);
    }

    #[test]
    fn a_new_contract_is_paid_for_by_the_word_of_its_code() {
        let none = AccessList::default();
        assert_eq!(least(None, &[1; 32], &none), 53_000 + 32 * 16 + 2);
        assert_eq!(least(None, &[1; 33], &none), 53_000 + 33 * 16 + 4);
        // The floor has nothing on top.
        assert_eq!(least(None, &[1; 10_000], &none), 421_000);
    }

    #[test]
    fn a_long_list_outweighs_the_floor() {
        let account = crate::Accessed { address: alloy_primitives::Address::ZERO, storage_keys: Vec::new() };
        let list = AccessList::new(vec![account; 10]).unwrap();
        assert_eq!(least(TO, &[1; 10], &list), 21_000 + 160 + 24_000);
    }
}
