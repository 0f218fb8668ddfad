//! Who is mailed that something waits: owners and admins, not the requester, and not for each of many requests.

use std::time::Duration;

use domain::approval::{Approval, Target};
use domain::limit::Window;
use domain::{Kind, PrincipalId, Result, Role, Time};
use store::{Tx, agents, users};

use crate::cx::Cx;
use crate::outside::mail::{self, Letter};
use crate::throttle;

/// Requests of one organisation that are mailed; the others are in the list and among the events.
const MAILED: Window = Window::new(10, Duration::from_secs(60 * 60));
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
    let people = users::facts_in(cx.store(), new.org).await?;
    let decides = |user: &&users::User| {
        let role = user.record.peek().ok().and_then(|record| record.role);
        role.is_some_and(Role::manages) && PrincipalId::User(user.id) != new.requester
    };
    let to = people.iter().filter(decides).take(READERS).map(|user| user.email.clone()).collect();
    Ok(Letters { to, by: by.unwrap_or_default() })
}

impl Letters {
    /// Queues them with the request, unless there were many within the hour.
    pub async fn queue(self, tx: &mut Tx, new: &Approval, now: Time) -> Result<()> {
        match throttle::take_within(tx, "approval mails", &[&new.org.to_string()], MAILED, now).await {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), Kind::TooManyRequests { .. }) => return Ok(()),
            Err(error) => return Err(error),
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
