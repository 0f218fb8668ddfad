//! What Tenderly answers, as far as it is used. Fields that it leaves empty are null, and newer ones are passed over.
//!
//! What moves is read from the events, as of a node: `asset_changes` has no ERC-1155 and no allowances. So the two say the same.

use alloy_primitives::{Address, B256, Bytes, U256};
use serde::Deserialize;

use super::TenderlySettings;
use crate::simulate::moves::{Log, Moves};
use crate::simulate::{Attempt, Revert, RevertKind, Run, Saved};

/// Of a request that is one transaction's fault, such as too little money.
pub const CANT_RUN: &str = "invalid_transaction_simulation";

/// Those after one that failed are missing.
#[derive(Deserialize)]
pub struct Bundle {
    pub simulation_results: Vec<Single>,
}

#[derive(Deserialize)]
pub struct Single {
    transaction: Transaction,
    simulation: Option<Simulated>,
}

#[derive(Deserialize)]
struct Simulated {
    id: Option<String>,
    status: Option<bool>,
}

#[derive(Deserialize)]
struct Transaction {
    status: Option<bool>,
    gas_used: Option<u64>,
    error_message: Option<String>,
    error_info: Option<ErrorInfo>,
    transaction_info: Option<Info>,
}

#[derive(Deserialize)]
struct ErrorInfo {
    error_message: Option<String>,
}

#[derive(Default, Deserialize)]
struct Info {
    call_trace: Option<Trace>,
    logs: Option<Vec<Event>>,
    balance_diff: Option<Vec<Difference>>,
}

/// Of the outermost call.
#[derive(Deserialize)]
struct Trace {
    output: Option<Bytes>,
    error_reason: Option<String>,
}

#[derive(Deserialize)]
struct Event {
    raw: Raw,
}

#[derive(Deserialize)]
struct Raw {
    address: Address,
    topics: Option<Vec<B256>>,
    data: Option<Bytes>,
}

/// Wei, decimal.
#[derive(Deserialize)]
struct Difference {
    address: Address,
    original: String,
    dirty: String,
}

/// A refusal.
#[derive(Deserialize)]
pub struct Problem {
    pub error: Words,
}

#[derive(Deserialize)]
pub struct Words {
    pub slug: Option<String>,
    pub message: Option<String>,
}

impl Single {
    /// # Errors
    /// What makes no sense. Where it does not say whether it worked, it does not count as having worked.
    pub fn run(self, attempt: &Attempt, at: &TenderlySettings) -> Result<Run, &'static str> {
        let Self { transaction, simulation } = self;
        let (id, status) = simulation.map_or((None, None), |simulation| (simulation.id, simulation.status));
        let worked = match (transaction.status, status) {
            (None, None) => return Err("a simulation that doesn't say whether it worked"),
            (one, other) => one.unwrap_or(true) && other.unwrap_or(true),
        };
        let info = transaction.transaction_info.unwrap_or_default();
        let said = transaction.error_message.or(transaction.error_info.and_then(|info| info.error_message));
        let failure = (!worked).then(|| failure(info.call_trace, said, at));
        let wei = |text: &str| text.parse::<U256>().map_err(|_| "a balance that is no number");
        let balances = info.balance_diff.unwrap_or_default();
        let balances = balances
            .iter()
            .map(|diff| Ok::<_, &'static str>((diff.address, wei(&diff.original)?, wei(&diff.dirty)?)))
            .collect::<Result<Vec<_>, _>>()?;
        let event = |Event { raw: Raw { address, topics, data } }| Log {
            address,
            topics: topics.unwrap_or_default(),
            data: data.unwrap_or_default(),
        };
        let mut logs: Vec<Log> = info.logs.unwrap_or_default().into_iter().map(event).collect();
        // Without balances, what the transaction itself carries is known all the same.
        let call = &attempt.call;
        let own = Moves::ether(call.from, call.to, call.value.0).filter(|_| balances.is_empty());
        let traced = own.is_some();
        logs.extend(own);
        let saved = id.filter(|id| is_proper(id)).map(|id| saved(id, at));
        Ok(Run { failure, gas_used: transaction.gas_used, balances, logs, traced, saved })
    }
}

/// It becomes part of an address that people open.
fn is_proper(id: &str) -> bool {
    !id.is_empty() && id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn saved(id: String, at: &TenderlySettings) -> Saved {
    let dashboard = format!("https://dashboard.tenderly.co/{}/{}/simulator/{id}", at.account, at.project);
    Saved { id, dashboard }
}

fn failure(trace: Option<Trace>, message: Option<String>, at: &TenderlySettings) -> Revert {
    let (output, reason) = trace.map_or((None, None), |trace| (trace.output, trace.error_reason));
    if let Some(revert) = output.and_then(|data| Revert::decode(&data, |text| at.scrub(text))) {
        return revert;
    }
    match reason.filter(|reason| !reason.is_empty()) {
        Some(reason) => Revert::new(RevertKind::Error, &at.scrub(&reason)),
        None => message.map_or_else(Revert::bare, |message| Revert::said(&at.scrub(&message))),
    }
}
