//! Transactions in blocks: how deep they are, and what a chain takes back.

use domain::transaction::Status;
use domain::{Error, Result, Time, TxId};

use crate::row::Columns as _;
use crate::transactions::{Transaction, number};
use crate::{Store, Tx, failed};

/// Held for ever: nobody looks at it any more.
pub const NEVER: Time = Time::from_millis(i64::MAX);

/// The block that a transaction is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InBlock {
    pub number: u64,
    /// Blocks from it to the newest, both counted.
    pub confirmations: u64,
    /// When it was first seen in a block.
    pub since: Time,
}

const SEEN: &str = "UPDATE transactions SET block_number = $3, confirmations = $4, confirmed_at = $5, \
                    lease_until = $6 WHERE id = $1 AND status = $2";
const REVIVE: &str = "UPDATE transactions SET status = 'broadcast', passed_at = NULL, updated_at = $5, lease_until = $5 \
                      WHERE chain_id = $1 AND from_address = $2 AND nonce = $3 AND id <> $4 AND status = 'replaced'";

const ANOTHER_MINED: &str = "SELECT COUNT(*) AS found FROM transactions WHERE chain_id = $1 AND from_address = $2 \
                             AND nonce = $3 AND id <> $4 AND status IN ('confirmed', 'reverted')";
const PASSED: &str =
    "UPDATE transactions SET passed_at = $2 WHERE id = $1 AND status IN ('signed', 'broadcast')";

/// It is in a block as before: how deep now. Lets go of it until `again`.
pub async fn seen(tx: &mut Tx, id: TxId, status: Status, block: &InBlock, again: Time) -> Result<()> {
    let seen = sqlx::query(SEEN)
        .bind(id.to_string())
        .bind(status.as_str())
        .bind(number("block_number", block.number)?)
        .bind(number("confirmations", block.confirmations)?)
        .bind(block.since.millis())
        .bind(again.millis());
    seen.execute(tx.connection()).await.map_err(failed).map(drop)
}

/// What counted as replaced by one that the chain took back is open again: either may be mined.
pub async fn revive(tx: &mut Tx, taken_back: &Transaction, now: Time) -> Result<()> {
    let nonce =
        taken_back.nonce.ok_or_else(|| Error::internal("a transaction in a block without a nonce"))?;
    let revive = sqlx::query(REVIVE)
        .bind(number("chain", taken_back.chain_id)?)
        .bind(taken_back.from.to_checksum(None))
        .bind(number("nonce", nonce)?)
        .bind(taken_back.id.to_string())
        .bind(now.millis());
    revive.execute(tx.connection()).await.map_err(failed).map(drop)
}

/// Whether another transaction at the same nonce is in a block.
pub async fn another_is_mined(store: &Store, than: &Transaction) -> Result<bool> {
    let find = sqlx::query(ANOTHER_MINED)
        .bind(number("chain", than.chain_id)?)
        .bind(than.from.to_checksum(None))
        .bind(than.nonce.map(|nonce| number("nonce", nonce)).transpose()?)
        .bind(than.id.to_string());
    find.fetch_one(&mut *store.read().await?).await.map_err(failed)?.flag("found")
}

/// Remembers since when the chain is past the nonce without this transaction; `None`: it is not.
pub async fn seen_passed(tx: &mut Tx, id: TxId, at: Option<Time>) -> Result<()> {
    let seen = sqlx::query(PASSED).bind(id.to_string()).bind(at.map(Time::millis));
    seen.execute(tx.connection()).await.map_err(failed).map(drop)
}
