//! Finishes what a gateway that died has left, and forgets what has expired.

use std::sync::Arc;
use std::time::Duration;

use domain::Result;
use store::{api_keys, events, limits, organisations, shares, signups, tickets, users, webhooks};

use super::enrolments;
use crate::gateway::Gateway;
use crate::ops::auth::delete_me;

const TICK: Duration = Duration::from_secs(10);
/// Whoever began is left alone for so long: a request ends sooner.
const GRACE: Duration = Duration::from_secs(60);
/// How long a client may be away and still be told what it missed.
const EVENTS_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// How long is told what did not arrive at once, after it has come to an end.
const TROUBLES: Duration = Duration::from_secs(30 * 24 * 3600);
/// A share or an API key that has ended is listed for so long.
const REMEMBERED: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Between two rounds of forgetting, in ticks.
const FORGETTING: u32 = 60;

pub async fn keep(gateway: Arc<Gateway>) {
    let mut stopping = gateway.stopping();
    for tick in (0..FORGETTING).cycle() {
        if let Err(error) = round(&gateway, tick == 0).await {
            tracing::warn!(%error, "what others left could not be finished; it is tried again");
        }
        tokio::select! {
            _ = stopping.changed() => {}
            () = tokio::time::sleep(TICK) => {}
        }
        if *stopping.borrow() {
            return;
        }
    }
}

async fn round(gateway: &Gateway, forget: bool) -> Result<()> {
    let now = gateway.clock.now();
    if forget {
        let mut tx = gateway.store.begin().await?;
        tickets::forget_expired(&mut tx, now).await?;
        signups::forget_expired(&mut tx, now).await?;
        limits::sweep(&mut tx, now).await?;
        events::sweep(&mut tx, now.minus(EVENTS_KEPT)).await?;
        webhooks::forget_troubles(&mut tx, now.minus(TROUBLES)).await?;
        shares::forget_expired(&mut tx, now.minus(REMEMBERED)).await?;
        api_keys::forget_ended(&mut tx, now.minus(REMEMBERED)).await?;
        tx.commit().await?;
        enrolments::forget_keyless(gateway, now).await?;
    }
    // What can't be finished of one is in no other's way.
    for (id, last) in users::owed(&gateway.store).await? {
        if let Err(error) = delete_me::tell(gateway, id, &last).await {
            tracing::warn!(user = %id, %error, "the signer could not be told of somebody's end; it is tried again");
        }
    }
    for (org, somebody) in organisations::unfinished(&gateway.store, now.minus(GRACE)).await? {
        if let Err(error) = delete_me::finish(gateway, org, somebody).await {
            tracing::warn!(%org, %error, "an organisation's end could not be finished; it is tried again");
        }
    }
    Ok(())
}
