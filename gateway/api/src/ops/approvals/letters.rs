//! Who is mailed that something waits: owners and admins, not the requester, and not for each of many requests.

use std::time::Duration;

use domain::approval::{Approval, Target};
use domain::limit::Window;
use domain::{Kind, OrgId, PrincipalId, Result, Role, Time};
use store::{Tx, agents, users};

use crate::cx::Cx;
use crate::outside::mail::{self, Letter};
use crate::throttle;

/// Requests that are mailed, of one requester and of all in an organisation; the others are in the list and among the events.
const OF_ONE: Window = Window::new(10, Duration::from_secs(60 * 60));
const OF_ORGANISATION: Window = Window::new(100, Duration::from_secs(60 * 60));
/// People who are mailed.
const READERS: usize = 20;

pub struct Letters {
    to: Vec<String>,
    by: String,
}

/// Whom to write to, looked up before the transaction begins.
pub async fn of(cx: &Cx, new: &Approval) -> Result<Letters> {
    let by = match new.requester {
        PrincipalId::Agent(agent) => agents::facts(cx.store(), agent).await?.map(|agent| agent.name),
        PrincipalId::User(user) => users::facts(cx.store(), user).await?.map(|user| user.email),
    };
    let people = deciders(cx, new.org, new.requester).await?;
    let to = people.into_iter().take(READERS).map(|user| user.email).collect();
    Ok(Letters { to, by: by.unwrap_or_default() })
}

/// Who may decide on what this requester asks for: owners and admins, but the requester.
async fn deciders(cx: &Cx, org: OrgId, requester: PrincipalId) -> Result<Vec<users::User>> {
    let decides = |user: &users::User| {
        let role = user.record.peek().ok().and_then(|record| record.role);
        role.is_some_and(Role::manages) && PrincipalId::User(user.id) != requester
    };
    let people = users::facts_in(cx.store(), org).await?;
    Ok(people.into_iter().filter(decides).collect())
}

/// What to tell whoever asks for the approval of more people than there are. It is no error: people may be invited yet. What
/// it is told of is stored already: what can't be looked up now is no error any more.
pub async fn too_few(cx: &Cx, org: OrgId, requester: PrincipalId, needed: u32) -> Option<String> {
    let there = deciders(cx, org, requester).await;
    let there =
        there.inspect_err(|error| tracing::warn!(%error, "who may approve was not looked up")).ok()?.len();
    (there < needed as usize).then(|| {
        format!("{needed} people must approve, and {there} could today: until there are more owners or admins, nothing is approved.")
    })
}

impl Letters {
    /// Queues them with the request, unless there were many within the hour.
    pub async fn queue(self, tx: &mut Tx, new: &Approval, now: Time) -> Result<()> {
        // What is of one requester first: it takes no room of the others.
        let of = [(new.requester.to_string(), OF_ONE), (new.org.to_string(), OF_ORGANISATION)];
        for (of, window) in of {
            match throttle::take_within(tx, "approval mails", &[&of], window, now).await {
                Ok(()) => {}
                Err(error) if matches!(error.kind(), Kind::TooManyRequests { .. }) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        let (approval, by) = (new.id, self.by);
        let letter = match &new.target {
            Target::Secret(secret) => {
                Letter::ApprovalRequested { approval, by, path: secret.path.to_string() }
            }
            Target::Transaction { .. } => {
                Letter::TransactionWaits { approval, by, summary: new.summary.clone() }
            }
        };
        for to in &self.to {
            mail::queue(tx, to, &letter, now).await?;
        }
        Ok(())
    }
}
