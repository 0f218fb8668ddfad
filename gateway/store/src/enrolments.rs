//! Agents that have asked to be enrolled, as they wait to be looked at, and those that were, as they wait for their key.

use domain::{AgentId, Error, OrgId, Result, Time};
use sqlx::any::AnyRow;

use crate::row::Columns as _;
use crate::vaults::AGENT_KEYS;
use crate::{Store, Tx, failed, organisations};

pub struct Enrolment {
    /// The id that was answered.
    pub agent: AgentId,
    /// Of the person whom it names, be there one or not.
    pub email: String,
    pub name: String,
    pub description: Option<String>,
    /// From where it asked.
    pub address: Option<String>,
    pub attempts: u64,
    pub created_at: Time,
}

const QUEUE: &str = "INSERT INTO enrolments (agent_id, email, name, description, ip_address, attempts, due_at, \
                     created_at) VALUES ($1, $2, $3, $4, $5, 0, $6, $6)";
const DUE: &str = "SELECT COUNT(*) AS due FROM enrolments WHERE due_at <= $1";
/// As for mail: the outer condition is checked again once the row is ours.
const TAKE: &str = "UPDATE enrolments SET due_at = $2, attempts = attempts + 1 WHERE due_at <= $1 AND agent_id IN \
                    (SELECT agent_id FROM enrolments WHERE due_at <= $1 ORDER BY due_at, agent_id LIMIT $3) \
                    RETURNING *";
const END: &str = "DELETE FROM enrolments WHERE agent_id = $1 AND attempts = $2";
const DEFER: &str = "UPDATE enrolments SET due_at = $3 WHERE agent_id = $1 AND attempts = $2";

/// It is as it was enrolled, and nobody has given it anything: what people have touched is theirs to keep or to end.
macro_rules! untouched {
    () => {
        "a.auth_method = 'api_key' AND a.key_prefix IS NULL AND a.version = 1 \
         AND NOT EXISTS (SELECT 1 FROM policies p WHERE p.principal_id = a.id) \
         AND NOT EXISTS (SELECT 1 FROM shares s WHERE s.recipient_id = a.id)"
    };
}
const COUNT_KEYLESS: &str =
    concat!("SELECT COUNT(*) AS found FROM agents a WHERE a.org_id = $1 AND ", untouched!());
/// Version and key are looked at again once the row is ours. A policy that is given at this very moment names an agent that is gone.
const FORGET_KEYLESS: &str = concat!(
    "DELETE FROM agents WHERE version = 1 AND key_prefix IS NULL AND id IN \
     (SELECT a.id FROM agents a WHERE a.created_at <= $1 AND ",
    untouched!(),
    " ORDER BY a.created_at, a.id LIMIT $2) RETURNING id, org_id"
);
/// An agent's pairs, wherever its organisation keeps them.
macro_rules! pairs {
    () => {
        "(SELECT s.id FROM secrets s JOIN vaults v ON v.id = s.vault_id \
         WHERE v.org_id = $1 AND v.purpose = $2 AND s.path LIKE $3)"
    };
}
const FORGET_PAIRS: [&str; 2] = [
    concat!("DELETE FROM secret_versions WHERE secret_id IN ", pairs!()),
    concat!("DELETE FROM secrets WHERE id IN ", pairs!()),
];

pub async fn queue(tx: &mut Tx, new: &Enrolment) -> Result<()> {
    sqlx::query(QUEUE)
        .bind(new.agent.to_string())
        .bind(&new.email)
        .bind(&new.name)
        .bind(new.description.as_deref())
        .bind(new.address.as_deref())
        .bind(new.created_at.millis())
        .execute(tx.connection())
        .await
        .map_err(failed)
        .map(drop)
}

pub async fn is_due(store: &Store, now: Time) -> Result<bool> {
    let due = sqlx::query(DUE).bind(now.millis()).fetch_one(&mut *store.read().await?).await;
    due.map_err(failed)?.flag("due")
}

/// Takes some for one attempt each. Nobody else gets them before `lease`.
pub async fn take(tx: &mut Tx, now: Time, lease: Time, most: i64) -> Result<Vec<Enrolment>> {
    let take = sqlx::query(TAKE).bind(now.millis()).bind(lease.millis()).bind(most);
    take.fetch_all(tx.connection()).await.map_err(failed)?.into_iter().map(read).collect()
}

/// It is enrolled, or never will be. `false`: somebody else has begun another attempt.
pub async fn end(tx: &mut Tx, taken: &Enrolment) -> Result<bool> {
    let end = sqlx::query(END).bind(taken.agent.to_string()).bind(attempts(taken)?);
    Ok(end.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1)
}

/// Puts the next attempt off until then.
pub async fn defer(tx: &mut Tx, taken: &Enrolment, until: Time) -> Result<()> {
    let defer = sqlx::query(DEFER).bind(taken.agent.to_string()).bind(attempts(taken)?).bind(until.millis());
    defer.execute(tx.connection()).await.map_err(failed).map(drop)
}

/// How many of an organisation's agents were enrolled, have no key yet, and were not touched by anybody.
pub async fn keyless(store: &Store, org: OrgId) -> Result<u64> {
    let count = sqlx::query(COUNT_KEYLESS).bind(org.to_string());
    count.fetch_one(&mut *store.read().await?).await.map_err(failed)?.count("found")
}

/// As [`keyless`]; nobody else enrols an agent with the organisation until the transaction ends.
pub async fn keyless_within(tx: &mut Tx, org: OrgId) -> Result<u64> {
    organisations::hold(tx, org).await?;
    let count = sqlx::query(COUNT_KEYLESS).bind(org.to_string());
    count.fetch_one(tx.connection()).await.map_err(failed)?.count("found")
}

/// Forgets such agents that were made then or before, at most so many, and their pairs with them.
pub async fn forget_keyless(tx: &mut Tx, until: Time, most: i64) -> Result<Vec<(AgentId, OrgId)>> {
    let forget = sqlx::query(FORGET_KEYLESS).bind(until.millis()).bind(most);
    let rows = forget.fetch_all(tx.connection()).await.map_err(failed)?;
    let gone: Vec<(AgentId, OrgId)> =
        rows.iter().map(|row| Ok((row.parsed("id")?, row.parsed("org_id")?))).collect::<Result<_>>()?;
    for (agent, org) in &gone {
        for forget in FORGET_PAIRS {
            let pairs = sqlx::query(forget).bind(org.to_string()).bind(AGENT_KEYS);
            let pairs = pairs.bind(format!("agents/{agent}/%"));
            pairs.execute(tx.connection()).await.map_err(failed)?;
        }
    }
    Ok(gone)
}

fn attempts(taken: &Enrolment) -> Result<i64> {
    i64::try_from(taken.attempts).map_err(Error::internal)
}

fn read(row: AnyRow) -> Result<Enrolment> {
    Ok(Enrolment {
        agent: row.parsed("agent_id")?,
        email: row.text("email")?,
        name: row.text("name")?,
        description: row.maybe_text("description")?,
        address: row.maybe_text("ip_address")?,
        attempts: row.count("attempts")?,
        created_at: row.time("created_at")?,
    })
}
