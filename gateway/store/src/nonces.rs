//! Nonces: given out one after the other for each chain and address, and given back when nothing was signed.

use alloy_primitives::Address;
use domain::{Error, Result, Time, TxId};

use crate::row::Columns as _;
use crate::{Store, Tx, failed};

/// One address on one chain.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    pub chain_id: u64,
    pub address: Address,
}

const START: &str = "INSERT INTO nonces (chain_id, address, next) VALUES ($1, $2, $3) \
                     ON CONFLICT (chain_id, address) DO NOTHING";
/// Locks the account's row for the rest of the transaction, and never lets it fall behind the chain.
const CATCH_UP: &str = "UPDATE nonces SET next = CASE WHEN next < $3 THEN $3 ELSE next END \
                        WHERE chain_id = $1 AND address = $2 RETURNING next";
const LOCK: &str = "UPDATE nonces SET next = next WHERE chain_id = $1 AND address = $2";
/// What the chain has used by itself in the meantime is not free.
const FORGET_USED: &str = "DELETE FROM free_nonces WHERE chain_id = $1 AND address = $2 AND nonce < $3";
const TAKE_FREE: &str = "DELETE FROM free_nonces WHERE chain_id = $1 AND address = $2 AND nonce = \
                         (SELECT MIN(nonce) FROM free_nonces WHERE chain_id = $1 AND address = $2) RETURNING nonce";
const ADVANCE: &str = "UPDATE nonces SET next = next + 1 WHERE chain_id = $1 AND address = $2";
const STEP_BACK: &str =
    "UPDATE nonces SET next = next - 1 WHERE chain_id = $1 AND address = $2 AND next = $3 + 1";
const FREE: &str = "INSERT INTO free_nonces (chain_id, address, nonce, given_up_by, given_up_at) VALUES ($1, $2, $3, $4, $5) \
     ON CONFLICT DO NOTHING";
const PUT_OFF: &str =
    "UPDATE free_nonces SET given_up_at = $4 WHERE chain_id = $1 AND address = $2 AND nonce = $3";
const TAKE: &str = "DELETE FROM free_nonces WHERE chain_id = $1 AND address = $2 AND nonce = $3";
const IS_FREE: &str =
    "SELECT COUNT(*) AS free FROM free_nonces WHERE chain_id = $1 AND address = $2 AND nonce = $3";
/// In whatever state: what was signed once at a nonce, the signer does not sign over, and what failed gave it back.
const HELD: &str = "SELECT COUNT(*) AS held FROM transactions \
                    WHERE chain_id = $1 AND from_address = $2 AND nonce = $3";
/// Signed a minute before the transaction that asks, and not in a block yet. A node that does not know for so long
/// what was at the nonce before it has lost that; in less, it may only lag behind others.
const STUCK_ABOVE: &str = "SELECT COUNT(*) AS stuck FROM transactions \
                           WHERE chain_id = $1 AND from_address = $2 AND nonce > $3 \
                           AND status IN ('signed', 'broadcast') \
                           AND signed_at <= (SELECT created_at FROM transactions WHERE id = $4) - 60000";
const ASSIGN: &str =
    "UPDATE transactions SET nonce = $2 WHERE id = $1 AND status = 'pending' AND nonce IS NULL";
const UNASSIGN: &str = "UPDATE transactions SET nonce = NULL WHERE id = $1 AND nonce = $2";

/// Reserves the next nonce for a pending transaction: a given-back one first, then one that the chain waits for in
/// vain, else the larger of the tracked next and `on_chain` (the node's pending count). Exact under concurrency: the
/// account's row is locked first.
///
/// # Errors
/// `Conflict` if the transaction is not pending, or has a nonce already.
pub async fn reserve(tx: &mut Tx, account: Account, on_chain: u64, id: TxId) -> Result<u64> {
    let (chain, address) = keys(account)?;
    let on_chain = number(on_chain)?;
    let next = catch_up(tx, account, on_chain).await?;
    let free = sqlx::query(TAKE_FREE)
        .bind(chain)
        .bind(&address)
        .fetch_optional(tx.connection())
        .await
        .map_err(failed)?;
    let nonce = match free {
        Some(row) => row.number("nonce")?,
        None if on_chain < next && is_awaited(tx, account, on_chain, id).await? => on_chain,
        None => {
            sqlx::query(ADVANCE).bind(chain).bind(&address).execute(tx.connection()).await.map_err(failed)?;
            next
        }
    };
    assign(tx, id, nonce).await?;
    u64::try_from(nonce).map_err(Error::internal)
}

/// What the node says of an account.
#[derive(Clone, Copy, Debug)]
pub struct OnChain {
    /// The nonce after those in blocks.
    pub mined: u64,
    /// The nonce after those in blocks and in the node's pool.
    pub pending: u64,
}

/// Reserves exactly this nonce, which must be the next one, a given-back one, or one that the chain has not used and
/// nobody here ever held: a transaction that others sent with the same key, and that was lost, leaves such a gap.
///
/// # Errors
/// `Invalid`, naming `nonce`, with the next one.
pub async fn reserve_exactly(
    tx: &mut Tx,
    account: Account,
    on_chain: OnChain,
    nonce: u64,
    id: TxId,
) -> Result<()> {
    let (chain, address) = keys(account)?;
    let wanted = number(nonce)?;
    let next = catch_up(tx, account, number(on_chain.pending)?).await?;
    let took = if wanted == next {
        sqlx::query(ADVANCE).bind(chain).bind(&address).execute(tx.connection()).await
    } else {
        sqlx::query(TAKE).bind(chain).bind(&address).bind(wanted).execute(tx.connection()).await
    };
    if took.map_err(failed)?.rows_affected() == 0 {
        let gap = on_chain.mined <= nonce && wanted < next && !is_held(tx, account, wanted).await?;
        if !gap {
            return Err(Error::invalid(
                "nonce",
                format!("must be {next}, the next one, or one that is in use, to replace it"),
            ));
        }
    }
    assign(tx, id, wanted).await
}

/// Gives a transaction the nonce of the one that it replaces.
pub async fn share(tx: &mut Tx, nonce: u64, id: TxId) -> Result<()> {
    assign(tx, id, number(nonce)?).await
}

/// Gives a pending transaction this nonce, which was given back. `false`: somebody has taken it.
pub async fn take_free(tx: &mut Tx, account: Account, nonce: u64, id: TxId) -> Result<bool> {
    let (chain, address) = keys(account)?;
    let nonce = number(nonce)?;
    sqlx::query(LOCK).bind(chain).bind(&address).execute(tx.connection()).await.map_err(failed)?;
    let take = sqlx::query(TAKE).bind(chain).bind(&address).bind(nonce);
    if take.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 0 {
        return Ok(false);
    }
    assign(tx, id, nonce).await?;
    Ok(true)
}

/// Whether this nonce is nobody's here: no transaction ever held it, and none gave it back.
pub async fn is_foreign(store: &Store, account: Account, nonce: u64) -> Result<bool> {
    let (chain, address) = keys(account)?;
    let nonce = number(nonce)?;
    let mut connection = store.read().await?;
    for (sql, column) in [(HELD, "held"), (IS_FREE, "free")] {
        let found = sqlx::query(sql).bind(chain).bind(&address).bind(nonce).fetch_one(&mut *connection).await;
        if found.map_err(failed)?.flag(column)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Takes a nonce back from a transaction that will never be signed.
pub async fn give_back(tx: &mut Tx, account: Account, nonce: u64, id: TxId, now: Time) -> Result<()> {
    let (chain, address) = keys(account)?;
    let nonce = number(nonce)?;
    // Before the row lets go of it: nobody may see it held by nobody and not free.
    sqlx::query(LOCK).bind(chain).bind(&address).execute(tx.connection()).await.map_err(failed)?;
    let unassign = sqlx::query(UNASSIGN).bind(id.to_string()).bind(nonce);
    if unassign.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 0 {
        return Ok(());
    }
    let back = sqlx::query(STEP_BACK).bind(chain).bind(&address).bind(nonce);
    if back.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 0 {
        let free = sqlx::query(FREE).bind(chain).bind(&address).bind(nonce);
        let free = free.bind(id.to_string()).bind(now.millis());
        free.execute(tx.connection()).await.map_err(failed)?;
    }
    Ok(())
}

/// As if a free nonce had been given up then: who looks for gaps comes to it after the others.
pub async fn put_off(tx: &mut Tx, account: Account, nonce: u64, then: Time) -> Result<()> {
    let (chain, address) = keys(account)?;
    let put_off = sqlx::query(PUT_OFF).bind(chain).bind(&address).bind(number(nonce)?).bind(then.millis());
    put_off.execute(tx.connection()).await.map_err(failed).map(drop)
}

async fn catch_up(tx: &mut Tx, account: Account, on_chain: i64) -> Result<i64> {
    let (chain, address) = keys(account)?;
    loop {
        let caught = sqlx::query(CATCH_UP).bind(chain).bind(&address).bind(on_chain);
        if let Some(row) = caught.fetch_optional(tx.connection()).await.map_err(failed)? {
            let forget = sqlx::query(FORGET_USED).bind(chain).bind(&address).bind(on_chain);
            forget.execute(tx.connection()).await.map_err(failed)?;
            return row.number("next");
        }
        let start = sqlx::query(START).bind(chain).bind(&address).bind(on_chain);
        start.execute(tx.connection()).await.map_err(failed)?;
    }
}

/// Whether a transaction has or had the nonce. Exact while the account's row is locked.
async fn is_held(tx: &mut Tx, account: Account, nonce: i64) -> Result<bool> {
    let (chain, address) = keys(account)?;
    let held = sqlx::query(HELD).bind(chain).bind(&address).bind(nonce);
    held.fetch_one(tx.connection()).await.map_err(failed)?.flag("held")
}

/// Whether nobody here ever held the node's next nonce, and one of ours waits for it. `id`: the transaction that asks.
async fn is_awaited(tx: &mut Tx, account: Account, on_chain: i64, id: TxId) -> Result<bool> {
    if is_held(tx, account, on_chain).await? {
        return Ok(false);
    }
    let (chain, address) = keys(account)?;
    let stuck = sqlx::query(STUCK_ABOVE).bind(chain).bind(&address).bind(on_chain).bind(id.to_string());
    stuck.fetch_one(tx.connection()).await.map_err(failed)?.flag("stuck")
}

async fn assign(tx: &mut Tx, id: TxId, nonce: i64) -> Result<()> {
    let assign = sqlx::query(ASSIGN).bind(id.to_string()).bind(nonce);
    if assign.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1 {
        Ok(())
    } else {
        Err(Error::conflict("This transaction is being worked on already; read it again in a moment."))
    }
}

fn keys(account: Account) -> Result<(i64, String)> {
    Ok((number(account.chain_id)?, account.address.to_checksum(None)))
}

fn number(count: u64) -> Result<i64> {
    i64::try_from(count).map_err(|_| Error::invalid("nonce", "is too large"))
}
