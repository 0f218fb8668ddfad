//! Tokens that were revoked before their time.

use domain::{Result, Time, TokenId};

use crate::row::Columns as _;
use crate::{Store, Tx, failed};

const REVOKE: &str =
    "INSERT INTO revoked_tokens (id, expires_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";
const FORGET: &str = "DELETE FROM revoked_tokens WHERE expires_at < $1";
const FIND: &str = "SELECT COUNT(*) AS revoked FROM revoked_tokens WHERE id = $1";

pub async fn revoke(tx: &mut Tx, token: TokenId, expires_at: Time) -> Result<()> {
    let revoke = sqlx::query(REVOKE).bind(token.to_string()).bind(expires_at.millis());
    revoke.execute(tx.connection()).await.map_err(failed).map(drop)
}

pub async fn is_revoked(store: &Store, token: TokenId) -> Result<bool> {
    let row = sqlx::query(FIND)
        .bind(token.to_string())
        .fetch_one(&mut *store.read().await?)
        .await
        .map_err(failed)?;
    row.flag("revoked")
}

/// Forgets tokens that have expired anyway.
pub async fn forget_expired(tx: &mut Tx, now: Time) -> Result<()> {
    sqlx::query(FORGET).bind(now.millis()).execute(tx.connection()).await.map_err(failed).map(drop)
}
