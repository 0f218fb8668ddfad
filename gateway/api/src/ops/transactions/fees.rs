//! What a transaction is signed with that depends on the chain: its gas limit and its fees.

use ::chains::{Call, Node, NodeError, Quote};
use domain::{Error, Result};
use signer_protocol::intent::Fees;

use super::request::{Wanted, WantedFees};

/// What the chain says of a call.
pub enum Estimate {
    /// The gas limit to sign with.
    Gas(u64),
    /// It would fail now, and why.
    Fails(String),
}

/// The agent's gas limit, else the node's estimate. `simulated`: the node is asked whether it would work in any case.
pub async fn estimated(node: &Node, call: &Call, wanted: &Wanted, simulated: bool) -> Result<Estimate> {
    if let Some(limit) = wanted.gas_limit.filter(|_| !simulated) {
        return Ok(Estimate::Gas(limit));
    }
    match (node.estimate_gas(call).await, wanted.gas_limit) {
        (Ok(gas), Some(limit)) if limit < gas.needed => {
            Ok(Estimate::Fails(format!("out of gas: it takes {}, and gas_limit is {limit}", gas.needed)))
        }
        (Ok(gas), given) => Ok(Estimate::Gas(given.unwrap_or(gas.limit))),
        (Err(NodeError::Answered { revert: Some(reason), .. }), _) if simulated => {
            Ok(Estimate::Fails(reason.to_string()))
        }
        (Err(error), _) => Err(error.into()),
    }
}

pub async fn fees(node: &Node, wanted: &Wanted) -> Result<Fees> {
    let quote = node.quote().await;
    match wanted.fees {
        WantedFees::Legacy { gas_price } => {
            mined_now("gas_price", gas_price, quote.ok())?;
            Ok(Fees::Legacy { gas_price })
        }
        WantedFees::Eip1559 { max_fee_per_gas: Some(fee), max_priority_fee_per_gas: Some(tip) } => {
            mined_now("max_fee_per_gas", fee, quote.ok())?;
            Ok(Fees::Eip1559 { max_fee_per_gas: fee, max_priority_fee_per_gas: tip })
        }
        WantedFees::Any => Ok(match quote? {
            Quote::Legacy { gas_price } => Fees::Legacy { gas_price },
            Quote::Eip1559 { max_fee_per_gas, max_priority_fee_per_gas, .. } => {
                Fees::Eip1559 { max_fee_per_gas, max_priority_fee_per_gas }
            }
        }),
        WantedFees::Eip1559 { max_fee_per_gas, max_priority_fee_per_gas } => match quote? {
            Quote::Legacy { .. } => Err(Error::invalid(
                "max_fee_per_gas",
                format!("must be left out: {} has no EIP-1559 fees; use gas_price", wanted.chain.name),
            )),
            quote @ Quote::Eip1559 { base_fee, max_priority_fee_per_gas: tip, .. } => {
                let priority = max_priority_fee_per_gas.unwrap_or(tip);
                let cap = max_fee_per_gas.unwrap_or(base_fee.saturating_mul(2).saturating_add(priority));
                mined_now("max_fee_per_gas", cap, Some(quote))?;
                Ok(Fees::Eip1559 { max_fee_per_gas: cap, max_priority_fee_per_gas: priority.min(cap) })
            }
        },
    }
}

/// Signed at less than the base fee, it would be in no block, and its nonce would be held against everyone who shares the
/// key.
fn mined_now(field: &str, cap: u128, quote: Option<Quote>) -> Result<()> {
    match quote {
        Some(Quote::Eip1559 { base_fee, .. }) if cap < base_fee => {
            Err(Error::invalid(field, format!("must be at least {base_fee} wei, the chain's base fee now")))
        }
        _ => Ok(()),
    }
}
