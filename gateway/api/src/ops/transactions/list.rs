//! What became of transactions.

use domain::access::{Permit, SeeTransactions};
use domain::{AgentId, Error, OrMissing as _, Result};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::transactions;

use super::{TransactionResponse, may_submit};
use crate::access::OnAgent;
use crate::cx::Cx;
use crate::decode;
use crate::operation::{Operation, Reply, Route};
use crate::ops::{OfAgent, OfTransaction};
use crate::tool::{Default as Or, Effect, Tool, arg};

#[derive(Deserialize, JsonSchema)]
pub struct TransactionQuery {
    /// Whether the signed bytes are shown.
    #[serde(default)]
    include_signed_tx: bool,
}

#[derive(Deserialize, JsonSchema)]
pub struct TransactionsQuery {
    /// Whether the signed bytes are shown.
    #[serde(default)]
    include_signed_tx: bool,
    /// At most so many: 1 to 1,000, or to 100 with their signed bytes.
    #[serde(default)]
    limit: Option<u32>,
}

impl TransactionsQuery {
    fn limit(&self) -> Result<u32> {
        let most = if self.include_signed_tx { 100 } else { 1000 };
        match self.limit {
            None => Ok(most),
            Some(limit) if (1..=most).contains(&limit) => Ok(limit),
            Some(_) => Err(Error::invalid("limit", format!("must be 1 to {most}"))),
        }
    }
}

#[derive(Serialize, JsonSchema)]
pub struct TransactionListResponse {
    transactions: Vec<TransactionResponse>,
}

/// An agent's transactions.
pub struct ListTransactions;

impl Operation for ListTransactions {
    const ROUTE: Route = Route::new(
        "listTransactions",
        Method::GET,
        "/v1/agents/{agent_id}/transactions",
        200,
        "An agent's transactions, newest first: at most 1,000, or 100 with their signed bytes.",
    )
    .tool(
        Tool::new(
            "list_transactions",
            Effect::Reads,
            "Lists your own transactions, newest first, with their status. Use it to see what was sent already, or awaits \
             people's approval, before you send anything again.",
        )
        .takes(&[arg("limit").or(Or::Number(20)).about("1 to 1,000.")])
        .only_for(may_submit),
    );
    type Path = OfAgent;
    type Params = decode::From<TransactionsQuery>;
    type Output = TransactionListResponse;
    type Access = OnAgent<SeeTransactions>;

    async fn run(
        cx: &Cx,
        may: Permit<SeeTransactions, AgentId>,
        _: OfAgent,
        decode::From(query): Self::Params,
    ) -> Result<Reply<TransactionListResponse>> {
        let all = transactions::list(cx.store(), &may, query.include_signed_tx, query.limit()?).await?;
        let show = |tx| TransactionResponse::new(tx, query.include_signed_tx);
        Ok(Reply::of(TransactionListResponse { transactions: all.iter().map(show).collect() }))
    }
}

/// One transaction.
pub struct GetTransaction;

impl Operation for GetTransaction {
    const ROUTE: Route = Route::new(
        "getTransaction",
        Method::GET,
        "/v1/agents/{agent_id}/transactions/{tx_id}",
        200,
        "One transaction and what became of it.",
    )
    .tool(
        Tool::new(
            "get_transaction",
            Effect::Reads,
            "Tells what became of a transaction: awaiting_approval (people must approve it: wait_for_approval), denied or \
             expired (they did not; nothing was signed), pending, signed, broadcast (sent, in no block yet), confirmed, reverted, \
             replaced or failed (error_message says why). While it is pending, signed or broadcast, ask again after some \
             seconds; don't submit it anew.",
        )
        .takes(&[arg("tx_id").about("The id that submit_transaction answered.")])
        .only_for(may_submit),
    );
    type Path = OfTransaction;
    type Params = decode::From<TransactionQuery>;
    type Output = TransactionResponse;
    type Access = OnAgent<SeeTransactions>;

    async fn run(
        cx: &Cx,
        may: Permit<SeeTransactions, AgentId>,
        path: OfTransaction,
        decode::From(query): Self::Params,
    ) -> Result<Reply<TransactionResponse>> {
        let tx = transactions::find(cx.store(), &may, path.tx_id).await?.or_missing("transaction")?;
        Ok(Reply::of(TransactionResponse::new(&tx, query.include_signed_tx)))
    }
}
