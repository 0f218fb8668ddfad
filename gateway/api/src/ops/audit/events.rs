//! What has happened, by filters. To look is no event itself: whoever watches would fill the trail with it.

use domain::access::{Permit, ReadAudit};
use domain::audit::walk::Line;
use domain::{Error, OrgId, Result, Time};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::audit::trail::{self, Filter};

use crate::access::InOrg;
use crate::cx::Cx;
use crate::decode;
use crate::operation::{Operation, Reply, Route};

const MOST: u32 = 1000;
/// Further back a cursor leads, at no cost.
const MOST_OFFSET: u32 = 10_000;

#[derive(Deserialize, JsonSchema)]
pub struct AuditEventsQuery {
    #[serde(default)]
    resource_id: Option<String>,
    /// `secret`, `agent`, …
    #[serde(default)]
    resource_type: Option<String>,
    #[serde(default)]
    actor_id: Option<String>,
    /// `user` or `agent`
    #[serde(default)]
    actor_type: Option<String>,
    /// `secret.read`, …
    #[serde(default)]
    action: Option<String>,
    /// The first moment.
    #[serde(default)]
    from: Option<Time>,
    /// The last moment.
    #[serde(default)]
    to: Option<Time>,
    /// 1 to 1,000; 100 when left out. A page of events with long details may be shorter.
    #[serde(default)]
    limit: Option<u32>,
    /// Events to pass over: 0 to 10,000.
    #[serde(default)]
    offset: Option<u32>,
    /// `next_cursor` of the page before: exact while events arrive.
    #[serde(default)]
    cursor: Option<String>,
}

impl TryFrom<AuditEventsQuery> for Filter {
    type Error = Error;
    fn try_from(query: AuditEventsQuery) -> Result<Self> {
        let within = |name: &str, given: Option<u32>, default: u32, least: u32, most: u32| match given {
            None => Ok(default),
            Some(given) if (least..=most).contains(&given) => Ok(given),
            Some(_) => Err(Error::invalid(name, format!("must be {least} to {most}"))),
        };
        let cursor = query.cursor.map(|cursor| cursor.parse().ok().filter(|sequence| *sequence > 0));
        Ok(Self {
            resource_id: query.resource_id.unwrap_or_default(),
            resource_type: query.resource_type.unwrap_or_default(),
            actor_id: query.actor_id.unwrap_or_default(),
            actor_type: query.actor_type.unwrap_or_default(),
            action: query.action.unwrap_or_default(),
            from: query.from,
            to: query.to,
            before: cursor
                .map(|c| c.ok_or_else(|| Error::invalid("cursor", "must be a next_cursor")))
                .transpose()?,
            limit: within("limit", query.limit, 100, 1, MOST)?,
            offset: within("offset", query.offset, 0, 0, MOST_OFFSET)?,
        })
    }
}

#[derive(Serialize, JsonSchema)]
pub struct AuditEvent {
    id: String,
    /// 1 for the organisation's first event.
    sequence: i64,
    action: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    actor_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    actor_type: String,
    resource_type: String,
    resource_id: String,
    org_id: String,
    details: Value,
    #[serde(skip_serializing_if = "String::is_empty")]
    ip_address: String,
    created_at: Time,
    #[serde(skip_serializing_if = "String::is_empty")]
    prev_event_id: String,
    /// SHA-256 over the hash before and every field, in hex.
    integrity_hash: String,
}

impl From<Line> for AuditEvent {
    fn from(line: Line) -> Self {
        Self {
            id: line.id,
            sequence: line.sequence,
            action: line.action,
            actor_id: line.actor_id,
            actor_type: line.actor_type,
            resource_type: line.resource_type,
            resource_id: line.resource_id,
            org_id: line.org_id,
            // What somebody has edited is shown as it is now.
            details: serde_json::from_str(&line.details).unwrap_or(Value::String(line.details)),
            ip_address: line.ip_address,
            created_at: Time::from_millis(line.created_at_ms),
            prev_event_id: line.prev_event_id,
            integrity_hash: line.integrity_hash,
        }
    }
}

#[derive(Serialize, JsonSchema)]
pub struct AuditEventsResponse {
    events: Vec<AuditEvent>,
    /// Of these events.
    count: usize,
    /// Where the next page begins; left out on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// The organisation's events.
pub struct ListAuditEvents;

impl Operation for ListAuditEvents {
    const ROUTE: Route = Route::new(
        "queryAuditEvents",
        Method::GET,
        "/v1/audit/events",
        200,
        "Your organisation's audit trail, newest first, by any filters.",
    );
    type Path = ();
    type Params = decode::From<AuditEventsQuery>;
    type Output = AuditEventsResponse;
    type Access = InOrg<ReadAudit>;

    async fn run(
        cx: &Cx,
        may: Permit<ReadAudit, OrgId>,
        (): (),
        decode::From(query): Self::Params,
    ) -> Result<Reply<AuditEventsResponse>> {
        let filter = Filter::try_from(query)?;
        let (page, more) = trail::page(cx.store(), &may, &filter).await?;
        let next_cursor = page.last().filter(|_| more).map(|last| last.sequence.to_string());
        let events: Vec<_> = page.into_iter().map(AuditEvent::from).collect();
        Ok(Reply::of(AuditEventsResponse { count: events.len(), events, next_cursor }))
    }
}
