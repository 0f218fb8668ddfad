//! What is noted off a request's path: when an API key was last used, that somebody tried a credential in vain, and what the
//! signer refused. A request never waits for it; so a wrong credential takes no longer where there is somebody to note it for.

mod failures;
mod guesses;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use domain::audit::{Event, SYSTEM};
use domain::{AgentId, ApiKeyId, Error, EventId, OrgId, PrincipalId, Result, Time};
use moka::sync::Cache;
use serde_json::{Map, Value};
use store::{Store, api_keys};
use tokio::sync::mpsc;

use failures::Failures;
use guesses::Guesses;

/// How exact `last_used_at` is.
pub const COARSE: Duration = Duration::from_secs(60);
/// Notes that may wait to be written. More are left out: each costs a commit, and anyone can try keys.
const QUEUE: usize = 256;
const CAPACITY: u64 = 20_000;
/// Strangers' failures are gathered so long, and written as one event for each address; so is what follows the first
/// failure at an account.
const GATHER: Duration = Duration::from_secs(10);
/// Others are written together after so long: written at once, each would hold up the request that comes after it, and that
/// could be told.
const SOON: Duration = Duration::from_millis(500);
/// Addresses told apart in that time; all others are one.
const ADDRESSES: usize = 256;

/// What a refusal calls the approval that it is about.
pub const APPROVAL: &str = "approval_id";

enum Note {
    Used(ApiKeyId, Time),
    Event(Box<Event>),
    Failure(Box<Event>),
    Stranger(Tried, Option<IpAddr>, Time),
    Guess(Box<Event>),
}

/// What somebody tried who is not known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tried {
    Password,
    AgentKey,
    ApiKey,
    Certificate,
    Google,
}

impl Tried {
    /// As events name it: whose it would be, and the method.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Password => ("user", "password"),
            Self::AgentKey => ("agent", "api_key"),
            Self::ApiKey => ("user", "api_key"),
            Self::Certificate => ("agent", "mtls"),
            Self::Google => ("user", "google"),
        }
    }
}

/// What was asked of the signer, and by whom.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// [`SYSTEM`], where nobody is known.
    pub org: OrgId,
    pub by: Option<PrincipalId>,
    /// `operation` and its id, or `transaction` and its id.
    pub what: (&'static str, &'a str),
    pub from: Option<IpAddr>,
    pub at: Time,
}

pub struct Notes {
    /// Keys whose use was noted a moment ago.
    noted: Cache<ApiKeyId, ()>,
    /// Agents of which a refusal was told a moment ago, by the rule.
    turned_away: Cache<(AgentId, Option<&'static str>), ()>,
    queue: mpsc::Sender<Note>,
}

impl Notes {
    /// Starts to write what is noted, until the gateway ends.
    pub fn start(store: Store) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(write(store, waiting));
        Self {
            noted: Cache::builder().max_capacity(CAPACITY).time_to_live(COARSE).build(),
            turned_away: Cache::builder().max_capacity(CAPACITY).time_to_live(COARSE).build(),
            queue,
        }
    }

    /// A token of the key was used.
    pub fn used(&self, key: ApiKeyId, at: Time) {
        if self.noted.contains_key(&key) {
            return;
        }
        self.noted.insert(key, ());
        if self.queue.try_send(Note::Used(key, at)).is_err() {
            self.noted.invalidate(&key);
        }
    }

    /// Whether it is a while ago that the same was told of the agent: one that was stopped may ask on and on, from everywhere.
    pub fn is_news(&self, agent: AgentId, rule: Option<&'static str>) -> bool {
        self.turned_away.entry((agent, rule)).or_insert(()).is_fresh()
    }

    /// Somebody tried a credential of somebody's that is not the right one.
    pub fn failed(&self, event: Event) {
        self.try_note(Note::Failure(Box::new(event)));
    }

    /// The signer would not do something: nothing, if `error` is of another kind.
    pub fn refused(&self, error: &Error, asked: Asked<'_>) {
        let Some(rule) = error.refused() else { return };
        let mut details = Map::from_iter([
            ("rule".to_owned(), Value::from(rule)),
            // The signer's own sentence: it holds no value, no key and no credential.
            ("detail".to_owned(), error.cause().unwrap_or(error.detail()).into()),
        ]);
        for name in ["guardrail", APPROVAL] {
            if let Some(value) = error.extra().get(name) {
                details.insert(name.to_owned(), value.clone());
            }
        }
        self.try_note(Note::Event(Box::new(Event {
            id: EventId::new(),
            org: asked.org,
            action: "signer.refusal",
            actor: asked.by,
            resource: (asked.what.0, asked.what.1.to_owned()),
            details,
            address: asked.from.map(|address| address.to_string()),
            at: asked.at,
        })));
    }

    /// Somebody tried to log in as somebody who is not known.
    pub fn stranger(&self, tried: Tried, from: Option<IpAddr>, at: Time) {
        self.try_note(Note::Stranger(tried, from, at));
    }

    /// Somebody tried a passphrase of a share's that is not the right one.
    pub fn guessed(&self, event: Event) {
        self.try_note(Note::Guess(Box::new(event)));
    }

    fn try_note(&self, note: Note) {
        if let Err(error) = self.queue.try_send(note) {
            tracing::warn!(%error, "something was not put on the audit trail: too much at once");
        }
    }
}

async fn write(store: Store, mut waiting: mpsc::Receiver<Note>) {
    let mut failures = Failures::default();
    let mut strangers = Strangers::default();
    let mut guesses = Guesses::default();
    let mut events = Vec::new();
    let mut gathered = tokio::time::interval(GATHER);
    let mut soon = tokio::time::interval(SOON);
    loop {
        let written = tokio::select! {
            note = waiting.recv() => match note {
                Some(Note::Used(key, at)) => used(&store, key, at).await,
                Some(Note::Event(event)) => {
                    events.push(*event);
                    if events.len() < QUEUE { Ok(()) } else { record(&store, std::mem::take(&mut events)).await }
                }
                Some(Note::Failure(event)) => {
                    failures.add(*event);
                    Ok(())
                }
                Some(Note::Stranger(tried, from, at)) => {
                    strangers.add(tried, from, at);
                    Ok(())
                }
                Some(Note::Guess(event)) => {
                    guesses.add(*event);
                    Ok(())
                }
                None => {
                    events.extend(failures.take().into_iter().chain(strangers.take()).chain(guesses.take()));
                    let _ended = record(&store, events).await;
                    return;
                }
            },
            _ = soon.tick() => {
                events.extend(failures.first());
                record(&store, std::mem::take(&mut events)).await
            }
            _ = gathered.tick() => {
                let gathered = failures.take().into_iter().chain(strangers.take()).chain(guesses.take());
                record(&store, gathered.collect()).await
            }
        };
        if let Err(error) = written {
            tracing::warn!(%error, "what happened could not be noted");
        }
    }
}

async fn used(store: &Store, key: ApiKeyId, at: Time) -> Result<()> {
    let mut tx = store.begin().await?;
    api_keys::used(&mut tx, key, at, COARSE).await?;
    tx.commit().await
}

async fn record(store: &Store, events: Vec<Event>) -> Result<(), Error> {
    if events.is_empty() {
        return Ok(());
    }
    let mut tx = store.begin().await?;
    events.into_iter().for_each(|event| tx.record(event));
    tx.commit().await
}

/// Failures that are nobody's, by address: how many, and when the last was.
#[derive(Default)]
struct Strangers(BTreeMap<(Tried, String), (u64, Time)>);

impl Strangers {
    fn add(&mut self, tried: Tried, from: Option<IpAddr>, at: Time) {
        let mut key = (tried, from.map(|address| address.to_string()).unwrap_or_default());
        if self.0.len() >= ADDRESSES && !self.0.contains_key(&key) {
            key.1 = "others".to_owned();
        }
        let found = self.0.entry(key).or_insert((0, at));
        *found = (found.0.saturating_add(1), at);
    }

    fn take(&mut self) -> Vec<Event> {
        let event = |((tried, address), (times, at)): ((Tried, String), (u64, Time))| {
            let (whose, method) = tried.names();
            Event {
                id: EventId::new(),
                org: SYSTEM,
                action: "auth.failure",
                actor: None,
                resource: (whose, String::new()),
                details: Map::from_iter([
                    ("method".to_owned(), Value::from(method)),
                    ("account".to_owned(), "unknown".into()),
                    ("times".to_owned(), times.into()),
                ]),
                address: Some(address),
                at,
            }
        };
        std::mem::take(&mut self.0).into_iter().map(event).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_failures_are_one_event_for_each_address() {
        let mut strangers = Strangers::default();
        for n in 0..1000_u32 {
            strangers.add(
                Tried::Password,
                Some(IpAddr::from(n.min(2).to_be_bytes())),
                Time::from_millis(n.into()),
            );
        }
        let events = strangers.take();
        let times: Vec<_> = events.iter().map(|event| event.details["times"].clone()).collect();
        assert_eq!(times, [1, 1, 998]);
        assert!(events.iter().all(|event| event.org == SYSTEM && event.actor.is_none()));
        assert!(strangers.take().is_empty());
        for n in 0..1000_u32 {
            strangers.add(Tried::AgentKey, Some(IpAddr::from(n.to_be_bytes())), Time::from_millis(0));
        }
        let events = strangers.take();
        assert_eq!(events.len(), ADDRESSES + 1, "a flood from everywhere is bounded");
        let others = events.iter().find(|event| event.address.as_deref() == Some("others")).unwrap();
        assert_eq!(others.details["times"], 1000 - ADDRESSES);
    }
}
