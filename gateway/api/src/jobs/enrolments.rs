//! Looks at agents that have asked to be enrolled: off the request's path, so that nobody can tell from an answer, or from
//! the time that it takes, whose address is known. Forgets those whose people don't want them.

use std::sync::Arc;
use std::time::Duration;

use domain::audit::Event;
use domain::{EventId, Kind, Result, Time};
use serde_json::Map;
use store::enrolments::{self, Enrolment};
use store::users;

use super::rounds;
use crate::gateway::Gateway;
use crate::ops::agents::enrolment::enrol;

const TICK: Duration = Duration::from_millis(500);
const AT_ONCE: i64 = 8;
/// What an attempt may take.
const LEASE: Duration = Duration::from_secs(60);
/// Between two attempts, and how long they are made.
const PAUSE: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(DAY);
const DAY: u64 = 24 * 60 * 60;
/// That an agent may wait for its key: a day until it is enrolled, three until its mail arrives, and one for the link in it.
const KEYLESS: Duration = Duration::from_secs(5 * DAY);
/// That one transaction forgets.
const BATCH: i64 = 100;

pub async fn look_after(gateway: Arc<Gateway>) {
    rounds(gateway, TICK, "agents that ask to be enrolled", round).await;
}

/// Takes up what is due. Whether there may be more.
async fn round(gateway: Arc<Gateway>) -> Result<bool> {
    let now = gateway.clock.now();
    if !enrolments::is_due(&gateway.store, now).await? {
        return Ok(false);
    }
    let mut tx = gateway.store.begin().await?;
    let taken = enrolments::take(&mut tx, now, now.plus(LEASE), AT_ONCE).await?;
    tx.commit().await?;
    for asked in &taken {
        if let Err(error) = attempt(&gateway, asked).await {
            tracing::warn!(agent = %asked.agent, %error, "an agent that asks to be enrolled could not be seen to");
        }
    }
    Ok(!taken.is_empty())
}

async fn attempt(gateway: &Arc<Gateway>, asked: &Enrolment) -> Result<()> {
    let outcome = match users::facts_by_email(&gateway.store, &asked.email).await? {
        Some(person) => enrol(gateway, asked, &person).await,
        None => Ok(()),
    };
    let now = gateway.clock.now();
    let mut tx = gateway.store.begin().await?;
    match outcome {
        Ok(()) => {
            // Of somebody who was enrolled, it has ended already.
            enrolments::end(&mut tx, asked).await?;
        }
        Err(error) if passes(&error) && now < asked.created_at.plus(PATIENCE) => {
            tracing::warn!(agent = %asked.agent, %error, "an agent could not be enrolled yet");
            enrolments::defer(&mut tx, asked, now.plus(PAUSE)).await?;
        }
        Err(error) => {
            tracing::error!(agent = %asked.agent, %error, "an agent is not enrolled");
            enrolments::end(&mut tx, asked).await?;
        }
    }
    tx.commit().await
}

/// Whether another attempt may do better.
fn passes(error: &domain::Error) -> bool {
    matches!(error.kind(), Kind::Unavailable | Kind::Internal | Kind::TooManyRequests { .. })
}

/// Forgets agents whose link is over, and whom nobody has touched: nobody wants them.
pub async fn forget_keyless(gateway: &Gateway, now: Time) -> Result<()> {
    let mut tx = gateway.store.begin().await?;
    for (agent, org) in enrolments::forget_keyless(&mut tx, now.minus(KEYLESS), BATCH).await? {
        tx.record(Event {
            id: EventId::new(),
            org,
            action: "agent.expire",
            actor: None,
            resource: ("agent", agent.to_string()),
            details: Map::new(),
            address: None,
            at: now,
        });
    }
    tx.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outside::mail::Letter;
    use domain::AgentId;
    use domain::ticket::Purpose;

    #[test]
    fn an_agent_is_forgotten_after_its_link_is_over() {
        let letter = Letter::AgentCredentials { agent: AgentId::new(), name: "scout".to_owned() };
        assert!(KEYLESS >= PATIENCE + letter.patience() + Purpose::AgentKey.lifetime());
    }
}
