//! Submitting a transaction: checked here and in the signer, stored, then carried as far as it goes at once.

use ::chains::Call;
use ::chains::simulate::Attempt;
use domain::access::{self, Permit};
use domain::setting::REQUIRE_SIMULATION;
use domain::transaction::Status;
use domain::{AgentId, Error, IntentId, Kind, OrMissing as _, Result, TxId};
use http::{Method, StatusCode};
use signer_protocol::Attested;
use signer_protocol::intent::{Intent, Release, Submit, Transfer};
use signer_protocol::record::Principal;
use store::nonces::Account;
use store::transactions::{Accepted, LEASE, Transaction};
use store::{chains, idempotency, transactions};

use super::fees::{self, Answer};
use super::nonce::{NonceWanted, replaced};
use super::request::{SubmitTransactionRequest, Wanted, unknown_chain};
use super::simulated::{Failed, Outcome};
use super::{TransactionResponse, key, simulated};
use crate::access::OnAgent;
use crate::cx::Cx;
use crate::decode;
use crate::jobs::transactions::carry;
use crate::operation::{Operation, Reply, Route};
use crate::ops::OfAgent;
use crate::ops::approvals::waiting;
use crate::tool::{Default as Or, Effect, Tool, arg};

type May = Permit<access::SubmitTransaction, AgentId>;

/// Signs and sends a transaction.
pub struct SubmitTransaction;

impl Operation for SubmitTransaction {
    const ROUTE: Route = Route::new(
        "submitTransaction",
        Method::POST,
        "/v1/agents/{agent_id}/transactions",
        201,
        "Signs a transaction with a key that you can't read, within your guardrails, and sends it. With an \
         Idempotency-Key, a retry finds the same transaction.",
    )
    .audited("transaction.submit", "transaction")
    .tool(
        Tool::new(
            "submit_transaction",
            Effect::Spends,
            "Signs a transaction with a key that you can't read, within your guardrails (see whoami), and sends it to the \
             chain. It moves real money and can't be undone: be sure of chain, to and value. Give an idempotency_key of your \
             own for each transaction, and send the same key again when you retry after an error or without an answer: it is \
             never sent twice. Status awaiting_approval: people must approve it first; call wait_for_approval with its id, and don't \
             submit it with another key. Else ask get_transaction until its status is confirmed or reverted. Refused by a \
             guardrail: the error says which and by how much; don't work around it, ask a person. Simulation failed: nothing \
             was signed; correct the transaction. Still being worked on, or the node or signer is not reachable: wait a moment \
             and send the same key again.",
        )
        .takes(&[
            arg("chain").about("A name or id that list_chains gives."),
            arg("to").required().about("20-byte address; in mixed case with its EIP-55 checksum."),
            arg("value").about("Decimal ether, such as 0.5; 0 for a call without value."),
            arg("data"),
            arg("signing_key_path"),
            arg("nonce").about("Leave it out; only to replace a transaction that is not yet in a block."),
            arg("gas_limit").about("Estimated when left out."),
            arg("gas_price"),
            arg("max_fee_per_gas").about("Wei; chosen when left out."),
            arg("max_priority_fee_per_gas").about("Wei; chosen when left out."),
            arg("simulate_first").or(Or::Flag(true)).about("Try it before anything is signed."),
            arg("idempotency_key")
                .header("idempotency-key")
                .or(Or::Fresh)
                .about("1 to 255 characters; made when left out. The same key: the same transaction, for 24 hours."),
        ])
        .shows_output()
        .only_for(may_submit),
    );
    type Path = OfAgent;
    type Params = decode::From<SubmitTransactionRequest>;
    type Output = TransactionResponse;
    type Access = OnAgent<access::SubmitTransaction>;

    async fn run(
        cx: &Cx,
        may: May,
        _: OfAgent,
        decode::From(request): Self::Params,
    ) -> Result<Reply<TransactionResponse>> {
        let_submit(cx)?;
        let key = idempotency_key(cx)?;
        let wanted = request.check(cx).await?;
        if let Some(key) = &key
            && let Some(known) = repeated(cx, &may, key, &wanted).await?
        {
            return Ok(known);
        }
        if !wanted.chain.is_enabled {
            return Err(unknown_chain());
        }
        submit(cx, &may, &wanted, key.as_deref()).await
    }
}

/// # Errors
/// `Forbidden` unless both the token and the agent as it is now may submit transactions.
pub fn let_submit(cx: &Cx) -> Result<()> {
    if cx.caller()?.claims.intents_api_enabled && may_submit(cx.caller()?.principal()) {
        return Ok(());
    }
    Err(Error::forbidden(
        "This agent may not submit transactions; a person sets intents_api_enabled, then get a new token.",
    ))
}

/// Whose transactions are signed.
pub fn may_submit(who: &Principal) -> bool {
    who.intents
}

pub fn idempotency_key(cx: &Cx) -> Result<Option<String>> {
    match cx.header("idempotency-key")? {
        Some(key) if key.is_empty() || key.len() > 255 => {
            Err(Error::invalid("Idempotency-Key", "must have 1 to 255 characters"))
        }
        key => Ok(key.map(str::to_owned)),
    }
}

/// The answer to a request that came before.
async fn repeated(
    cx: &Cx,
    may: &May,
    key: &str,
    wanted: &Wanted,
) -> Result<Option<Reply<TransactionResponse>>> {
    let Some(used) = idempotency::find(cx.store(), may, key, cx.now()).await? else { return Ok(None) };
    if used.body_hash != wanted.digest {
        return Err(Error::new(
            Kind::Unprocessable,
            "This Idempotency-Key was used for another request; use a new key for a new transaction.",
        ));
    }
    let tx = transactions::by_id(cx.store(), used.tx).await?.or_missing("transaction")?;
    if tx.status == Status::Pending && cx.now() < tx.lease_until {
        return Err(Error::conflict("This request is still being worked on; repeat it in a moment."));
    }
    let status = if tx.status == Status::AwaitingApproval { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok(Some(Reply::with(status, TransactionResponse::new(&tx, true))))
}

async fn submit(
    cx: &Cx,
    may: &May,
    wanted: &Wanted,
    key: Option<&str>,
) -> Result<Reply<TransactionResponse>> {
    let (key_version, at) = key::find(cx, wanted).await?;
    let from = key_version.key.peek().map_err(Error::internal)?.address;
    let node = cx.gateway.chains.node(&wanted.chain).await?;
    let account = Account { chain_id: wanted.chain.chain_id, address: from };
    let call = Call {
        from,
        to: wanted.to,
        value: wanted.value,
        data: wanted.data.clone(),
        access_list: wanted.access_list.clone(),
    };
    let simulated =
        wanted.simulate_first || cx.gateway.installation.is_on(cx.store(), &REQUIRE_SIMULATION).await?;
    // What fails will not be signed, unless people want it; whether it might be, the guardrails say first.
    let Answer { gas_limit, fees, on_chain, fails } =
        fees::ask(cx, &node, &call, wanted, simulated, people_decide(cx)?).await?;
    // What can't be paid is tried for people to see why.
    let simulated = simulated || fails.is_some();
    let replaces = replaced(cx, wanted, account, &fees).await?;
    let attempt = Attempt { call, gas_limit: wanted.gas_limit.or(fails.is_none().then_some(gas_limit)) };
    // Before the signer is asked: how it went is known to whoever decides.
    let outcome = match simulated {
        true => match simulated::before_signing(cx, &wanted.chain, &node, attempt, fails).await {
            Ok(outcome) => outcome,
            Err(error) => return twin(cx, may, wanted, key).await?.ok_or(error),
        },
        false => Outcome::None,
    };
    let transfer = Transfer {
        chain_id: wanted.chain.chain_id,
        to: wanted.to,
        value: wanted.value,
        data: wanted.data.clone(),
        gas_limit,
        fees,
        replaces,
        access_list: wanted.access_list.clone(),
    };
    let request = Submit {
        by: cx.for_signer()?,
        id: IntentId::new(),
        key: key_version.key.clone(),
        at,
        transfer,
        simulated: outcome.told(),
    };
    let intent = match cx.signer(async |signer, context| signer.submit(context, request).await).await {
        Ok(intent) => intent,
        // Its twin may have taken what was left of the limit.
        Err(error) => return twin(cx, may, wanted, key).await?.ok_or(error),
    };
    let simulation = match outcome {
        Outcome::None => None,
        Outcome::Succeeded(simulated) => Some(simulated),
        // Where people decide on what fails, it is theirs to decide.
        Outcome::Failed(Failed { simulated, .. }) if wanted.gas_limit.is_some() && people_decide(cx)? => {
            Some(simulated)
        }
        // The guardrails had their say first: theirs is the refusal that no correction of the call helps against.
        Outcome::Failed(mut failed) => {
            release(cx, intent).await;
            if people_decide(cx)? {
                failed.reason.push_str(" (with a gas_limit of yours, people may approve it all the same)");
            }
            // Its twin may have gone out, and made it fail.
            if let Some(known) = twin(cx, may, wanted, key).await? {
                return Ok(known);
            }
            let body = TransactionResponse::simulation_failed(*may.on(), from, wanted, cx.now(), failed);
            return Ok(Reply::with(StatusCode::UNPROCESSABLE_ENTITY, body));
        }
    };
    let accepted = Accepted { intent, key: Some(key_version) };
    let mut tx = Transaction {
        id: TxId::new(),
        org: may.org(),
        agent: *may.on(),
        chain: wanted.chain.name.clone(),
        chain_id: wanted.chain.chain_id,
        from,
        to: wanted.to,
        value: wanted.value,
        gas_limit,
        fees,
        access_list: wanted.access_list.clone(),
        simulation,
        nonce: None,
        status: Status::Pending,
        approval: None,
        error_message: None,
        signed_tx: None,
        hash: None,
        block_number: None,
        lease_until: cx.now().plus(LEASE),
        created_at: cx.now(),
        signed_at: None,
        passed_at: None,
        replaces: None,
        replaced_by: None,
        bumps: 0,
        confirmations: None,
        confirmed_at: None,
    };
    let nonce = NonceWanted { account, on_chain, replaces, explicit: wanted.nonce };
    match store(cx, may, wanted, &mut tx, &accepted, key, nonce).await {
        Ok(true) if tx.status == Status::AwaitingApproval => {
            return Ok(Reply::with(StatusCode::ACCEPTED, TransactionResponse::new(&tx, true)));
        }
        Ok(true) => {}
        Ok(false) => {
            release(cx, accepted.intent).await;
            // Whoever took the key first has the transaction.
            let busy = || Error::conflict("This request is being worked on; repeat it in a moment.");
            return twin(cx, may, wanted, key).await?.ok_or_else(busy);
        }
        Err(error) => {
            release(cx, accepted.intent).await;
            return twin(cx, may, wanted, key).await?.ok_or(error);
        }
    }
    let tx = match carry(&cx.gateway, tx.clone()).await {
        Ok(tx) => tx,
        // It is stored, and will go out: to say "try again" now would have it paid twice.
        Err(error) if matches!(error.kind(), Kind::Unavailable | Kind::Internal) => {
            tracing::warn!(%error, transaction = %tx.id, "accepted, and carried further as soon as possible");
            transactions::by_id(cx.store(), tx.id).await.ok().flatten().unwrap_or(tx)
        }
        Err(error) => return Err(error),
    };
    Ok(Reply::of(TransactionResponse::new(&tx, true)))
}

/// The transaction of a request with the same key that came a moment before.
async fn twin(
    cx: &Cx,
    may: &May,
    wanted: &Wanted,
    key: Option<&str>,
) -> Result<Option<Reply<TransactionResponse>>> {
    match key {
        Some(key) => repeated(cx, may, key, wanted).await,
        None => Ok(None),
    }
}

/// The row, its idempotency key, and its nonce or what people are asked, in one commit. `false`: the key is taken.
async fn store(
    cx: &Cx,
    may: &May,
    wanted: &Wanted,
    tx: &mut Transaction,
    accepted: &Accepted,
    key: Option<&str>,
    nonce: NonceWanted,
) -> Result<bool> {
    let people = waiting::request(cx, tx.id, &accepted.intent, &wanted.chain).await?;
    if people.is_some() && nonce.explicit.is_some() && nonce.replaces.is_none() {
        return Err(Error::invalid(
            "nonce",
            "must be left out: people must approve this transaction first, and it gets its nonce then",
        ));
    }
    let mut act = cx.begin().await?;
    if !chains::hold_enabled(&mut act, tx.chain_id).await? {
        return Err(unknown_chain());
    }
    transactions::insert(&mut act, may, tx, accepted).await?;
    if let Some(key) = key
        && !idempotency::claim(&mut act, may, key, &wanted.digest, tx.id, cx.now()).await?
    {
        return Ok(false);
    }
    match people {
        Some(people) => people.store(cx, &mut act, may, tx).await?,
        None => tx.nonce = Some(nonce.reserve(&mut act, tx.id).await?),
    }
    act.note("agent_id", tx.agent.to_string());
    act.note("chain_id", tx.chain_id);
    act.note("from", tx.from.to_checksum(None));
    act.note("to", tx.to.map(|to| to.to_checksum(None)));
    act.note("value_wei", tx.value.to_string());
    act.commit(tx.id).await?;
    Ok(true)
}

/// Whether what would fail now is a thing that the agent's people want to decide on.
fn people_decide(cx: &Cx) -> Result<bool> {
    let policy = &cx.caller()?.principal().guardrails.approval;
    Ok(policy.as_ref().is_some_and(|policy| policy.simulation))
}

/// Lets go of what the signer holds for it; if that fails, it lets go by itself when the intent expires.
async fn release(cx: &Cx, intent: Attested<Intent>) {
    let request = Release { intent };
    if let Err(error) = cx.signer(async |signer, context| signer.release(context, request).await).await {
        tracing::warn!(%error, "an intent was not released");
    }
}
