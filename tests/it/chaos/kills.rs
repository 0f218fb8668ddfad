//! The killing.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use harness::World;

#[derive(Clone, Copy, Debug)]
enum Victim {
    Supervisor,
    Worker,
    Signer,
    Node,
}

/// The states in which something is still to be done.
const STATES: [&str; 4] = ["awaiting_approval", "pending", "signed", "broadcast"];

/// From so many rounds on, each state must have been hit.
const MANY: usize = 25;

/// How often what was killed, and how often there were transactions in which state at that moment.
#[derive(Default)]
pub struct Kills {
    victims: BTreeMap<&'static str, usize>,
    states: BTreeMap<&'static str, usize>,
}

impl fmt::Display for Kills {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kill -9 {:?}, with transactions in {:?}", self.victims, self.states)
    }
}

/// Each of gateway, signer and node as often as `TALON_CHAOS_ROUNDS` says, in random order.
pub async fn at_random(w: &World) -> Kills {
    let rounds = std::env::vars().find(|(key, _)| key == "TALON_CHAOS_ROUNDS");
    let rounds: usize = rounds.map_or(5, |(_, text)| text.parse().unwrap());
    let mut victims: Vec<Victim> = (0..rounds)
        .flat_map(|n| {
            [if n % 2 == 0 { Victim::Worker } else { Victim::Supervisor }, Victim::Signer, Victim::Node]
        })
        .collect();
    for n in (1..victims.len()).rev() {
        victims.swap(n, random(n + 1));
    }
    let mut kills = Kills::default();
    let pool = w.database().await;
    for victim in victims {
        pause(600).await;
        aim(&pool, STATES[random(STATES.len())], &mut kills).await;
        let name = match victim {
            Victim::Supervisor => {
                w.kill();
                pause(300).await;
                w.restart().await;
                "gateway"
            }
            // These come back by themselves; so soon after the last time they may not be there yet.
            Victim::Worker => {
                w.kill_worker();
                "gateway"
            }
            Victim::Signer => {
                w.kill_signer();
                "signer"
            }
            Victim::Node => {
                let mut node = w.anvil().await;
                node.crash().await;
                pause(500).await;
                node.restart().await;
                "node"
            }
        };
        *kills.victims.entry(name).or_default() += 1;
    }
    pause(600).await;
    assert!(rounds < MANY || kills.states.len() == STATES.len(), "a state was never hit: {kills}");
    kills
}

/// Waits a moment for a transaction in this state, and notes which states there are when it ends.
async fn aim(pool: &sqlx::AnyPool, state: &str, kills: &mut Kills) {
    let begun = Instant::now();
    loop {
        let there: Vec<String> = sqlx::query_scalar("SELECT DISTINCT status FROM transactions")
            .fetch_all(pool)
            .await
            .unwrap_or_default();
        let found = there.iter().any(|status| status == state);
        if found || begun.elapsed() > Duration::from_millis(500) {
            for state in STATES.iter().filter(|state| there.iter().any(|status| status == *state)) {
                *kills.states.entry(state).or_default() += 1;
            }
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn pause(at_most_millis: usize) {
    tokio::time::sleep(Duration::from_millis(u64::try_from(random(at_most_millis)).unwrap())).await;
}

/// Below `bound`.
fn random(bound: usize) -> usize {
    usize::try_from(RandomState::new().hash_one(bound)).unwrap() % bound
}
