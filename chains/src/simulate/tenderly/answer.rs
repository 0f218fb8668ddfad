//! What Tenderly answers, as far as it is used. Fields that it leaves empty are null.

use alloy_primitives::{Address, Bytes, U256};
use serde::Deserialize;

use super::TenderlySettings;
use crate::simulate::moves::Log;
use crate::simulate::{Revert, RevertKind, Run, Saved};

#[derive(Deserialize)]
pub struct Bundle {
    pub simulation_results: Vec<Single>,
}

#[derive(Deserialize)]
pub struct Single {
    transaction: Transaction,
    simulation: Simulated,
}

#[derive(Deserialize)]
struct Simulated {
    id: String,
}

#[derive(Deserialize)]
struct Transaction {
    status: bool,
    gas_used: Option<u64>,
    error_message: Option<String>,
    transaction_info: Option<Info>,
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
    raw: Log,
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
    #[serde(default)]
    pub message: String,
}

impl Single {
    /// # Errors
    /// What makes no sense.
    pub fn run(self, at: &TenderlySettings) -> Result<Run, &'static str> {
        let Self { transaction, simulation: Simulated { id } } = self;
        // It becomes part of an address that people open.
        if id.is_empty() || id.len() > 64 || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err("a simulation without a proper id");
        }
        let dashboard = format!("https://dashboard.tenderly.co/{}/{}/simulator/{id}", at.account, at.project);
        let info = transaction.transaction_info.unwrap_or_default();
        let failure = (!transaction.status).then(|| failure(info.call_trace, transaction.error_message));
        let wei = |text: &str| text.parse::<U256>().map_err(|_| "a balance that is no number");
        let balances = info.balance_diff.unwrap_or_default();
        let balances = balances
            .iter()
            .map(|diff| Ok::<_, &'static str>((diff.address, wei(&diff.original)?, wei(&diff.dirty)?)));
        Ok(Run {
            failure,
            gas_used: transaction.gas_used,
            balances: balances.collect::<Result<_, _>>()?,
            logs: info.logs.unwrap_or_default().into_iter().map(|event| event.raw).collect(),
            traced: false,
            saved: Some(Saved { id, dashboard }),
        })
    }
}

fn failure(trace: Option<Trace>, message: Option<String>) -> Revert {
    let (output, reason) = trace.map_or((None, None), |trace| (trace.output, trace.error_reason));
    if let Some(revert) = output.and_then(|data| Revert::decode(&data)) {
        return revert;
    }
    match reason.filter(|reason| !reason.is_empty()) {
        Some(reason) => Revert::new(RevertKind::Error, &reason),
        None => message.map_or_else(Revert::bare, |message| Revert::said(&message)),
    }
}
