//! A secret's versions, one by one.

use domain::access::{DescribeSecret, Permit, ReadSecret, SecretAt, WriteSecret};
use domain::{Error, Result, SecretId, Time};

use super::{SealedVersion, Version, number, read, read_sealed};
use crate::row::Columns as _;
use crate::{Store, Tx, failed};

const LIST: &str = "SELECT s.id, s.path, s.newest, v.version, v.type, v.metadata, v.expires_at, v.max_access_count, \
                    v.access_count, v.created_by_type, v.created_by, v.created_at, v.deleted_at, v.disabled_at, v.purged_at, v.cmek_fingerprint \
                    FROM secrets s JOIN secret_versions v ON v.secret_id = s.id \
                    WHERE s.vault_id = $1 AND s.path = $2 AND v.version < $3 ORDER BY v.version DESC LIMIT $4";
const ONE: &str = "SELECT s.id, s.path, s.newest, v.* FROM secrets s JOIN secret_versions v ON v.secret_id = s.id \
                   WHERE s.vault_id = $1 AND s.path = $2 AND v.version = $3";
/// Locks the row: whoever writes, deletes, disables or restores at the path waits.
const HOLD: &str = "UPDATE secrets SET id = id WHERE vault_id = $1 AND path = $2 RETURNING id";
const DISABLE: &str = "UPDATE secret_versions SET disabled_at = $3 \
                       WHERE secret_id = $1 AND version = $2 AND disabled_at IS NULL AND deleted_at IS NULL";
/// What a plain read answers from now on.
const SETTLE: &str = "UPDATE secrets SET live = COALESCE((SELECT MAX(v.version) FROM secret_versions v \
                      WHERE v.secret_id = secrets.id AND v.deleted_at IS NULL AND v.disabled_at IS NULL), newest) \
                      WHERE id = $1";

/// The versions below a number, newest first, without values.
pub async fn list(
    store: &Store,
    may: &Permit<DescribeSecret, SecretAt>,
    below: u64,
    limit: usize,
) -> Result<Vec<Version>> {
    let rows = sqlx::query(LIST)
        .bind(may.on().vault.to_string())
        .bind(may.on().path.as_str())
        .bind(i64::try_from(below).unwrap_or(i64::MAX))
        .bind(i64::try_from(limit).map_err(Error::internal)?)
        .fetch_all(&mut *store.read().await?)
        .await
        .map_err(failed)?;
    rows.iter().map(read).collect()
}

/// One version, whatever has become of it, value and all.
pub async fn reveal(
    store: &Store,
    may: &Permit<ReadSecret, SecretAt>,
    version: u64,
) -> Result<Option<SealedVersion>> {
    let find = one(may.on(), version)?;
    find.fetch_optional(&mut *store.read().await?).await.map_err(failed)?.map(read_sealed).transpose()
}

/// The facts about one version, to decide with; no value.
pub async fn facts(store: &Store, at: &SecretAt, version: u64) -> Result<Option<Version>> {
    let find = one(at, version)?;
    find.fetch_optional(&mut *store.read().await?).await.map_err(failed)?.as_ref().map(read).transpose()
}

fn one(
    at: &SecretAt,
    version: u64,
) -> Result<sqlx::query::Query<'static, sqlx::Any, sqlx::any::AnyArguments>> {
    let number = number(version)?;
    Ok(sqlx::query(ONE).bind(at.vault.to_string()).bind(at.path.as_str().to_owned()).bind(number))
}

/// Takes a version out of use. `false`: it is disabled or deleted already, or there is none.
pub async fn disable(
    tx: &mut Tx,
    may: &Permit<WriteSecret, SecretAt>,
    version: u64,
    at: Time,
) -> Result<bool> {
    let Some(secret) = hold(tx, may.on()).await? else { return Ok(false) };
    let disable = sqlx::query(DISABLE).bind(secret.to_string()).bind(number(version)?).bind(at.millis());
    if disable.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 0 {
        return Ok(false);
    }
    settle(tx, secret).await?;
    Ok(true)
}

/// The secret at the path, held until the transaction ends.
pub(super) async fn hold(tx: &mut Tx, at: &SecretAt) -> Result<Option<SecretId>> {
    let hold = sqlx::query(HOLD).bind(at.vault.to_string()).bind(at.path.as_str());
    hold.fetch_optional(tx.connection()).await.map_err(failed)?.map(|row| row.parsed("id")).transpose()
}

pub(super) async fn settle(tx: &mut Tx, secret: SecretId) -> Result<()> {
    let settle = sqlx::query(SETTLE).bind(secret.to_string());
    settle.execute(tx.connection()).await.map_err(failed).map(drop)
}
