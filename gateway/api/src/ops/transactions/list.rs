//! What became of transactions.

use domain::access::{Permit, SeeTransactions};
use domain::{AgentId, OrMissing as _, Result};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::transactions;

use super::TransactionResponse;
use crate::access::OnAgent;
use crate::cx::Cx;
use crate::decode;
use crate::operation::{Operation, Reply, Route};
use crate::ops::{OfAgent, OfTransaction};

#[derive(Deserialize, JsonSchema)]
pub struct TransactionQuery {
    /// Whether the signed bytes are shown.
    #[serde(default)]
    include_signed_tx: bool,
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
    );
    type Path = OfAgent;
    type Params = decode::From<TransactionQuery>;
    type Output = TransactionListResponse;
    type Access = OnAgent<SeeTransactions>;

    async fn run(
        cx: &Cx,
        may: Permit<SeeTransactions, AgentId>,
        _: OfAgent,
        decode::From(query): Self::Params,
    ) -> Result<Reply<TransactionListResponse>> {
        let all = transactions::list(cx.store(), &may, query.include_signed_tx).await?;
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
