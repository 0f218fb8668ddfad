//! Carries transactions from one durable step to the next: `pending → signed → broadcast → in a block`.
//!
//! Every step can be repeated. The signer gives the same bytes for the same intent and nonce, a node knows bytes
//! that it has seen, and each row moves by a statement that names the state it comes from. So it does not matter
//! who carries a transaction, or how often somebody dies on the way.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::B256;
use chains::{Broadcast, Node};
use domain::transaction::Status;
use domain::{Error, OrMissing as _, Result, Time, TxId};
use signer_protocol::intent::{Intent, Release, Sign};
use signer_protocol::{Attested, Reason, Refusal};
use store::nonces::{self, Account};
use store::transactions::{self, LEASE, Transaction};

use crate::gateway::Gateway;
use crate::refusal;

/// How often the open transactions are looked at.
const TICK: Duration = Duration::from_millis(250);
/// What the chain must have said for so long before a transaction counts as replaced by one that we did not sign:
/// behind one address there may be nodes that lag.
const CERTAIN: Duration = Duration::from_secs(60);

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
    // Each by itself: a chain whose node hangs must not hold up signatures.
    let (pending, signed, broadcast) = tokio::join!(
        look_at(gateway, Status::Pending),
        look_at(gateway, Status::Signed),
        look_at(gateway, Status::Broadcast),
    );
    pending.and(signed).and(broadcast)
}

async fn look_at(gateway: &Arc<Gateway>, status: Status) -> Result<()> {
    let now = gateway.clock.now();
    let mut tx = gateway.store.begin().await?;
    let taken = transactions::take(&mut tx, status, now, now.plus(LEASE)).await?;
    if taken.is_empty() {
        return Ok(());
    }
    tx.commit().await?;
    let work = taken.into_iter().map(|id| async move {
        if let Err(error) = carry(gateway, id).await {
            tracing::warn!(%error, transaction = %id, "a transaction could not be carried further yet");
        }
    });
    futures::future::join_all(work).await;
    Ok(())
}

/// Carries a transaction as far as it goes now, then lets go of it.
///
/// # Errors
/// What refused it before the signature, or `Unavailable` while the signer or the database is away. A node that is
/// away is no error: the transaction stays `signed`, and goes out when the node is back.
pub async fn carry(gateway: &Gateway, id: TxId) -> Result<Transaction> {
    let outcome = steps(gateway, id).await;
    let tx = match &outcome {
        Ok(tx) => Some(tx.clone()),
        Err(_) => transactions::by_id(&gateway.store, id).await?,
    };
    if let Some(tx) = tx.filter(|tx| !tx.status.is_final()) {
        let now = gateway.clock.now();
        let mut db = gateway.store.begin().await?;
        transactions::release(&mut db, id, now.plus(pause(&tx, now))).await?;
        db.commit().await?;
    }
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
    let accepted = transactions::accepted(&gateway.store, tx.id).await?.or_missing("transaction")?;
    let agent = store::agents::facts(&gateway.store, tx.agent).await?.or_missing("agent")?;
    let request = Sign {
        intent: accepted.intent.clone(),
        agent: agent.record,
        key: accepted.signing_key,
        nonce,
        fees: tx.fees,
    };
    let signed = gateway.signer.call(async |signer, cx| signer.sign(cx, request).await).await;
    match signed {
        Ok(signed) => {
            let mut db = gateway.store.begin().await?;
            let stored =
                transactions::signed(&mut db, tx.id, &signed.raw, signed.hash, gateway.clock.now()).await?;
            db.commit().await?;
            if !stored {
                tracing::info!(transaction = %tx.id, "somebody else has stored the signature");
            }
            Ok(true)
        }
        Err(refused) => match refused.reason.clone() {
            // It may be signed or not: asked again, the signer says which.
            Reason::Unavailable => Err(refusal::error(refused)),
            // The agent was changed since its record was read; the next look reads the new one. If the row was
            // tampered with, the intent expires, and then it is given up.
            Reason::RolledBack => {
                Err(Error::unavailable("The agent was changed just now; try again in a moment.")
                    .because(refused))
            }
            reason => {
                let error = refusal::error(refused);
                // A nonce that the signer has used for something else is no free nonce.
                let free = (reason != Reason::NonceUsed).then_some(nonce);
                give_up(gateway, tx, accepted.intent, account, free, &error).await?;
                Err(error)
            }
        },
    }
}

/// `pending → failed`: nothing was signed, so the nonce and the value are free again.
///
/// # Errors
/// If the signer does not let go of it. It may be signed after all then: it stays pending, and the next look gets
/// the signature.
async fn give_up(
    gateway: &Gateway,
    tx: &Transaction,
    intent: Attested<Intent>,
    account: Account,
    nonce: Option<u64>,
    why: &Error,
) -> Result<()> {
    let replaces = intent.peek().ok().and_then(|intent| intent.transfer.replaces);
    let released = gateway.signer.call(async |signer, cx| signer.release(cx, Release { intent }).await).await;
    match released {
        // Not the signer's own statement: it holds nothing for it.
        Ok(()) | Err(Refusal { reason: Reason::Tampered, .. }) => {}
        Err(refused) => {
            return Err(Error::unavailable("The transaction is not settled yet; look again in a moment.")
                .because(refused));
        }
    }
    let mut db = gateway.store.begin().await?;
    if transactions::fail(&mut db, tx.id, why.detail(), gateway.clock.now()).await?
        && replaces.is_none()
        && let Some(nonce) = nonce
    {
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
        None if mined > nonce => match replaced_for_certain(gateway, tx, node, hash).await? {
            true => advance(gateway, tx, Status::Replaced, None).await,
            false => Ok(false),
        },
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

/// The chain is past the nonce and has no receipt: another of ours is in a block there, or it has been so for long.
async fn replaced_for_certain(gateway: &Gateway, tx: &Transaction, node: &Node, hash: B256) -> Result<bool> {
    if transactions::another_is_mined(&gateway.store, tx).await? {
        return Ok(true);
    }
    let long = tx.signed_at.is_some_and(|at| gateway.clock.now() >= at.plus(CERTAIN));
    Ok(long && !node.knows(hash).await?)
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
