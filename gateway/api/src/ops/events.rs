//! What happens, as it happens.

use domain::access::{Permit, SeeApprovals};
use domain::{Error, OrgId, Result};
use http::Method;

use crate::access::InOrg;
use crate::cx::Cx;
use crate::operation::{Operation, Reply, Route, Streamed};
use crate::streams;

/// A stream of events (server-sent events, as HTML's standard has them).
pub struct StreamEvents;

impl Operation for StreamEvents {
    const ROUTE: Route = Route::new(
        "streamEvents",
        Method::GET,
        "/v1/events",
        200,
        "A stream of events as they happen, such as approval.requested: to people those of their organisation, to agents, and \
         through scopes, one's own. Ask with Accept: text/event-stream; Last-Event-ID goes on after that event, within a day.",
    )
    .streams("text/event-stream");
    type Path = ();
    type Params = ();
    type Output = Streamed;
    type Access = InOrg<SeeApprovals>;

    async fn run(cx: &Cx, _: Permit<SeeApprovals, OrgId>, (): (), (): ()) -> Result<Reply<Streamed>> {
        let wanted = cx.header("accept")?.is_some_and(|accept| accept.contains("text/event-stream"));
        if !wanted {
            // Whoever expects an answer that ends would wait for ever.
            return Err(Error::invalid("Accept", "must be text/event-stream: this answer does not end"));
        }
        let after = cx.header("last-event-id")?.filter(|id| !id.is_empty());
        let bad = |_| Error::invalid("Last-Event-ID", "must be an event's id, as the stream gave it");
        let after = after.map(|id| id.parse::<i64>().map_err(bad)).transpose()?;
        let caller = cx.caller()?.clone();
        Ok(Reply::of(streams::open(&cx.gateway, caller, cx.address, after).await?))
    }
}
