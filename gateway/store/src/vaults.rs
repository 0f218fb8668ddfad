//! Vaults.

use domain::access::{CreateVault, DeleteVault, ListVaults, Permit, VaultFacts};
use domain::{OrgId, PrincipalId, Result, Time, VaultId};
use signer_protocol::Attested;
use signer_protocol::sealing::VaultKey;
use sqlx::any::AnyRow;

use crate::row::Columns as _;
use crate::{Store, Tx, failed};

#[derive(Clone)]
pub struct Vault {
    pub id: VaultId,
    pub org: OrgId,
    pub name: String,
    pub description: Option<String>,
    pub creator: PrincipalId,
    pub key: Attested<VaultKey>,
    pub created_at: Time,
}

impl Vault {
    pub fn facts(&self) -> VaultFacts {
        VaultFacts { id: self.id, org: self.org, creator: self.creator }
    }
}

const INSERT: &str = "INSERT INTO vaults (id, org_id, name, description, creator_type, creator_id, key, created_at) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
const FIND: &str = "SELECT * FROM vaults WHERE id = $1 AND deleted_at IS NULL";
const LIST: &str = "SELECT * FROM vaults WHERE org_id = $1 AND deleted_at IS NULL ORDER BY id";
/// Erases the wrapped key with it: what it sealed can't be opened any more.
const DELETE: &str =
    "UPDATE vaults SET deleted_at = $3, key = $4 WHERE id = $1 AND org_id = $2 AND deleted_at IS NULL";

pub async fn insert(tx: &mut Tx, may: &Permit<CreateVault, OrgId>, vault: &Vault) -> Result<()> {
    sqlx::query(INSERT)
        .bind(vault.id.to_string())
        .bind(may.org().to_string())
        .bind(&vault.name)
        .bind(vault.description.as_deref())
        .bind(vault.creator.kind())
        .bind(vault.creator.uuid())
        .bind(vault.key.as_bytes())
        .bind(vault.created_at.millis())
        .execute(tx.connection())
        .await
        .map_err(failed)
        .map(drop)
}

/// The facts about a vault, to decide with.
pub async fn facts(store: &Store, id: VaultId) -> Result<Option<Vault>> {
    let row = sqlx::query(FIND).bind(id.to_string()).fetch_optional(store.pool()).await.map_err(failed)?;
    row.map(read).transpose()
}

/// The organisation's vaults, oldest first. Which of them the caller may see is decided for each.
pub async fn list(store: &Store, may: &Permit<ListVaults, OrgId>) -> Result<Vec<Vault>> {
    let rows = sqlx::query(LIST).bind(may.org().to_string()).fetch_all(store.pool()).await.map_err(failed)?;
    rows.into_iter().map(read).collect()
}

/// `false`: it was deleted already.
pub async fn delete(tx: &mut Tx, may: &Permit<DeleteVault, VaultId>, at: Time) -> Result<bool> {
    let delete = sqlx::query(DELETE)
        .bind(may.on().to_string())
        .bind(may.org().to_string())
        .bind(at.millis())
        .bind(&b""[..]);
    Ok(delete.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1)
}

fn read(row: AnyRow) -> Result<Vault> {
    Ok(Vault {
        id: row.parsed("id")?,
        org: row.parsed("org_id")?,
        name: row.text("name")?,
        description: row.maybe_text("description")?,
        creator: row.principal("creator_type", "creator_id")?,
        key: Attested::from_bytes(row.bytes("key")?),
        created_at: row.time("created_at")?,
    })
}
