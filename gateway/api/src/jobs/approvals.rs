//! Ends approvals that have run out. They count no more from that moment on; this writes it down, and tells.

use std::sync::Arc;
use std::time::Duration;

use domain::audit::Event;
use domain::{EventId, Result};
use store::{approvals, awaiting};

use super::rounds;
use crate::gateway::Gateway;
use crate::ops::approvals::{announce, details, waiting};

const TICK: Duration = Duration::from_secs(1);
const AT_ONCE: i64 = 100;

pub async fn expire(gateway: Arc<Gateway>) {
    rounds(gateway, TICK, "approvals that have run out", round).await;
}

/// Whether there may be more.
async fn round(gateway: Arc<Gateway>) -> Result<bool> {
    let now = gateway.clock.now();
    if !approvals::is_due(&gateway.store, now).await? {
        return Ok(false);
    }
    let mut tx = gateway.store.begin().await?;
    let ended = approvals::expire(&mut tx, now, AT_ONCE).await?;
    for approval in &ended {
        if let Some(waiting) = waiting::of(approval) {
            awaiting::expire(&mut tx, waiting, now).await?;
        }
        announce(&mut tx, approval, now);
        tx.record(Event {
            id: EventId::new(),
            org: approval.org,
            action: "approval.expire",
            actor: None,
            resource: ("approval", approval.id.to_string()),
            details: details(approval),
            address: None,
            at: now,
        });
    }
    tx.commit().await?;
    for approval in &ended {
        waiting::release(&gateway, approval).await;
    }
    Ok(!ended.is_empty())
}
