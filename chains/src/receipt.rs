//! What became of a transaction.

use alloy_primitives::B256;
use serde::Deserialize;

use crate::error::NodeError;
use crate::quantity::Quantity;

/// A transaction is in a block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receipt {
    /// `false`: it reverted; gas was paid, nothing moved.
    pub succeeded: bool,
    pub block_number: u64,
    /// Changes when the chain is reorganised.
    pub block_hash: B256,
    pub gas_used: u64,
    /// Wei a unit of gas, base fee included; 0 where a node doesn't say.
    pub effective_gas_price: u128,
}

/// The few fields that matter. Chains add types, logs and fees of their own, which must not make a receipt unreadable.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answer {
    transaction_hash: B256,
    /// EIP-658.
    status: Quantity<u64>,
    block_number: Option<Quantity<u64>>,
    block_hash: Option<B256>,
    gas_used: Quantity<u64>,
    #[serde(default)]
    effective_gas_price: Quantity<u128>,
}

impl Answer {
    /// `None` while it is in no block: some nodes give receipts of pending transactions.
    pub(crate) fn receipt(self, hash: B256) -> Result<Option<Receipt>, NodeError> {
        if self.transaction_hash != hash {
            return Err(NodeError::Malformed("the receipt of another transaction".to_owned()));
        }
        let (Some(block_number), Some(block_hash)) = (self.block_number, self.block_hash) else {
            return Ok(None);
        };
        let succeeded = match self.status.0 {
            1 => true,
            0 => false,
            other => return Err(NodeError::Malformed(format!("a receipt's status {other}"))),
        };
        Ok(Some(Receipt {
            succeeded,
            block_number: block_number.0,
            block_hash,
            gas_used: self.gas_used.0,
            effective_gas_price: self.effective_gas_price.0,
        }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(change: impl FnOnce(&mut Value)) -> Result<Option<Receipt>, NodeError> {
        let mut json = json!({
            "transactionHash": B256::repeat_byte(7), "status": "0x1", "type": "0x7e", "logs": "of a kind of its own",
            "blockNumber": "0x10", "blockHash": B256::repeat_byte(8), "gasUsed": "0x5208", "effectiveGasPrice": "0x2",
        });
        change(&mut json);
        serde_json::from_value::<Answer>(json).unwrap().receipt(B256::repeat_byte(7))
    }

    #[test]
    fn receipts_of_unknown_types_are_read() {
        let receipt = read(|_| {}).unwrap().unwrap();
        let expected = Receipt {
            succeeded: true,
            block_number: 16,
            block_hash: B256::repeat_byte(8),
            gas_used: 21_000,
            effective_gas_price: 2,
        };
        assert_eq!(receipt, expected);
        assert!(!read(|json| json["status"] = "0x0".into()).unwrap().unwrap().succeeded);
        let old = read(|json| drop(json.as_object_mut().unwrap().remove("effectiveGasPrice")));
        assert_eq!(old.unwrap().unwrap().effective_gas_price, 0);
    }

    #[test]
    fn what_is_not_in_a_block_has_no_receipt() {
        assert_eq!(read(|json| json["blockNumber"] = Value::Null), Ok(None));
        assert_eq!(read(|json| json["blockHash"] = Value::Null), Ok(None));
    }

    #[test]
    fn another_transactions_receipt_is_refused() {
        let other = read(|json| json["transactionHash"] = json!(B256::repeat_byte(9)));
        assert!(matches!(other, Err(NodeError::Malformed(_))), "{other:?}");
        assert!(matches!(read(|json| json["status"] = "0x2".into()), Err(NodeError::Malformed(_))));
    }
}
