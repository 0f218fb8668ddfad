//! What the chain says of a transaction that it was given.

use std::time::Duration;

use alloy_primitives::B256;
use chains::{Node, Receipt};
use domain::transaction::Status;
use domain::{Error, Result, Time};
use store::transactions::{self, Transaction};

use super::{Carried, advance, bytes, node};
use crate::gateway::Gateway;

/// What the chain must have said for so long before a transaction counts as replaced by one that we did not sign:
/// behind one address there may be nodes that lag.
const CERTAIN: Duration = Duration::from_secs(60);

/// `broadcast → confirmed | reverted | replaced`, once the chain says so.
pub async fn settle(gateway: &Gateway, tx: Transaction) -> Result<Carried> {
    let node = node(gateway, &tx).await?;
    settle_with(gateway, tx, &node).await
}

pub async fn settle_with(gateway: &Gateway, tx: Transaction, node: &Node) -> Result<Carried> {
    let (Some(hash), Some(nonce)) = (tx.hash, tx.nonce) else {
        return Err(Error::internal("a signed transaction without hash or nonce"));
    };
    // Asked in this order: a block that comes in between shows in the receipt that is asked for last.
    let mined = node.mined_nonce(tx.from).await?;
    if let Some(receipt) = node.receipt(hash).await? {
        return in_a_block(gateway, tx, &receipt).await;
    }
    if mined > nonce {
        return passed(gateway, tx, node, hash).await;
    }
    let tx = seen_passed(gateway, tx, None).await?;
    if tx.status == Status::Broadcast && !node.knows(hash).await? {
        tracing::info!(transaction = %tx.id, "the node has lost it; sending it again");
        node.broadcast(bytes(&tx)?).await?;
    }
    Ok(Carried::Waits(tx))
}

/// The chain is past the nonce and has no receipt. The transaction is replaced if another of ours is in a block there,
/// or if it has been so for long.
async fn passed(gateway: &Gateway, tx: Transaction, node: &Node, hash: B256) -> Result<Carried> {
    if !transactions::another_is_mined(&gateway.store, &tx).await? {
        let now = gateway.clock.now();
        let since = if node.knows(hash).await? { None } else { tx.passed_at.or(Some(now)) };
        if since.is_none_or(|since| now < since.plus(CERTAIN)) {
            return seen_passed(gateway, tx, since).await.map(Carried::Waits);
        }
    }
    // For good: so whoever lagged is asked once more.
    match node.receipt(hash).await? {
        Some(receipt) => in_a_block(gateway, tx, &receipt).await,
        None => advance(gateway, tx, Status::Replaced, None).await,
    }
}

async fn in_a_block(gateway: &Gateway, tx: Transaction, receipt: &Receipt) -> Result<Carried> {
    let status = if receipt.succeeded { Status::Confirmed } else { Status::Reverted };
    advance(gateway, tx, status, Some(receipt.block_number)).await
}

/// Remembers since when the chain is past the nonce without the transaction; `None`: it is not.
async fn seen_passed(gateway: &Gateway, mut tx: Transaction, at: Option<Time>) -> Result<Transaction> {
    if tx.passed_at != at {
        let mut db = gateway.store.begin().await?;
        transactions::seen_passed(&mut db, tx.id, at).await?;
        db.commit().await?;
        tx.passed_at = at;
    }
    Ok(tx)
}
