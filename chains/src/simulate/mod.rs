//! What a transaction would do, tried where nothing counts: on the chain's node, or at [`Tenderly`].
//!
//! A simulation is advice. A contract can tell that it is simulated, the chain moves on until the transaction is in a
//! block, and all that is said of tokens is what their contracts say of themselves. So it can keep a transaction from
//! being signed, and never lets one be signed that the guardrails refuse.

mod moves;
mod revert;
mod summary;
mod tenderly;
mod token;
mod ways;

use std::collections::BTreeMap;

use alloy_primitives::{Address, U256};

use crate::error::NodeError;
use crate::node::{Call, Node};

pub use moves::{Allowance, Asset, Granted, Moved};
pub use revert::{Revert, RevertKind};
pub use summary::{decimal, difference};
pub use tenderly::{Tenderly, TenderlyError, TenderlySettings};
pub use token::Token;
pub use ways::Way;

use moves::{Log, Moves};

/// How many changes, and how many allowances, are told at most.
const MOST: usize = 100;

/// A transaction to try.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub call: Call,
    /// `None`: as much as it takes.
    pub gas_limit: Option<u64>,
}

/// What would happen.
#[derive(Clone, Debug)]
pub struct Simulation {
    /// Why it would fail; `None`: it would not.
    pub failure: Option<Revert>,
    /// `None` where it can't even run.
    pub gas_used: Option<u64>,
    /// What the sender loses first. Ether without the fees.
    pub balance_changes: Vec<BalanceChange>,
    /// Those that the sender grants first.
    pub allowances: Vec<Allowance>,
    /// There is more than is told.
    pub truncated: bool,
    pub tokens: BTreeMap<Address, Token>,
    pub by: Source,
    /// Where Tenderly shows it.
    pub saved: Option<Saved>,
    /// For a person.
    pub summary: String,
}

/// At Tenderly.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Saved {
    pub id: String,
    pub dashboard: String,
}

/// Who has simulated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    Tenderly,
    Node(Way),
}

impl Source {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tenderly => "tenderly",
            Self::Node(way) => way.as_str(),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BalanceChange {
    pub account: Address,
    pub asset: Asset,
    pub moved: Moved,
    /// Before and after, where it is known.
    pub balance: Option<(U256, U256)>,
}

impl Simulation {
    /// `success`, `reverted`, or `error` where it can't even run.
    pub fn status(&self) -> &'static str {
        match &self.failure {
            None => "success",
            Some(Revert { kind: RevertKind::CantRun | RevertKind::NotTried, .. }) => "error",
            Some(_) => "reverted",
        }
    }
}

/// A run, before it is put into words.
#[derive(Default, Debug)]
struct Run {
    failure: Option<Revert>,
    gas_used: Option<u64>,
    logs: Vec<Log>,
    /// Transfers of ether are among the events.
    traced: bool,
    /// Ether before and after.
    balances: Vec<(Address, U256, U256)>,
    saved: Option<Saved>,
}

impl Run {
    fn failed(failure: Revert) -> Self {
        Self { failure: Some(failure), ..Self::default() }
    }
}

impl Node {
    /// Tries transactions one after the other, each in the state that the one before left; in the best way that the node
    /// knows. Nothing is sent, and no balance is asked for fees.
    ///
    /// `currency`: what the chain's own is called.
    ///
    /// # Errors
    /// If the node can't be reached or says nothing of the transactions.
    pub async fn simulate(&self, currency: &str, attempts: &[Attempt]) -> Result<Vec<Simulation>, NodeError> {
        let (way, runs) = ways::run(self, attempts).await?;
        Ok(told(self, currency, attempts, runs, Source::Node(way)).await)
    }
}

/// Puts runs into words; the tokens' own are read from the chain, once for all.
async fn told(
    node: &Node,
    currency: &str,
    attempts: &[Attempt],
    runs: Vec<Run>,
    by: Source,
) -> Vec<Simulation> {
    let mut simulations: Vec<Simulation> =
        attempts.iter().zip(runs).map(|(attempt, run)| sorted(attempt.call.from, run, by)).collect();
    let tokens = simulations.iter().flat_map(|simulation| {
        let granted = simulation.allowances.iter().map(|allowance| allowance.token);
        simulation.balance_changes.iter().filter_map(|change| change.asset.token()).chain(granted)
    });
    let known = token::describe(node, tokens.collect::<Vec<_>>()).await;
    for (simulation, attempt) in simulations.iter_mut().zip(attempts) {
        simulation.tokens.clone_from(&known);
        simulation.summary = summary::of(simulation, &attempt.call, currency);
    }
    simulations
}

/// What concerns the sender comes first, and of that what he loses: a contract that floods the list hides nothing of it.
fn sorted(sender: Address, run: Run, by: Source) -> Simulation {
    // What failed has moved nothing, whatever was logged on the way.
    let logs: &[Log] = if run.failure.is_none() { &run.logs } else { &[] };
    let mut moves = Moves::read(logs, run.traced);
    let mut balances = BTreeMap::new();
    for (account, before, after) in run.balances.into_iter().filter(|_| run.failure.is_none()) {
        let moved = Moved { gained: after.saturating_sub(before), lost: before.saturating_sub(after) };
        moves.by_account.insert((account, Asset::Ether), moved);
        balances.insert(account, (before, after));
    }
    let mut allowances = moves.allowances();
    let mut balance_changes: Vec<BalanceChange> = moves
        .by_account
        .into_iter()
        .filter(|(_, moved)| moved.gained != moved.lost)
        .map(|((account, asset), moved)| {
            let balance = balances.get(&account).copied().filter(|_| asset == Asset::Ether);
            BalanceChange { account, asset, moved, balance }
        })
        .collect();
    balance_changes
        .sort_by_key(|c| (c.account != sender, c.moved.gained >= c.moved.lost, c.asset, c.account));
    allowances.sort_by_key(|allowance| allowance.owner != sender);
    let truncated = balance_changes.len() > MOST || allowances.len() > MOST;
    balance_changes.truncate(MOST);
    allowances.truncate(MOST);
    Simulation {
        failure: run.failure,
        gas_used: run.gas_used,
        balance_changes,
        allowances,
        truncated,
        tokens: BTreeMap::new(),
        by,
        saved: run.saved,
        summary: String::new(),
    }
}
