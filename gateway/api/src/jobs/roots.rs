//! Has the signer wrap anew what an older root key wraps, while a rotation is under way. All that there is to know is in the
//! database and in the signer, so any gateway goes on where another one died.

use std::sync::Arc;
use std::time::Duration;

use domain::audit::{Event, SYSTEM};
use domain::{Error, EventId, Result};
use serde_json::Map;
use signer_protocol::root::{Count, FinishRotation, Rewrapped, RootState};
use signer_protocol::{Reason, Refusal};
use store::roots::{self, Held, PLACES, Place};

use crate::gateway::Gateway;
use crate::refusal;

/// Between two looks at whether a rotation is under way.
const TICK: Duration = Duration::from_secs(5);
/// Statements of one step: with a slow HSM, a second's work.
const BATCH: u8 = 50;

/// What came of looking at everything.
#[derive(Default)]
struct Pass {
    /// Under the newest root now.
    count: Count,
    /// Wrapped anew just now.
    changed: u64,
    /// That the signer did not make, or that are not their vault's own: nothing opens them, under whatever root.
    refused: u64,
}

pub async fn rewrap(gateway: Arc<Gateway>) {
    let mut stopping = gateway.stopping();
    // Also what was finished is looked at once: a backup may have been put back.
    let mut looked = None;
    while !*stopping.borrow() {
        if let Err(error) = round(&gateway, &mut looked).await {
            tracing::warn!(%error, "what an older root key wraps could not be wrapped anew; it is tried again");
        }
        tokio::select! {
            _ = stopping.changed() => {}
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

/// `looked`: of the rotation to which root everything was seen to be done.
async fn round(gateway: &Gateway, looked: &mut Option<u32>) -> Result<()> {
    let state = state(gateway).await?;
    if state.older.is_none() || (state.finished.is_some() && *looked == Some(state.newest)) {
        return Ok(());
    }
    let pass = pass(gateway).await?;
    if pass.changed > 0 {
        tracing::info!(root = state.newest, changed = pass.changed, "wrapped anew by the newest root key");
        return Ok(());
    }
    if state.settled && finish(gateway, state.newest, &pass).await? {
        *looked = Some(state.newest);
    }
    Ok(())
}

/// Where a rotation stands, as the signer has it.
pub async fn state(gateway: &Gateway) -> Result<RootState> {
    gateway.signer.call(async |signer, c| signer.root_state(c).await).await.map_err(refusal::error)
}

async fn pass(gateway: &Gateway) -> Result<Pass> {
    let mut pass = Pass::default();
    for place in PLACES {
        let mut after: Option<Held> = None;
        while !*gateway.stopping().borrow() {
            let held = roots::next(&gateway.store, place, after.as_ref(), BATCH.into()).await?;
            let Some(last) = held.last().cloned() else { break };
            step(gateway, place, held, &mut pass).await?;
            after = Some(last);
        }
    }
    if *gateway.stopping().borrow() {
        return Err(Error::unavailable("The gateway is stopping."));
    }
    Ok(pass)
}

/// Some statements: the signer's answer is stored in one transaction.
async fn step(gateway: &Gateway, place: Place, held: Vec<Held>, pass: &mut Pass) -> Result<()> {
    let request: Vec<_> = held.iter().map(|one| one.statement.clone()).collect();
    let answer = gateway.signer.call(async |signer, c| signer.rewrap(c, request).await).await;
    let outcomes = answer.map_err(refusal::error)?;
    if outcomes.len() != held.len() {
        return Err(Error::internal("the signer has not answered for each statement"));
    }
    let mut anew = Vec::new();
    for (old, outcome) in held.into_iter().zip(outcomes) {
        match outcome {
            Rewrapped::AsItIs => *counter(&mut pass.count, place) += 1,
            Rewrapped::Anew(new) => anew.push((old, new)),
            Rewrapped::Gone => {}
            Rewrapped::Refused(why) => {
                pass.refused += 1;
                tracing::error!(
                    ?place,
                    why,
                    "the signer refused what the database holds; an operator must look into it"
                );
            }
        }
    }
    if anew.is_empty() {
        return Ok(());
    }
    // What somebody has changed meanwhile is looked at again, as the change counts.
    pass.changed += u64::try_from(anew.len()).unwrap_or(u64::MAX);
    let mut tx = gateway.store.begin().await?;
    for (old, new) in &anew {
        roots::swap(&mut tx, old, new, place).await?;
    }
    tx.commit().await
}

fn counter(count: &mut Count, place: Place) -> &mut u64 {
    match place {
        Place::VaultKeys => &mut count.vault_keys,
        Place::SigningKeys => &mut count.signing_keys,
        Place::SecondFactors => &mut count.second_factors,
        Place::WebhookKeys => &mut count.webhook_keys,
    }
}

/// Tells the signer that nothing is left. `false`: it knows better.
async fn finish(gateway: &Gateway, root: u32, pass: &Pass) -> Result<bool> {
    let request = FinishRotation { root, count: pass.count };
    let first = match gateway.signer.call(async |signer, c| signer.finish_rotation(c, request).await).await {
        Ok(first) => first,
        Err(Refusal { reason: Reason::Conflict, .. }) => return Ok(false),
        Err(refused) => return Err(refusal::error(refused)),
    };
    if first {
        tracing::info!(root, "nothing is left under the older root key");
        let Count { vault_keys, signing_keys, second_factors, webhook_keys } = pass.count;
        let counts = [
            ("vault_keys", vault_keys),
            ("signing_keys", signing_keys),
            ("second_factors", second_factors),
            ("webhook_keys", webhook_keys),
            ("refused", pass.refused),
        ];
        let mut tx = gateway.store.begin().await?;
        tx.record(Event {
            id: EventId::new(),
            org: SYSTEM,
            action: "root.rewrapped",
            actor: None,
            resource: ("root", root.to_string()),
            details: Map::from_iter(counts.map(|(name, count)| (name.to_owned(), count.into()))),
            address: None,
            at: gateway.clock.now(),
        });
        tx.commit().await?;
    }
    Ok(true)
}
