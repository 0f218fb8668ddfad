//! Deleted softly, brought back, erased for good.

use domain::access::{DeleteSecret, Permit, SecretAt, WriteSecret};
use domain::{Error, OrgId, Result, SecretId, SecretType, Time, VaultId};
use sqlx::any::AnyRow;

use super::versions::{hold, settle};
use crate::row::Columns as _;
use crate::{Store, Tx, failed};

const LAST: &str = "SELECT MAX(deleted_at) AS last FROM secret_versions WHERE secret_id = $1";
const DELETE: &str = "UPDATE secret_versions SET deleted_at = $2 WHERE secret_id = $1 AND deleted_at IS NULL";
const RESTORABLE: &str = "SELECT MAX(deleted_at) AS last FROM secret_versions \
                          WHERE secret_id = $1 AND deleted_at > $2 AND purged_at IS NULL";
const RESTORE: &str = "UPDATE secret_versions SET deleted_at = NULL \
                       WHERE secret_id = $1 AND deleted_at = $2 AND purged_at IS NULL RETURNING version, type";

/// The data key is within what was sealed: with that it is gone. The row stays: its number was used.
macro_rules! erase {
    ($which:literal) => {
        concat!(
            "UPDATE secret_versions SET sealed = NULL, signing_key = NULL, metadata = NULL, rotation_policy = NULL, \
             purged_at = $1 WHERE purged_at IS NULL AND (secret_id, version) IN (SELECT v.secret_id, v.version \
             FROM secret_versions v JOIN secrets s ON s.id = v.secret_id WHERE v.purged_at IS NULL AND ",
            $which
        )
    };
}
const PURGE: &str = concat!(
    erase!("v.deleted_at IS NOT NULL AND v.deleted_at <= $2 ORDER BY v.deleted_at LIMIT $3)"),
    " RETURNING secret_id, version, (SELECT s.path FROM secrets s WHERE s.id = secret_id) AS path, \
     (SELECT s.vault_id FROM secrets s WHERE s.id = secret_id) AS vault_id, \
     (SELECT w.org_id FROM secrets s JOIN vaults w ON w.id = s.vault_id WHERE s.id = secret_id) AS org_id"
);
const DUE: &str = "SELECT version FROM secret_versions \
                   WHERE deleted_at IS NOT NULL AND deleted_at <= $1 AND purged_at IS NULL LIMIT 1";
const EMPTY: &str = erase!("s.vault_id = $2 LIMIT $3)");
const FULL: &str =
    "SELECT id FROM vaults WHERE deleted_at IS NOT NULL AND emptied_at IS NULL ORDER BY id LIMIT 1";
const POLICIES: &str = "DELETE FROM policies WHERE vault_id = $1";
const EMPTIED: &str = "UPDATE vaults SET emptied_at = $2 WHERE id = $1";

/// Whether anything was deleted then or before that is not erased.
pub async fn is_due(store: &Store, until: Time) -> Result<bool> {
    let find = sqlx::query(DUE).bind(until.millis());
    Ok(find.fetch_optional(&mut *store.read().await?).await.map_err(failed)?.is_some())
}

/// Soft-deletes every version at a path that is not deleted. `false`: there was none.
pub async fn delete(tx: &mut Tx, may: &Permit<DeleteSecret, SecretAt>, now: Time) -> Result<bool> {
    let Some(secret) = hold(tx, may.on()).await? else { return Ok(false) };
    let last = sqlx::query(LAST).bind(secret.to_string()).fetch_one(tx.connection()).await;
    // The moment tells one deletion from another.
    let at = match last.map_err(failed)?.maybe_number("last")? {
        Some(last) if last >= now.millis() => last.saturating_add(1),
        _ => now.millis(),
    };
    let delete = sqlx::query(DELETE).bind(secret.to_string()).bind(at);
    if delete.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 0 {
        return Ok(false);
    }
    settle(tx, secret).await?;
    Ok(true)
}

/// Brings back exactly what the last deletion took, if that was after then: versions and types. Empty: nothing was, or it is
/// too late.
pub async fn restore(
    tx: &mut Tx,
    may: &Permit<WriteSecret, SecretAt>,
    after: Time,
) -> Result<Vec<(u64, SecretType)>> {
    let Some(secret) = hold(tx, may.on()).await? else { return Ok(Vec::new()) };
    let last = sqlx::query(RESTORABLE).bind(secret.to_string()).bind(after.millis());
    let last = last.fetch_one(tx.connection()).await.map_err(failed)?.maybe_number("last")?;
    let Some(last) = last else { return Ok(Vec::new()) };
    let restore = sqlx::query(RESTORE).bind(secret.to_string()).bind(last);
    let rows = restore.fetch_all(tx.connection()).await.map_err(failed)?;
    settle(tx, secret).await?;
    let mut restored: Vec<(u64, SecretType)> =
        rows.iter().map(|row| Ok((row.count("version")?, row.parsed("type")?))).collect::<Result<_>>()?;
    restored.sort_unstable_by_key(|(version, _)| *version);
    Ok(restored)
}

/// A version that was erased.
pub struct Purged {
    pub org: OrgId,
    pub vault: VaultId,
    pub secret: SecretId,
    pub path: String,
    pub version: u64,
}

/// Erases versions that were deleted then or before, at most so many.
pub async fn purge(tx: &mut Tx, until: Time, now: Time, limit: i64) -> Result<Vec<Purged>> {
    let purge = sqlx::query(PURGE).bind(now.millis()).bind(until.millis()).bind(limit);
    purge.fetch_all(tx.connection()).await.map_err(failed)?.iter().map(purged).collect()
}

fn purged(row: &AnyRow) -> Result<Purged> {
    Ok(Purged {
        org: row.parsed("org_id")?,
        vault: row.parsed("vault_id")?,
        secret: row.parsed("secret_id")?,
        path: row.text("path")?,
        version: row.count("version")?,
    })
}

/// A deleted vault that still holds something.
pub async fn full(store: &Store) -> Result<Option<VaultId>> {
    let find = sqlx::query(FULL).fetch_optional(&mut *store.read().await?).await.map_err(failed)?;
    find.map(|row| row.parsed("id")).transpose()
}

/// Erases at most so many versions of a deleted vault, and, when none is left, its policies.
pub async fn empty(tx: &mut Tx, vault: VaultId, now: Time, limit: u64) -> Result<()> {
    let batch = i64::try_from(limit).map_err(Error::internal)?;
    let erase = sqlx::query(EMPTY).bind(now.millis()).bind(vault.to_string()).bind(batch);
    if erase.execute(tx.connection()).await.map_err(failed)?.rows_affected() == limit {
        return Ok(());
    }
    sqlx::query(POLICIES).bind(vault.to_string()).execute(tx.connection()).await.map_err(failed)?;
    let emptied = sqlx::query(EMPTIED).bind(vault.to_string()).bind(now.millis());
    emptied.execute(tx.connection()).await.map_err(failed).map(drop)
}
