//! The audit chain: appended to, queried.

pub mod trail;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use domain::audit::{Event, GENESIS, Hash, Row};
use domain::{Error, OrgId, Result};
use sqlx::AnyConnection;

use crate::failed;
use crate::row::Columns as _;

/// Takes the head for this transaction: on PostgreSQL the row stays locked until the commit.
const ADVANCE: &str = "UPDATE audit_heads SET sequence = sequence + $2 WHERE org_id = $1 \
                       RETURNING sequence, event_id, hash";
const START: &str = "INSERT INTO audit_heads (org_id, sequence, event_id, hash) VALUES ($1, 0, '', $2) \
                     ON CONFLICT (org_id) DO NOTHING";
const SET_HEAD: &str = "UPDATE audit_heads SET event_id = $2, hash = $3 WHERE org_id = $1";
const INSERT: &str = "INSERT INTO audit_events (org_id, sequence, id, prev_event_id, integrity_hash, action, \
                      actor_type, actor_id, resource_type, resource_id, details, ip_address, created_at) VALUES ";
const COLUMNS: usize = 13;
/// Rows in one statement, at most: a statement costs more than a row.
const ROWS: usize = 16;
/// The same statement for 1 to [`ROWS`] rows.
static INSERTS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let place = |row: usize, column: usize| format!("${}", row * COLUMNS + column);
    let row =
        |row| format!("({})", (1..=COLUMNS).map(|column| place(row, column)).collect::<Vec<_>>().join(", "));
    (1..=ROWS).map(|rows| INSERT.to_owned() + &(0..rows).map(row).collect::<Vec<_>>().join(", ")).collect()
});

/// Appends events to the chains of their organisations, in order of organisation id, so that two transactions
/// never wait for each other in a circle.
pub(crate) async fn append(connection: &mut AnyConnection, events: Vec<Event>) -> Result<()> {
    let mut by_org: BTreeMap<OrgId, Vec<Event>> = BTreeMap::new();
    for event in events {
        by_org.entry(event.org).or_default().push(event);
    }
    for (org, events) in by_org {
        extend(connection, org, &events).await?;
    }
    Ok(())
}

async fn extend(connection: &mut AnyConnection, org: OrgId, events: &[Event]) -> Result<()> {
    let org = org.to_string();
    let count = i64::try_from(events.len()).map_err(Error::internal)?;
    let head = loop {
        let head = sqlx::query(ADVANCE)
            .bind(&org)
            .bind(count)
            .fetch_optional(&mut *connection)
            .await
            .map_err(failed)?;
        match head {
            Some(head) => break head,
            None => sqlx::query(START)
                .bind(&org)
                .bind(&GENESIS[..])
                .execute(&mut *connection)
                .await
                .map_err(failed)?,
        };
    };
    let first = head.number("sequence")? - count + 1;
    let mut previous: String = head.text("event_id")?;
    let mut hash: Hash =
        head.bytes("hash")?.try_into().map_err(|_| Error::internal("an audit head is damaged"))?;
    for (first, events) in (first..).step_by(ROWS).zip(events.chunks(ROWS)) {
        let mut insert = sqlx::query(INSERTS[events.len() - 1].as_str());
        for (sequence, event) in (first..).zip(events) {
            let id = event.id.to_string();
            let details = serde_json::to_string(&event.details).map_err(Error::internal)?;
            let actor_type = event.actor.map_or("", |a| a.kind());
            let actor_id = event.actor.map(|a| a.uuid()).unwrap_or_default();
            let address = event.address.as_deref().unwrap_or_default();
            let row = Row {
                sequence,
                id: &id,
                org: &org,
                action: event.action,
                actor_type,
                actor_id: &actor_id,
                resource_type: event.resource.0,
                resource_id: &event.resource.1,
                details: &details,
                address,
                created_at: event.at.millis(),
            };
            hash = row.hash(&hash);
            insert = insert
                .bind(org.clone())
                .bind(sequence)
                .bind(id.clone())
                .bind(std::mem::replace(&mut previous, id))
                .bind(hash.to_vec())
                .bind(event.action)
                .bind(actor_type)
                .bind(actor_id)
                .bind(event.resource.0)
                .bind(event.resource.1.as_str())
                .bind(details)
                .bind(address)
                .bind(event.at.millis());
        }
        insert.execute(&mut *connection).await.map_err(failed)?;
    }
    sqlx::query(SET_HEAD)
        .bind(&org)
        .bind(&previous)
        .bind(&hash[..])
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(())
}
