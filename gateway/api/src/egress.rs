//! The one way to fetch something on somebody's word, or to send it there: a key set, a discovery document, an event.
//!
//! Whoever names an address makes this process talk to it, from inside the operator's network. So: names are resolved
//! once, and only addresses on the internet are dialled, or in networks that the operator has named
//! (`TALON_EGRESS_ALLOW`); HTTPS alone, but for these networks; no redirect is followed, no proxy of the environment's
//! asked, no cookie kept; time, size and the number of fetches at once are bounded. Any port will do: a handshake that
//! fails tells the other end nothing. Why a fetch failed is for the log: a caller who heard it could map the network.

mod address;
mod post;
mod resolve;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use domain::{Error, OrgId, Result};
use http::HeaderMap;
use ipnet::IpNet;
use moka::sync::Cache;
use reqwest::{Client, StatusCode, Url};
use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};

use resolve::{Guarded, Lookup, Rule, System};

/// Until a connection stands, the name's resolution and the TLS handshake included.
const CONNECT: Duration = Duration::from_secs(3);
/// Until the last byte is in; and as long for a turn before.
const WHOLE: Duration = Duration::from_secs(5);
/// Of an answer, in bytes, for documents such as key sets.
pub const DOCUMENT: usize = 256 * 1024;
/// Of an address, in bytes.
pub const LONGEST: usize = 2048;
/// Fetches at once on one word, so that who names slow hosts waits for himself alone.
const OWN_SLOTS: usize = 4;
/// Of these an organisation's first is out of many, so that it waits for no other organisation's; all further ones
/// together are no more than so many.
const FIRST_SLOTS: usize = 512;
const FURTHER_SLOTS: usize = 32;

/// On whose word something is fetched.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Word {
    /// The configuration's.
    Operator,
    /// Somebody's of this organisation.
    Tenant(OrgId),
}

/// Why nothing was fetched: for the log.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("the address {0}")]
    Address(&'static str),
    #[error("too many fetches at once")]
    Busy,
    #[error("{0}")]
    Transport(String),
    #[error("HTTP {}, where 200 was expected", .0.as_u16())]
    Status(StatusCode),
    #[error("it is larger than {0} bytes")]
    TooLarge(usize),
}

/// What a host has answered.
pub struct Fetched {
    pub headers: HeaderMap,
    /// Whole.
    pub body: Vec<u8>,
}

pub struct Egress {
    allowed: Arc<[IpNet]>,
    /// For HTTPS.
    outside: Client,
    /// For plain HTTP: into the allowed networks alone.
    inside: Client,
    own: Cache<Word, Arc<Own>>,
    firsts: Semaphore,
    further: Semaphore,
}

/// What one word has.
struct Own {
    all: Semaphore,
    first: Semaphore,
}

/// Held while something is fetched.
type Slots<'a> = (SemaphorePermit<'a>, Option<SemaphorePermit<'a>>, Option<SemaphorePermit<'a>>);

impl Egress {
    /// # Errors
    /// `Internal` if there is no TLS to be had.
    pub fn new(allowed: &[IpNet]) -> Result<Self> {
        Self::resolving_by(Arc::new(System), allowed)
    }

    fn resolving_by(lookup: Arc<dyn Lookup>, allowed: &[IpNet]) -> Result<Self> {
        let allowed: Arc<[IpNet]> = allowed.into();
        let held_to = |public| {
            let rule = Rule { allowed: allowed.clone(), public };
            client(Guarded { lookup: lookup.clone(), rule }).map_err(Error::internal)
        };
        Ok(Self {
            outside: held_to(true)?,
            inside: held_to(false)?,
            own: Cache::builder().max_capacity(10_000).time_to_idle(WHOLE * 12).build(),
            firsts: Semaphore::new(FIRST_SLOTS),
            further: Semaphore::new(FURTHER_SLOTS),
            allowed,
        })
    }

    /// Whether an address may be asked at all, as far as can be told without asking.
    ///
    /// # Errors
    /// What the address must be, to follow its name: "must be an https address…".
    pub fn check(&self, address: &str) -> Result<Url, &'static str> {
        if address.len() > LONGEST {
            return Err("must have at most 2,048 characters");
        }
        let url = Url::parse(address).map_err(|_| "must be an address such as https://issuer.example.org")?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must hold no user and no password");
        }
        let plain = match url.scheme() {
            "https" => false,
            "http" if !self.allowed.is_empty() => true,
            _ => return Err("must be an https address"),
        };
        let host = url.host_str().ok_or("must name a host")?;
        // A literal reaches no resolver. The parser has made one spelling of the many that an address of IPv4 has.
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        if literal.is_ok_and(|ip| !self.rule(plain).lets(ip)) {
            return Err("must not lead into a private network");
        }
        Ok(url)
    }

    /// A 200, whole.
    ///
    /// # Errors
    /// See [`Failure`]: none of it is for the caller.
    pub async fn fetch(&self, word: Word, address: &str, most: usize) -> Result<Fetched, Failure> {
        let url = self.check(address).map_err(Failure::Address)?;
        let own = self.own_of(word);
        let turn = tokio::time::timeout(WHOLE, self.turn(word, &own));
        let Ok(Ok(_slots)) = turn.await else { return Err(Failure::Busy) };
        self.get(url, most).await
    }

    fn own_of(&self, word: Word) -> Arc<Own> {
        self.own.get_with(word, || Arc::new(Own { all: Semaphore::new(OWN_SLOTS), first: Semaphore::new(1) }))
    }

    async fn turn<'a>(&'a self, word: Word, own: &'a Own) -> Result<Slots<'a>, AcquireError> {
        let all = own.all.acquire().await?;
        if word == Word::Operator {
            // It waits for no tenant's.
            return Ok((all, None, None));
        }
        tokio::select! {
            biased;
            first = own.first.acquire() => Ok((all, Some(first?), Some(self.firsts.acquire().await?))),
            further = self.further.acquire() => Ok((all, None, Some(further?))),
        }
    }

    async fn get(&self, url: Url, most: usize) -> Result<Fetched, Failure> {
        let plain = url.scheme() == "http";
        let client = if plain { &self.inside } else { &self.outside };
        let accept = (http::header::ACCEPT, "application/json");
        let mut response = client.get(url).header(accept.0, accept.1).send().await.map_err(told)?;
        // Belt and braces: by all that comes before, this is so.
        if response.remote_addr().is_none_or(|at| !self.rule(plain).lets(at.ip())) {
            return Err(Failure::Address("was dialled, and should not have been"));
        }
        if response.status() != StatusCode::OK {
            return Err(Failure::Status(response.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(told)? {
            if body.len() + chunk.len() > most {
                return Err(Failure::TooLarge(most));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Fetched { headers: std::mem::take(response.headers_mut()), body })
    }

    fn rule(&self, plain: bool) -> Rule {
        Rule { allowed: self.allowed.clone(), public: !plain }
    }
}

/// With all that led to it, and without the address, which may hold a key.
fn told(error: reqwest::Error) -> Failure {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    Failure::Transport(text)
}

fn client(resolver: Guarded) -> reqwest::Result<Client> {
    // Fails when a provider is there already: that one serves as well.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let resolver = Arc::new(resolver);
    let builder = || {
        Client::builder()
            .dns_resolver(resolver.clone())
            .connect_timeout(CONNECT)
            .timeout(WHOLE)
            // Fetches are rare: each makes a connection of its own.
            .pool_max_idle_per_host(0)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .user_agent(concat!("talon/", env!("CARGO_PKG_VERSION")))
    };
    builder().build().or_else(|error| {
        tracing::warn!(%error, "no root certificates are found; nothing can be fetched by https");
        builder().tls_certs_only([]).build()
    })
}
