//! `debug_traceCall`, twice for each: the tree of calls with its events, and the state before and after. What one
//! transaction leaves is laid under the next.
//! (<https://geth.ethereum.org/docs/developers/evm-tracing/built-in-tracers>)

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, Bytes, U256};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{many::after_another, request};
use crate::error::NodeError;
use crate::node::Node;
use crate::quantity::Quantity;
use crate::simulate::moves::Log;
use crate::simulate::{Attempt, Revert, Run};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Frame {
    gas_used: Quantity<u64>,
    #[serde(default)]
    output: Bytes,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    logs: Vec<Log>,
    #[serde(default)]
    calls: Vec<Frame>,
}

/// State as far as it differs.
#[derive(Default, Deserialize)]
struct Diff {
    pre: BTreeMap<Address, Account>,
    post: BTreeMap<Address, Account>,
}

#[derive(Clone, Default, Deserialize)]
struct Account {
    balance: Option<Quantity<U256>>,
    nonce: Option<u64>,
    code: Option<Bytes>,
    #[serde(default)]
    storage: BTreeMap<B256, B256>,
}

/// State that differs from the chain's, as `stateOverrides` has it.
#[derive(Default, Serialize)]
#[serde(transparent)]
struct Left(BTreeMap<Address, Changed>);

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Changed {
    #[serde(skip_serializing_if = "Option::is_none")]
    balance: Option<U256>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<Bytes>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    state_diff: BTreeMap<B256, B256>,
}

pub async fn run(node: &Node, attempts: &[Attempt]) -> Result<Vec<Run>, NodeError> {
    let block = format!("{:#x}", node.block_number().await?);
    let mut left = Left::default();
    let mut runs = Vec::with_capacity(attempts.len());
    for attempt in attempts {
        match one(node, attempt, &block, &left).await {
            Ok((frame, diff)) => {
                left.add(&diff);
                runs.push(frame.run(attempt, diff, node));
            }
            Err(NodeError::Answered { revert: Some(failed), .. }) => {
                runs.push(Run::failed(failed));
                runs.resize_with(attempts.len(), || Run::failed(after_another()));
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(runs)
}

/// All in the state after one block, however the chain moves on meanwhile.
async fn one(node: &Node, attempt: &Attempt, block: &str, left: &Left) -> Result<(Frame, Diff), NodeError> {
    let mut calls = json!({"tracer": "callTracer", "tracerConfig": {"withLog": true}});
    let mut state = json!({"tracer": "prestateTracer", "tracerConfig": {"diffMode": true}});
    if !left.0.is_empty() {
        calls["stateOverrides"] = json!(left);
        state["stateOverrides"] = json!(left);
    }
    let wrong = |error: NodeError| match super::is_lacking(&error) {
        true => error,
        false => error.about_a_transaction(),
    };
    let call = request(attempt);
    tokio::try_join!(
        async { node.rpc.ask::<_, Frame>("debug_traceCall", (&call, block, calls)).await.map_err(wrong) },
        async { node.rpc.ask::<_, Diff>("debug_traceCall", (&call, block, state)).await.map_err(wrong) },
    )
}

impl Frame {
    fn run(self, attempt: &Attempt, diff: Diff, node: &Node) -> Run {
        let Quantity(gas_used) = self.gas_used;
        let failure = self.error.as_ref().map(|word| {
            let used_up = attempt.gas_limit.is_some_and(|limit| gas_used >= limit);
            Revert::stopped(&self.output, word, used_up, |text| node.rpc.scrub(text))
        });
        let mut logs = Vec::new();
        self.events(&mut logs);
        Run { failure, gas_used: Some(gas_used), logs, balances: diff.balances(), ..Run::default() }
    }

    /// Of all that did not fail.
    fn events(self, into: &mut Vec<Log>) {
        if self.error.is_none() {
            into.extend(self.logs);
            for call in self.calls {
                call.events(into);
            }
        }
    }
}

impl Diff {
    fn balances(&self) -> Vec<(Address, U256, U256)> {
        let accounts = self.pre.keys().chain(self.post.keys().filter(|a| !self.pre.contains_key(*a)));
        let of = |side: &BTreeMap<Address, Account>, account: &Address| {
            side.get(account).and_then(|account| account.balance).map(|Quantity(wei)| wei)
        };
        accounts
            .map(|account| {
                let before = of(&self.pre, account).unwrap_or_default();
                // What stays as it is, is left out; an account that is gone has nothing.
                let kept = if self.post.contains_key(account) { before } else { U256::ZERO };
                (*account, before, of(&self.post, account).unwrap_or(kept))
            })
            .collect()
    }
}

impl Left {
    fn add(&mut self, diff: &Diff) {
        for (address, account) in &diff.post {
            let of = self.0.entry(*address).or_default();
            of.balance = account.balance.map(|Quantity(wei)| wei).or(of.balance);
            of.nonce = account.nonce.map(|nonce| format!("{nonce:#x}")).or(of.nonce.take());
            of.code = account.code.clone().or(of.code.take());
            of.state_diff.extend(account.storage.clone());
        }
        for (address, before) in &diff.pre {
            let after = diff.post.get(address);
            let of = self.0.entry(*address).or_default();
            // Slots that are cleared are missing afterwards.
            let cleared =
                before.storage.keys().filter(|slot| !after.is_some_and(|a| a.storage.contains_key(*slot)));
            of.state_diff.extend(cleared.map(|slot| (*slot, B256::ZERO)));
            if after.is_none() {
                of.balance = Some(U256::ZERO);
                of.code = Some(Bytes::new());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_leaves_is_laid_under_the_next() {
        let (a, b, slot) = (Address::repeat_byte(1), Address::repeat_byte(2), B256::repeat_byte(3));
        let diff: Diff = serde_json::from_value(json!({
            "pre": {a.to_string(): {"balance": "0x9", "nonce": 1, "storage": {slot.to_string(): B256::repeat_byte(7)}}, b.to_string(): {"balance": "0x1"}},
            "post": {a.to_string(): {"balance": "0x8", "nonce": 2}},
        }))
        .unwrap();
        assert_eq!(diff.balances(), [(a, U256::from(9), U256::from(8)), (b, U256::ONE, U256::ZERO)]);
        let mut left = Left::default();
        left.add(&diff);
        let of = serde_json::to_value(&left).unwrap()[a.to_string().to_lowercase()].clone();
        assert_eq!(
            of,
            json!({"balance": "0x8", "nonce": "0x2", "stateDiff": {slot.to_string(): B256::ZERO}})
        );
    }
}
