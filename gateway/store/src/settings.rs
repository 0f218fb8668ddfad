//! Settings of the whole installation.

use domain::access::{ManageSettings, Permit, Platform};
use domain::setting::Setting;
use domain::{Result, Time};

use crate::row::Columns as _;
use crate::{Store, Tx, failed};

const FIND: &str = "SELECT value FROM settings WHERE key = $1";
const PUT: &str = "INSERT INTO settings (key, value, updated_by, updated_at) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_by = excluded.updated_by, \
                   updated_at = excluded.updated_at";
const ADD: &str = "INSERT INTO settings (key, value, updated_by, updated_at) VALUES ($1, $2, NULL, $3) \
                   ON CONFLICT (key) DO NOTHING";
const LIST: &str = "SELECT * FROM settings ORDER BY key";
const UNSET: &str = "DELETE FROM settings WHERE key = $1";
const TAKE: &str = "DELETE FROM settings WHERE key = $1 AND value = $2";

/// A row: an operator's setting, or one of Talon's own, which have no [`Setting`].
#[derive(Clone)]
pub struct Stored {
    pub key: String,
    pub value: String,
    /// The person who set it.
    pub updated_by: Option<String>,
    pub updated_at: Time,
}

/// All that is set.
pub async fn list(store: &Store) -> Result<Vec<Stored>> {
    let rows = sqlx::query(LIST).fetch_all(&mut *store.read().await?).await.map_err(failed)?;
    let read = |row: sqlx::any::AnyRow| {
        Ok(Stored {
            key: row.text("key")?,
            value: row.text("value")?,
            updated_by: row.maybe_text("updated_by")?,
            updated_at: row.time("updated_at")?,
        })
    };
    rows.into_iter().map(read).collect()
}

/// Sets what operators may set.
pub async fn set(
    tx: &mut Tx,
    may: &Permit<ManageSettings, Platform>,
    setting: &Setting,
    value: &str,
    at: Time,
) -> Result<Stored> {
    let by = may.by().uuid();
    put(tx, setting.key, value, Some(&by), at).await?;
    Ok(Stored { key: setting.key.to_owned(), value: value.to_owned(), updated_by: Some(by), updated_at: at })
}

/// Back to the default.
pub async fn unset(tx: &mut Tx, _: &Permit<ManageSettings, Platform>, setting: &Setting) -> Result<()> {
    sqlx::query(UNSET).bind(setting.key).execute(tx.connection()).await.map_err(failed).map(drop)
}

pub async fn find(store: &Store, key: &str) -> Result<Option<String>> {
    let row = sqlx::query(FIND).bind(key).fetch_optional(&mut *store.read().await?).await.map_err(failed)?;
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
