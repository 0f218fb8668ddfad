//! The audit trail, read: by filters, newest first, and whole, oldest first.

use std::time::Duration;

use domain::access::{Permit, ReadAudit};
use domain::audit::walk::{Line, Place};
use domain::{Error, OrgId, Result, Time};
use futures::TryStreamExt as _;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::row::Columns as _;
use crate::{Store, failed};

/// What to look for. Empty texts are no filter.
#[derive(Default)]
pub struct Filter {
    pub resource_id: String,
    pub resource_type: String,
    pub actor_id: String,
    pub actor_type: String,
    pub action: String,
    pub from: Option<Time>,
    pub to: Option<Time>,
    /// Events before this one in the chain.
    pub before: Option<i64>,
    pub limit: u32,
    pub offset: u32,
}

/// An event's time is that of its request, which commits a little later: events are in order of time but for so much, which
/// also takes in clocks of several gateways that differ.
const DISORDER: Duration = Duration::from_secs(3600);

/// A page, newest first. The first condition is one that an index answers in order; the others are looked at row by row. Each
/// text names all parameters, since PostgreSQL must learn their types from it.
macro_rules! page {
    ($driver:literal) => {
        concat!(
            "SELECT * FROM audit_events WHERE org_id = $1 AND ",
            $driver,
            " AND sequence >= $5 AND sequence <= $6 AND created_at >= $7 AND created_at <= $8 \
             AND ($9 = '' OR resource_type = $9) AND ($10 = '' OR actor_type = $10) \
             ORDER BY sequence DESC LIMIT $11 OFFSET $12"
        )
    };
}

/// A resource has the fewest events.
const OF_RESOURCE: &str =
    page!("resource_id = $2 AND ($3 = '' OR actor_id = $3) AND ($4 = '' OR action = $4)");
const OF_ACTOR_AND_ACTION: &str = page!("$2 = '' AND actor_id = $3 AND action = $4");
const OF_ACTOR: &str = page!("$2 = '' AND actor_id = $3 AND $4 = ''");
const OF_ACTION: &str = page!("$2 = '' AND $3 = '' AND action = $4");
const OF_ALL: &str = page!("$2 = '' AND $3 = '' AND $4 = ''");

/// The first event at or after a time, and the last one at or before it, by the clock.
const AFTER: &str = "SELECT sequence FROM audit_events WHERE org_id = $1 AND created_at >= $2 \
                     ORDER BY created_at, sequence LIMIT 1";
const BEFORE: &str = "SELECT sequence FROM audit_events WHERE org_id = $1 AND created_at <= $2 \
                      ORDER BY created_at DESC, sequence DESC LIMIT 1";
const ONWARDS: &str = "SELECT * FROM audit_events WHERE org_id = $1 AND sequence > $2 AND sequence <= $3 \
                       ORDER BY sequence LIMIT $4";
const PLACE: &str = "SELECT sequence, id AS event_id, integrity_hash AS hash FROM audit_events \
                     WHERE org_id = $1 AND sequence = $2";
const HEAD: &str = "SELECT sequence, event_id, hash FROM audit_heads WHERE org_id = $1";
const LAST: &str = "SELECT COALESCE(MAX(sequence), 0) AS sequence FROM audit_events WHERE org_id = $1";

impl Filter {
    fn page(&self) -> &'static str {
        let given = |text: &str| !text.is_empty();
        match (given(&self.resource_id), given(&self.actor_id), given(&self.action)) {
            (true, ..) => OF_RESOURCE,
            (_, true, true) => OF_ACTOR_AND_ACTION,
            (_, true, false) => OF_ACTOR,
            (_, false, true) => OF_ACTION,
            (_, false, false) => OF_ALL,
        }
    }
}

/// Of a page's details, in bytes: what comes after is on the next page.
const PAGE_BYTES: usize = 4 << 20;

/// A page of the organisation's events, newest first, and whether there may be more.
pub async fn page(
    store: &Store,
    may: &Permit<ReadAudit, OrgId>,
    filter: &Filter,
) -> Result<(Vec<Line>, bool)> {
    let org = may.on().to_string();
    let mut connection = store.read().await?;
    let Some((first, last)) = bounds(&mut connection, &org, filter.from, filter.to).await? else {
        return Ok((Vec::new(), false));
    };
    let last = filter.before.map_or(last, |before| last.min(before.saturating_sub(1)));
    let page = sqlx::query(filter.page())
        .bind(org)
        .bind(&filter.resource_id)
        .bind(&filter.actor_id)
        .bind(&filter.action)
        .bind(first)
        .bind(last)
        .bind(filter.from.map_or(i64::MIN, Time::millis))
        .bind(filter.to.map_or(i64::MAX, Time::millis))
        .bind(&filter.resource_type)
        .bind(&filter.actor_type)
        .bind(i64::from(filter.limit))
        .bind(i64::from(filter.offset));
    let mut rows = page.fetch(&mut *connection);
    let (mut lines, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.try_next().await.map_err(failed)? {
        let next = line(&row)?;
        bytes += next.details.len();
        if bytes > PAGE_BYTES && !lines.is_empty() {
            return Ok((lines, true));
        }
        lines.push(next);
    }
    let full = u32::try_from(lines.len()).is_ok_and(|found| found == filter.limit);
    Ok((lines, full))
}

/// Between which events all of a span of time are; `None`: there are none.
async fn bounds(
    connection: &mut AnyConnection,
    org: &str,
    from: Option<Time>,
    to: Option<Time>,
) -> Result<Option<(i64, i64)>> {
    let mut bounds =
        [(AFTER, from.map(|at| at.minus(DISORDER)), 1), (BEFORE, to.map(|at| at.plus(DISORDER)), i64::MAX)];
    for (find, at, bound) in &mut bounds {
        let Some(at) = at else { continue };
        let find = sqlx::query(*find).bind(org.to_owned()).bind(at.millis());
        match find.fetch_optional(&mut *connection).await.map_err(failed)? {
            Some(found) => *bound = found.number("sequence")?,
            None => return Ok(None),
        }
    }
    Ok(Some((bounds[0].2, bounds[1].2)))
}

/// A span of the chain to export: after which place, and up to which event. All events of the time are in it, and a few
/// around them.
pub async fn span(
    store: &Store,
    may: &Permit<ReadAudit, OrgId>,
    from: Option<Time>,
    to: Option<Time>,
) -> Result<(Place, i64)> {
    let org = may.on().to_string();
    let mut connection = store.read().await?;
    let head = head_of(&mut connection, &org).await?;
    let Some((first, last)) = bounds(&mut connection, &org, from, to).await? else {
        return Ok((head.clone(), head.sequence));
    };
    if first <= 1 {
        return Ok((Place::genesis(), last.min(head.sequence)));
    }
    let before = sqlx::query(PLACE).bind(org).bind(first - 1);
    let before = before.fetch_optional(&mut *connection).await.map_err(failed)?;
    let before = before.ok_or_else(|| Error::internal("an event is missing from an audit chain"))?;
    Ok((place(&before)?, last.min(head.sequence)))
}

/// Events after one and up to another, oldest first.
pub async fn onwards(store: &Store, org: OrgId, after: i64, up_to: i64, most: u32) -> Result<Vec<Line>> {
    let onwards = sqlx::query(ONWARDS).bind(org.to_string()).bind(after).bind(up_to).bind(i64::from(most));
    onwards.fetch_all(&mut *store.read().await?).await.map_err(failed)?.iter().map(line).collect()
}

/// Where the chain stands.
pub async fn head(store: &Store, org: OrgId) -> Result<Place> {
    head_of(&mut *store.read().await?, &org.to_string()).await
}

/// The highest sequence of an event, whatever the head says.
pub async fn last(store: &Store, org: OrgId) -> Result<i64> {
    let last = sqlx::query(LAST).bind(org.to_string()).fetch_one(&mut *store.read().await?).await;
    last.map_err(failed)?.number("sequence")
}

async fn head_of(connection: &mut AnyConnection, org: &str) -> Result<Place> {
    let head = sqlx::query(HEAD).bind(org.to_owned()).fetch_optional(connection).await.map_err(failed)?;
    head.as_ref().map_or_else(|| Ok(Place::genesis()), place)
}

pub(crate) fn place(row: &AnyRow) -> Result<Place> {
    let hash = row.bytes("hash")?.try_into().map_err(|_| Error::internal("an audit head is damaged"))?;
    Ok(Place { sequence: row.number("sequence")?, event_id: row.text("event_id")?, hash })
}

fn line(row: &AnyRow) -> Result<Line> {
    Ok(Line {
        sequence: row.number("sequence")?,
        id: row.text("id")?,
        org_id: row.text("org_id")?,
        prev_event_id: row.text("prev_event_id")?,
        action: row.text("action")?,
        actor_type: row.text("actor_type")?,
        actor_id: row.text("actor_id")?,
        resource_type: row.text("resource_type")?,
        resource_id: row.text("resource_id")?,
        details: row.text("details")?,
        ip_address: row.text("ip_address")?,
        created_at_ms: row.number("created_at")?,
        integrity_hash: hex::encode(row.bytes("integrity_hash")?),
    })
}
