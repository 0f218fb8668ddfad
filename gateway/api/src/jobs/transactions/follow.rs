//! Looks after the transactions that nobody works on. Each chain and state has places of its own, so that a chain
//! whose node hangs holds up neither signatures nor other chains.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::Result;
use store::transactions::{self, Group, LEASE};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::carry;
use super::replace::fill_gaps;
use crate::gateway::Gateway;

/// How often the open transactions are looked at.
const TICK: Duration = Duration::from_millis(250);
/// How often gaps are looked for.
const GAPS: Duration = Duration::from_secs(5);
/// Transactions of one chain and one state that are carried at once, at most.
const PLACES: usize = 32;

/// Looks after open transactions until the gateway stops; those that are being carried then are carried to the end of
/// their steps.
pub async fn follow(gateway: Arc<Gateway>) {
    let mut stopping = gateway.stopping();
    let filler = tokio::spawn(fill(gateway.clone()));
    let mut follower = Follower { gateway, places: BTreeMap::new(), carried: JoinSet::new() };
    while !*stopping.borrow() {
        let more = follower.look().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "open transactions could not be looked at");
            false
        });
        tokio::select! {
            _ = stopping.changed() => {}
            Some(_) = follower.carried.join_next(), if more => {}
            () = tokio::time::sleep(TICK) => {}
        }
        while follower.carried.try_join_next().is_some() {}
    }
    while follower.carried.join_next().await.is_some() {}
    drop(filler.await);
}

/// Looks for gaps until the gateway stops.
async fn fill(gateway: Arc<Gateway>) {
    let mut stopping = gateway.stopping();
    while !*stopping.borrow() {
        if let Err(error) = fill_gaps(&gateway).await {
            tracing::warn!(%error, "gaps could not be looked for");
        }
        tokio::select! {
            _ = stopping.changed() => {}
            () = tokio::time::sleep(GAPS) => {}
        }
    }
}

struct Follower {
    gateway: Arc<Gateway>,
    places: BTreeMap<(u64, &'static str), Arc<Semaphore>>,
    carried: JoinSet<()>,
}

impl Follower {
    /// Whether there may be more to do as soon as a place is free.
    async fn look(&mut self) -> Result<bool> {
        let mut more = false;
        for group in transactions::due(&self.gateway.store, self.gateway.clock.now()).await? {
            more |= self.look_at(group).await.unwrap_or_else(|error| {
                tracing::warn!(%error, ?group, "open transactions could not be taken up");
                false
            });
        }
        Ok(more)
    }

    /// Takes up as many as there are places, and waits for none of them. Whether there may be more.
    async fn look_at(&mut self, group: Group) -> Result<bool> {
        let places = self.places.entry((group.chain_id, group.status.as_str()));
        let places = places.or_insert_with(|| Arc::new(Semaphore::new(PLACES))).clone();
        let free: Vec<_> = std::iter::from_fn(|| places.clone().try_acquire_owned().ok()).collect();
        if free.is_empty() {
            return Ok(true);
        }
        let now = self.gateway.clock.now();
        let mut db = self.gateway.store.begin().await?;
        let taken = transactions::take(&mut db, group, free.len(), now, now.plus(LEASE)).await?;
        db.commit().await?;
        let full = taken.len() == free.len();
        for (tx, place) in taken.into_iter().zip(free) {
            let (gateway, id) = (self.gateway.clone(), tx.id);
            self.carried.spawn(async move {
                if let Err(error) = carry(&gateway, tx).await {
                    tracing::warn!(%error, transaction = %id, "a transaction could not be carried further yet");
                }
                drop(place);
            });
        }
        Ok(full)
    }
}
