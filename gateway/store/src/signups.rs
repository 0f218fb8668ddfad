//! People who have signed up and not yet shown that their address is theirs.

use domain::{Result, Time, UserId};
use signer_protocol::Attested;
use sqlx::any::AnyRow;

use crate::row::Columns as _;
use crate::users::User;
use crate::{Store, Tx, failed};

const INSERT: &str = "INSERT INTO signups (user_id, org_id, email, display_name, salt, record, created_at, expires_at) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
const FIND: &str = "SELECT * FROM signups WHERE user_id = $1 AND expires_at > $2";
const END: &str = "DELETE FROM signups WHERE email = $1";
const FORGET: &str = "DELETE FROM signups WHERE expires_at <= $1";

/// Keeps somebody who is no user yet.
pub async fn insert(tx: &mut Tx, user: &User, expires_at: Time) -> Result<()> {
    sqlx::query(INSERT)
        .bind(user.id.to_string())
        .bind(user.org.to_string())
        .bind(&user.email)
        .bind(user.display_name.as_deref())
        .bind(&user.salt)
        .bind(user.record.as_bytes())
        .bind(user.created_at.millis())
        .bind(expires_at.millis())
        .execute(tx.connection())
        .await
        .map_err(failed)
        .map(drop)
}

/// The user that they will be.
pub async fn find(store: &Store, id: UserId, now: Time) -> Result<Option<User>> {
    let find = sqlx::query(FIND).bind(id.to_string()).bind(now.millis());
    find.fetch_optional(&mut *store.read().await?).await.map_err(failed)?.map(read).transpose()
}

/// The address has its account now.
pub async fn end(tx: &mut Tx, email: &str) -> Result<()> {
    sqlx::query(END).bind(email).execute(tx.connection()).await.map_err(failed).map(drop)
}

pub async fn forget_expired(tx: &mut Tx, now: Time) -> Result<()> {
    sqlx::query(FORGET).bind(now.millis()).execute(tx.connection()).await.map_err(failed).map(drop)
}

fn read(row: AnyRow) -> Result<User> {
    Ok(User {
        id: row.parsed("user_id")?,
        org: row.parsed("org_id")?,
        email: row.text("email")?,
        display_name: row.maybe_text("display_name")?,
        auth_method: "password".to_owned(),
        email_verified: true,
        marketing_emails: false,
        salt: row.bytes("salt")?,
        record: Attested::from_bytes(row.bytes("record")?),
        created_at: row.time("created_at")?,
    })
}
