//! Speeding a transaction up and cancelling it: by another one at the same nonce, with higher fees.

use domain::access::{Permit, ReplaceTransaction};
use domain::transaction::Status;
use domain::{AgentId, Error, Kind, OrMissing as _, PrincipalId, Result, TxId};
use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use signer_protocol::intent::Fees;
use signer_protocol::replace::Replacement;
use store::nonces::Account;
use store::transactions::Transaction;
use store::{idempotency, replacements, transactions};

use super::request::{Amount, WantedFees, fees as wanted_fees};
use super::submit::idempotency_key;
use super::{TransactionResponse, may_submit};
use crate::access::OnAgent;
use crate::cx::Cx;
use crate::decode::{self, NothingElse};
use crate::jobs::transactions::replace::{derive, let_go, quoted, raised};
use crate::jobs::transactions::{carry, failed, never_sign};
use crate::operation::{Operation, Reply, Route};
use crate::ops::OfTransaction;
use crate::tool::{Default as Or, Effect, Tool, arg};

type May = Permit<ReplaceTransaction, AgentId>;

/// Fees of the kind that the transaction has. What is left out is what the chain asks for now, and an eighth more at least.
#[derive(Deserialize, JsonSchema, Default)]
pub struct ReplaceTransactionRequest {
    /// Wei, of a legacy transaction.
    #[serde(default)]
    gas_price: Option<Amount>,
    /// Wei.
    #[serde(default)]
    max_fee_per_gas: Option<Amount>,
    /// Wei.
    #[serde(default)]
    max_priority_fee_per_gas: Option<Amount>,
    #[serde(flatten)]
    _nothing_else: NothingElse,
}

const KEY: &str =
    "1 to 255 characters; made when left out. The same key: the same replacement, for 24 hours.";

macro_rules! fees_and_key {
    ($about:literal) => {
        &[
            arg("tx_id").about($about),
            arg("max_fee_per_gas").about("Wei; chosen when left out."),
            arg("max_priority_fee_per_gas").about("Wei; chosen when left out."),
            arg("gas_price").about("Wei, of a legacy transaction; chosen when left out."),
            arg("idempotency_key").header("idempotency-key").or(Or::Fresh).about(KEY),
        ]
    };
}

/// Sends a transaction again with higher fees.
pub struct SpeedUpTransaction;

impl Operation for SpeedUpTransaction {
    const ROUTE: Route = Route::new(
        "speedUpTransaction",
        Method::POST,
        "/v1/agents/{agent_id}/transactions/{tx_id}/speed-up",
        201,
        "Signs the same transaction again, at the same nonce and with fees at least 12.5 % higher, and sends it: one of \
         the two is mined. For the agent, and for those who manage it.",
    )
    .audited("transaction.speed_up", "transaction")
    .tool(
        Tool::new(
            "speed_up_transaction",
            Effect::Spends,
            "Sends one of your transactions again with higher fees, when it has been broadcast and is in no block for \
             long. It is the same payment: only one of the two is mined. Go on with the id that is answered. In a block \
             already: nothing is to be done. Refused by a guardrail: wait, or ask a person.",
        )
        .takes(fees_and_key!("The transaction that waits."))
        .only_for(may_submit),
    );
    type Path = OfTransaction;
    type Params = decode::Maybe<ReplaceTransactionRequest>;
    type Output = TransactionResponse;
    type Access = OnAgent<ReplaceTransaction>;

    async fn run(
        cx: &Cx,
        may: May,
        path: OfTransaction,
        decode::Maybe(request): Self::Params,
    ) -> Result<Reply<TransactionResponse>> {
        replace(cx, &may, path.tx_id, Replacement::SpeedUp, request).await
    }
}

/// Takes a transaction back, if that is possible.
pub struct CancelTransaction;

impl Operation for CancelTransaction {
    const ROUTE: Route = Route::new(
        "cancelTransaction",
        Method::POST,
        "/v1/agents/{agent_id}/transactions/{tx_id}/cancel",
        201,
        "Sends 0 to the sender itself at the transaction's nonce, with fees at least 12.5 % higher: whichever is mined \
         first counts. What is not signed yet is given up (200). For the agent, and for those who manage it.",
    )
    .audited("transaction.cancel", "transaction")
    .tool(
        Tool::new(
            "cancel_transaction",
            Effect::Spends,
            "Tries to take one of your transactions back before it is in a block, by one that does nothing at its nonce. \
             It costs a fee, and may come too late: ask get_transaction for both ids; the one that is confirmed counted.",
        )
        .takes(fees_and_key!("The transaction to take back."))
        .only_for(may_submit),
    );
    type Path = OfTransaction;
    type Params = decode::Maybe<ReplaceTransactionRequest>;
    type Output = TransactionResponse;
    type Access = OnAgent<ReplaceTransaction>;

    async fn run(
        cx: &Cx,
        may: May,
        path: OfTransaction,
        decode::Maybe(request): Self::Params,
    ) -> Result<Reply<TransactionResponse>> {
        replace(cx, &may, path.tx_id, Replacement::Cancel, request).await
    }
}

/// An Idempotency-Key, in the caller's own room, and what it stands for.
struct Once {
    key: Option<String>,
    digest: [u8; 32],
}

impl Once {
    fn new(cx: &Cx, id: TxId, replacement: Replacement, wanted: &WantedFees) -> Result<Self> {
        let caller = cx.caller()?.principal().id;
        let key = idempotency_key(cx)?.map(|key| match caller {
            // No header holds a line's end: no agent takes a person's key.
            PrincipalId::User(user) => format!("{user}\n{key}"),
            PrincipalId::Agent(_) => key,
        });
        let canonical = serde_json::json!([format!("{replacement:?}"), id, wanted]);
        Ok(Self { key, digest: Sha256::digest(canonical.to_string().as_bytes()).into() })
    }

    /// The answer to a request that came before.
    async fn known(&self, cx: &Cx, may: &May) -> Result<Option<Reply<TransactionResponse>>> {
        let Some(key) = &self.key else { return Ok(None) };
        let Some(used) = idempotency::find(cx.store(), may, key, cx.now()).await? else { return Ok(None) };
        if used.body_hash != self.digest {
            return Err(Error::new(
                Kind::Unprocessable,
                "This Idempotency-Key was used for another request; use a new key for a new transaction.",
            ));
        }
        let tx = transactions::by_id(cx.store(), used.tx).await?.or_missing("transaction")?;
        if tx.status == Status::Pending && cx.now() < tx.lease_until {
            return Err(Error::conflict("This request is still being worked on; repeat it in a moment."));
        }
        Ok(Some(Reply::with(StatusCode::OK, TransactionResponse::new(&tx, true))))
    }

    /// `false`: the key is taken.
    async fn claim(&self, cx: &Cx, may: &May, act: &mut store::Tx, id: TxId) -> Result<bool> {
        match &self.key {
            Some(key) => idempotency::claim(act, may, key, &self.digest, id, cx.now()).await,
            None => Ok(true),
        }
    }
}

async fn replace(
    cx: &Cx,
    may: &May,
    id: TxId,
    replacement: Replacement,
    request: ReplaceTransactionRequest,
) -> Result<Reply<TransactionResponse>> {
    let of = transactions::by_id(cx.store(), id).await?;
    let of = of.filter(|tx| tx.agent == *may.on() && tx.org == may.org()).or_missing("transaction")?;
    let wanted = wanted_fees(request.gas_price, request.max_fee_per_gas, request.max_priority_fee_per_gas)?;
    let once = Once::new(cx, id, replacement, &wanted)?;
    if let Some(known) = once.known(cx, may).await? {
        return Ok(known);
    }
    let nonce = match (of.status, replacement, of.nonce) {
        (Status::Pending, Replacement::Cancel, _) => return give_up(cx, may, of, &once).await,
        (Status::Signed | Status::Broadcast, _, Some(nonce)) if of.replaced_by.is_none() => nonce,
        _ => return Err(too_late(&of)),
    };
    let fees = fees(cx, &of, wanted).await?;
    let (new, accepted) = derive(&cx.gateway, &of, Some(cx.for_signer()?), replacement, fees).await?;
    let mut act = cx.begin().await?;
    act.note("agent_id", of.agent.to_string());
    act.note("chain_id", of.chain_id);
    act.note("of", of.id.to_string());
    let stored = replacements::insert(&mut act, &of, nonce, &new, &accepted).await?
        && once.claim(cx, may, &mut act, new.id).await?;
    if !stored {
        drop(act);
        let_go(&cx.gateway, accepted.intent).await;
        if let Some(known) = once.known(cx, may).await? {
            return Ok(known);
        }
        let now = transactions::by_id(cx.store(), id).await?.or_missing("transaction")?;
        return Err(too_late(&now));
    }
    act.commit(new.id).await?;
    let new = Transaction { nonce: Some(nonce), ..new };
    let tx = match carry(&cx.gateway, new.clone()).await {
        Ok(tx) => tx,
        // It is stored, and will go out.
        Err(error) if matches!(error.kind(), Kind::Unavailable | Kind::Internal) => {
            tracing::warn!(%error, transaction = %new.id, "accepted, and carried further as soon as possible");
            transactions::by_id(cx.store(), new.id).await.ok().flatten().unwrap_or(new)
        }
        Err(error) => return Err(error),
    };
    Ok(Reply::of(TransactionResponse::new(&tx, true)))
}

/// Not signed yet: it never will be.
async fn give_up(cx: &Cx, may: &May, of: Transaction, once: &Once) -> Result<Reply<TransactionResponse>> {
    let unsigned = never_sign(&cx.gateway, &of).await?;
    let mut act = cx.begin().await?;
    act.note("agent_id", of.agent.to_string());
    act.note("chain_id", of.chain_id);
    let why = "cancelled before it was signed";
    let (account, free) = (Account { chain_id: of.chain_id, address: of.from }, unsigned.unwrap_or(None));
    if unsigned.is_none() || !failed(&mut act, &of, account, free, why, cx.now()).await? {
        drop(act);
        let now = transactions::by_id(cx.store(), of.id).await?.or_missing("transaction")?;
        return Err(too_late(&now));
    }
    once.claim(cx, may, &mut act, of.id).await?;
    act.commit(of.id).await?;
    let now = transactions::by_id(cx.store(), of.id).await?.or_missing("transaction")?;
    Ok(Reply::with(StatusCode::OK, TransactionResponse::new(&now, true)))
}

/// Why nothing can take its place.
fn too_late(of: &Transaction) -> Error {
    let what = match (of.status, of.replaced_by) {
        (Status::Pending, _) => {
            "It is not signed yet; look at it again in a moment, or cancel it.".to_owned()
        }
        (Status::Signed | Status::Broadcast, Some(by)) => {
            format!("The transaction {by} is taking its place already; go on with that one.")
        }
        (Status::Signed | Status::Broadcast, None) => {
            "It was being worked on; look at it again in a moment.".to_owned()
        }
        (Status::Confirmed | Status::Reverted, _) => match of.block_number {
            Some(block) => {
                format!("It is in block {block} ({}): nothing can take its place.", of.status.as_str())
            }
            None => format!("It is in a block ({}): nothing can take its place.", of.status.as_str()),
        },
        (Status::Replaced, _) => "It was replaced: another transaction took its nonce.".to_owned(),
        (Status::AwaitingApproval, _) => match of.approval {
            Some(id) => format!(
                "People have not decided on it yet: take it back with POST /v1/approvals/{id}/cancel, or have it denied."
            ),
            None => "People have not decided on it yet.".to_owned(),
        },
        (status, _) => format!("It was never signed ({}): there is nothing to replace.", status.as_str()),
    };
    Error::conflict(what)
}

/// What the caller wants, else what the chain asks for, and what replaces the old ones in any case.
async fn fees(cx: &Cx, of: &Transaction, wanted: WantedFees) -> Result<Fees> {
    let least = raised(&of.fees);
    let quote = async {
        let chain =
            cx.gateway.chains.find(cx.store(), &of.chain_id.to_string()).await?.or_missing("chain")?;
        cx.gateway.chains.node(&chain).await?.quote().await.map_err(Error::from)
    };
    // A node that can't be asked keeps nobody from paying more.
    let chosen = quoted(&least, quote.await.ok().as_ref());
    let fees = match (wanted, chosen) {
        (WantedFees::Any, chosen) => chosen,
        (WantedFees::Legacy { gas_price }, Fees::Legacy { .. }) => Fees::Legacy { gas_price },
        (
            WantedFees::Eip1559 { max_fee_per_gas, max_priority_fee_per_gas },
            Fees::Eip1559 { max_fee_per_gas: cap, max_priority_fee_per_gas: tip },
        ) => {
            let tip = max_priority_fee_per_gas.unwrap_or(tip);
            let cap = max_fee_per_gas.unwrap_or(cap.max(tip));
            Fees::Eip1559 { max_fee_per_gas: cap, max_priority_fee_per_gas: tip.min(cap) }
        }
        (WantedFees::Legacy { .. }, _) => {
            return Err(Error::invalid("gas_price", "must be left out: the transaction has EIP-1559 fees"));
        }
        (WantedFees::Eip1559 { .. }, _) => {
            return Err(Error::invalid(
                "max_fee_per_gas",
                "must be left out: the transaction has a gas_price",
            ));
        }
    };
    if fees.raises(&of.fees) {
        return Ok(fees);
    }
    Err(match least {
        Fees::Legacy { gas_price } => {
            Error::invalid("gas_price", format!("must be at least {gas_price} wei, 12.5 % more than before"))
        }
        Fees::Eip1559 { max_fee_per_gas, max_priority_fee_per_gas } => Error::invalid(
            "max_fee_per_gas",
            format!(
                "must be at least {max_fee_per_gas} wei, and max_priority_fee_per_gas at least \
                 {max_priority_fee_per_gas}: 12.5 % more than before"
            ),
        ),
    })
}
