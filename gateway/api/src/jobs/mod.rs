//! What a gateway does by itself. Every job takes its work from the database, and any gateway may do it.

pub mod approvals;
pub mod checkpoints;
pub mod cmek;
pub mod enrolments;
pub mod events;
pub mod housekeeping;
pub mod mail;
pub mod purge;
pub mod roots;
pub mod transactions;
pub mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use domain::Result;

use crate::gateway::Gateway;

/// Starts them all; they end when the gateway stops.
pub fn start(gateway: &Arc<Gateway>) {
    tokio::spawn(transactions::follow(gateway.clone()));
    tokio::spawn(mail::send(gateway.clone()));
    tokio::spawn(enrolments::look_after(gateway.clone()));
    tokio::spawn(approvals::expire(gateway.clone()));
    tokio::spawn(events::tell(gateway.clone()));
    tokio::spawn(purge::purge(gateway.clone()));
    tokio::spawn(housekeeping::keep(gateway.clone()));
    tokio::spawn(checkpoints::keep(gateway.clone()));
    tokio::spawn(webhooks::deliver(gateway.clone()));
    tokio::spawn(roots::rewrap(gateway.clone()));
}

/// Does rounds of a job until the gateway stops: at once where there may be more, else after a while.
async fn rounds<F: Future<Output = Result<bool>>>(
    gateway: Arc<Gateway>,
    tick: Duration,
    what: &'static str,
    round: fn(Arc<Gateway>) -> F,
) {
    let mut stopping = gateway.stopping();
    while !*stopping.borrow() {
        let more = round(gateway.clone()).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "{what} could not be looked at");
            false
        });
        if more {
            continue;
        }
        tokio::select! {
            _ = stopping.changed() => {}
            () = tokio::time::sleep(tick) => {}
        }
    }
}
