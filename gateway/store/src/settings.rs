//! Settings of the whole installation.

use domain::{Result, Time};

use crate::row::Columns as _;
use crate::{Store, Tx, failed};

const FIND: &str = "SELECT value FROM settings WHERE key = $1";
const PUT: &str = "INSERT INTO settings (key, value, updated_by, updated_at) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_by = excluded.updated_by, \
                   updated_at = excluded.updated_at";
const ADD: &str = "INSERT INTO settings (key, value, updated_by, updated_at) VALUES ($1, $2, NULL, $3) \
                   ON CONFLICT (key) DO NOTHING";
const TAKE: &str = "DELETE FROM settings WHERE key = $1 AND value = $2";

pub async fn find(store: &Store, key: &str) -> Result<Option<String>> {
    let row = sqlx::query(FIND).bind(key).fetch_optional(store.pool()).await.map_err(failed)?;
    row.map(|row| row.text("value")).transpose()
}

pub async fn put(tx: &mut Tx, key: &str, value: &str, by: Option<&str>, at: Time) -> Result<()> {
    let put = sqlx::query(PUT).bind(key).bind(value).bind(by).bind(at.millis());
    put.execute(tx.connection()).await.map_err(failed).map(drop)
}

/// Sets a key that is not set yet. Whoever comes first wins; `false`: somebody else did.
pub async fn add(tx: &mut Tx, key: &str, value: &str, at: Time) -> Result<bool> {
    let add = sqlx::query(ADD).bind(key).bind(value).bind(at.millis());
    Ok(add.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1)
}

/// Removes a key if it still has this value: true for one caller at most.
pub async fn take(tx: &mut Tx, key: &str, value: &str) -> Result<bool> {
    let take = sqlx::query(TAKE).bind(key).bind(value);
    Ok(take.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1)
}
