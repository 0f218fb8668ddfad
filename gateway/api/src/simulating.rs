//! Simulations are slow, and others wait behind them: so few run at once, of each caller, organisation and chain. Estimates of
//! gas are simulations, too; most are quick, so there are more of them.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use domain::limit::too_many;
use domain::{Error, OrgId, PrincipalId, Result};
use moka::sync::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// At this gateway, at once: of one caller; of an organisation, for with many agents nobody takes a chain's places alone; and of
/// a chain.
const SIMULATIONS: [usize; 3] = [2, 6, 8];
const ESTIMATES: [usize; 3] = [8, 24, 32];
/// For a place; who asked first is served first.
const WAIT: Duration = Duration::from_secs(2);
/// So many of a kind are told apart.
const CAPACITY: u64 = 10_000;
/// Nobody is forgotten in the middle of a simulation.
const IDLE: Duration = Duration::from_secs(600);

pub struct Simulating {
    callers: Places<PrincipalId>,
    organisations: Places<OrgId>,
    chains: Places<u64>,
}

/// Held while it is simulated.
pub struct Turn {
    _places: [OwnedSemaphorePermit; 3],
}

impl Simulating {
    pub fn new() -> Self {
        Self::of(SIMULATIONS)
    }

    pub fn estimates() -> Self {
        Self::of(ESTIMATES)
    }

    fn of([caller, organisation, chain]: [usize; 3]) -> Self {
        Self {
            callers: Places::new(caller),
            organisations: Places::new(organisation),
            chains: Places::new(chain),
        }
    }

    /// # Errors
    /// `TooManyRequests` where no place becomes free in time.
    pub async fn turn(&self, who: PrincipalId, org: OrgId, chain_id: u64) -> Result<Turn> {
        // First what is one's own: who floods waits for themselves, and in front of nobody.
        let until = Instant::now() + WAIT;
        let own = self.callers.take(who, until, "Too many simulations by you at once.").await?;
        let organisations = &self.organisations;
        let theirs =
            organisations.take(org, until, "Too many simulations by your organisation at once.").await?;
        let any = self.chains.take(chain_id, until, "Too many simulations on this chain at once.").await?;
        Ok(Turn { _places: [own, theirs, any] })
    }
}

struct Places<K> {
    of_one: usize,
    known: Cache<K, Arc<Semaphore>>,
}

impl<K: Hash + Eq + Send + Sync + 'static> Places<K> {
    fn new(of_one: usize) -> Self {
        Self { of_one, known: Cache::builder().max_capacity(CAPACITY).time_to_idle(IDLE).build() }
    }

    async fn take(&self, key: K, until: Instant, refusal: &str) -> Result<OwnedSemaphorePermit> {
        let places = self.known.get_with(key, || Arc::new(Semaphore::new(self.of_one)));
        match tokio::time::timeout_at(until, places.acquire_owned()).await {
            Ok(place) => place.map_err(Error::internal),
            Err(_) => Err(too_many(refusal, 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{AgentId, Kind};

    fn agent() -> PrincipalId {
        PrincipalId::Agent(AgentId::new())
    }

    #[tokio::test]
    async fn who_floods_waits_for_himself_and_takes_nobodys_place() {
        let all = Simulating::new();
        let (who, org) = (agent(), OrgId::new());
        let first = all.turn(who, org, 1).await.unwrap();
        let _second = all.turn(who, org, 1).await.unwrap();
        let (third, fourth) = tokio::join!(all.turn(who, org, 1), all.turn(who, org, 2));
        for refused in [third.err().unwrap(), fourth.err().unwrap()] {
            assert_eq!(refused.kind(), Kind::TooManyRequests { retry_after: 1 });
            assert!(refused.detail().contains("by you"), "{refused}");
        }
        assert!(all.turn(agent(), org, 1).await.is_ok());
        // Whoever waits gets what becomes free.
        let (waited, ()) = tokio::join!(all.turn(who, org, 1), async {
            tokio::time::sleep(WAIT / 2).await;
            drop(first);
        });
        assert!(waited.is_ok());
    }

    #[tokio::test]
    async fn neither_an_organisation_nor_a_chain_is_taken_up_by_many_agents() {
        let all = Simulating::new();
        let org = OrgId::new();
        let mut held = Vec::new();
        let [_, of_organisation, of_chain] = SIMULATIONS;
        for _ in 0..of_organisation {
            held.push(all.turn(agent(), org, 1).await.unwrap());
        }
        let refused = all.turn(agent(), org, 1).await.err().unwrap();
        assert!(refused.detail().contains("by your organisation"), "{refused}");
        for _ in of_organisation..of_chain {
            held.push(all.turn(agent(), OrgId::new(), 1).await.unwrap());
        }
        let refused = all.turn(agent(), OrgId::new(), 1).await.err().unwrap();
        assert!(refused.detail().contains("on this chain"), "{refused}");
        assert!(all.turn(agent(), OrgId::new(), 2).await.is_ok());
        drop(held);
        assert!(all.turn(agent(), org, 1).await.is_ok());
    }
}
