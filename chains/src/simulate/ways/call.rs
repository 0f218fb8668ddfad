//! `eth_call` and `eth_estimateGas`: whether it works and what it takes, and nothing of what moves but its own ether.

use alloy_primitives::Bytes;

use super::request;
use crate::error::NodeError;
use crate::node::Node;
use crate::quantity::Quantity;
use crate::simulate::moves::{Log, Moves};
use crate::simulate::{Attempt, Revert, RevertKind, Run};

/// Nothing that one transaction leaves can be laid under the next.
const ALONE: &str = "the chain's node can't carry on what the transaction before it leaves; simulate them one by one, \
                     or have an operator choose a node that knows eth_simulateV1";

pub async fn run(node: &Node, attempts: &[Attempt]) -> Result<Vec<Run>, NodeError> {
    let Some((first, others)) = attempts.split_first() else { return Ok(Vec::new()) };
    let alone = |_: &Attempt| Run::failed(Revert::new(RevertKind::NotTried, ALONE));
    let mut runs = vec![one(node, first).await?];
    runs.extend(others.iter().map(alone));
    Ok(runs)
}

async fn one(node: &Node, attempt: &Attempt) -> Result<Run, NodeError> {
    let call = request(attempt);
    let worked = node.rpc.ask::<_, Bytes>("eth_call", (&call, "latest")).await;
    let worked = match worked.map_err(NodeError::about_a_transaction) {
        Ok(_) => node.rpc.ask::<_, Quantity<u64>>("eth_estimateGas", (&call,)).await,
        Err(error) => Err(error),
    };
    match worked.map_err(NodeError::about_a_transaction) {
        Ok(Quantity(gas)) => {
            Ok(Run { gas_used: Some(gas), logs: ether(attempt), traced: true, ..Run::default() })
        }
        Err(NodeError::Answered { revert: Some(failed), .. }) => Ok(Run::failed(failed)),
        Err(error) => Err(error),
    }
}

/// The transaction's own value, as a trace would have it.
fn ether(attempt: &Attempt) -> Vec<Log> {
    let call = &attempt.call;
    Moves::ether(call.from, call.to, call.value.0).into_iter().collect()
}
