//! Idempotency keys: a second request with the same key finds the first one's transaction.

use domain::access::Permit;
use domain::{AgentId, Result, Time, TxId};

use crate::replacements::Submits;
use crate::row::Columns as _;
use crate::{Store, Tx, failed};

/// What a key stands for.
pub struct Used {
    pub body_hash: Vec<u8>,
    pub tx: TxId,
}

/// A key of which nobody remembers the day is free again.
const CLAIM: &str = "INSERT INTO idempotency_keys (agent_id, key, body_hash, tx_id, created_at) \
                     VALUES ($1, $2, $3, $4, $5) ON CONFLICT (agent_id, key) DO UPDATE \
                     SET body_hash = excluded.body_hash, tx_id = excluded.tx_id, created_at = excluded.created_at \
                     WHERE idempotency_keys.created_at < $6";
const FIND: &str =
    "SELECT body_hash, tx_id FROM idempotency_keys WHERE agent_id = $1 AND key = $2 AND created_at >= $3";

/// How long a key is remembered.
pub const REMEMBERED: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

/// Claims a key together with the transaction that is written in the same database transaction. `false`: it is
/// taken.
pub async fn claim(
    tx: &mut Tx,
    may: &Permit<impl Submits, AgentId>,
    key: &str,
    body_hash: &[u8; 32],
    id: TxId,
    at: Time,
) -> Result<bool> {
    let claim = sqlx::query(CLAIM)
        .bind(may.on().to_string())
        .bind(key)
        .bind(&body_hash[..])
        .bind(id.to_string())
        .bind(at.millis())
        .bind(at.minus(REMEMBERED).millis());
    Ok(claim.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1)
}

pub async fn find(
    store: &Store,
    may: &Permit<impl Submits, AgentId>,
    key: &str,
    now: Time,
) -> Result<Option<Used>> {
    let find = sqlx::query(FIND).bind(may.on().to_string()).bind(key).bind(now.minus(REMEMBERED).millis());
    let row = find.fetch_optional(&mut *store.read().await?).await.map_err(failed)?;
    row.map(|row| Ok(Used { body_hash: row.bytes("body_hash")?, tx: row.parsed("tx_id")? })).transpose()
}
