//! Trying transactions: nothing is signed, no nonce and no limit is taken.

use std::collections::BTreeMap;

use ::chains::Call;
use ::chains::simulate::Attempt;
use domain::access::{self, Permit};
use domain::{AgentId, Error, Kind, Result, SimulationId};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::request::{SimulateTransactionRequest, SubmitTransactionRequest, Wanted, unknown_chain};
use super::simulated::{self, SimulationResponse};
use super::submit::let_submit;
use super::{key, may_submit};
use crate::access::OnAgent;
use crate::cx::Cx;
use crate::decode::{self, NothingElse};
use crate::operation::{Operation, Reply, Route};
use crate::ops::OfAgent;
use crate::tool::{Effect, Tool, arg};

/// Of a bundle.
const MOST: usize = 10;

type May = Permit<access::SubmitTransaction, AgentId>;

#[derive(Deserialize, JsonSchema)]
pub struct SimulateBundleRequest {
    /// 1 to 10, on one chain, in the order in which they would be sent.
    transactions: Vec<SimulateTransactionRequest>,
    #[serde(flatten)]
    _nothing_else: NothingElse,
}

#[derive(Serialize, JsonSchema)]
pub struct BundleSimulationResponse {
    /// In the order of the request.
    simulations: Vec<SimulationResponse>,
}

/// Tries a transaction.
pub struct SimulateTransaction;

impl Operation for SimulateTransaction {
    const ROUTE: Route = Route::new(
        "simulateTransaction",
        Method::POST,
        "/v1/agents/{agent_id}/transactions/simulate",
        200,
        "What a transaction would do: the gas, what balances change, who may take tokens afterwards, or why it fails. \
         Nothing is signed.",
    )
    .audited("transaction.simulate", "simulation")
    .tool(
        Tool::new(
            "simulate_transaction",
            Effect::Reads,
            "Tries a transaction without signing it: what balances change, which allowances it grants, or why it fails. Use it \
             before submit_transaction whenever you call a contract. It is advice: a contract may behave otherwise when it is \
             executed, and tokens can have any name. Your guardrails are not checked.",
        )
        .takes(&[
            arg("chain").about("A name or id that list_chains gives."),
            arg("to").required().about("20-byte address; in mixed case with its EIP-55 checksum."),
            arg("value").about("Decimal ether, such as 0.5; 0 for a call without value."),
            arg("data"),
            arg("signing_key_path"),
            arg("gas_limit"),
        ])
        .only_for(may_submit),
    );
    type Path = OfAgent;
    type Params = decode::From<SimulateTransactionRequest>;
    type Output = SimulationResponse;
    type Access = OnAgent<access::SubmitTransaction>;

    async fn run(
        cx: &Cx,
        may: May,
        _: OfAgent,
        decode::From(request): Self::Params,
    ) -> Result<Reply<SimulationResponse>> {
        let_submit(cx)?;
        let wanted = SubmitTransactionRequest::from(request).check(cx).await?;
        let simulations = simulate(cx, &may, &[wanted]).await?;
        let first = simulations.into_iter().next();
        Ok(Reply::of(first.ok_or_else(|| Error::internal("one transaction, no simulation"))?))
    }
}

/// Tries transactions one after the other.
pub struct SimulateBundle;

impl Operation for SimulateBundle {
    const ROUTE: Route = Route::new(
        "simulateBundle",
        Method::POST,
        "/v1/agents/{agent_id}/transactions/simulate-bundle",
        200,
        "What up to ten transactions would do one after the other, each in the state that the one before left. Nothing is \
         signed.",
    )
    .audited("transaction.simulate", "simulation")
    .tool(
        Tool::new(
            "simulate_bundle",
            Effect::Reads,
            "Tries up to ten transactions in order, each in the state that the one before left, such as an approval and the \
             swap that needs it. Nothing is signed. Otherwise as simulate_transaction.",
        )
        .takes(&[arg("transactions")])
        .only_for(may_submit),
    );
    type Path = OfAgent;
    type Params = decode::From<SimulateBundleRequest>;
    type Output = BundleSimulationResponse;
    type Access = OnAgent<access::SubmitTransaction>;

    async fn run(
        cx: &Cx,
        may: May,
        _: OfAgent,
        decode::From(request): Self::Params,
    ) -> Result<Reply<BundleSimulationResponse>> {
        let_submit(cx)?;
        let many = request.transactions;
        if many.is_empty() || many.len() > MOST {
            return Err(Error::invalid("transactions", format!("must be 1 to {MOST}")));
        }
        let mut wanted = Vec::with_capacity(many.len());
        for (at, request) in many.into_iter().enumerate() {
            wanted.push(
                SubmitTransactionRequest::from(request).check(cx).await.map_err(|error| within(at, error))?,
            );
        }
        if wanted
            .windows(2)
            .any(|pair| matches!(pair, [one, next] if one.chain.chain_id != next.chain.chain_id))
        {
            return Err(Error::invalid("transactions", "must all be on one chain"));
        }
        Ok(Reply::of(BundleSimulationResponse { simulations: simulate(cx, &may, &wanted).await? }))
    }
}

/// Says which of the transactions it is.
fn within(at: usize, error: Error) -> Error {
    match error.kind() {
        Kind::Invalid => Error::new(Kind::Invalid, format!("transactions[{at}].{}", error.detail())),
        _ => error,
    }
}

/// Transactions of one chain, from the accounts of their keys. What was tried, and how it went, is on record before
/// anybody hears of it.
async fn simulate(cx: &Cx, may: &May, wanted: &[Wanted]) -> Result<Vec<SimulationResponse>> {
    let chain = wanted.first().map(|first| &first.chain).filter(|chain| chain.is_enabled);
    let chain = chain.ok_or_else(unknown_chain)?;
    let mut senders = BTreeMap::new();
    let mut attempts = Vec::with_capacity(wanted.len());
    for one in wanted {
        let from = match senders.get(one.key_path.as_str()) {
            Some(from) => *from,
            None => key::find(cx, one).await?.0.key.peek().map_err(Error::internal)?.address,
        };
        senders.insert(one.key_path.as_str(), from);
        let Wanted { to, value, data, access_list, .. } = one;
        let call =
            Call { from, to: *to, value: *value, data: data.clone(), access_list: access_list.clone() };
        attempts.push(Attempt { call, gas_limit: one.gas_limit });
    }
    let node = cx.gateway.chains.node(chain).await?;
    let simulations = simulated::run(cx, chain, &node, &attempts).await?;
    let answers: Vec<_> = simulations
        .iter()
        .map(|one| SimulationResponse::new(one, &chain.native_currency, cx.now()))
        .collect();
    let mut act = cx.begin().await?;
    act.note("agent_id", may.on().to_string());
    act.note("chain_id", chain.chain_id);
    let tried = attempts.iter().zip(&answers).map(|(Attempt { call, .. }, answer)| {
        serde_json::json!({
            "from": call.from.to_checksum(None),
            "to": call.to.map(|to| to.to_checksum(None)),
            "value_wei": call.value.to_string(),
            "simulation_id": answer.id(),
            "status": answer.status(),
        })
    });
    act.note("transactions", tried.collect::<Vec<_>>());
    act.commit(SimulationId::new()).await?;
    Ok(answers)
}
