//! Agents that have asked to be enrolled, as they wait to be looked at.

use domain::{AgentId, Error, Result, Time};
use sqlx::any::AnyRow;

use crate::row::Columns as _;
use crate::{Store, Tx, failed};

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
