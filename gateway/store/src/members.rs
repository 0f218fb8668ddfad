//! Who is in an organisation. What decides about a member is in the record that the signer attests.

use domain::access::{JoinOrganisation, ListMembers, ManageMember, Permit};
use domain::{Error, OrgId, Result, Role, UserId};
use signer_protocol::Attested;
use signer_protocol::record::Principal;

use crate::users::{User, read};
use crate::{Store, Tx, failed};

const LIST: &str = "SELECT * FROM users WHERE org_id = $1 ORDER BY id";
const FIND: &str = "SELECT * FROM users WHERE id = $1 AND org_id = $2";
/// Changes nothing: it holds the row until the commit, so that owners are counted one after the other.
const HOLD: &str = "UPDATE organisations SET id = id WHERE id = $1";
const COUNT_OTHER_OWNERS: &str =
    "SELECT COUNT(*) AS found FROM users WHERE org_id = $1 AND id <> $2 AND role = 'owner'";
/// What would be lost to everybody if this person left: what is there, if nobody else is.
const COUNT_LEFT_BEHIND: &str = "SELECT (SELECT COUNT(*) FROM vaults WHERE org_id = $1 AND deleted_at IS NULL AND purpose IS NULL) \
                                 + (SELECT COUNT(*) FROM agents WHERE org_id = $1) \
                                 + (SELECT COUNT(*) FROM users WHERE org_id = $1 AND id <> $2) AS found";
const CHANGE: &str = "UPDATE users SET role = $4, record = $5, version = $6 \
                      WHERE id = $1 AND org_id = $2 AND version = $3";
const MOVE: &str = "UPDATE users SET org_id = $4, role = $5, record = $6, version = $7 \
                    WHERE id = $1 AND org_id = $2 AND version = $3";
const FORGET_KEYS: &str = "DELETE FROM api_keys WHERE user_id = $1";
const FORGET_POLICIES: &str = "DELETE FROM policies WHERE principal_type = 'user' AND principal_id = $1";
const REMOVE: &str = "DELETE FROM users WHERE id = $1 AND org_id = $2 AND version = $3";

/// The organisation's people, oldest first.
pub async fn list(store: &Store, may: &Permit<ListMembers, OrgId>) -> Result<Vec<User>> {
    let list = sqlx::query(LIST).bind(may.on().to_string());
    list.fetch_all(&mut *store.read().await?).await.map_err(failed)?.into_iter().map(read).collect()
}

pub async fn find(store: &Store, may: &Permit<ManageMember, UserId>) -> Result<Option<User>> {
    let find = sqlx::query(FIND).bind(may.on().to_string()).bind(may.org().to_string());
    find.fetch_optional(&mut *store.read().await?).await.map_err(failed)?.map(read).transpose()
}

/// A member's new role and record, against the version that they were made from.
///
/// # Errors
/// `Conflict` if that leaves the organisation without an owner, or if somebody else changed the member in the meantime.
pub async fn change_role(
    tx: &mut Tx,
    may: &Permit<ManageMember, UserId>,
    from: &User,
    role: Role,
    record: &Attested<Principal>,
) -> Result<()> {
    hold(tx, may.org()).await?;
    if from.role == Role::Owner && role != Role::Owner {
        another_owner(tx, may.org(), *may.on()).await?;
    }
    change(tx, may, from, role, record).await
}

/// A member's last record: it may do nothing any more.
///
/// # Errors
/// As for [`change_role`].
pub async fn end(
    tx: &mut Tx,
    may: &Permit<ManageMember, UserId>,
    from: &User,
    record: &Attested<Principal>,
) -> Result<()> {
    hold(tx, may.org()).await?;
    another_owner(tx, may.org(), *may.on()).await?;
    // An owner who has ended is nobody's second owner.
    change(tx, may, from, Role::Member, record).await
}

async fn change(
    tx: &mut Tx,
    may: &Permit<ManageMember, UserId>,
    from: &User,
    role: Role,
    record: &Attested<Principal>,
) -> Result<()> {
    let change = sqlx::query(CHANGE)
        .bind(may.on().to_string())
        .bind(may.org().to_string())
        .bind(number(from.version)?)
        .bind(role.as_str())
        .bind(record.as_bytes())
        .bind(number(from.version + 1)?);
    one(change.execute(tx.connection()).await.map_err(failed)?.rows_affected())
}

/// Takes away what is left of a member who has ended: API keys, policies, the account itself.
///
/// # Errors
/// `Conflict` if the member was changed in the meantime.
pub async fn remove(tx: &mut Tx, may: &Permit<ManageMember, UserId>, ended: &User) -> Result<()> {
    forget_rights(tx, *may.on()).await?;
    let remove = sqlx::query(REMOVE)
        .bind(may.on().to_string())
        .bind(may.org().to_string())
        .bind(number(ended.version)?);
    one(remove.execute(tx.connection()).await.map_err(failed)?.rows_affected())
}

/// Moves a person into another organisation, with nothing but the account.
///
/// # Errors
/// `Conflict` if something would be left behind that nobody else could reach, or if the person was changed in the
/// meantime.
pub async fn move_to(
    tx: &mut Tx,
    may: &Permit<JoinOrganisation, UserId>,
    from: &User,
    (org, role): (OrgId, Role),
    record: &Attested<Principal>,
) -> Result<()> {
    let id = may.on().to_string();
    hold(tx, from.org).await?;
    if from.role == Role::Owner && other_owners(tx, from.org, *may.on()).await? == 0 {
        let left = sqlx::query(COUNT_LEFT_BEHIND).bind(from.org.to_string()).bind(&id);
        let left = crate::row::Columns::count(&left.fetch_one(tx.connection()).await.map_err(failed)?, "found")?;
        if left > 0 {
            return Err(Error::conflict(
                "You are the last owner of an organisation that has vaults, agents or members. Make somebody else its \
                 owner, or delete your account, then take up the invitation.",
            ));
        }
    }
    forget_rights(tx, *may.on()).await?;
    let moved = sqlx::query(MOVE)
        .bind(id)
        .bind(from.org.to_string())
        .bind(number(from.version)?)
        .bind(org.to_string())
        .bind(role.as_str())
        .bind(record.as_bytes())
        .bind(number(from.version + 1)?);
    one(moved.execute(tx.connection()).await.map_err(failed)?.rows_affected())
}

async fn forget_rights(tx: &mut Tx, id: UserId) -> Result<()> {
    for forget in [FORGET_KEYS, FORGET_POLICIES] {
        sqlx::query(forget).bind(id.to_string()).execute(tx.connection()).await.map_err(failed)?;
    }
    Ok(())
}

async fn hold(tx: &mut Tx, org: OrgId) -> Result<()> {
    let hold = sqlx::query(HOLD).bind(org.to_string());
    hold.execute(tx.connection()).await.map_err(failed).map(drop)
}

async fn another_owner(tx: &mut Tx, org: OrgId, than: UserId) -> Result<()> {
    if other_owners(tx, org, than).await? > 0 {
        return Ok(());
    }
    Err(Error::conflict("This is the organisation's last owner. Make somebody else an owner first."))
}

async fn other_owners(tx: &mut Tx, org: OrgId, than: UserId) -> Result<u64> {
    let count = sqlx::query(COUNT_OTHER_OWNERS).bind(org.to_string()).bind(than.to_string());
    crate::row::Columns::count(&count.fetch_one(tx.connection()).await.map_err(failed)?, "found")
}

fn one(rows: u64) -> Result<()> {
    if rows == 1 {
        return Ok(());
    }
    Err(Error::conflict("Somebody else changed this account just now; look at it again, then repeat."))
}

fn number(count: u64) -> Result<i64> {
    i64::try_from(count).map_err(Error::internal)
}
