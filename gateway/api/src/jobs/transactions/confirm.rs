//! Transactions in blocks: followed until they are deep enough, and begun anew where the chain takes a block back.

use chains::{Node, Receipt};
use domain::setting::CONFIRMATIONS;
use domain::transaction::Status;
use domain::{Kind, Result};
use store::settling::{self, InBlock, NEVER};
use store::transactions::{self, Step, Transaction};

use super::{Carried, advance_to, node, pause};
use crate::gateway::Gateway;

/// `broadcast → confirmed | reverted`, or deeper than before.
pub async fn in_a_block(
    gateway: &Gateway,
    tx: Transaction,
    node: &Node,
    receipt: &Receipt,
) -> Result<Carried> {
    let wanted = gateway.installation.number(&gateway.store, &CONFIRMATIONS).await?;
    // Where one is enough, the newest block need not be asked for.
    let newest = if wanted > 1 { node.block_number().await? } else { receipt.block_number };
    let status = if receipt.succeeded { Status::Confirmed } else { Status::Reverted };
    let now = gateway.clock.now();
    let block = InBlock {
        number: receipt.block_number,
        confirmations: newest.saturating_sub(receipt.block_number) + 1,
        since: tx.confirmed_at.unwrap_or(now),
    };
    let deep = block.confirmations >= wanted;
    let again = if deep { NEVER } else { now.plus(pause(block.since, now)) };
    if tx.status != status {
        return advance_to(gateway, tx, status, Some(block), again).await;
    }
    let mut db = gateway.store.begin().await?;
    settling::seen(&mut db, tx.id, status, &block, again).await?;
    db.commit().await?;
    Ok(Carried::Moved(tx))
}

/// Looks whether a transaction is still in a block. One that is not is `broadcast` again, and with it those that it had
/// replaced: either may be mined.
pub async fn look_again(gateway: &Gateway, tx: Transaction) -> Result<Carried> {
    let node = match node(gateway, &tx).await {
        // An operator has taken the chain away: nobody can ask about it any more.
        Err(error) if error.kind() == Kind::Missing => return rest(gateway, tx).await,
        node => node?,
    };
    let Some(hash) = tx.hash else { return rest(gateway, tx).await };
    // Asked in this order: a node that is not as far as the block says nothing about it.
    let newest = node.block_number().await?;
    match node.receipt(hash).await? {
        Some(receipt) => in_a_block(gateway, tx, &node, &receipt).await,
        None if tx.block_number.is_some_and(|block| newest < block) => Ok(Carried::Waits(tx)),
        None => taken_back(gateway, tx).await,
    }
}

async fn taken_back(gateway: &Gateway, tx: Transaction) -> Result<Carried> {
    tracing::warn!(transaction = %tx.id, block = tx.block_number, "the chain took its block back; it is sent again");
    let now = gateway.clock.now();
    let step = Step { from: tx.status, to: Status::Broadcast, block: None, at: now, again: now };
    let mut db = gateway.store.begin().await?;
    if transactions::advance(&mut db, tx.id, &step).await? {
        settling::revive(&mut db, &tx, now).await?;
    }
    db.commit().await?;
    Ok(Carried::Moved(tx))
}

async fn rest(gateway: &Gateway, tx: Transaction) -> Result<Carried> {
    let mut db = gateway.store.begin().await?;
    transactions::release(&mut db, tx.id, NEVER).await?;
    db.commit().await?;
    Ok(Carried::Moved(tx))
}
