//! Kinds of transactions (EIP-2718): those that are signed, and those that are refused by name.

use domain::{Error, Result};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::request::WantedFees;

/// What says of which kind a transaction is.
#[derive(Deserialize, JsonSchema, Default)]
pub struct KindFields {
    /// 0, 1 or 2, as a number or in hex; it follows from the fees and the access list, and may be left out.
    #[serde(default, rename = "type")]
    kind: Option<Value>,
    /// Refused: transactions with blobs (EIP-4844) are not signed.
    #[serde(default)]
    blob_versioned_hashes: Option<Value>,
    /// Refused, like blob_versioned_hashes.
    #[serde(default)]
    blobs: Option<Value>,
    /// Refused, like blob_versioned_hashes.
    #[serde(default)]
    max_fee_per_blob_gas: Option<Value>,
    /// Refused: an account is not handed over to code (EIP-7702).
    #[serde(default)]
    authorization_list: Option<Value>,
}

const BLOBS: &str = "must be left out: transactions with blobs (EIP-4844, type 3) are not signed; send a call (type 0, 1 or 2)";
const DELEGATION: &str = "must be left out: no account is handed over to code (EIP-7702, type 4), since its guardrails \
                          would bind it no more; send a call (type 0, 1 or 2)";

impl KindFields {
    /// The fees as the kind wants them.
    ///
    /// # Errors
    /// `Invalid`, naming the field that asks for a kind that is not signed, or that the fees don't fit.
    pub fn check(self, fees: WantedFees, with_list: bool) -> Result<WantedFees> {
        for (field, given) in [
            ("blob_versioned_hashes", self.blob_versioned_hashes),
            ("blobs", self.blobs),
            ("max_fee_per_blob_gas", self.max_fee_per_blob_gas),
        ] {
            if given.is_some_and(|value| !value.is_null()) {
                return Err(Error::invalid(field, BLOBS));
            }
        }
        if self.authorization_list.is_some_and(|value| !value.is_null()) {
            return Err(Error::invalid("authorization_list", DELEGATION));
        }
        let Some(kind) = self.kind.filter(|value| !value.is_null()) else { return Ok(fees) };
        let refused = |rule: &str| Err(Error::invalid("type", rule));
        match (number(&kind), fees) {
            (Some(2), WantedFees::Any) => {
                Ok(WantedFees::Eip1559 { max_fee_per_gas: None, max_priority_fee_per_gas: None })
            }
            (Some(2), WantedFees::Eip1559 { .. }) => Ok(fees),
            (Some(0), WantedFees::Legacy { .. }) if !with_list => Ok(fees),
            (Some(1), WantedFees::Legacy { .. }) if with_list => Ok(fees),
            (Some(3), _) => refused(BLOBS),
            (Some(4), _) => refused(DELEGATION),
            (Some(0..=2), _) => refused(
                "must fit the fees: 0 needs gas_price and no access_list, 1 both, 2 max_fee_per_gas or no fees",
            ),
            _ => refused("must be 0, 1 or 2, or left out"),
        }
    }
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        },
        _ => None,
    }
}
