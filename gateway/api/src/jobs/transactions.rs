//! Carries transactions from one durable step to the next: `pending → signed → broadcast → in a block`.
//!
//! Every step can be repeated. The signer gives the same bytes for the same intent and nonce, a node knows bytes
//! that it has seen, and each row moves by a statement that names the state it comes from. So it does not matter
//! who carries a transaction, or how often somebody dies on the way.

use std::time::Duration;

use chains::{Broadcast, Node};
use domain::transaction::Status;
use domain::{Error, Kind, OrMissing as _, PrincipalId, Result, Time};
use signer_protocol::intent::{Intent, Release, Sign};
use signer_protocol::{Attested, Reason, Refusal};
use store::nonces::{self, Account};
use store::settling::{InBlock, NEVER};
use store::transactions::{self, Step, Transaction};
use store::{Tx, replacements};

use crate::gateway::Gateway;
use crate::notes::Asked;
use crate::refusal;

mod confirm;
pub mod fits;
mod follow;
pub mod replace;
mod settle;
pub mod still;

pub use follow::follow;
use settle::{settle, settle_with};

/// Carries a transaction as far as it goes now, then lets go of it.
///
/// # Errors
/// What refused it before the signature, or `Unavailable` while the signer or the database is away. A node that is
/// away is no error: the transaction stays `signed`, and goes out when the node is back.
pub async fn carry(gateway: &Gateway, tx: Transaction) -> Result<Transaction> {
    let (id, created_at) = (tx.id, tx.created_at);
    let outcome = steps(gateway, tx).await;
    if !matches!(outcome, Ok(Carried::Moved(_))) {
        let now = gateway.clock.now();
        let mut db = gateway.store.begin().await?;
        transactions::release(&mut db, id, now.plus(pause(created_at, now))).await?;
        db.commit().await?;
    }
    outcome.map(|carried| match carried {
        Carried::Moved(tx) | Carried::Waits(tx) => tx,
    })
}

/// How far it went.
enum Carried {
    /// A step was the last for now, and has let go of it.
    Moved(Transaction),
    /// It stays as it is for now.
    Waits(Transaction),
}

/// The older a transaction, the less often it is looked at: from a quarter of a second to half a minute.
fn pause(created_at: Time, now: Time) -> Duration {
    let age = u64::try_from(now.millis() - created_at.millis()).unwrap_or_default();
    Duration::from_millis((age / 8).clamp(250, 30_000))
}

async fn steps(gateway: &Gateway, mut tx: Transaction) -> Result<Carried> {
    if tx.status == Status::Pending {
        tx = sign(gateway, tx).await?;
    }
    match tx.status {
        Status::Signed => broadcast(gateway, tx).await,
        Status::Broadcast => settle(gateway, tx).await,
        Status::Confirmed | Status::Reverted => confirm::look_again(gateway, tx).await,
        _ => Ok(Carried::Waits(tx)),
    }
}

/// `pending → signed`, or `failed` if it is refused for good. Whatever was true when it was submitted is asked again here: an
/// agent can make its submission take long.
async fn sign(gateway: &Gateway, mut tx: Transaction) -> Result<Transaction> {
    let account = Account { chain_id: tx.chain_id, address: tx.from };
    let agent = PrincipalId::Agent(tx.agent);
    let record = gateway.known.principal(&gateway.store, agent, tx.org).await?.or_missing("agent")?;
    let accepted = transactions::accepted(&gateway.store, tx.id).await?.or_missing("transaction")?;
    let checked = async {
        let key = still::key(gateway, &accepted, &record).await?;
        fits::now(gateway, &tx).await.map(|()| key)
    };
    let checked = checked.await;
    let intent = accepted.intent;
    let key = match checked {
        Ok(key) => key,
        Err(error) if matches!(error.kind(), Kind::Unavailable | Kind::Internal) => return Err(error),
        Err(error) => {
            give_up(gateway, &tx, intent, account, tx.nonce, &error).await?;
            return Err(error);
        }
    };
    let nonce = match tx.nonce {
        Some(nonce) => nonce,
        None => {
            let on_chain = node(gateway, &tx).await?.next_nonce(tx.from).await?;
            let mut db = gateway.store.begin().await?;
            let nonce = nonces::reserve(&mut db, account, on_chain, tx.id).await?;
            db.commit().await?;
            tx.nonce = Some(nonce);
            nonce
        }
    };
    let request = Sign { intent: intent.clone(), agent: record.record.clone(), key, nonce, fees: tx.fees };
    let signed = gateway.signer.call(async |signer, cx| signer.sign(cx, request).await).await;
    match signed {
        Ok(signed) => {
            let now = gateway.clock.now();
            let mut db = gateway.store.begin().await?;
            let stored = transactions::signed(&mut db, tx.id, &signed.raw, signed.hash, now).await?;
            db.commit().await?;
            if !stored {
                tracing::info!(transaction = %tx.id, "somebody else has stored the signature");
                return transactions::by_id(&gateway.store, tx.id).await?.or_missing("transaction");
            }
            let (signed_tx, hash, signed_at) = (Some(signed.raw), Some(signed.hash), Some(now));
            Ok(Transaction { status: Status::Signed, signed_tx, hash, signed_at, ..tx })
        }
        Err(refused) => match refused.reason.clone() {
            // It may be signed or not: asked again, the signer says which.
            Reason::Unavailable => Err(refusal::error(refused)),
            // The agent was changed since its record was read; the next look reads the new one. If the row was
            // tampered with, the intent expires, and then it is given up.
            Reason::RolledBack => {
                gateway.known.forget_principal(agent).await;
                Err(Error::unavailable("The agent was changed just now; try again in a moment.")
                    .because(refused))
            }
            reason => {
                let error = refusal::error(refused);
                let asked = Asked {
                    org: tx.org,
                    by: Some(agent),
                    what: ("transaction", &tx.id.to_string()),
                    from: None,
                    at: gateway.clock.now(),
                };
                gateway.notes.refused(&error, asked);
                // A nonce that the signer has used for something else is no free nonce.
                let free = (reason != Reason::NonceUsed).then_some(nonce);
                give_up(gateway, &tx, intent, account, free, &error).await?;
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
    let free = nonce.filter(|_| replaces.is_none());
    let ended = failed(&mut db, tx, account, free, why.detail(), gateway.clock.now()).await?;
    // What the signer refused is on the trail as that.
    if ended && why.refused().is_none() {
        let mut event = replace::event(tx, "transaction.refuse", gateway.clock.now());
        event.details.insert("reason".to_owned(), why.detail().into());
        db.record(event);
    }
    db.commit().await
}

/// Has the signer let go of what is pending. Answers with the nonce that becomes free with it; `None`: it was signed.
///
/// # Errors
/// `Unavailable` if the signer does not answer.
pub async fn never_sign(gateway: &Gateway, tx: &Transaction) -> Result<Option<Option<u64>>> {
    let accepted = transactions::accepted(&gateway.store, tx.id).await?.or_missing("transaction")?;
    let replaces = accepted.intent.peek().ok().and_then(|intent| intent.transfer.replaces);
    let request = Release { intent: accepted.intent };
    match gateway.signer.call(async |signer, cx| signer.release(cx, request).await).await {
        Ok(()) => Ok(Some(tx.nonce.filter(|_| replaces.is_none()))),
        Err(Refusal { reason: Reason::Conflict, .. }) => Ok(None),
        Err(refused) => Err(refusal::error(refused)),
    }
}

/// `pending → failed`. `free`: its nonce, where nothing else holds that. `false`: it is not pending any more.
pub async fn failed(
    db: &mut Tx,
    tx: &Transaction,
    account: Account,
    free: Option<u64>,
    why: &str,
    now: Time,
) -> Result<bool> {
    if !transactions::fail(db, tx.id, why, now).await? {
        return Ok(false);
    }
    replacements::undo(db, tx.id).await?;
    if let Some(nonce) = free {
        nonces::give_back(db, account, nonce, tx.id, now).await?;
    }
    Ok(true)
}

/// `signed → broadcast`, or further if the chain has it already.
async fn broadcast(gateway: &Gateway, tx: Transaction) -> Result<Carried> {
    let node = match node(gateway, &tx).await {
        Ok(node) => node,
        Err(error) => return stay(gateway, tx, error.detail()).await,
    };
    match node.broadcast(bytes(&tx)?).await {
        Ok(Broadcast::Accepted | Broadcast::AlreadyKnown) => advance(gateway, tx, Status::Broadcast).await,
        Ok(Broadcast::NonceTooLow) => settle_with(gateway, tx, &node).await,
        Ok(Broadcast::Underpriced(why)) => underpriced(gateway, tx, &node, &why).await,
        Ok(Broadcast::Rejected(why)) => stay(gateway, tx, &why).await,
        Err(error) => stay(gateway, tx, Error::from(error).detail()).await,
    }
}

/// The node takes it for more only: what waits in no pool is sped up like what waits in one.
async fn underpriced(gateway: &Gateway, tx: Transaction, node: &Node, why: &str) -> Result<Carried> {
    let mined = node.mined_nonce(tx.from).await?;
    replace::bump(gateway, &tx, node, mined).await;
    stay(gateway, tx, why).await
}

fn bytes(tx: &Transaction) -> Result<&[u8]> {
    let raw = tx.signed_tx.as_ref();
    raw.map(|raw| &*raw.0).ok_or_else(|| Error::internal("a signed transaction without its bytes"))
}

/// Takes a step, and lets go of the transaction with it.
async fn advance(gateway: &Gateway, tx: Transaction, to: Status) -> Result<Carried> {
    let now = gateway.clock.now();
    let again = if to.is_final() { NEVER } else { now.plus(pause(tx.created_at, now)) };
    advance_to(gateway, tx, to, None, again).await
}

async fn advance_to(
    gateway: &Gateway,
    tx: Transaction,
    to: Status,
    block: Option<InBlock>,
    again: Time,
) -> Result<Carried> {
    let step = Step { from: tx.status, to, block, at: gateway.clock.now(), again };
    let mut db = gateway.store.begin().await?;
    let moved = transactions::advance(&mut db, tx.id, &step).await?;
    db.commit().await?;
    if moved {
        let (number, depth) = (block.map(|b| b.number), block.map(|b| b.confirmations));
        let confirmed_at = block.map(|b| b.since);
        Ok(Carried::Moved(Transaction {
            status: to,
            block_number: number,
            confirmations: depth,
            confirmed_at,
            error_message: None,
            ..tx
        }))
    } else {
        let now = transactions::by_id(&gateway.store, tx.id).await?.or_missing("transaction")?;
        Ok(Carried::Waits(now))
    }
}

/// Not further yet: says why, for people.
async fn stay(gateway: &Gateway, tx: Transaction, why: &str) -> Result<Carried> {
    noted(gateway, tx, why).await.map(Carried::Waits)
}

async fn noted(gateway: &Gateway, mut tx: Transaction, why: &str) -> Result<Transaction> {
    if tx.error_message.as_deref() != Some(why) {
        let mut db = gateway.store.begin().await?;
        transactions::note(&mut db, tx.id, why).await?;
        db.commit().await?;
        tx.error_message = Some(why.to_owned());
    }
    Ok(tx)
}

async fn node(gateway: &Gateway, tx: &Transaction) -> Result<Node> {
    let chain = gateway.chains.find(&gateway.store, &tx.chain_id.to_string()).await?.or_missing("chain")?;
    gateway.chains.node(&chain).await
}
