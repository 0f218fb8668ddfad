//! `eth_simulateV1`: all of them in one block that isn't.
//! (<https://github.com/ethereum/execution-apis/pull/484>)

use alloy_primitives::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::request;
use crate::error::NodeError;
use crate::node::Node;
use crate::quantity::Quantity;
use crate::simulate::moves::Log;
use crate::simulate::{Attempt, Revert, RevertKind, Run};

#[derive(Deserialize)]
struct Block {
    calls: Vec<Answer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    status: Quantity<u64>,
    gas_used: Quantity<u64>,
    #[serde(default)]
    return_data: Bytes,
    #[serde(default)]
    logs: Vec<Log>,
    #[serde(default)]
    error: Option<Words>,
}

#[derive(Deserialize)]
struct Words {
    message: String,
}

pub async fn run(node: &Node, attempts: &[Attempt]) -> Result<Vec<Run>, NodeError> {
    let mut why = None;
    // One that can't even run makes the node refuse them all: the first so many are asked for, until it is found.
    for able in (1..=attempts.len()).rev() {
        match ask(node, &attempts[..able]).await {
            Ok(mut runs) => {
                runs.extend(why.map(Run::failed));
                runs.resize_with(attempts.len(), || Run::failed(after_another()));
                return Ok(runs);
            }
            Err(NodeError::Answered { revert: Some(failed), .. }) => why = Some(failed),
            Err(error) => return Err(error),
        }
    }
    let mut runs: Vec<Run> = why.map(Run::failed).into_iter().collect();
    runs.resize_with(attempts.len(), || Run::failed(after_another()));
    Ok(runs)
}

/// For those that come after one which can't run.
pub fn after_another() -> Revert {
    Revert::new(RevertKind::NotTried, "a transaction before it in the bundle can't run")
}

async fn ask(node: &Node, attempts: &[Attempt]) -> Result<Vec<Run>, NodeError> {
    let calls: Vec<_> = attempts.iter().map(request).collect();
    let asked = json!({"blockStateCalls": [{"calls": calls}], "traceTransfers": true, "validation": false});
    let answer = node.rpc.ask::<_, Vec<Block>>("eth_simulateV1", (asked, "latest")).await;
    let blocks = answer.map_err(|error| match super::is_lacking(&error) {
        true => error,
        false => error.about_a_transaction(),
    })?;
    let answers: Vec<Answer> = blocks.into_iter().flat_map(|block| block.calls).collect();
    if answers.len() != attempts.len() {
        return Err(NodeError::Malformed("simulations of other transactions".to_owned()));
    }
    Ok(attempts.iter().zip(answers).map(|(attempt, answer)| answer.run(attempt, node)).collect())
}

impl Answer {
    fn run(self, attempt: &Attempt, node: &Node) -> Run {
        let Quantity(gas_used) = self.gas_used;
        let failure = (self.status != Quantity(1)).then(|| {
            let used_up = attempt.gas_limit.is_some_and(|limit| gas_used >= limit);
            let word = self.error.map(|error| error.message).unwrap_or_default();
            Revert::stopped(&self.return_data, &word, used_up, |text| node.rpc.scrub(text))
        });
        Run { failure, gas_used: Some(gas_used), logs: self.logs, traced: true, ..Run::default() }
    }
}
