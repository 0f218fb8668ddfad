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
use std::time::Duration;

use domain::limit::{Throttle, Window};
use domain::{AgentId, Kind, Result, Time};
use sha2::{Digest as _, Sha256};
use store::limits::{self, Guess};
use unicode_normalization::UnicodeNormalization as _;

use crate::gateway::Gateway;
use crate::limits::site;

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
    /// A credential that says itself whose it is: the address alone counts.
    Anyones,
}

/// Takes one of what a window allows for this key.
///
/// # Errors
/// `TooManyRequests`, with the time until there is room.
pub async fn take(gateway: &Gateway, what: &str, of: &[&str], window: Window) -> Result<()> {
    let mut tx = gateway.store.begin().await?;
    limits::take(&mut tx, &key(what, of), window, gateway.clock.now()).await?;
    tx.commit().await
}

/// Does what tells whether a guess is right, unless there were too many wrong ones. Each is counted beforehand, and
/// what was no wrong guess is given back: so guesses that come at once are no more than those that come one by one.
///
/// # Errors
/// `TooManyRequests` alike for accounts that there are and for others; else whatever the work answers.
pub async fn guard<T>(
    gateway: &Gateway,
    target: Target<'_>,
    from: Option<IpAddr>,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let attempt = Attempt::begin(gateway, target, from).await?;
    let answer = work.await;
    match &answer {
        Ok(_) => attempt.was_right(gateway).await?,
        Err(error) if error.kind() == Kind::Unauthenticated => {}
        Err(_) => attempt.was_none(gateway).await?,
    }
    answer
}

/// A guess that counts as wrong for the time being.
struct Attempt {
    /// At what is guessed, cleared by a right guess.
    own: Option<Guess>,
    /// From this address, whatever it guesses at.
    address: Option<Guess>,
    /// Where a right guess makes somebody at home.
    place: Option<String>,
}

impl Attempt {
    async fn begin(gateway: &Gateway, target: Target<'_>, from: Option<IpAddr>) -> Result<Self> {
        let now = gateway.clock.now();
        let at = place(from);
        let account = match target {
            Target::Account(email) => Some(account(email)),
            Target::Agent(_) | Target::Anyones => None,
        };
        let home = account.as_ref().map(|account| key("place", &[account, &at]));
        let is_home = match &home {
            Some(home) => limits::is_familiar(&gateway.store, home, now).await?,
            None => false,
        };
        let own = match (&account, &home, target) {
            // Who has logged in from here before is counted apart: strangers' guesses are no lock for them.
            (_, Some(home), _) if is_home => Some((home.clone(), ACCOUNT)),
            (Some(account), ..) => Some((key("account", &[account]), ACCOUNT)),
            (.., Target::Agent(id)) => Some((key("agent", &[&id.to_string(), &at]), AGENT)),
            _ => None,
        };
        let address = (!is_home).then(|| (key("address", &[&at]), by_address(gateway)));
        for (key, _) in own.iter().chain(&address) {
            limits::is_open(&gateway.store, key, now).await?;
        }
        let mut tx = gateway.store.begin().await?;
        // An address before what is guessed at: in one order, so that nobody waits in a circle.
        let address = count(&mut tx, address, now).await?;
        let own = count(&mut tx, own, now).await?;
        tx.commit().await?;
        Ok(Self { own, address, place: home })
    }

    async fn was_right(self, gateway: &Gateway) -> Result<()> {
        let mut tx = gateway.store.begin().await?;
        if let Some(address) = &self.address {
            limits::give_back(&mut tx, address).await?;
        }
        if let Some(own) = &self.own {
            limits::clear(&mut tx, &own.key).await?;
        }
        if let Some(place) = &self.place {
            limits::learn(&mut tx, place, gateway.clock.now().plus(FAMILIAR)).await?;
        }
        tx.commit().await
    }

    async fn was_none(self, gateway: &Gateway) -> Result<()> {
        let mut tx = gateway.store.begin().await?;
        for guess in self.address.iter().chain(&self.own) {
            limits::give_back(&mut tx, guess).await?;
        }
        tx.commit().await
    }
}

async fn count(tx: &mut store::Tx, what: Option<(String, Throttle)>, now: Time) -> Result<Option<Guess>> {
    match what {
        Some((key, throttle)) => limits::guess(tx, &key, &throttle, now).await.map(Some),
        None => Ok(None),
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

/// An email as it is counted: whatever a mail server or a careless comparison could take for the same is the same.
fn account(email: &str) -> String {
    let folded = email.nfkc().flat_map(char::to_lowercase).collect::<String>();
    folded.nfkc().filter(|c| !c.is_whitespace() && !c.is_control() && !is_invisible(*c)).collect()
}

/// Zero-width characters and marks of direction (Unicode's format characters, as far as they are met in addresses).
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
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
    fn one_account_however_it_is_spelt() {
        let ada = account("ada@example.org");
        for spelt in [
            " ADA@example.org ",
            "a da@example.org\t",
            "ａｄａ@example.org",
            "ada@\u{200b}example.org",
            "Ada@EXAMPLE.org\u{feff}",
            "\u{1d41a}da@example.org",
        ] {
            assert_eq!(account(spelt), ada, "{spelt:?}");
        }
        // The sign for kelvin is a K, and a composed letter is the same as a decomposed one.
        assert_eq!(account("\u{212a}@x.y"), account("k@x.y"));
        assert_eq!(account("e\u{301}@x.y"), account("É@x.y"));
        assert_ne!(account("ada@example.com"), ada);
    }

    #[test]
    fn keys_are_apart() {
        assert_ne!(key("a", &["b", "c"]), key("a", &["bc"]));
        assert_ne!(key("a", &["b"]), key("ab", &[]));
        assert!(!key("account", &["ada@example.org"]).contains("ada"));
    }
}
