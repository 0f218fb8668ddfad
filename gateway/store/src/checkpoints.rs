//! Heads of audit chains that the signer has signed.

use domain::{OrgId, Result};
use signer_protocol::audit::SignedHead;
use signer_protocol::wire::Blob;
use sqlx::any::AnyRow;

use crate::row::Columns as _;
use crate::{Store, Tx, failed};

const INSERT: &str = "INSERT INTO audit_checkpoints (org_id, sequence, hash, signed_at, key_id, signature) \
                      VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (org_id, sequence) DO NOTHING";
const LIST: &str = "SELECT * FROM audit_checkpoints WHERE org_id = $1 ORDER BY sequence DESC LIMIT $2";
const FIRST: &str =
    "SELECT * FROM audit_checkpoints WHERE org_id = $1 AND sequence >= $2 ORDER BY sequence LIMIT 1";
const MOVED: &str = "SELECT org_id FROM audit_heads WHERE org_id > $1 AND NOT EXISTS \
                     (SELECT 1 FROM audit_checkpoints WHERE audit_checkpoints.org_id = audit_heads.org_id \
                     AND audit_checkpoints.sequence >= audit_heads.sequence) ORDER BY org_id LIMIT 200";

/// Keeps a checkpoint; one that is there already stays.
pub async fn insert(tx: &mut Tx, new: &SignedHead) -> Result<()> {
    sqlx::query(INSERT)
        .bind(new.org.to_string())
        .bind(i64::try_from(new.sequence).map_err(domain::Error::internal)?)
        .bind(new.hash.to_vec())
        .bind(new.signed_at.millis())
        .bind(&new.key_id)
        .bind(new.signature.0.clone())
        .execute(tx.connection())
        .await
        .map_err(failed)
        .map(drop)
}

/// The organisation's checkpoints, newest first.
pub async fn list(store: &Store, org: OrgId, most: u32) -> Result<Vec<SignedHead>> {
    let list = sqlx::query(LIST).bind(org.to_string()).bind(i64::from(most));
    list.fetch_all(&mut *store.read().await?).await.map_err(failed)?.iter().map(read).collect()
}

/// The first checkpoint of an event or a later one.
pub async fn first_from(store: &Store, org: OrgId, sequence: i64) -> Result<Option<SignedHead>> {
    let first = sqlx::query(FIRST).bind(org.to_string()).bind(sequence);
    first.fetch_optional(&mut *store.read().await?).await.map_err(failed)?.as_ref().map(read).transpose()
}

/// Organisations whose chain has gone on since its last checkpoint, after one in order of id; the system's among them.
pub async fn moved(store: &Store, after: &str) -> Result<Vec<OrgId>> {
    let moved = sqlx::query(MOVED).bind(after.to_owned()).fetch_all(&mut *store.read().await?).await;
    moved.map_err(failed)?.iter().map(|row| row.parsed("org_id")).collect()
}

fn read(row: &AnyRow) -> Result<SignedHead> {
    Ok(SignedHead {
        org: row.parsed("org_id")?,
        sequence: row.count("sequence")?,
        // A hash of another length is damage, and no signature fits it.
        hash: row.bytes("hash")?.try_into().unwrap_or_default(),
        signed_at: row.time("signed_at")?,
        key_id: row.text("key_id")?,
        signature: Blob(row.bytes("signature")?),
    })
}
