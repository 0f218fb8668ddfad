//! What dashboards and waiting agents are told: an outbox that every gateway reads.
//!
//! An event is written with what it tells of. Its number is taken from one row that stays locked until the commit, so that numbers
//! become visible in their order: whoever has seen one has seen all before it, and asks for what is above. (A PostgreSQL sequence
//! would not do: a number that commits late would be passed over.)

use domain::{OrgId, PrincipalId, Result, Time};
use serde_json::{Map, Value};
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::row::Columns as _;
use crate::{Store, Tx, failed};

/// Something that is told.
#[derive(Clone, Debug)]
pub struct News {
    pub org: OrgId,
    /// Whom it concerns, beside the organisation's people.
    pub concerns: PrincipalId,
    /// `approval.requested`, …
    pub event: &'static str,
    /// Ids and states, never a value.
    pub data: Map<String, Value>,
    pub at: Time,
}

/// News with its number.
#[derive(Clone, Debug)]
pub struct Told {
    pub sequence: i64,
    pub org: OrgId,
    pub concerns: PrincipalId,
    pub event: String,
    /// JSON.
    pub data: String,
}

const ADVANCE: &str = "UPDATE event_head SET sequence = sequence + $1 WHERE id = 1 RETURNING sequence";
const INSERT: &str = "INSERT INTO events (sequence, org_id, concerns_type, concerns_id, event, data, created_at) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7)";
const HEAD: &str = "SELECT sequence FROM event_head WHERE id = 1";
const SINCE: &str = "SELECT * FROM events WHERE sequence > $1 ORDER BY sequence LIMIT $2";
const SINCE_IN_ORG: &str =
    "SELECT * FROM events WHERE org_id = $1 AND sequence > $2 ORDER BY sequence LIMIT $3";
const SWEEP: &str = "DELETE FROM events WHERE created_at < $1";

/// Writes news as the transaction commits; before the audit chain's head is taken, always, so that nobody waits in a circle.
pub(crate) async fn append(connection: &mut AnyConnection, news: Vec<News>) -> Result<()> {
    let count = i64::try_from(news.len()).map_err(domain::Error::internal)?;
    if count == 0 {
        return Ok(());
    }
    let head = sqlx::query(ADVANCE).bind(count).fetch_one(&mut *connection).await.map_err(failed)?;
    let first = head.number("sequence")? - count + 1;
    for (sequence, news) in (first..).zip(news) {
        let insert = sqlx::query(INSERT)
            .bind(sequence)
            .bind(news.org.to_string())
            .bind(news.concerns.kind())
            .bind(news.concerns.uuid())
            .bind(news.event)
            .bind(Value::Object(news.data).to_string())
            .bind(news.at.millis());
        insert.execute(&mut *connection).await.map_err(failed)?;
    }
    Ok(())
}

/// The number of the newest.
pub async fn head(store: &Store) -> Result<i64> {
    let head = sqlx::query(HEAD).fetch_one(&mut *store.read().await?).await;
    head.map_err(failed)?.number("sequence")
}

/// What came after, of every organisation, in order.
pub async fn since(store: &Store, last: i64, most: i64) -> Result<Vec<Told>> {
    let find = sqlx::query(SINCE).bind(last).bind(most);
    find.fetch_all(&mut *store.read().await?).await.map_err(failed)?.iter().map(read).collect()
}

/// What came after in one organisation, in order; who may see which is the caller's to decide.
pub async fn since_in(store: &Store, org: OrgId, last: i64, most: i64) -> Result<Vec<Told>> {
    let find = sqlx::query(SINCE_IN_ORG).bind(org.to_string()).bind(last).bind(most);
    find.fetch_all(&mut *store.read().await?).await.map_err(failed)?.iter().map(read).collect()
}

/// Forgets what is older.
pub async fn sweep(tx: &mut Tx, before: Time) -> Result<()> {
    sqlx::query(SWEEP).bind(before.millis()).execute(tx.connection()).await.map_err(failed).map(drop)
}

fn read(row: &AnyRow) -> Result<Told> {
    Ok(Told {
        sequence: row.number("sequence")?,
        org: row.parsed("org_id")?,
        concerns: row.principal("concerns_type", "concerns_id")?,
        event: row.text("event")?,
        data: row.text("data")?,
    })
}
