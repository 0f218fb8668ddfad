//! People and their organisations.

use domain::access::{ChangeProfile, DeleteAccount, Permit};
use domain::{Error, OrgId, Result, Time, UserId};
use signer_protocol::Attested;
use signer_protocol::record::Principal;
use sqlx::any::AnyRow;

use crate::row::Columns as _;
use crate::{Store, Tx, failed, is_duplicate, organisations};

pub struct User {
    pub id: UserId,
    pub org: OrgId,
    /// Trimmed and lower-cased.
    pub email: String,
    pub display_name: Option<String>,
    pub auth_method: String,
    pub email_verified: bool,
    pub marketing_emails: bool,
    /// Argon2id's salt.
    pub salt: Vec<u8>,
    pub record: Attested<Principal>,
    pub created_at: Time,
}

const FOUND: &str = "INSERT INTO organisations (id, name, created_at) VALUES ($1, $2, $3)";
const INSERT: &str = "INSERT INTO users (id, org_id, email, display_name, auth_method, email_verified, \
                      marketing_emails, salt, record, version, created_at) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
const FIND: &str = "SELECT * FROM users WHERE id = $1";
const FIND_BY_EMAIL: &str = "SELECT * FROM users WHERE email = $1";
/// `$2`: ids with anything between them.
const AMONG: &str = "SELECT * FROM users WHERE org_id = $1 AND $2 LIKE '%' || id || '%'";
const IN_ORG: &str = "SELECT COUNT(*) AS found FROM users WHERE id = $1 AND org_id = $2";
/// Locks the row: what is written back is made from what is read.
const TAKE: &str = "UPDATE users SET id = id WHERE id = $1 AND org_id = $2 RETURNING *";
const UPDATE_PROFILE: &str =
    "UPDATE users SET display_name = $3, marketing_emails = $4 WHERE id = $1 AND org_id = $2";

const REPLACE_RECORD: &str = "UPDATE users SET record = $4 WHERE id = $1 AND org_id = $2 AND record = $3";
const SET_PASSWORD: &str = "UPDATE users SET salt = $3, record = $4 WHERE id = $1 AND record = $2";
pub(crate) const PEOPLE: &str = "SELECT * FROM users WHERE org_id = $1 ORDER BY id";
/// What goes with a person, and then the person.
const DELETE_KEYS: &str = "DELETE FROM api_keys WHERE user_id = $1";
const DELETE_POLICIES: &str = "DELETE FROM policies WHERE principal_type = 'user' AND principal_id = $1";
const DELETE_TICKETS: &str = "DELETE FROM tickets WHERE subject = $1";
const DELETE_SHARES: &str = "DELETE FROM shares WHERE by_type = 'user' AND by_id = $1";
const DELETE: &str = "DELETE FROM users WHERE id = $1 AND org_id = $2 AND record = $3";
const OWE: &str = "INSERT INTO last_records (user_id, record) VALUES ($1, $2) \
                   ON CONFLICT (user_id) DO UPDATE SET record = excluded.record";
const OWED: &str = "SELECT user_id, record FROM last_records ORDER BY user_id LIMIT 100";
const SETTLE: &str = "DELETE FROM last_records WHERE user_id = $1";

pub async fn found_organisation(tx: &mut Tx, id: OrgId, name: &str, at: Time) -> Result<()> {
    let found = sqlx::query(FOUND).bind(id.to_string()).bind(name).bind(at.millis());
    found.execute(tx.connection()).await.map_err(failed).map(drop)
}

/// # Errors
/// `Conflict` if the email is taken.
pub async fn insert(tx: &mut Tx, user: &User) -> Result<()> {
    sqlx::query(INSERT)
        .bind(user.id.to_string())
        .bind(user.org.to_string())
        .bind(&user.email)
        .bind(user.display_name.as_deref())
        .bind(&user.auth_method)
        .bind(i64::from(user.email_verified))
        .bind(i64::from(user.marketing_emails))
        .bind(&user.salt)
        .bind(user.record.as_bytes())
        .bind(1_i64)
        .bind(user.created_at.millis())
        .execute(tx.connection())
        .await
        .map_err(|error| {
            if is_duplicate(&error) {
                Error::conflict("This email has an account already; log in, or use another.")
            } else {
                failed(error)
            }
        })
        .map(drop)
}

/// The facts about a person, for the pipeline to authenticate with.
pub async fn facts(store: &Store, id: UserId) -> Result<Option<User>> {
    let row = sqlx::query(FIND)
        .bind(id.to_string())
        .fetch_optional(&mut *store.read().await?)
        .await
        .map_err(failed)?;
    row.map(read).transpose()
}

/// The facts about who is in an organisation, oldest first.
pub async fn facts_in(store: &Store, org: OrgId) -> Result<Vec<User>> {
    let find = sqlx::query(PEOPLE).bind(org.to_string());
    find.fetch_all(&mut *store.read().await?).await.map_err(failed)?.into_iter().map(read).collect()
}

/// The facts about those of these people who are in an organisation, as they are in this transaction.
pub async fn facts_among(tx: &mut Tx, org: OrgId, people: &[UserId]) -> Result<Vec<User>> {
    let ids: Vec<String> = people.iter().map(ToString::to_string).collect();
    let find = sqlx::query(AMONG).bind(org.to_string()).bind(ids.join(","));
    find.fetch_all(tx.connection()).await.map_err(failed)?.into_iter().map(read).collect()
}

/// The facts about whoever wants to log in.
pub async fn facts_by_email(store: &Store, email: &str) -> Result<Option<User>> {
    let row = sqlx::query(FIND_BY_EMAIL)
        .bind(email)
        .fetch_optional(&mut *store.read().await?)
        .await
        .map_err(failed)?;
    row.map(read).transpose()
}

/// The caller, held until the transaction ends.
pub async fn take(tx: &mut Tx, may: &Permit<ChangeProfile, OrgId>) -> Result<Option<User>> {
    let take = sqlx::query(TAKE).bind(may.by().uuid()).bind(may.org().to_string());
    take.fetch_optional(tx.connection()).await.map_err(failed)?.map(read).transpose()
}

/// Stores what people may change of their own profile.
pub async fn update_profile(tx: &mut Tx, may: &Permit<ChangeProfile, OrgId>, user: &User) -> Result<()> {
    sqlx::query(UPDATE_PROFILE)
        .bind(may.by().uuid())
        .bind(may.org().to_string())
        .bind(user.display_name.as_deref())
        .bind(i64::from(user.marketing_emails))
        .execute(tx.connection())
        .await
        .map_err(failed)
        .map(drop)
}

/// Stores a new password: its salt, and the record that the signer made with it. `false`: the person has been changed
/// since `from` was read.
pub async fn set_password(
    tx: &mut Tx,
    id: UserId,
    from: &Attested<Principal>,
    to: &Attested<Principal>,
    salt: &[u8],
) -> Result<bool> {
    let set =
        sqlx::query(SET_PASSWORD).bind(id.to_string()).bind(from.as_bytes()).bind(salt).bind(to.as_bytes());
    Ok(set.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1)
}

/// Stores the record that follows `from`, and no other: what it was made from is what is there.
///
/// # Errors
/// `Conflict` if the person was changed since `from` was read.
pub(crate) async fn replace_record(
    tx: &mut Tx,
    id: UserId,
    org: OrgId,
    from: &Attested<Principal>,
    to: &Attested<Principal>,
) -> Result<()> {
    let replace = sqlx::query(REPLACE_RECORD)
        .bind(id.to_string())
        .bind(org.to_string())
        .bind(from.as_bytes())
        .bind(to.as_bytes());
    match replace.execute(tx.connection()).await.map_err(failed)?.rows_affected() {
        1 => Ok(()),
        _ => Err(Error::conflict(
            "This account was changed at the same moment; look at it again, then repeat.",
        )),
    }
}

/// Everybody in an organisation. Until the transaction ends, nobody else who asks this way gets an answer: so two last
/// owners can't leave each other.
pub async fn hold_people(tx: &mut Tx, org: OrgId) -> Result<Vec<User>> {
    organisations::hold(tx, org).await?;
    let people =
        sqlx::query(PEOPLE).bind(org.to_string()).fetch_all(tx.connection()).await.map_err(failed)?;
    people.into_iter().map(read).collect()
}

/// Deletes a person with their API keys and policies; agents and vaults that they made stay. `last` is the record with
/// which the signer ends them: it is owed to the signer until [`settle`]. `false`: the person was changed
/// since `from` was read.
pub async fn delete(
    tx: &mut Tx,
    may: &Permit<DeleteAccount, UserId>,
    from: &Attested<Principal>,
    last: &Attested<Principal>,
) -> Result<bool> {
    delete_person(tx, *may.on(), may.org(), from, last).await
}

pub(crate) async fn delete_person(
    tx: &mut Tx,
    id: UserId,
    org: OrgId,
    from: &Attested<Principal>,
    last: &Attested<Principal>,
) -> Result<bool> {
    forget_rights(tx, id).await?;
    let id = id.to_string();
    let owe = sqlx::query(OWE).bind(&id).bind(last.as_bytes());
    owe.execute(tx.connection()).await.map_err(failed)?;
    let delete = sqlx::query(DELETE).bind(&id).bind(org.to_string()).bind(from.as_bytes());
    Ok(delete.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1)
}

/// Ends what a person may do in the organisation that they leave: API keys, policies, links, what they have shared.
pub(crate) async fn forget_rights(tx: &mut Tx, id: UserId) -> Result<()> {
    for statement in [DELETE_KEYS, DELETE_POLICIES, DELETE_TICKETS, DELETE_SHARES] {
        sqlx::query(statement).bind(id.to_string()).execute(tx.connection()).await.map_err(failed)?;
    }
    Ok(())
}

/// Last records that the signer is yet to be told of.
pub async fn owed(store: &Store) -> Result<Vec<(UserId, Attested<Principal>)>> {
    let rows = sqlx::query(OWED).fetch_all(&mut *store.read().await?).await.map_err(failed)?;
    let read = |row: AnyRow| Ok((row.parsed("user_id")?, Attested::from_bytes(row.bytes("record")?)));
    rows.into_iter().map(read).collect()
}

/// The signer has been told.
pub async fn settle(tx: &mut Tx, id: UserId) -> Result<()> {
    sqlx::query(SETTLE).bind(id.to_string()).execute(tx.connection()).await.map_err(failed).map(drop)
}

/// Whether such a person is in the organisation.
pub async fn is_member(store: &Store, org: OrgId, id: UserId) -> Result<bool> {
    let row = sqlx::query(IN_ORG)
        .bind(id.to_string())
        .bind(org.to_string())
        .fetch_one(&mut *store.read().await?)
        .await;
    row.map_err(failed)?.flag("found")
}

pub(crate) fn read(row: AnyRow) -> Result<User> {
    Ok(User {
        id: row.parsed("id")?,
        org: row.parsed("org_id")?,
        email: row.text("email")?,
        display_name: row.maybe_text("display_name")?,
        auth_method: row.text("auth_method")?,
        email_verified: row.flag("email_verified")?,
        marketing_emails: row.flag("marketing_emails")?,
        salt: row.bytes("salt")?,
        record: Attested::from_bytes(row.bytes("record")?),
        created_at: row.time("created_at")?,
    })
}
