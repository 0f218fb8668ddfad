//! How a node is asked to try a transaction: the best way that it knows.

mod call;
mod many;
mod trace;

pub use many::after_another;

use crate::error::NodeError;
use crate::node::{CallRequest, Node};
use crate::simulate::{Attempt, Run};

/// From the best to the one that every node knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// `eth_simulateV1` with `traceTransfers`.
    Simulate,
    /// `debug_traceCall` with the tracers of calls and of prestate.
    Trace,
    /// `eth_call` and `eth_estimateGas`: whether it works, and what it costs.
    Call,
}

impl Way {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Simulate => "eth_simulateV1",
            Self::Trace => "debug_traceCall",
            Self::Call => "eth_call",
        }
    }
}

/// Begins with the way that worked last.
pub async fn run(node: &Node, attempts: &[Attempt]) -> Result<(Way, Vec<Run>), NodeError> {
    let known = node.way.get(&()).await;
    // Whether those passed over are missing for everybody, and not for what is asked here alone.
    let mut is_sure = true;
    let ways = [Way::Simulate, Way::Trace].into_iter();
    for way in ways.skip_while(|way| known.is_some_and(|known| known != *way)) {
        let tried = match way {
            Way::Simulate => many::run(node, attempts).await,
            _ => trace::run(node, attempts).await,
        };
        match tried {
            Err(error) if is_lacking(&error) => is_sure &= !is_about_parameters(&error),
            other => {
                let runs = of_length(other?, attempts.len())?;
                remember(node, known, way, is_sure).await;
                return Ok((way, runs));
            }
        }
    }
    let runs = call::run(node, attempts).await?;
    remember(node, known, Way::Call, is_sure).await;
    Ok((Way::Call, runs))
}

/// Only what is new: kept for a while from then on, however often it is used, a node that learns more is noticed.
async fn remember(node: &Node, known: Option<Way>, way: Way, is_sure: bool) {
    if is_sure && known != Some(way) {
        node.way.insert((), way).await;
    }
}

fn request(attempt: &Attempt) -> CallRequest {
    CallRequest::of(&attempt.call, attempt.gas_limit)
}

fn of_length(runs: Vec<Run>, wanted: usize) -> Result<Vec<Run>, NodeError> {
    if runs.len() == wanted {
        return Ok(runs);
    }
    Err(NodeError::Malformed(format!("{} results for {wanted} transactions", runs.len())))
}

/// Whether it is the method that the node doesn't know or give, and not the transaction that it dislikes.
fn is_lacking(error: &NodeError) -> bool {
    let NodeError::Answered { code, message, .. } = error else { return false };
    let message = message.to_ascii_lowercase();
    // A contract's words say nothing of the node.
    if message.contains("revert") {
        return false;
    }
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    // Not found, wrong parameters (another dialect), not supported: JSON-RPC 2.0 §5.1 and EIP-1474.
    matches!(code, -32601 | -32602 | -32004)
        || says(&["tracer not found", "not implemented", "unsupported", "not supported"])
        || (says(&["method"])
            && says(&["not found", "not exist", "not available", "not whitelisted", "not allowed"]))
}

/// It may be this transaction's parameters that it doesn't take.
fn is_about_parameters(error: &NodeError) -> bool {
    matches!(error, NodeError::Answered { code: -32602, .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_that_is_not_there_is_told_from_a_transaction_that_fails() {
        let error =
            |code, message: &str| NodeError::Answered { code, message: message.to_owned(), revert: None };
        for (code, message) in [
            (-32601, "the method eth_simulateV1 does not exist/is not available"),
            (-32600, "Unsupported method: debug_traceCall. See available methods"),
            (-32000, "rpc method is not whitelisted"),
            (-32000, "tracer not found"),
        ] {
            assert!(is_lacking(&error(code, message)), "{message}");
        }
        for (code, message) in [
            (-32000, "insufficient funds for gas * price + value"),
            (3, "execution reverted: method not found"),
            (-32603, "Internal error"),
        ] {
            assert!(!is_lacking(&error(code, message)), "{message}");
        }
        assert!(!is_lacking(&NodeError::Unreachable("method not found".to_owned())));
    }
}
