//! Who is in an organisation. Roles are in the records that the signer attests, and nowhere else.

use domain::access::{JoinOrganisation, ListMembers, ManageMember, Permit};
use domain::{OrgId, Result, UserId};
use signer_protocol::Attested;
use signer_protocol::record::Principal;

use crate::row::Columns as _;
use crate::users::{self, PEOPLE, User, read};
use crate::{Store, Tx, failed};

const FIND: &str = "SELECT * FROM users WHERE id = $1 AND org_id = $2";
const NAME: &str = "SELECT name FROM organisations WHERE id = $1";
const COUNT_VAULTS: &str =
    "SELECT COUNT(*) AS found FROM vaults WHERE org_id = $1 AND deleted_at IS NULL AND purpose IS NULL";
const MOVE: &str = "UPDATE users SET org_id = $4, record = $5, email_verified = 1 WHERE id = $1 AND org_id = $2 AND record = $3";

/// The organisation's people, oldest first.
pub async fn list(store: &Store, may: &Permit<ListMembers, OrgId>) -> Result<Vec<User>> {
    let list = sqlx::query(PEOPLE).bind(may.on().to_string());
    list.fetch_all(&mut *store.read().await?).await.map_err(failed)?.into_iter().map(read).collect()
}

pub async fn find(store: &Store, may: &Permit<ManageMember, UserId>) -> Result<Option<User>> {
    let find = sqlx::query(FIND).bind(may.on().to_string()).bind(may.org().to_string());
    find.fetch_optional(&mut *store.read().await?).await.map_err(failed)?.map(read).transpose()
}

/// What an organisation is called.
pub async fn organisation_name(store: &Store, org: OrgId) -> Result<Option<String>> {
    let find = sqlx::query(NAME).bind(org.to_string());
    let row = find.fetch_optional(&mut *store.read().await?).await.map_err(failed)?;
    row.map(|row| row.text("name")).transpose()
}

/// Stores a member's next record.
///
/// # Errors
/// `Conflict` if somebody else changed the member since `from` was read.
pub async fn change(
    tx: &mut Tx,
    may: &Permit<ManageMember, UserId>,
    from: &Attested<Principal>,
    to: &Attested<Principal>,
) -> Result<()> {
    users::replace_record(tx, *may.on(), may.org(), from, to).await
}

/// Removes a member, as somebody is deleted who deletes their own account: see [`users::delete`]. `false`: somebody
/// else changed the member since `from` was read.
pub async fn remove(
    tx: &mut Tx,
    may: &Permit<ManageMember, UserId>,
    from: &Attested<Principal>,
    last: &Attested<Principal>,
) -> Result<bool> {
    users::delete_person(tx, *may.on(), may.org(), from, last).await
}

/// Whether the organisation has vaults of its people's.
pub async fn has_vaults(tx: &mut Tx, org: OrgId) -> Result<bool> {
    let count = sqlx::query(COUNT_VAULTS).bind(org.to_string());
    count.fetch_one(tx.connection()).await.map_err(failed)?.flag("found")
}

/// Moves a person into another organisation, with nothing but the account. `false`: somebody else changed them since
/// `from` was read.
pub async fn move_to(
    tx: &mut Tx,
    may: &Permit<JoinOrganisation, UserId>,
    org: OrgId,
    from: &Attested<Principal>,
    to: &Attested<Principal>,
) -> Result<bool> {
    users::forget_rights(tx, *may.on()).await?;
    let moved = sqlx::query(MOVE)
        .bind(may.on().to_string())
        .bind(may.org().to_string())
        .bind(from.as_bytes())
        .bind(org.to_string())
        .bind(to.as_bytes());
    Ok(moved.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1)
}
