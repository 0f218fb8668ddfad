//! Personal API keys. What decides (whose, scopes, end, verifier) is in the record that the signer attests; the
//! columns are for looking up and for people.

use std::time::Duration;

use domain::access::{CreateApiKey, ListApiKeys, Permit, RevokeApiKey};
use domain::{ApiKeyId, OrgId, Result, Time, UserId};
use signer_protocol::Attested;
use signer_protocol::api_key::ApiKey as Record;
use sqlx::any::AnyRow;

use crate::row::Columns as _;
use crate::{Store, Tx, failed};

pub struct ApiKey {
    pub id: ApiKeyId,
    pub org: OrgId,
    pub user: UserId,
    pub name: String,
    /// The key's first characters.
    pub prefix: String,
    pub record: Attested<Record>,
    pub created_at: Time,
    pub expires_at: Option<Time>,
    pub last_used_at: Option<Time>,
}

const INSERT: &str = "INSERT INTO api_keys (id, org_id, user_id, name, key_prefix, record, created_at, expires_at) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
/// Changes nothing: it holds the row until the commit, so that a person's keys are counted one after the other.
const HOLD_USER: &str = "UPDATE users SET version = version WHERE id = $1 AND org_id = $2";
const COUNT: &str = "SELECT COUNT(*) AS live FROM api_keys \
                     WHERE user_id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)";
const FIND: &str = "SELECT * FROM api_keys WHERE id = $1";
const FIND_BY_PREFIX: &str = "SELECT * FROM api_keys WHERE key_prefix = $1 ORDER BY id LIMIT 8";
const FIND_OWN: &str =
    "SELECT * FROM api_keys WHERE id = $1 AND org_id = $2 AND user_id = $3 AND revoked_at IS NULL";
/// However many have expired, those that live are among them: a person has a hundred.
const LIST: &str = "SELECT * FROM api_keys WHERE org_id = $1 AND user_id = $2 AND revoked_at IS NULL \
                    ORDER BY CASE WHEN expires_at <= $3 THEN 1 ELSE 0 END, id LIMIT 1000";
const REVOKE: &str = "UPDATE api_keys SET record = $4, revoked_at = $5 \
                      WHERE id = $1 AND org_id = $2 AND user_id = $3 AND revoked_at IS NULL";
const FORGET: &str = "DELETE FROM api_keys WHERE revoked_at < $1 OR expires_at < $1";
const USED: &str = "UPDATE api_keys SET last_used_at = $2 \
                    WHERE id = $1 AND (last_used_at IS NULL OR last_used_at <= $3)";

pub async fn insert(tx: &mut Tx, may: &Permit<CreateApiKey, UserId>, key: &ApiKey) -> Result<()> {
    sqlx::query(INSERT)
        .bind(key.id.to_string())
        .bind(may.org().to_string())
        .bind(may.on().to_string())
        .bind(&key.name)
        .bind(&key.prefix)
        .bind(key.record.as_bytes())
        .bind(key.created_at.millis())
        .bind(key.expires_at.map(Time::millis))
        .execute(tx.connection())
        .await
        .map_err(failed)
        .map(drop)
}

/// How many keys of the person are neither revoked nor expired, about.
pub async fn live(store: &Store, may: &Permit<CreateApiKey, UserId>, now: Time) -> Result<u64> {
    let count = sqlx::query(COUNT).bind(may.on().to_string()).bind(now.millis());
    count.fetch_one(&mut *store.read().await?).await.map_err(failed)?.count("live")
}

/// How many keys of the person are neither revoked nor expired. Until the transaction ends, nobody else counts or adds.
pub async fn count_live(tx: &mut Tx, may: &Permit<CreateApiKey, UserId>, now: Time) -> Result<u64> {
    let user = may.on().to_string();
    let hold = sqlx::query(HOLD_USER).bind(&user).bind(may.org().to_string());
    hold.execute(tx.connection()).await.map_err(failed)?;
    let count = sqlx::query(COUNT).bind(&user).bind(now.millis());
    count.fetch_one(tx.connection()).await.map_err(failed)?.count("live")
}

/// The facts about a key, for the pipeline to authenticate with.
pub async fn facts(store: &Store, id: ApiKeyId) -> Result<Option<ApiKey>> {
    let row = sqlx::query(FIND)
        .bind(id.to_string())
        .fetch_optional(&mut *store.read().await?)
        .await
        .map_err(failed)?;
    row.map(read).transpose()
}

/// The facts about the keys that begin like this: seldom more than one.
pub async fn facts_by_prefix(store: &Store, prefix: &str) -> Result<Vec<ApiKey>> {
    let rows = sqlx::query(FIND_BY_PREFIX)
        .bind(prefix)
        .fetch_all(&mut *store.read().await?)
        .await
        .map_err(failed)?;
    rows.into_iter().map(read).collect()
}

/// The person's own keys that were not revoked: those that live, then those that have expired, each oldest first.
pub async fn list(store: &Store, may: &Permit<ListApiKeys, UserId>, now: Time) -> Result<Vec<ApiKey>> {
    let list = sqlx::query(LIST).bind(may.org().to_string()).bind(may.on().to_string()).bind(now.millis());
    list.fetch_all(&mut *store.read().await?).await.map_err(failed)?.into_iter().map(read).collect()
}

/// A key of the person's own that was not revoked.
pub async fn find(store: &Store, may: &Permit<RevokeApiKey, ApiKeyId>) -> Result<Option<ApiKey>> {
    let find =
        sqlx::query(FIND_OWN).bind(may.on().to_string()).bind(may.org().to_string()).bind(may.by().uuid());
    find.fetch_optional(&mut *store.read().await?).await.map_err(failed)?.map(read).transpose()
}

/// Stores a key's last record. `false`: somebody else did already.
pub async fn revoke(
    tx: &mut Tx,
    may: &Permit<RevokeApiKey, ApiKeyId>,
    last: &Attested<Record>,
    at: Time,
) -> Result<bool> {
    let revoke = sqlx::query(REVOKE)
        .bind(may.on().to_string())
        .bind(may.org().to_string())
        .bind(may.by().uuid())
        .bind(last.as_bytes())
        .bind(at.millis());
    Ok(revoke.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1)
}

/// Forgets keys that were revoked, or expired, before then. Their tokens have ended long since.
pub async fn forget_ended(tx: &mut Tx, before: Time) -> Result<()> {
    sqlx::query(FORGET).bind(before.millis()).execute(tx.connection()).await.map_err(failed).map(drop)
}

/// Notes that a key was used, unless that was noted less than `coarse` ago.
pub async fn used(tx: &mut Tx, id: ApiKeyId, at: Time, coarse: Duration) -> Result<()> {
    let used = sqlx::query(USED).bind(id.to_string()).bind(at.millis()).bind(at.minus(coarse).millis());
    used.execute(tx.connection()).await.map_err(failed).map(drop)
}

fn read(row: AnyRow) -> Result<ApiKey> {
    Ok(ApiKey {
        id: row.parsed("id")?,
        org: row.parsed("org_id")?,
        user: row.parsed("user_id")?,
        name: row.text("name")?,
        prefix: row.text("key_prefix")?,
        record: Attested::from_bytes(row.bytes("record")?),
        created_at: row.time("created_at")?,
        expires_at: row.maybe_time("expires_at")?,
        last_used_at: row.maybe_time("last_used_at")?,
    })
}
