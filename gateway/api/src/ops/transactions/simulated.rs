//! A simulation, as callers see it, and the one before a signature.

use ::chains::Node;
use ::chains::simulate::{
    Allowance, Asset, Attempt, BalanceChange, Granted, RevertKind, Simulation, decimal, difference,
};
use alloy_primitives::{Address, U256};
use domain::{Error, Kind, Result, SimulationId, Time};
use schemars::JsonSchema;
use serde::Serialize;
use store::chains::Chain;
use store::transactions::Simulated;

use crate::cx::Cx;

/// What an account would have more or less of.
#[derive(Serialize, JsonSchema)]
pub struct BalanceChangeResponse {
    address: String,
    /// native, erc20, erc721 or erc1155.
    standard: &'static str,
    /// The token's contract; left out for the chain's own currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// As the token calls itself; anybody can call a token anything. The chain's own currency by its name in the registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_symbol: Option<String>,
    /// Which one, of erc721 and erc1155.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<String>,
    /// Decimal, where it is known; of the chain's own currency alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    /// Decimal, "-1.5" for a loss; in the smallest unit where the token doesn't say its decimals.
    change: String,
    /// The same in the smallest unit.
    raw_change: String,
}

/// Who is let to take what.
#[derive(Serialize, JsonSchema)]
pub struct AllowanceResponse {
    token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_symbol: Option<String>,
    owner: String,
    spender: String,
    /// Decimal; "0": it is taken back. In the smallest unit where the token doesn't say its decimals.
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<String>,
    /// All that the owner has, now and later; false: no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    all: Option<bool>,
}

#[derive(Serialize, JsonSchema)]
pub struct SimulationResponse {
    simulation_id: String,
    /// success, reverted, or error: it can't even run, or was not tried.
    status: &'static str,
    /// In a sentence or two, what it does to the sender, or why it fails.
    summary: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    gas_used: Option<u64>,
    /// Always null: what the chain's currency costs is not known here.
    gas_estimate_usd: Option<String>,
    /// What the sender loses comes first; fees are not in it. At most 100.
    balance_changes: Vec<BalanceChangeResponse>,
    /// At most 100.
    allowances: Vec<AllowanceResponse>,
    /// There are more changes or allowances than are told.
    truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// revert_error, revert_panic, revert_custom, revert, out_of_gas, cant_run; not_simulated: nobody tried it, and error says
    /// why.
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_human_readable: Option<String>,
    /// The contract's own words, or the selector of its own error.
    #[serde(skip_serializing_if = "Option::is_none")]
    revert_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenderly_dashboard_url: Option<String>,
    /// tenderly, or the method of the chain's node; by eth_call, what tokens move is not known.
    simulated_by: &'static str,
    simulated_at: Time,
}

impl SimulationResponse {
    /// `currency`: what the chain's own is called.
    pub fn new(simulation: &Simulation, currency: &str, now: Time) -> Self {
        let failure = simulation.failure.as_ref();
        let reason = failure.filter(|f| !f.reason.is_empty() && has_run(f.kind));
        Self {
            simulation_id: id(simulation),
            status: simulation.status(),
            summary: simulation.summary.clone(),
            gas_used: simulation.gas_used,
            gas_estimate_usd: None,
            balance_changes: simulation
                .balance_changes
                .iter()
                .map(|c| change(simulation, c, currency))
                .collect(),
            allowances: simulation.allowances.iter().map(|a| allowance(simulation, a)).collect(),
            truncated: simulation.truncated,
            error: failure.map(ToString::to_string),
            error_code: failure.map(|f| f.kind.as_str()),
            error_human_readable: failure.map(|f| f.sentence()),
            revert_reason: reason.map(|f| f.reason.clone()),
            tenderly_dashboard_url: simulation.saved.as_ref().map(|saved| saved.dashboard.clone()),
            simulated_by: simulation.by.as_str(),
            simulated_at: now,
        }
    }

    pub fn id(&self) -> &str {
        &self.simulation_id
    }

    pub fn status(&self) -> &'static str {
        self.status
    }
}

fn has_run(kind: RevertKind) -> bool {
    !matches!(kind, RevertKind::CantRun | RevertKind::NotTried)
}

/// Tenderly's, or a new one.
fn id(simulation: &Simulation) -> String {
    let saved = simulation.saved.as_ref().map(|saved| saved.id.clone());
    saved.unwrap_or_else(|| SimulationId::new().to_string())
}

/// The places of a currency or a token; `None` where it doesn't say.
fn places(simulation: &Simulation, asset: &Asset) -> Option<u8> {
    match asset {
        Asset::Ether => Some(18),
        Asset::Erc20 { token } => simulation.tokens.get(token).and_then(|token| token.decimals),
        Asset::Erc721 { .. } | Asset::Erc1155 { .. } => None,
    }
}

fn symbol(simulation: &Simulation, token: Address) -> Option<String> {
    simulation.tokens.get(&token).and_then(|token| token.symbol.clone())
}

fn change(simulation: &Simulation, change: &BalanceChange, currency: &str) -> BalanceChangeResponse {
    let places = places(simulation, &change.asset).unwrap_or_default();
    let sign = if change.moved.lost > change.moved.gained { "-" } else { "" };
    let much = difference(&change.moved);
    let token = change.asset.token();
    BalanceChangeResponse {
        address: change.account.to_checksum(None),
        standard: change.asset.standard(),
        token: token.map(|token| token.to_checksum(None)),
        token_symbol: token.map_or(Some(currency.to_owned()), |token| symbol(simulation, token)),
        token_id: change.asset.id().map(|id| id.to_string()),
        before: change.balance.map(|(before, _)| decimal(before, places)),
        after: change.balance.map(|(_, after)| decimal(after, places)),
        change: format!("{sign}{}", decimal(much, places)),
        raw_change: format!("{sign}{much}"),
    }
}

fn allowance(simulation: &Simulation, allowance: &Allowance) -> AllowanceResponse {
    let Allowance { token, owner, spender, granted } = allowance;
    let decimals = places(simulation, &Asset::Erc20 { token: *token }).unwrap_or_default();
    let amount = |much: U256| decimal(much, decimals);
    AllowanceResponse {
        token: token.to_checksum(None),
        token_symbol: symbol(simulation, *token),
        owner: owner.to_checksum(None),
        spender: spender.to_checksum(None),
        amount: if let Granted::Amount(much) = granted { Some(amount(*much)) } else { None },
        token_id: if let Granted::One(id) = granted { Some(id.to_string()) } else { None },
        all: if let Granted::All(all) = granted { Some(*all) } else { None },
    }
}

/// Tries transactions one after the other: at Tenderly where it is configured, else on the chain's node.
///
/// # Errors
/// `Unavailable` if whoever simulates says nothing of them: nobody else is asked then. `TooManyRequests` while too many are
/// simulated.
pub async fn run(cx: &Cx, chain: &Chain, node: &Node, attempts: &[Attempt]) -> Result<Vec<Simulation>> {
    let (currency, who) = (&chain.native_currency, cx.caller()?.principal());
    let _turn = cx.gateway.simulating.turn(who.id, who.org, chain.chain_id).await?;
    match &cx.gateway.tenderly {
        Some(tenderly) => Ok(tenderly.simulate(chain.chain_id, currency, node, attempts).await?),
        None => Ok(node.simulate(currency, attempts).await?),
    }
}

/// How the simulation before a signature went.
pub enum Outcome {
    /// Neither the agent nor the installation wanted one.
    None,
    Succeeded(Simulated),
    Failed(Failed),
}

impl Outcome {
    /// As the signer is told.
    pub fn told(&self) -> signer_protocol::approval::Simulated {
        use signer_protocol::approval::Simulated;
        match self {
            Self::None => Simulated::None,
            Self::Succeeded(_) => Simulated::Succeeded,
            Self::Failed(_) => Simulated::Failed,
        }
    }
}

/// Why a transaction is not signed.
pub struct Failed {
    pub reason: String,
    pub simulated: Simulated,
}

/// What is tried before a signature. `fails`: the chain's node has said why it would fail when asked for its gas; then it
/// does, whatever the simulation says.
///
/// # Errors
/// `Unavailable` where it can't be simulated, `TooManyRequests` where that would take too long: then it is not signed.
pub async fn before_signing(
    cx: &Cx,
    chain: &Chain,
    node: &Node,
    attempt: Attempt,
    fails: Option<String>,
) -> Result<Outcome> {
    let simulations = run(cx, chain, node, &[attempt]).await.map_err(nothing_signed)?;
    let simulation = simulations.first().ok_or_else(|| Error::internal("one attempt, no simulation"))?;
    let status = match (simulation.status(), &fails) {
        ("success", Some(_)) => "reverted",
        (status, _) => status,
    };
    let dashboard = simulation.saved.as_ref().map(|saved| saved.dashboard.clone());
    let simulated = Simulated { id: id(simulation), status: status.to_owned(), dashboard };
    Ok(match fails.or_else(|| simulation.failure.as_ref().map(ToString::to_string)) {
        Some(reason) => Outcome::Failed(Failed { reason, simulated }),
        None => Outcome::Succeeded(simulated),
    })
}

fn nothing_signed(error: Error) -> Error {
    match error.kind() {
        Kind::Unavailable | Kind::TooManyRequests { .. } => {
            let detail =
                format!("Nothing was signed, since the transaction can't be simulated. {}", error.detail());
            Error::new(error.kind(), detail).because(error)
        }
        _ => error,
    }
}
