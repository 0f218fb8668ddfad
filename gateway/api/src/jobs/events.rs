//! Reads what is new in the outbox and tells every stream of this gateway: one query for all of them.

use std::sync::Arc;
use std::time::Duration;

use domain::Result;
use store::events;

use crate::gateway::Gateway;

const TICK: Duration = Duration::from_millis(250);
const AT_ONCE: i64 = 200;

pub async fn tell(gateway: Arc<Gateway>) {
    let mut stopping = gateway.stopping();
    let mut last = gateway.streams.head();
    while !*stopping.borrow() {
        let more = round(&gateway, &mut last).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "events could not be looked at");
            false
        });
        if more {
            continue;
        }
        tokio::select! {
            _ = stopping.changed() => {}
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

/// Whether there may be more.
async fn round(gateway: &Gateway, last: &mut i64) -> Result<bool> {
    let news = events::since(&gateway.store, *last, AT_ONCE).await?;
    let more = !news.is_empty();
    for told in news {
        *last = told.sequence;
        gateway.streams.tell(told);
    }
    Ok(more)
}
