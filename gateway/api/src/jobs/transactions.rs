//! Carries transactions from one durable step to the next: `pending → signed → broadcast → in a block`.
//!
//! Every step can be repeated. The signer gives the same bytes for the same intent and nonce, a node knows bytes
//! that it has seen, and each row moves by a statement that names the state it comes from. So it does not matter
//! who carries a transaction, or how often somebody dies on the way.

use std::sync::Arc;
use std::time::Duration;

use chains::{Broadcast, Node};
use domain::transaction::Status;
use domain::{Error, Kind, OrMissing as _, Result, Time, TxId};
use futures::StreamExt as _;
use signer_protocol::intent::{Release, Sign};
use store::nonces::{self, Account};
use store::transactions::{self, LEASE, Transaction};

use crate::gateway::Gateway;
use crate::refusal;

/// How often the open transactions are looked at.
const TICK: Duration = Duration::from_millis(250);
/// Transactions that are carried at the same time.
const AT_ONCE: usize = 16;

/// Looks after open transactions until the gateway stops.
pub async fn follow(gateway: Arc<Gateway>) {
    let mut stopping = gateway.stopping();
    while !*stopping.borrow() {
        if let Err(error) = look(&gateway).await {
            tracing::warn!(%error, "open transactions could not be looked at");
        }
        tokio::select! {
            _ = stopping.changed() => {}
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

async fn look(gateway: &Arc<Gateway>) -> Result<()> {
    if !transactions::any_due(&gateway.store, gateway.clock.now()).await? {
        return Ok(());
    }
    for status in [Status::Pending, Status::Signed, Status::Broadcast] {
        let now = gateway.clock.now();
        let mut tx = gateway.store.begin().await?;
        let taken = transactions::take(&mut tx, status, now, now.plus(LEASE)).await?;
        if taken.is_empty() {
            continue;
        }
        tx.commit().await?;
        let work = taken.into_iter().map(|tx| async move {
            let id = tx.id;
            if let Err(error) = carry(gateway, id).await {
                tracing::warn!(%error, transaction = %id, "a transaction could not be carried further yet");
            }
        });
        futures::stream::iter(work).for_each_concurrent(AT_ONCE, |work| work).await;
    }
    Ok(())
}

/// Carries a transaction as far as it goes now, then lets go of it.
///
/// # Errors
/// What refused it before the signature, or `Unavailable` while the signer or the database is away. A node that is
/// away is no error: the transaction stays `signed`, and goes out when the node is back.
pub async fn carry(gateway: &Gateway, id: TxId) -> Result<Transaction> {
    let outcome = steps(gateway, id).await;
    let now = gateway.clock.now();
    let next_look = match &outcome {
        Ok(tx) => now.plus(pause(tx, now)),
        // Soon: whoever asked is waiting for it.
        Err(_) => now.plus(TICK),
    };
    let mut tx = gateway.store.begin().await?;
    transactions::release(&mut tx, id, next_look).await?;
    tx.commit().await?;
    outcome
}

/// The older a transaction, the less often it is looked at: from a quarter of a second to half a minute.
fn pause(tx: &Transaction, now: Time) -> Duration {
    let age = u64::try_from(now.millis() - tx.created_at.millis()).unwrap_or_default();
    Duration::from_millis((age / 8).clamp(250, 30_000))
}

async fn steps(gateway: &Gateway, id: TxId) -> Result<Transaction> {
    loop {
        let tx = transactions::by_id(&gateway.store, id).await?.or_missing("transaction")?;
        let moved = match tx.status {
            Status::Pending => sign(gateway, &tx).await?,
            Status::Signed => broadcast(gateway, &tx).await?,
            Status::Broadcast => settle(gateway, &tx).await?,
            _ => false,
        };
        if !moved {
            return transactions::by_id(&gateway.store, id).await?.or_missing("transaction");
        }
    }
}

/// `pending → signed`, or `failed` if the signer refuses for good.
async fn sign(gateway: &Gateway, tx: &Transaction) -> Result<bool> {
    let account = Account { chain_id: tx.chain_id, address: tx.from };
    let nonce = match tx.nonce {
        Some(nonce) => nonce,
        None => {
            let on_chain = node(gateway, tx).await?.next_nonce(tx.from).await?;
            let mut db = gateway.store.begin().await?;
            let nonce = nonces::reserve(&mut db, account, on_chain, tx.id).await?;
            db.commit().await?;
            nonce
        }
    };
    let agent = store::agents::facts(&gateway.store, tx.agent).await?.or_missing("agent")?;
    let request = Sign {
        intent: tx.intent.clone(),
        agent: agent.record,
        key: tx.signing_key.clone(),
        nonce,
        fees: tx.fees,
    };
    let signed = gateway.signer.call(async |signer, cx| signer.sign(cx, request).await).await;
    match signed.map_err(refusal::error) {
        Ok(signed) => {
            let mut db = gateway.store.begin().await?;
            transactions::signed(&mut db, tx.id, &signed.raw, signed.hash, gateway.clock.now()).await?;
            db.commit().await?;
            Ok(true)
        }
        // It may be signed or not: asked again, the signer says which.
        Err(error) if error.kind() == Kind::Unavailable => Err(error),
        Err(error) => {
            give_up(gateway, tx, account, nonce, &error).await?;
            Err(error)
        }
    }
}

/// `pending → failed`: nothing was signed, so the nonce and the value are free again.
async fn give_up(
    gateway: &Gateway,
    tx: &Transaction,
    account: Account,
    nonce: u64,
    why: &Error,
) -> Result<()> {
    let request = Release { intent: tx.intent.clone() };
    let released = gateway.signer.call(async |signer, cx| signer.release(cx, request).await).await;
    match released.map_err(refusal::error) {
        Ok(()) => {}
        Err(error) if error.kind() == Kind::Unavailable => return Err(error),
        // There was nothing to release, or it is expired.
        Err(error) => tracing::debug!(%error, transaction = %tx.id, "nothing to release"),
    }
    let mut db = gateway.store.begin().await?;
    let replaces = tx.intent.peek().ok().and_then(|intent| intent.transfer.replaces);
    if transactions::fail(&mut db, tx.id, why.detail(), gateway.clock.now()).await? && replaces.is_none() {
        nonces::give_back(&mut db, account, nonce, tx.id).await?;
    }
    db.commit().await
}

/// `signed → broadcast`, or further if the chain has it already.
async fn broadcast(gateway: &Gateway, tx: &Transaction) -> Result<bool> {
    let raw =
        tx.signed_tx.as_ref().ok_or_else(|| Error::internal("a signed transaction without its bytes"))?;
    let node = match node(gateway, tx).await {
        Ok(node) => node,
        Err(error) => return stay(gateway, tx, error.detail()).await,
    };
    match node.broadcast(&raw.0).await {
        Ok(Broadcast::Accepted | Broadcast::AlreadyKnown) => {
            advance(gateway, tx, Status::Broadcast, None).await
        }
        Ok(Broadcast::NonceTooLow) => settle_with(gateway, tx, &node).await,
        Ok(Broadcast::Underpriced(why) | Broadcast::Rejected(why)) => stay(gateway, tx, &why).await,
        Err(error) => stay(gateway, tx, Error::from(error).detail()).await,
    }
}

/// `broadcast → confirmed | reverted | replaced`, once the chain says so.
async fn settle(gateway: &Gateway, tx: &Transaction) -> Result<bool> {
    let node = node(gateway, tx).await?;
    settle_with(gateway, tx, &node).await
}

async fn settle_with(gateway: &Gateway, tx: &Transaction, node: &Node) -> Result<bool> {
    let (Some(hash), Some(nonce)) = (tx.hash, tx.nonce) else {
        return Err(Error::internal("a signed transaction without hash or nonce"));
    };
    // Asked in this order: a block that comes in between shows in the receipt that is asked for last.
    let mined = node.mined_nonce(tx.from).await?;
    match node.receipt(hash).await? {
        Some(receipt) => {
            let status = if receipt.succeeded { Status::Confirmed } else { Status::Reverted };
            advance(gateway, tx, status, Some(receipt.block_number)).await
        }
        None if mined > nonce => advance(gateway, tx, Status::Replaced, None).await,
        None if tx.status == Status::Broadcast && !node.knows(hash).await? => {
            let raw = tx
                .signed_tx
                .as_ref()
                .ok_or_else(|| Error::internal("a signed transaction without its bytes"))?;
            tracing::info!(transaction = %tx.id, "the node has lost it; sending it again");
            node.broadcast(&raw.0).await?;
            Ok(false)
        }
        None => Ok(false),
    }
}

async fn advance(gateway: &Gateway, tx: &Transaction, to: Status, block: Option<u64>) -> Result<bool> {
    let mut db = gateway.store.begin().await?;
    let moved = transactions::advance(&mut db, tx.id, tx.status, to, block, gateway.clock.now()).await?;
    db.commit().await?;
    // What a node has just taken is looked at again later; its receipt is not there yet.
    Ok(moved && to != Status::Broadcast)
}

/// Not further yet: says why, for people.
async fn stay(gateway: &Gateway, tx: &Transaction, why: &str) -> Result<bool> {
    if tx.error_message.as_deref() != Some(why) {
        let mut db = gateway.store.begin().await?;
        transactions::note(&mut db, tx.id, why).await?;
        db.commit().await?;
    }
    Ok(false)
}

async fn node(gateway: &Gateway, tx: &Transaction) -> Result<Node> {
    let chain = gateway.chains.find(&gateway.store, &tx.chain_id.to_string()).await?.or_missing("chain")?;
    gateway.chains.node(&chain).await
}
