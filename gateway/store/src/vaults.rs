//! Vaults.

use domain::access::{CreateAgent, CreateVault, DeleteVault, ListVaults, Permit, VaultFacts};
use domain::cmek::Fingerprint;
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
    /// What a vault of Talon's own is for: [`AGENT_KEYS`]. `None`: an ordinary one.
    pub purpose: Option<String>,
    /// The customer's key that values must be encrypted with before they come here.
    pub cmek: Option<Fingerprint>,
    pub created_at: Time,
}

/// The purpose of the vault that keeps agents' identity pairs.
pub const AGENT_KEYS: &str = "agent_keys";

impl Vault {
    pub fn facts(&self) -> VaultFacts {
        VaultFacts { id: self.id, org: self.org, creator: self.creator, reserved: self.is_reserved() }
    }

    /// Talon's own, such as `__agent-keys`: nobody's default vault, and no place to look for a key to sign with.
    pub fn is_reserved(&self) -> bool {
        self.purpose.is_some()
    }
}

const INSERT: &str = "INSERT INTO vaults (id, org_id, name, description, creator_type, creator_id, key, purpose, \
                      created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (org_id, purpose) DO NOTHING";
const FIND: &str = "SELECT * FROM vaults WHERE id = $1 AND deleted_at IS NULL";
const FIND_RESERVED: &str = "SELECT * FROM vaults WHERE org_id = $1 AND purpose = $2 AND deleted_at IS NULL";
/// A client that takes the first vault that it is shown gets one that it can use.
const LIST: &str = "SELECT * FROM vaults WHERE org_id = $1 AND deleted_at IS NULL \
                    ORDER BY CASE WHEN purpose IS NULL THEN 0 ELSE 1 END, id";
/// Erases the wrapped key with it: what it sealed can't be opened any more.
const DELETE: &str =
    "UPDATE vaults SET deleted_at = $3, key = $4 WHERE id = $1 AND org_id = $2 AND deleted_at IS NULL";

pub async fn insert(tx: &mut Tx, may: &Permit<CreateVault, OrgId>, vault: &Vault) -> Result<()> {
    write(tx, may.org(), vault).await.map(drop)
}

/// The vault of agents' identity pairs, once an agent has one.
pub async fn agent_keys(store: &Store, may: &Permit<CreateAgent, OrgId>) -> Result<Option<Vault>> {
    let find = sqlx::query(FIND_RESERVED).bind(may.org().to_string()).bind(AGENT_KEYS);
    find.fetch_optional(&mut *store.read().await?).await.map_err(failed)?.map(read).transpose()
}

/// `false`: the organisation has a vault for this purpose, made by somebody who was faster.
pub(crate) async fn write(tx: &mut Tx, org: OrgId, vault: &Vault) -> Result<bool> {
    let insert = sqlx::query(INSERT)
        .bind(vault.id.to_string())
        .bind(org.to_string())
        .bind(&vault.name)
        .bind(vault.description.as_deref())
        .bind(vault.creator.kind())
        .bind(vault.creator.uuid())
        .bind(vault.key.as_bytes())
        .bind(vault.purpose.as_deref())
        .bind(vault.created_at.millis());
    Ok(insert.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1)
}

/// The facts about a vault, to decide with.
pub async fn facts(store: &Store, id: VaultId) -> Result<Option<Vault>> {
    let row = sqlx::query(FIND)
        .bind(id.to_string())
        .fetch_optional(&mut *store.read().await?)
        .await
        .map_err(failed)?;
    row.map(read).transpose()
}

/// The organisation's vaults, oldest first, Talon's own last. Which of them the caller may see is decided for each.
pub async fn list(store: &Store, may: &Permit<ListVaults, OrgId>) -> Result<Vec<Vault>> {
    let rows = sqlx::query(LIST)
        .bind(may.org().to_string())
        .fetch_all(&mut *store.read().await?)
        .await
        .map_err(failed)?;
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
        purpose: row.maybe_text("purpose")?,
        cmek: row.maybe_parsed("cmek_fingerprint")?,
        created_at: row.time("created_at")?,
    })
}
