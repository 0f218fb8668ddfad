//! What a transaction is signed with that depends on the chain: its gas limit and its fees.

use ::chains::{Call, Node, NodeError, Quote};
use domain::{Error, Kind, Result};
use signer_protocol::intent::Fees;
use store::nonces::OnChain;

use super::request::{Wanted, WantedFees};
use crate::cx::Cx;
use crate::jobs::transactions::fits::Room;

/// What the chain says of a transaction.
pub struct Answer {
    /// To sign with; of what would fail, the least that it may be.
    pub gas_limit: u64,
    pub fees: Fees,
    pub on_chain: OnChain,
    /// It would fail now, and why.
    pub fails: Option<String>,
}

/// Asks for everything at once. `simulated`: whether it is to be tried before it is signed. `people_decide`: whether on
/// what would fail too.
///
/// # Errors
/// `Unprocessable` for what would fail or can't be paid, where nobody decides on it after a simulation; `Invalid` for gas
/// and fees with which it would be in no block.
pub async fn ask(
    cx: &Cx,
    node: &Node,
    call: &Call,
    wanted: &Wanted,
    simulated: bool,
    people_decide: bool,
) -> Result<Answer> {
    let on_chain = async {
        let (mined, pending) = tokio::try_join!(node.mined_nonce(call.from), node.next_nonce(call.from))?;
        Ok::<_, Error>(OnChain { mined, pending })
    };
    // That it can't be paid says more than how the estimate fails for it.
    let estimate = async { Ok(estimated(cx, node, call, wanted, simulated).await) };
    let room = Room::of(&wanted.chain, node, call.from);
    let (estimate, fees, on_chain, room) = tokio::try_join!(estimate, fees(node, wanted), on_chain, room)?;
    if let Some(given) = wanted.gas_limit {
        room.takes(given)?;
    }
    let least = || domain::gas::least(wanted.to, &wanted.data, &wanted.access_list);
    let gas_limit = match (wanted.gas_limit, &estimate) {
        (Some(given), _) => given,
        (None, Ok(Estimate::Gas(limit))) => room.within(*limit),
        (None, _) => least(),
    };
    let fails = match (estimate, room.pays(wanted.value, gas_limit, &fees)) {
        (Err(error), Err(_)) if error.kind() != Kind::Unprocessable => return Err(error),
        (_, Err(short)) if simulated || people_decide => {
            Some(short.detail().trim_end_matches('.').to_owned())
        }
        (_, Err(short)) => return Err(short),
        (Err(error), Ok(())) => return Err(error),
        (Ok(Estimate::Fails(reason)), Ok(())) => Some(reason),
        (Ok(Estimate::Gas(_)), Ok(())) => None,
    };
    Ok(Answer { gas_limit, fees, on_chain, fails })
}

/// What the chain says of a call.
enum Estimate {
    /// The gas limit to sign with.
    Gas(u64),
    /// It would fail now, and why.
    Fails(String),
}

/// The agent's gas limit, else the node's estimate. `simulated`: the node is asked whether it would work in any case.
async fn estimated(cx: &Cx, node: &Node, call: &Call, wanted: &Wanted, simulated: bool) -> Result<Estimate> {
    if let Some(limit) = wanted.gas_limit.filter(|_| !simulated) {
        return Ok(Estimate::Gas(limit));
    }
    let who = cx.caller()?.principal();
    let _turn = cx.gateway.estimating.turn(who.id, who.org, wanted.chain.chain_id).await?;
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

async fn fees(node: &Node, wanted: &Wanted) -> Result<Fees> {
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

fn mined_now(field: &str, cap: u128, quote: Option<Quote>) -> Result<()> {
    match quote.and_then(|quote| quote.base_fee_above(cap)) {
        Some(base_fee) => {
            Err(Error::invalid(field, format!("must be at least {base_fee} wei, the chain's base fee now")))
        }
        None => Ok(()),
    }
}
