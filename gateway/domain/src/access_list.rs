//! Access lists (EIP-2930): what a transaction says beforehand that it will touch.

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Accounts and storage slots that are paid for beforehand, and are cheaper to touch then. As JSON it is what
/// `eth_sendTransaction` takes as `accessList`. Empty: none.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccessList(Vec<Accessed>);

/// One account of an access list, and slots of its storage.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accessed {
    pub address: Address,
    #[serde(rename = "storageKeys")]
    pub storage_keys: Vec<B256>,
}

impl AccessList {
    /// Addresses and storage keys together, at most. Lists that nodes propose for large swaps have some dozens.
    pub const MAX_ENTRIES: usize = 256;

    /// # Errors
    /// `Invalid`, naming `access_list`, if it has more than [`Self::MAX_ENTRIES`].
    pub fn new(accounts: Vec<Accessed>) -> Result<Self> {
        let list = Self(accounts);
        if list.entries() > Self::MAX_ENTRIES {
            let most = format!("must have at most {} addresses and storage keys together", Self::MAX_ENTRIES);
            return Err(Error::invalid("access_list", most));
        }
        Ok(list)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn accounts(&self) -> &[Accessed] {
        &self.0
    }

    /// Addresses and storage keys together.
    pub fn entries(&self) -> usize {
        self.0.len() + self.keys()
    }

    fn keys(&self) -> usize {
        self.0.iter().map(|account| account.storage_keys.len()).sum()
    }

    /// What the list costs beside the transaction's own gas, whether it is used or not (EIP-2930).
    pub fn gas(&self) -> u64 {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        count(self.0.len()).saturating_mul(2_400).saturating_add(count(self.keys()).saturating_mul(1_900))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(keys: &[usize]) -> Result<AccessList> {
        let account = |n: &usize| Accessed { address: Address::ZERO, storage_keys: vec![B256::ZERO; *n] };
        AccessList::new(keys.iter().map(account).collect())
    }

    #[test]
    fn gas_is_paid_for_each_address_and_key() {
        assert_eq!(list(&[]).unwrap().gas(), 0);
        assert_eq!(list(&[0]).unwrap().gas(), 2_400);
        assert_eq!(list(&[2, 1]).unwrap().gas(), 2 * 2_400 + 3 * 1_900);
    }

    #[test]
    fn a_list_is_bounded_over_all() {
        assert_eq!(list(&[100, 154]).unwrap().entries(), 256);
        assert!(list(&[100, 155]).unwrap_err().detail().starts_with("access_list:"));
        assert!(list(&[0; 257]).is_err());
    }

    #[test]
    fn as_json_it_is_what_nodes_take() {
        let text = r#"[{"address":"0x1111111111111111111111111111111111111111","storageKeys":["0x0000000000000000000000000000000000000000000000000000000000000003"]}]"#;
        let list: AccessList = serde_json::from_str(text).unwrap();
        assert_eq!(list.accounts()[0].storage_keys, [B256::with_last_byte(3)]);
        assert_eq!(serde_json::to_string(&list).unwrap(), text);
        assert!(
            serde_json::from_str::<AccessList>(
                r#"[{"address":"0x1111111111111111111111111111111111111111"}]"#
            )
            .is_err()
        );
    }
}
