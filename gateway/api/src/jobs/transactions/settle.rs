//! What the chain says of a transaction that it was given.

use std::time::Duration;

use alloy_primitives::B256;
use chains::{Broadcast, Node};
use domain::transaction::Status;
use domain::{Error, Result, Time};
use store::nonces::{self, Account};
use store::settling;
use store::transactions::Transaction;

use super::confirm::in_a_block;
use super::{Carried, advance, bytes, node, noted, replace};
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
        return in_a_block(gateway, tx, node, &receipt).await;
    }
    if mined > nonce {
        return passed(gateway, tx, node, hash).await;
    }
    let mut tx = seen_passed(gateway, tx, None).await?;
    if tx.status == Status::Broadcast && !node.knows(hash).await? {
        tracing::info!(transaction = %tx.id, "the node has lost it; sending it again");
        let said = node.broadcast(bytes(&tx)?).await?;
        // Of one that is being replaced, a node says that the other pays more: that is no news.
        if let (Broadcast::Underpriced(why) | Broadcast::Rejected(why), None) = (said, tx.replaced_by) {
            tx = noted(gateway, tx, &why).await?;
        }
    }
    replace::bump(gateway, &tx, node, mined).await;
    let tx = behind_a_gap(gateway, tx, node, mined, nonce).await?;
    Ok(Carried::Waits(tx))
}

/// Says so where a transaction waits for a nonce that was never ours: somebody else uses the key, and has lost what was
/// there. The next submission fills it.
async fn behind_a_gap(
    gateway: &Gateway,
    tx: Transaction,
    node: &Node,
    mined: u64,
    nonce: u64,
) -> Result<Transaction> {
    let long = tx.signed_at.is_some_and(|at| at.plus(CERTAIN) <= gateway.clock.now());
    if !long || mined >= nonce {
        return Ok(tx);
    }
    let next = node.next_nonce(tx.from).await?;
    let account = Account { chain_id: tx.chain_id, address: tx.from };
    if next >= nonce || !nonces::is_foreign(&gateway.store, account, next).await? {
        return Ok(tx);
    }
    let why = format!(
        "waits behind nonce {next}, at which no transaction of this installation is: another program uses the key; \
         the next submission takes that nonce"
    );
    noted(gateway, tx, &why).await
}

/// The chain is past the nonce and has no receipt. The transaction is replaced if another of ours is in a block there,
/// or if it has been so for long.
async fn passed(gateway: &Gateway, tx: Transaction, node: &Node, hash: B256) -> Result<Carried> {
    if !settling::another_is_mined(&gateway.store, &tx).await? {
        let now = gateway.clock.now();
        let since = if node.knows(hash).await? { None } else { tx.passed_at.or(Some(now)) };
        if since.is_none_or(|since| now < since.plus(CERTAIN)) {
            return seen_passed(gateway, tx, since).await.map(Carried::Waits);
        }
    }
    // For good: so whoever lagged is asked once more.
    match node.receipt(hash).await? {
        Some(receipt) => in_a_block(gateway, tx, node, &receipt).await,
        None => advance(gateway, tx, Status::Replaced).await,
    }
}

/// Remembers since when the chain is past the nonce without the transaction; `None`: it is not.
async fn seen_passed(gateway: &Gateway, mut tx: Transaction, at: Option<Time>) -> Result<Transaction> {
    if tx.passed_at != at {
        let mut db = gateway.store.begin().await?;
        settling::seen_passed(&mut db, tx.id, at).await?;
        db.commit().await?;
        tx.passed_at = at;
    }
    Ok(tx)
}
