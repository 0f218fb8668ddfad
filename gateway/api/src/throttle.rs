//! What security hangs on, counted in the database, so that it holds for all gateways together.
//!
//! So many in a window, for what is costly or seen by others:
//!
//! ```ignore
//! const ENROLMENTS: Window = Window::new(10, Duration::from_secs(3600));
//! throttle::take(&cx.gateway, "enroll.address", &[&throttle::place(cx.address)], ENROLMENTS).await?;
//! ```
//!
//! Guesses, for whatever somebody must know (`Unauthenticated` is a wrong guess, `Ok` a right one, any other error none):
//!
//! ```ignore
//! throttle::guard(&cx.gateway, Target::Account(&email), cx.address, async { check(password).await }).await?
//! ```

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use domain::limit::{Throttle, Window, too_many};
use domain::{AgentId, Error, Kind, Result, Time};
use moka::sync::Cache;
use sha2::{Digest as _, Sha256};
use store::Tx;
use store::limits::{self, Guess};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::email;
use crate::gateway::Gateway;
use crate::limits::site;
use crate::password::PLACES;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// An account's password (NIST SP 800-63B §5.2.2 allows 100 wrong guesses in a row): from the tenth on, one guess in 15
/// minutes.
const ACCOUNT: Throttle = Throttle { free: 5, lock_after: 10, lock: MINUTE.saturating_mul(15), forget: DAY };
/// An agent's key, by its id. 256 bits are not guessed; this bounds what trying costs.
const AGENT: Throttle = Throttle { free: 20, lock_after: 40, ..ACCOUNT };
/// A place is forgotten so long after the last log-in there.
const FAMILIAR: Duration = DAY.saturating_mul(90);

/// What is guessed at.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// What the person with this email knows. Spelt as it was given: case, spaces and Unicode variants are one account.
    Account(&'a str),
    /// The key of this agent. Nobody keeps the agent out by guessing from elsewhere.
    Agent(AgentId),
    /// The passphrase of the share with this id. Guesses from one address slow down that address; over all addresses the
    /// signer counts them.
    Passphrase(&'a str),
    /// A credential that says itself whose it is: the address alone counts.
    Anyones,
}

/// Takes one of what a window allows for this key.
///
/// # Errors
/// `TooManyRequests`, with the time until there is room.
pub async fn take(gateway: &Gateway, what: &str, of: &[&str], window: Window) -> Result<()> {
    count(gateway, async |tx| take_within(tx, what, of, window, gateway.clock.now()).await).await
}

/// As [`take`], if the transaction commits.
///
/// # Errors
/// `TooManyRequests`, with the time until there is room.
pub async fn take_within(tx: &mut Tx, what: &str, of: &[&str], window: Window, now: Time) -> Result<()> {
    limits::take(tx, &key(what, of), window, now).await
}

/// As [`take`], where whoever asks is not to be told: whether there was room.
pub async fn has_room(gateway: &Gateway, what: &str, of: &[&str], window: Window) -> Result<bool> {
    room(take(gateway, what, of, window).await)
}

fn room(taken: Result<()>) -> Result<bool> {
    match taken {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.kind(), Kind::TooManyRequests { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A short transaction of counting. Who counts the same thing waits for its row: few at once may do so, or a flood would
/// hold every connection that writes, and those who are in would wait for theirs.
async fn count<T>(gateway: &Gateway, work: impl AsyncFnOnce(&mut Tx) -> Result<T>) -> Result<T> {
    let _turn = gateway.lines.counting.acquire().await.map_err(Error::internal)?;
    let mut tx = gateway.store.begin().await?;
    let counted = work(&mut tx).await?;
    tx.commit().await?;
    Ok(counted)
}

async fn guess_all(tx: &mut Tx, counted: &[(String, Throttle)], now: Time) -> Result<Vec<Guess>> {
    let mut guesses = Vec::with_capacity(counted.len());
    for (key, throttle) in counted {
        guesses.push(limits::guess(tx, key, throttle, now).await?);
    }
    Ok(guesses)
}

/// As [`has_room`], together with what else the transaction does.
pub async fn has_room_within(
    tx: &mut Tx,
    what: &str,
    of: &[&str],
    window: Window,
    now: Time,
) -> Result<bool> {
    room(take_within(tx, what, of, window, now).await)
}

/// Does what tells whether a guess is right, unless there were too many wrong ones.
///
/// # Errors
/// `TooManyRequests` alike for accounts that there are and for others; else whatever the work answers.
pub async fn guard<T>(
    gateway: &Gateway,
    target: Target<'_>,
    from: Option<IpAddr>,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    match target {
        Target::Account(email) => password(gateway, email, from, work).await,
        Target::Agent(id) => {
            let own = key("agent", &[&id.to_string(), &place(from)]);
            long_key(gateway, Some(own), from, work).await
        }
        Target::Passphrase(share) => {
            let own = key("share", &[share, &place(from)]);
            alone(gateway, own, from, work).await
        }
        Target::Anyones => long_key(gateway, None, from, work).await,
    }
}

/// Does what costs a hash and is no guess, in one of the places of those who log in: so that nobody keeps them out by it.
/// What [`guard`] does has a place already.
///
/// # Errors
/// `TooManyRequests` while the client has its share of the places, or all are taken; else whatever the work answers.
pub async fn in_turn<T>(
    gateway: &Gateway,
    from: Option<IpAddr>,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let _places = gateway.lines.places(from, gateway.settings.limits.address_places)?;
    work.await
}

/// Each guess is counted before it is looked at, and what was no wrong guess is given back: so guesses that come at once
/// are no more than those that come one by one.
async fn password<T>(
    gateway: &Gateway,
    email: &str,
    from: Option<IpAddr>,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let attempt = Attempt::begin(gateway, email, from).await?;
    let answer = work.await;
    match &answer {
        Ok(_) => attempt.was_right(gateway).await?,
        Err(error) if error.kind() == Kind::Unauthenticated => {}
        Err(_) => attempt.was_none(gateway).await?,
    }
    answer
}

/// As with a password, where nothing else is counted.
async fn alone<T>(
    gateway: &Gateway,
    own: String,
    from: Option<IpAddr>,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let mut turns = gateway.lines.places(from, gateway.settings.limits.address_places)?;
    limits::is_open(&gateway.store, &own, gateway.clock.now()).await?;
    turns.push(gateway.lines.turn(&own, &ACCOUNT).await?);
    let mut tx = gateway.store.begin().await?;
    let guess = limits::guess(&mut tx, &own, &ACCOUNT, gateway.clock.now()).await?;
    tx.commit().await?;
    let answer = work.await;
    if answer.as_ref().is_err_and(|error| error.kind() == Kind::Unauthenticated) {
        return answer;
    }
    let mut tx = gateway.store.begin().await?;
    match &answer {
        Ok(_) => limits::clear(&mut tx, &guess.key).await?,
        Err(_) => limits::give_back(&mut tx, &guess).await?,
    }
    tx.commit().await?;
    answer
}

/// Nobody guesses 256 bits, however many try at once; so a right key is let in whatever else comes from its address, and costs
/// no count. A wrong one is counted after it, and apart from passwords: a program that goes on with a key that has ended keeps
/// nobody out who shares its address.
async fn long_key<T>(
    gateway: &Gateway,
    own: Option<String>,
    from: Option<IpAddr>,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let address = (key("address.keys", &[&place(from)]), by_address(gateway));
    let counted: Vec<_> = [Some(address), own.map(|own| (own, AGENT))].into_iter().flatten().collect();
    let answer = work.await;
    if answer.as_ref().is_err_and(|error| error.kind() == Kind::Unauthenticated) {
        for (key, _) in &counted {
            limits::is_open(&gateway.store, key, gateway.clock.now()).await?;
        }
        count(gateway, async |tx| guess_all(tx, &counted, gateway.clock.now()).await).await?;
    }
    answer
}

/// A guess at a password, that counts as wrong for the time being.
struct Attempt {
    /// At the account; cleared by a right guess.
    own: Guess,
    /// From this address, whatever it guesses at.
    address: Option<Guess>,
    /// Where a right guess makes somebody at home.
    home: String,
    /// Held while it is looked at.
    _turns: Vec<OwnedSemaphorePermit>,
}

impl Attempt {
    async fn begin(gateway: &Gateway, spelt: &str, from: Option<IpAddr>) -> Result<Self> {
        // First, since it costs nothing: of a flood the most ends here.
        let mut turns = gateway.lines.places(from, gateway.settings.limits.address_places)?;
        let now = gateway.clock.now();
        let (account, at) = (email::folded(spelt), place(from));
        let home = key("home", &[&account, &at]);
        // Who has logged in from here before is counted apart: strangers' guesses are no lock for them.
        let is_home = limits::is_familiar(&gateway.store, &home, now).await?;
        let own = if is_home { home.clone() } else { key("account", &[&account]) };
        let address = (!is_home).then(|| (key("address", &[&at]), by_address(gateway)));
        // Addresses first, always: so that nobody waits in a circle, and whoever floods waits for themselves.
        let counted: Vec<_> = address.iter().cloned().chain([(own.clone(), ACCOUNT)]).collect();
        for (key, throttle) in &counted {
            limits::is_open(&gateway.store, key, now).await?;
            turns.push(gateway.lines.turn(key, throttle).await?);
        }
        let mut guesses =
            count(gateway, async |tx| guess_all(tx, &counted, gateway.clock.now()).await).await?;
        let own = guesses.pop().ok_or_else(|| Error::internal("a guess that was not counted"))?;
        Ok(Self { own, address: guesses.pop(), home, _turns: turns })
    }

    async fn was_right(self, gateway: &Gateway) -> Result<()> {
        count(gateway, async |tx| {
            if let Some(address) = &self.address {
                limits::give_back(tx, address).await?;
            }
            limits::clear(tx, &self.own.key).await?;
            limits::learn(tx, &self.home, gateway.clock.now().plus(FAMILIAR)).await
        })
        .await
    }

    async fn was_none(self, gateway: &Gateway) -> Result<()> {
        count(gateway, async |tx| {
            for guess in self.address.iter().chain([&self.own]) {
                limits::give_back(tx, guess).await?;
            }
            Ok(())
        })
        .await
    }
}

/// Whoever has shown that an account's mail is theirs starts anew, and is at home where they are: strangers' guesses at the
/// old password are no lock for them.
pub async fn forgive(tx: &mut Tx, email: &str, from: Option<IpAddr>, now: Time) -> Result<()> {
    let account = email::folded(email);
    let home = key("home", &[&account, &place(from)]);
    limits::clear(tx, &key("account", &[&account])).await?;
    limits::clear(tx, &home).await?;
    limits::learn(tx, &home, now.plus(FAMILIAR)).await
}

/// Who guesses at the same thing at once waits for the others, so that a few right log-ins of one person at once are not
/// taken for as many wrong ones.
pub struct Lines {
    known: Cache<String, Arc<Semaphore>>,
    places: Arc<Semaphore>,
    counting: Semaphore,
}

const LINES: u64 = 20_000;
/// Transactions that count, on this gateway at once.
const COUNTING: usize = 2;
const SHARE_TAKEN: &str = "Too many log-ins or sign-ups from your address at once.";

impl Lines {
    pub fn new() -> Self {
        let known = Cache::builder().max_capacity(LINES).time_to_idle(MINUTE).build();
        Self { known, places: Arc::new(Semaphore::new(PLACES)), counting: Semaphore::new(COUNTING) }
    }

    /// One of the client's own places, so that nobody fills all, and one of all.
    fn places(&self, from: Option<IpAddr>, most: usize) -> Result<Vec<OwnedSemaphorePermit>> {
        let own = self.line(&key("places", &[&place(from)]), most);
        let own = own.try_acquire_owned().map_err(|_| too_many(SHARE_TAKEN, 2))?;
        let any = self.places.clone().try_acquire_owned().map_err(|_| crate::password::busy())?;
        Ok(vec![own, any])
    }

    /// As many at once as cost no wait, while another gateway lets in as many.
    async fn turn(&self, key: &str, throttle: &Throttle) -> Result<OwnedSemaphorePermit> {
        let at_once = (throttle.free.saturating_sub(1) / 2).max(1);
        let at_once = usize::try_from(at_once).map_err(Error::internal)?;
        self.line(key, at_once).acquire_owned().await.map_err(Error::internal)
    }

    fn line(&self, key: &str, at_once: usize) -> Arc<Semaphore> {
        let made = || Arc::new(Semaphore::new(at_once.min(Semaphore::MAX_PERMITS)));
        self.known.get_with(key.to_owned(), made)
    }
}

/// Many may share an address, so it has more tries than an account.
fn by_address(gateway: &Gateway) -> Throttle {
    let free = gateway.settings.limits.address_guesses;
    Throttle { free, lock_after: free.saturating_mul(2), ..ACCOUNT }
}

/// An address as it is counted.
pub fn place(address: Option<IpAddr>) -> String {
    site(address).to_string()
}

/// SHA-256 over what is counted and whose it is, each with its length in front; hex.
fn key(what: &str, of: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in std::iter::once(&what).chain(of) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hex::encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_takes_no_more_places_than_its_share() {
        let lines = Lines::new();
        let ip = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        let held: Vec<_> = (0..16).map(|_| lines.places(ip("2001:db8::1"), 16).unwrap()).collect();
        for from in ["2001:db8::1", "2001:db8::ffff"] {
            let refused = lines.places(ip(from), 16).unwrap_err();
            assert!(refused.detail().contains("from your address at once"), "{refused}");
            assert!(matches!(refused.kind(), Kind::TooManyRequests { .. }), "{refused}");
        }
        let others: Vec<_> =
            ["2001:db8:0:1::1", "192.0.2.1"].map(|from| lines.places(ip(from), 16).unwrap()).into();
        drop(held);
        assert!(lines.places(ip("2001:db8::2"), 16).is_ok());
        drop(others);
        // From everywhere together no more than there are.
        let all: Vec<_> = (0..PLACES as u32)
            .map(|n| lines.places(Some(IpAddr::from(n.to_be_bytes())), 16).unwrap())
            .collect();
        assert!(lines.places(ip("192.0.2.1"), 16).unwrap_err().detail().contains("Too many people"));
        drop(all);
        assert!(lines.places(ip("192.0.2.1"), 16).is_ok());
    }

    #[test]
    fn keys_are_apart() {
        assert_ne!(key("a", &["b", "c"]), key("a", &["bc"]));
        assert_ne!(key("a", &["b"]), key("ab", &[]));
        assert!(!key("account", &["ada@example.org"]).contains("ada"));
    }
}
