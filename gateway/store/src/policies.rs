//! Policies.

use domain::access::{ManagePolicies, Permit};
use domain::policy::{Conditions, Permission, Policy};
use domain::{Error, PathGlob, PolicyId, PrincipalId, Result, VaultId};
use sqlx::any::AnyRow;

use crate::row::Columns as _;
use crate::{Store, Tx, failed};

const INSERT: &str = "INSERT INTO policies (id, vault_id, pattern, principal_type, principal_id, permissions, \
                      conditions, expires_at, created_by_type, created_by, created_at) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
/// Policies of a deleted vault are not facts any more.
const FOR_PRINCIPAL: &str = "SELECT p.* FROM policies p JOIN vaults v ON v.id = p.vault_id \
                             WHERE p.principal_id = $1 AND p.principal_type = $2 AND v.deleted_at IS NULL \
                             ORDER BY p.id";
const LIST: &str = "SELECT * FROM policies WHERE vault_id = $1 ORDER BY id";
/// Locks the row: what is written back is made from what is read.
const TAKE: &str = "UPDATE policies SET id = id WHERE vault_id = $1 AND id = $2 RETURNING *";
const UPDATE: &str = "UPDATE policies SET permissions = $3, conditions = $4, expires_at = $5 \
                      WHERE vault_id = $1 AND id = $2";
const DELETE: &str = "DELETE FROM policies WHERE vault_id = $1 AND id = $2";

/// The facts about what a principal was given, over all vaults.
pub async fn for_principal(store: &Store, principal: PrincipalId) -> Result<Vec<Policy>> {
    let rows = sqlx::query(FOR_PRINCIPAL).bind(principal.uuid()).bind(principal.kind());
    rows.fetch_all(&mut *store.read().await?).await.map_err(failed)?.into_iter().map(read).collect()
}

pub async fn insert(tx: &mut Tx, may: &Permit<ManagePolicies, VaultId>, policy: &Policy) -> Result<()> {
    write(tx, *may.on(), policy).await
}

pub(crate) async fn write(tx: &mut Tx, vault: VaultId, policy: &Policy) -> Result<()> {
    sqlx::query(INSERT)
        .bind(policy.id.to_string())
        .bind(vault.to_string())
        .bind(policy.pattern.as_str())
        .bind(policy.principal.kind())
        .bind(policy.principal.uuid())
        .bind(permissions_text(&policy.permissions))
        .bind(conditions_text(&policy.conditions)?)
        .bind(policy.expires_at.map(|t| t.millis()))
        .bind(policy.created_by.kind())
        .bind(policy.created_by.uuid())
        .bind(policy.created_at.millis())
        .execute(tx.connection())
        .await
        .map_err(failed)
        .map(drop)
}

pub async fn list(store: &Store, may: &Permit<ManagePolicies, VaultId>) -> Result<Vec<Policy>> {
    let rows = sqlx::query(LIST)
        .bind(may.on().to_string())
        .fetch_all(&mut *store.read().await?)
        .await
        .map_err(failed)?;
    rows.into_iter().map(read).collect()
}

/// A policy, held until the transaction ends.
pub async fn take(
    tx: &mut Tx,
    may: &Permit<ManagePolicies, VaultId>,
    id: PolicyId,
) -> Result<Option<Policy>> {
    let find = sqlx::query(TAKE).bind(may.on().to_string()).bind(id.to_string());
    find.fetch_optional(tx.connection()).await.map_err(failed)?.map(read).transpose()
}

pub async fn update(tx: &mut Tx, may: &Permit<ManagePolicies, VaultId>, policy: &Policy) -> Result<()> {
    sqlx::query(UPDATE)
        .bind(may.on().to_string())
        .bind(policy.id.to_string())
        .bind(permissions_text(&policy.permissions))
        .bind(conditions_text(&policy.conditions)?)
        .bind(policy.expires_at.map(|t| t.millis()))
        .execute(tx.connection())
        .await
        .map_err(failed)
        .map(drop)
}

/// `false`: there is no such policy.
pub async fn delete(tx: &mut Tx, may: &Permit<ManagePolicies, VaultId>, id: PolicyId) -> Result<bool> {
    let delete = sqlx::query(DELETE).bind(may.on().to_string()).bind(id.to_string());
    Ok(delete.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1)
}

fn permissions_text(permissions: &[Permission]) -> String {
    permissions.iter().map(|p| p.as_str()).collect::<Vec<_>>().join(",")
}

fn conditions_text(conditions: &Conditions) -> Result<String> {
    serde_json::to_string(conditions.as_given()).map_err(Error::internal)
}

fn read(row: AnyRow) -> Result<Policy> {
    Ok(Policy {
        id: row.parsed("id")?,
        vault: row.parsed("vault_id")?,
        pattern: PathGlob::parse("pattern", &row.text("pattern")?)
            .map_err(|e| Error::internal(e.detail()))?,
        principal: row.principal("principal_type", "principal_id")?,
        // A permission that a newer version wrote grants nothing here.
        permissions: row.text("permissions")?.split(',').filter_map(|p| p.parse().ok()).collect(),
        conditions: Conditions::stored(row.json("conditions")?),
        expires_at: row.maybe_time("expires_at")?,
        created_by: row.principal("created_by_type", "created_by")?,
        created_at: row.time("created_at")?,
    })
}
