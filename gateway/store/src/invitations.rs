//! Open invitations. One that was taken up, revoked or replaced is gone; the trail tells of it.

use domain::access::{InviteMember, Permit};
use domain::{InvitationId, OrgId, Result, Role, Time, UserId};
use signer_protocol::Attested;
use signer_protocol::people::Invitation as Record;
use sqlx::any::AnyRow;

use crate::row::Columns as _;
use crate::{Store, Tx, failed};

pub struct Invitation {
    pub id: InvitationId,
    pub org: OrgId,
    /// Trimmed and lower-cased.
    pub email: String,
    pub role: Role,
    pub record: Attested<Record>,
    pub invited_by: UserId,
    pub created_at: Time,
    pub expires_at: Time,
}

/// Replaces an earlier one to the same address, whose link is dead then.
const PUT: &str = "INSERT INTO invitations (id, org_id, email, role, record, invited_by, created_at, expires_at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
                   ON CONFLICT (org_id, email) DO UPDATE SET id = excluded.id, role = excluded.role, \
                   record = excluded.record, invited_by = excluded.invited_by, \
                   created_at = excluded.created_at, expires_at = excluded.expires_at";
const LIST: &str = "SELECT * FROM invitations WHERE org_id = $1 AND expires_at > $2 ORDER BY id";
const COUNT: &str =
    "SELECT COUNT(*) AS found FROM invitations WHERE org_id = $1 AND expires_at > $2 AND email <> $3";
const FIND: &str = "SELECT * FROM invitations WHERE id = $1 AND expires_at > $2";
const TAKE: &str = "DELETE FROM invitations WHERE id = $1 AND expires_at > $2";
const REVOKE: &str = "DELETE FROM invitations WHERE id = $1 AND org_id = $2";
const FORGET_EXPIRED: &str = "DELETE FROM invitations WHERE org_id = $1 AND expires_at <= $2";

pub async fn put(tx: &mut Tx, may: &Permit<InviteMember, OrgId>, new: &Invitation) -> Result<()> {
    let org = may.on().to_string();
    let forget = sqlx::query(FORGET_EXPIRED).bind(&org).bind(new.created_at.millis());
    forget.execute(tx.connection()).await.map_err(failed)?;
    sqlx::query(PUT)
        .bind(new.id.to_string())
        .bind(org)
        .bind(&new.email)
        .bind(new.role.as_str())
        .bind(new.record.as_bytes())
        .bind(new.invited_by.to_string())
        .bind(new.created_at.millis())
        .bind(new.expires_at.millis())
        .execute(tx.connection())
        .await
        .map_err(failed)
        .map(drop)
}

/// How many are open to other addresses, about.
pub async fn open_to_others(
    store: &Store,
    may: &Permit<InviteMember, OrgId>,
    email: &str,
    now: Time,
) -> Result<u64> {
    let count = sqlx::query(COUNT).bind(may.on().to_string()).bind(now.millis()).bind(email);
    count.fetch_one(&mut *store.read().await?).await.map_err(failed)?.count("found")
}

/// Those that can still be taken up, oldest first.
pub async fn list(store: &Store, may: &Permit<InviteMember, OrgId>, now: Time) -> Result<Vec<Invitation>> {
    let list = sqlx::query(LIST).bind(may.on().to_string()).bind(now.millis());
    list.fetch_all(&mut *store.read().await?).await.map_err(failed)?.into_iter().map(read).collect()
}

/// The facts about an invitation that can still be taken up.
pub async fn facts(store: &Store, id: InvitationId, now: Time) -> Result<Option<Invitation>> {
    let find = sqlx::query(FIND).bind(id.to_string()).bind(now.millis());
    find.fetch_optional(&mut *store.read().await?).await.map_err(failed)?.map(read).transpose()
}

/// Takes it up. `false`: somebody did already, or it was revoked or replaced.
pub async fn take(tx: &mut Tx, id: InvitationId, now: Time) -> Result<bool> {
    let take = sqlx::query(TAKE).bind(id.to_string()).bind(now.millis());
    Ok(take.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1)
}

/// `false`: there is no such invitation.
pub async fn revoke(tx: &mut Tx, may: &Permit<InviteMember, OrgId>, id: InvitationId) -> Result<bool> {
    let revoke = sqlx::query(REVOKE).bind(id.to_string()).bind(may.on().to_string());
    Ok(revoke.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1)
}

fn read(row: AnyRow) -> Result<Invitation> {
    Ok(Invitation {
        id: row.parsed("id")?,
        org: row.parsed("org_id")?,
        email: row.text("email")?,
        role: row.parsed("role")?,
        record: Attested::from_bytes(row.bytes("record")?),
        invited_by: row.parsed("invited_by")?,
        created_at: row.time("created_at")?,
        expires_at: row.time("expires_at")?,
    })
}
