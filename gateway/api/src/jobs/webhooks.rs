//! Tells webhooks what has happened. Each walks along its organisation's audit chain, so that nothing is left out and all
//! comes in order; an event is told until it is taken, so one may come twice. A gateway has a webhook for a turn: a lease
//! that each step renews, and whose number each write names.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::audit::Event;
use domain::audit::walk::Line;
use domain::webhook::{DISABLED_AFTER, GIVES_UP_AFTER, is_over, pause};
use domain::{EventId, OrgId, Result, WebhookId};
use store::Tx;
use store::audit::trail;
use store::webhooks::{self, Webhook};

use crate::delivery::{self, Outcome};
use crate::gateway::Gateway;
use crate::ops::audit::AuditEvent;

const TICK: Duration = Duration::from_millis(500);
/// Webhooks at once, at this gateway.
const AT_ONCE: usize = 64;
/// Of one organisation: slow ones hold up their own.
const OF_ONE: usize = 2;
/// What one delivery may take, and more; afterwards another gateway may go on.
const LEASE: Duration = Duration::from_secs(60);
/// Events that are looked at in a turn.
const BATCH: u32 = 100;

type Busy = Arc<Mutex<HashMap<OrgId, usize>>>;

/// Delivers until the gateway stops.
pub async fn deliver(gateway: Arc<Gateway>) {
    let mut stopping = gateway.stopping();
    let busy = Busy::default();
    while !*stopping.borrow() {
        if let Err(error) = round(&gateway, &busy).await {
            tracing::warn!(%error, "webhooks could not be looked after; it is tried again");
        }
        tokio::select! {
            _ = stopping.changed() => {}
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

async fn round(gateway: &Arc<Gateway>, busy: &Busy) -> Result<()> {
    for (id, org) in webhooks::due(&gateway.store, gateway.clock.now(), 256).await? {
        let Some(place) = Place::take(busy, org) else { continue };
        let gateway = gateway.clone();
        tokio::spawn(async move {
            let _place = place;
            if let Err(error) = turn(&gateway, id).await {
                tracing::warn!(webhook = %id, %error, "a webhook could not be served; it is tried again");
            }
        });
    }
    Ok(())
}

/// One of the places that an organisation has.
struct Place(Busy, OrgId);

impl Place {
    fn take(busy: &Busy, org: OrgId) -> Option<Self> {
        let mut places = busy.lock().unwrap_or_else(PoisonError::into_inner);
        let taken: usize = places.values().sum();
        let own = places.entry(org).or_default();
        if taken >= AT_ONCE || *own >= OF_ONE {
            return None;
        }
        *own += 1;
        Some(Self(busy.clone(), org))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = places.get_mut(&self.1) {
            *own -= 1;
            if *own == 0 {
                places.remove(&self.1);
            }
        }
    }
}

/// Delivers what there is, up to a batch, or to the first failure.
async fn turn(gateway: &Gateway, id: WebhookId) -> Result<()> {
    let now = gateway.clock.now();
    let mut tx = gateway.store.begin().await?;
    let taken = webhooks::take(&mut tx, id, now, now.plus(LEASE)).await?;
    tx.commit().await?;
    let Some(mut hook) = taken else { return Ok(()) };
    let after = hook.progress.next_sequence - 1;
    let head = trail::head(&gateway.store, hook.org).await?.sequence;
    let lines = trail::onwards(&gateway.store, hook.org, after, head, BATCH).await?;
    let stopping = gateway.stopping();
    // Where events were removed from the chain, there is nothing to wait for.
    let mut next = if lines.is_empty() { head + 1 } else { after + 1 }.max(after + 1);
    for line in lines {
        if *stopping.borrow() {
            break;
        }
        next = line.sequence + 1;
        if !hook.events.iter().any(|pattern| pattern.matches(&line.action)) {
            continue;
        }
        if !tell(gateway, &hook, line).await? {
            return Ok(());
        }
        hook.progress.attempts = 0;
        (hook.progress.event_failing_since, hook.progress.failing_since) = (None, None);
    }
    // What nobody asked for is passed over at once; the next turn begins when there is more.
    let mut tx = gateway.store.begin().await?;
    webhooks::advance(&mut tx, &hook, next, gateway.clock.now()).await?;
    tx.commit().await
}

/// Whether to go on with the next event.
async fn tell(gateway: &Gateway, hook: &Webhook, line: Line) -> Result<bool> {
    let (sequence, event) = (line.sequence, line.id.clone());
    let outcome = delivery::send(gateway, hook, &event, &AuditEvent::from(line)).await?;
    let now = gateway.clock.now();
    let mut tx = gateway.store.begin().await?;
    let goes_on = match outcome.trouble() {
        None => webhooks::delivered(&mut tx, hook, sequence, now.plus(LEASE), now).await?,
        Some(why) => {
            let again = now.plus(pause(hook.progress.attempts + 1));
            if webhooks::failed_at(&mut tx, hook, (sequence, &event), &why, again, now).await? {
                end_if_over(&mut tx, hook, sequence, &outcome, &why, now).await?;
            }
            false
        }
    };
    tx.commit().await?;
    Ok(goes_on)
}

/// Gives up an event that has failed for too long, and a webhook that has taken nothing for longer, or says that it is gone.
async fn end_if_over(
    tx: &mut Tx,
    hook: &Webhook,
    sequence: i64,
    outcome: &Outcome,
    why: &str,
    now: domain::Time,
) -> Result<()> {
    let over =
        |since: Option<domain::Time>, patience| since.is_some_and(|since| is_over(since, now, patience));
    let gone = outcome.status() == Some(410);
    if gone || over(hook.progress.failing_since, DISABLED_AFTER) {
        tracing::warn!(webhook = %hook.id, why, "a webhook is switched off");
        if webhooks::disable(tx, hook, why, now).await? {
            let details = serde_json::json!({ "reason": why, "active": { "from": true, "to": false } });
            tx.record(Event {
                id: EventId::new(),
                org: hook.org,
                action: "webhook.disable",
                actor: None,
                resource: ("webhook", hook.id.to_string()),
                details: details.as_object().cloned().unwrap_or_default(),
                address: None,
                at: now,
            });
        }
    } else if over(hook.progress.event_failing_since, GIVES_UP_AFTER) {
        tracing::warn!(webhook = %hook.id, sequence, why, "an event is given up");
        webhooks::give_up(tx, hook, sequence, now).await?;
    }
    Ok(())
}
