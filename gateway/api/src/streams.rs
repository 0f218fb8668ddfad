//! Streams of events: who listens, what each may hear, and when a stream ends.
//!
//! A stream is told what [`crate::jobs::events`] reads. It begins to listen before it reads what it has missed, and passes on only
//! what has a higher number than the last: so nothing is lost or told twice. It ends with its token, with whatever else would refuse
//! its caller, and when its reader is too slow; a client that comes back with `Last-Event-ID` goes on where it was.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use domain::limit::too_many;
use domain::{OrgId, PrincipalId, Result, access};
use futures::StreamExt as _;
use futures::stream::poll_fn;
use store::events::{self, Told};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use crate::authenticate::{self, Caller};
use crate::gate;
use crate::gateway::Gateway;
use crate::operation::Streamed;

/// Events that a stream may lag behind.
const BEHIND: usize = 1024;
/// Pieces that wait for a reader, and how long one may take.
const WAITING: usize = 16;
const PATIENCE: Duration = Duration::from_secs(10);
/// So that nobody in between takes the connection for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How soon a stream ends whose caller is let in no more.
const CHECK: Duration = Duration::from_secs(1);
/// Events in one look at what was missed.
const PAGE: i64 = 500;

/// Streams at once: of one principal, of one organisation, at this gateway.
const OF_ONE: usize = 8;
const OF_ORGANISATION: usize = 256;
const OF_ALL: usize = 1024;
/// An organisation has no more than this part of what is free: however many take all that they get, there is room for another.
const OF_WHAT_IS_FREE: usize = 4;

pub struct Streams {
    /// The number of the newest event when the gateway began.
    head: i64,
    news: broadcast::Sender<Arc<Told>>,
    open: Arc<Mutex<Open>>,
    closing: watch::Sender<bool>,
}

#[derive(Default)]
struct Open {
    all: usize,
    principals: HashMap<PrincipalId, usize>,
    organisations: HashMap<OrgId, usize>,
}

impl Streams {
    pub fn new(head: i64) -> Self {
        Self {
            head,
            news: broadcast::Sender::new(BEHIND),
            open: Arc::default(),
            closing: watch::Sender::new(false),
        }
    }

    pub fn head(&self) -> i64 {
        self.head
    }

    /// Tells every stream; each passes on what its caller may hear.
    pub fn tell(&self, told: Told) {
        // Nobody may be listening.
        let _listeners = self.news.send(Arc::new(told));
    }

    /// Ends all streams, and those that begin from now on at once.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    /// What comes from now on, for somebody who waits for one thing. It takes the place of a stream until it is dropped.
    ///
    /// # Errors
    /// `TooManyRequests`.
    pub fn news_for(&self, who: PrincipalId, org: OrgId) -> Result<News> {
        let place = self.place(who, org)?;
        Ok(News { news: self.news.subscribe(), closing: self.closing.subscribe(), org, _place: place })
    }

    /// # Errors
    /// `TooManyRequests`.
    fn place(&self, who: PrincipalId, org: OrgId) -> Result<Place> {
        let mut open = lock(&self.open);
        let of = |taken: Option<&usize>, most: usize| taken.is_some_and(|taken| *taken >= most);
        let refusal = if of(open.principals.get(&who), OF_ONE) {
            Some("You have too many streams of events open, or requests that wait; end one.")
        } else if of(open.organisations.get(&org), share(open.all)) {
            Some("Your organisation has too many streams of events open, or requests that wait.")
        } else {
            (open.all >= OF_ALL).then_some("Too many streams of events are open at this gateway.")
        };
        if let Some(refusal) = refusal {
            return Err(too_many(refusal, HEARTBEAT.as_secs()));
        }
        open.all += 1;
        *open.principals.entry(who).or_default() += 1;
        *open.organisations.entry(org).or_default() += 1;
        Ok(Place { open: self.open.clone(), who, org })
    }
}

/// What an organisation may have while so many are open at this gateway.
fn share(all: usize) -> usize {
    (OF_ALL.saturating_sub(all) / OF_WHAT_IS_FREE).clamp(OF_ONE, OF_ORGANISATION)
}

/// News of an organisation, for whoever may hear of what they ask about.
pub struct News {
    news: broadcast::Receiver<Arc<Told>>,
    closing: watch::Receiver<bool>,
    org: OrgId,
    _place: Place,
}

impl News {
    /// Waits until something is told of the thing with this id: then whoever waits looks again, as where news were missed. `false`:
    /// the time is over, or the gateway ends.
    pub async fn about(&mut self, id: &str, until: Instant) -> bool {
        let (org, news) = (self.org, &mut self.news);
        let told = async {
            loop {
                match news.recv().await {
                    Ok(told) if told.org != org || !told.data.contains(id) => {}
                    Ok(_) | Err(RecvError::Lagged(_)) => return true,
                    Err(RecvError::Closed) => return false,
                }
            }
        };
        tokio::select! {
            told = told => told,
            _ = self.closing.wait_for(|closing| *closing) => false,
            () = sleep_until(until) => false,
        }
    }
}

/// The caller as they are now, if a request of theirs would be let in.
///
/// # Errors
/// As the request would be refused.
pub async fn still_let_in(gateway: &Gateway, caller: &Caller, address: Option<IpAddr>) -> Result<Caller> {
    let caller = authenticate::still(gateway, caller).await?;
    let principal = caller.principal();
    gate::pass(gateway, principal.id, principal.org, address).await?;
    Ok(caller)
}

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A stream's place, until it ends.
struct Place {
    open: Arc<Mutex<Open>>,
    who: PrincipalId,
    org: OrgId,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        open.all = open.all.saturating_sub(1);
        leave(&mut open.principals, &self.who);
        leave(&mut open.organisations, &self.org);
    }
}

fn leave<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// Opens a stream. `after`: the last event that the client has seen; `None`: it wants what comes from now on.
///
/// # Errors
/// `TooManyRequests` where too many are open.
pub async fn open(
    gateway: &Arc<Gateway>,
    caller: Caller,
    address: Option<IpAddr>,
    after: Option<i64>,
) -> Result<Streamed> {
    let (who, org) = (caller.principal().id, caller.principal().org);
    let place = gateway.streams.place(who, org)?;
    // First listen, then look at what there is.
    let news = gateway.streams.news.subscribe();
    let head = events::head(&gateway.store).await?;
    let (out, mut pieces) = mpsc::channel(WAITING);
    // A number from elsewhere must not make a stream deaf.
    let last = after.map_or(head, |after| after.min(head));
    let stream = Stream { gateway: gateway.clone(), caller, address, last, out, _place: place };
    tokio::spawn(stream.run(news));
    Ok(Streamed(poll_fn(move |cx| pieces.poll_recv(cx).map(|piece| piece.map(Ok))).boxed()))
}

struct Stream {
    gateway: Arc<Gateway>,
    caller: Caller,
    address: Option<IpAddr>,
    /// The last event that was told, or passed over.
    last: i64,
    out: mpsc::Sender<Bytes>,
    _place: Place,
}

/// Why a stream goes no further; its client may come again.
struct Ended;

impl Stream {
    async fn run(mut self, mut news: broadcast::Receiver<Arc<Told>>) {
        let mut closing = self.gateway.streams.closing.subscribe();
        let client = self.out.clone();
        tokio::select! {
            _ended = self.tell(&mut news) => {}
            _ = closing.wait_for(|closing| *closing) => {}
            () = client.closed() => {}
        }
    }

    async fn tell(&mut self, news: &mut broadcast::Receiver<Arc<Told>>) -> Result<(), Ended> {
        // Says that it is open, before there is anything to tell.
        self.send(": open\n\n".to_owned()).await?;
        self.missed().await?;
        let (mut check, mut beat) = (interval(CHECK), interval(HEARTBEAT));
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = check.tick() => self.still_let_in().await?,
                told = news.recv() => match told {
                    Ok(told) => self.pass_on(&told).await?,
                    Err(RecvError::Lagged(_) | RecvError::Closed) => return Err(Ended),
                },
                _ = beat.tick() => self.send(":\n\n".to_owned()).await?,
            }
        }
    }

    async fn missed(&mut self) -> Result<(), Ended> {
        loop {
            let org = self.caller.principal().org;
            let missed = events::since_in(&self.gateway.store, org, self.last, PAGE).await;
            let missed = missed.map_err(|error| ended(&error))?;
            if missed.is_empty() {
                return Ok(());
            }
            for told in &missed {
                self.pass_on(told).await?;
            }
        }
    }

    async fn pass_on(&mut self, told: &Told) -> Result<(), Ended> {
        if told.sequence <= self.last {
            return Ok(());
        }
        self.last = told.sequence;
        if !self.may_hear(told) {
            return Ok(());
        }
        self.send(format!("id: {}\nevent: {}\ndata: {}\n\n", told.sequence, told.event, told.data)).await
    }

    /// One's own, and to people who are not held to some paths all of their organisation's.
    fn may_hear(&self, told: &Told) -> bool {
        let subject = self.caller.subject(self.address, self.gateway.clock.now());
        told.org == subject.org && (told.concerns == subject.id || access::sees_all_approvals(&subject))
    }

    /// As each request is looked at.
    async fn still_let_in(&mut self) -> Result<(), Ended> {
        let caller = still_let_in(&self.gateway, &self.caller, self.address).await;
        self.caller = caller.map_err(|error| ended(&error))?;
        Ok(())
    }

    async fn send(&self, piece: String) -> Result<(), Ended> {
        match timeout(PATIENCE, self.out.send(Bytes::from(piece))).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Ended),
        }
    }
}

fn ended(error: &domain::Error) -> Ended {
    tracing::debug!(%error, "a stream of events ends");
    Ended
}

#[cfg(test)]
mod tests {
    use domain::UserId;

    use super::*;

    #[test]
    fn places_are_bounded_and_given_back() {
        let (streams, org) = (Streams::new(0), OrgId::new());
        let me = PrincipalId::User(UserId::new());
        let mine: Vec<_> = (0..OF_ONE).map(|_| streams.place(me, org).map_err(drop)).collect();
        assert!(mine.iter().all(Result::is_ok) && streams.place(me, org).is_err());
        let somebody = || PrincipalId::User(UserId::new());
        let ours: Vec<_> = std::iter::from_fn(|| streams.place(somebody(), org).ok()).collect();
        assert_eq!(mine.len() + ours.len(), 205, "a quarter of what is free");
        let all: Vec<_> = std::iter::from_fn(|| streams.place(somebody(), OrgId::new()).ok()).collect();
        assert_eq!(mine.len() + ours.len() + all.len(), OF_ALL);
        drop((mine, ours, all));
        assert!(streams.place(me, org).is_ok());
        // Greedy organisations, one after the other: the next still gets its part.
        let mut greedy = Vec::new();
        for _ in 0..10 {
            let org = OrgId::new();
            greedy.push(Vec::from_iter(std::iter::from_fn(|| streams.place(somebody(), org).ok())));
        }
        let parts: Vec<usize> = greedy.iter().map(Vec::len).collect();
        assert!(parts.is_sorted_by(|a, b| a >= b) && parts[9] >= OF_ONE, "{parts:?}");
        drop(greedy);
        let open = lock(&streams.open);
        assert!(open.all == 0 && open.principals.is_empty() && open.organisations.is_empty());
    }
}
