//! Sends the letters that wait. A letter is taken for one attempt, by one gateway; what comes of it is noted, and a
//! gateway that dies on the way leaves it to the next one's attempt.

use std::sync::Arc;
use std::time::Duration;

use domain::ticket::{Purpose, Ticket};
use domain::{OrgId, Result};
use signer_protocol::Reason;
use signer_protocol::link::LinkTo;
use store::mail::{self, Mail};
use store::{agents, invitations, tickets, users};

use super::rounds;
use crate::gateway::Gateway;
use crate::notes::Asked;
use crate::ops::agents::enrolment::owner;
use crate::outside::mail::{Letter, Outcome, Written, has_an_account, has_no_password, write};
use crate::password::random;
use crate::{links, refusal};

/// How often the queue is looked at.
const TICK: Duration = Duration::from_millis(500);
/// Letters that are sent at once.
const AT_ONCE: i64 = 8;
/// What an attempt may take; afterwards another may be made, perhaps by another gateway.
const LEASE: Duration = Duration::from_secs(5 * 60);
/// After the first failure, and at most: each time four times as long.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// Sends mail until the gateway stops.
pub async fn send(gateway: Arc<Gateway>) {
    if let Some(folder) = gateway.post.folder() {
        tracing::warn!(
            folder = %folder.display(),
            "no SMTP server is configured (TALON_SMTP_URL): mail is written to the outbox, and reaches nobody"
        );
    }
    rounds(gateway, TICK, "mail that waits", round).await;
}

/// Takes up what is due. Whether there may be more.
async fn round(gateway: Arc<Gateway>) -> Result<bool> {
    let now = gateway.clock.now();
    if !mail::is_due(&gateway.store, now).await? {
        return Ok(false);
    }
    let mut tx = gateway.store.begin().await?;
    let taken = mail::take(&mut tx, now, now.plus(LEASE), AT_ONCE).await?;
    tx.commit().await?;
    let attempts = taken.iter().map(async |mail| {
        if let Err(error) = attempt(&gateway, mail).await {
            tracing::warn!(mail = %mail.id, %error, "a mail could not be seen to; it is tried again");
        }
    });
    futures::future::join_all(attempts).await;
    Ok(!taken.is_empty())
}

async fn attempt(gateway: &Gateway, mail: &Mail) -> Result<()> {
    let (id, attempt) = (mail.id, mail.attempts);
    let letter = serde_json::from_str::<Letter>(&mail.letter);
    let name = letter.as_ref().map_or("unknown", Letter::name);
    let outcome = match letter {
        Ok(letter) => match compose(gateway, mail, &letter).await {
            Ok(Some(written)) => gateway.post.send(id, attempt, &mail.recipient, written).await,
            Ok(None) => Outcome::Delivered,
            Err(error) => Outcome::Later(error.to_string()),
        },
        // A newer gateway beside this one may know it.
        Err(_) => Outcome::Later("this version of Talon knows no such letter".to_owned()),
    };
    let now = gateway.clock.now();
    let next = now.plus(pause(attempt));
    let mut tx = gateway.store.begin().await?;
    match outcome {
        Outcome::Delivered => mail::end(&mut tx, mail).await?,
        Outcome::Later(why) if next < mail.gives_up_at => {
            tracing::warn!(mail = %id, letter = name, attempt, why, again = %next, "a mail was not sent");
            mail::defer(&mut tx, mail, next).await?;
        }
        Outcome::Later(why) | Outcome::Never(why) => {
            tracing::error!(mail = %id, letter = name, attempt, why, "a mail is given up");
            mail::end(&mut tx, mail).await?;
        }
    }
    tx.commit().await
}

fn pause(attempt: u64) -> Duration {
    let times = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST_PAUSE.saturating_mul(4_u32.saturating_pow(times)).min(LONGEST_PAUSE)
}

/// Writes a letter, with its link; `None`: there is nobody to write to, or the signer knows another address than this. What a
/// stranger must not learn of an address is looked up here, off any request's path.
async fn compose(gateway: &Gateway, mail: &Mail, letter: &Letter) -> Result<Option<Written>> {
    let url = gateway.public_url();
    let store = &gateway.store;
    let (opens, to) = match letter {
        Letter::Verification { signup } => {
            if users::facts_by_email(store, &mail.recipient).await?.is_some() {
                return Ok(Some(has_an_account(url)));
            }
            (Subject::new(Purpose::VerifyEmail, signup), None)
        }
        Letter::PasswordReset => {
            let Some(user) = users::facts_by_email(store, &mail.recipient).await? else { return Ok(None) };
            if user.auth_method != "password" {
                return Ok(Some(has_no_password(url)));
            }
            let opens = Subject::new(Purpose::ResetPassword, user.id);
            (opens, Some((user.org, LinkTo::Password(user.record))))
        }
        Letter::Invitation { invitation, .. } => {
            let open = invitations::facts(store, *invitation, gateway.clock.now()).await?;
            let Some(open) = open else { return Ok(None) };
            let opens = Subject::new(Purpose::Invitation, invitation);
            (opens, Some((open.org, LinkTo::Invitation(open.record))))
        }
        Letter::AgentCredentials { agent, .. } => {
            let Some(found) = agents::facts(store, *agent).await? else { return Ok(None) };
            let Some(person) = owner(store, &found).await? else { return Ok(None) };
            let to = LinkTo::AgentKey { person: person.record, agent: found.record };
            (Subject::new(Purpose::AgentKey, agent), Some((found.org, to)))
        }
        _ => return Ok(Some(write(letter, None, url))),
    };
    let Some(ticket) = ticket(gateway, mail, &opens, to).await? else { return Ok(None) };
    Ok(Some(write(letter, Some(&ticket.link(url, opens.purpose)), url)))
}

/// What a letter's link opens, and for whom or what.
struct Subject {
    purpose: Purpose,
    subject: String,
}

impl Subject {
    fn new(purpose: Purpose, subject: impl ToString) -> Self {
        Self { purpose, subject: subject.to_string() }
    }
}

/// Makes the letter's ticket good; with the signer's word, where the link opens what the signer guards. `None`: it does not
/// give it.
async fn ticket(
    gateway: &Gateway,
    mail: &Mail,
    opens: &Subject,
    to: Option<(OrgId, LinkTo)>,
) -> Result<Option<Ticket>> {
    let (ticket, now) = (Ticket::new(&random::<32>()?), gateway.clock.now());
    let Subject { purpose, subject } = opens;
    let link = match to {
        None => None,
        Some((org, to)) => match links::attest(&gateway.signer, &ticket, to, &mail.recipient).await {
            Ok(link) => Some(link),
            Err(refused) if refused.reason == Reason::Unavailable => return Err(refusal::error(refused)),
            // Changed a moment ago, by the looks of it.
            Err(refused) if refused.reason == Reason::RolledBack && mail.attempts == 1 => {
                return Err(refusal::of_change(refused));
            }
            Err(refused) => {
                let what = ("mail", &*mail.id.to_string());
                let asked = Asked { org, by: None, what, from: None, at: now };
                gateway.notes.refused(&refusal::error(refused), asked);
                return Ok(None);
            }
        },
    };
    let mut tx = gateway.store.begin().await?;
    match &link {
        Some(link) => links::issue(&mut tx, *purpose, subject, &ticket, link).await?,
        None => {
            let until = now.plus(purpose.lifetime());
            tickets::issue(&mut tx, *purpose, subject, &ticket.hash(), None, until).await?;
        }
    }
    tx.commit().await?;
    Ok(Some(ticket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pause_is_four_times_as_long_up_to_an_hour() {
        let pauses: Vec<_> = (1..=8).map(|attempt| pause(attempt).as_secs()).collect();
        assert_eq!(pauses, [2, 8, 32, 128, 512, 2048, 3600, 3600]);
        assert_eq!(pause(u64::MAX), LONGEST_PAUSE);
    }
}
