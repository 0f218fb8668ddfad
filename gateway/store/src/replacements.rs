//! Transactions in the place of others, and nonces that somebody waits behind.

use std::time::Duration;

use alloy_primitives::Address;
use domain::access::{ReplaceTransaction, SubmitTransaction};
use domain::{Result, Time, TxId};

use crate::nonces::{self, Account};
use crate::row::Columns as _;
use crate::transactions::{Accepted, Transaction, insert_for};
use crate::{Store, Tx, failed};

/// What an agent's transactions, and keys for them, are made with.
pub trait Submits {}
impl Submits for SubmitTransaction {}
impl Submits for ReplaceTransaction {}

const REPLACE: &str = "UPDATE transactions SET replaced_by = $2 WHERE id = $1 AND replaced_by IS NULL \
                       AND status IN ('signed', 'broadcast')";
const REPLACES: &str = "UPDATE transactions SET replaces = $2, bumps = $3 WHERE id = $1";
const UNDO: &str = "UPDATE transactions SET replaced_by = NULL WHERE replaced_by = $1 \
                    AND id = (SELECT replaces FROM transactions WHERE id = $1)";
const GAPS: &str = "SELECT chain_id, address, nonce, given_up_by FROM free_nonces AS f \
                    WHERE given_up_by IS NOT NULL AND given_up_at < $1 AND EXISTS (SELECT 1 FROM transactions \
                    WHERE chain_id = f.chain_id AND from_address = f.address AND nonce > f.nonce \
                    AND status IN ('signed', 'broadcast')) ORDER BY given_up_at LIMIT 20";

/// How long others wait behind a nonce that was given up, until it is filled: the next submission takes it for nothing.
pub const GAP_WAITS: Duration = Duration::from_secs(30);

/// Stores a pending transaction of the same agent in the place of one that waits, at its nonce. `false`: another has its
/// place, or it waits no more; then nothing may be committed.
///
/// # Errors
/// `Conflict` if the new one has a nonce already.
pub async fn insert(
    tx: &mut Tx,
    of: &Transaction,
    nonce: u64,
    new: &Transaction,
    accepted: &Accepted,
) -> Result<bool> {
    insert_for(tx, of.org, of.agent, new, accepted).await?;
    let replace = sqlx::query(REPLACE).bind(of.id.to_string()).bind(new.id.to_string());
    if replace.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 0 {
        return Ok(false);
    }
    follows(tx, new, of.id).await?;
    nonces::share(tx, nonce, new.id).await?;
    Ok(true)
}

/// Stores a pending transaction at a nonce that another one gave up. `false`: somebody has taken the nonce.
///
/// # Errors
/// As [`insert`].
pub async fn fill(
    tx: &mut Tx,
    gap: &Gap,
    of: &Transaction,
    new: &Transaction,
    accepted: &Accepted,
) -> Result<bool> {
    insert_for(tx, of.org, of.agent, new, accepted).await?;
    follows(tx, new, of.id).await?;
    nonces::take_free(tx, gap.account, gap.nonce, new.id).await
}

async fn follows(tx: &mut Tx, new: &Transaction, of: TxId) -> Result<()> {
    let bumps = i64::try_from(new.bumps).map_err(domain::Error::internal)?;
    let follows = sqlx::query(REPLACES).bind(new.id.to_string()).bind(of.to_string()).bind(bumps);
    follows.execute(tx.connection()).await.map_err(failed).map(drop)
}

/// One that was to replace another never will: that may be replaced again.
pub async fn undo(tx: &mut Tx, id: TxId) -> Result<()> {
    let undo = sqlx::query(UNDO).bind(id.to_string());
    undo.execute(tx.connection()).await.map_err(failed).map(drop)
}

/// A nonce that was given up, and that signed transactions wait behind.
#[derive(Clone, Debug)]
pub struct Gap {
    pub account: Account,
    pub nonce: u64,
    pub given_up_by: TxId,
}

/// The gaps that have been there for [`GAP_WAITS`].
pub async fn gaps(store: &Store, now: Time) -> Result<Vec<Gap>> {
    let find = sqlx::query(GAPS).bind(now.minus(GAP_WAITS).millis());
    let rows = find.fetch_all(&mut *store.read().await?).await.map_err(failed)?;
    let gap = |row: &sqlx::any::AnyRow| {
        let address: Address = row.parsed("address")?;
        Ok(Gap {
            account: Account { chain_id: row.count("chain_id")?, address },
            nonce: row.count("nonce")?,
            given_up_by: row.parsed("given_up_by")?,
        })
    };
    rows.iter().map(gap).collect()
}
