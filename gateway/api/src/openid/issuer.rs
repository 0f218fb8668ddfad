//! An issuer's keys, fetched when they are needed and kept within bounds.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use domain::{Clock, Time};
use http::{HeaderMap, header};
use serde::Deserialize;

use super::keys::{Key, KeySet};
use crate::egress::{DOCUMENT, Egress, Failure, Fetched, Word};

/// How long keys are kept without asking, whatever the issuer says of them: an hour where it says nothing.
const SHORTEST: Duration = Duration::from_secs(5 * 60);
const USUAL: Duration = Duration::from_secs(60 * 60);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// And how much longer while the issuer can't be asked.
const GRACE: Duration = Duration::from_secs(6 * 60 * 60);
/// Between two fetches: tokens with keys that nobody knows must not make us ask again and again.
const PAUSE: Duration = Duration::from_secs(60);
/// The same while there is no key at all.
const PAUSE_WITHOUT: Duration = Duration::from_secs(10);

/// Where an issuer's keys are.
#[derive(Clone, Debug)]
pub enum Place {
    /// At this address.
    Keys(String),
    /// Where the issuer's own discovery document says (OpenID Connect Discovery §4).
    Discovered(String),
}

/// One issuer. It is asked by one at a time; who has a key that is known and fresh waits for nobody.
pub struct Issuer {
    place: Place,
    held: RwLock<Held>,
    turn: tokio::sync::Mutex<()>,
    /// How many there were: who has waited through one has had it.
    turns: AtomicU64,
}

#[derive(Clone)]
struct Held {
    keys: Arc<KeySet>,
    /// Until then nobody need be asked; and until then, if nobody can be.
    fresh_until: Time,
    kept_until: Time,
    /// No earlier fetch than that.
    next: Time,
}

impl Issuer {
    pub fn new(place: Place) -> Self {
        let never = Time::from_millis(i64::MIN);
        let held = Held { keys: Arc::default(), fresh_until: never, kept_until: never, next: never };
        Self { place, held: RwLock::new(held), turn: tokio::sync::Mutex::default(), turns: AtomicU64::new(0) }
    }

    /// The key with this id. `None`: the issuer has no such key, as far as is known.
    ///
    /// # Errors
    /// Why there are no keys of the issuer's at all: for the log.
    pub async fn key(
        &self,
        egress: &Egress,
        clock: &Clock,
        word: Word,
        id: &str,
    ) -> Result<Option<Key>, String> {
        if let Some(key) = self.fresh(clock.now(), id) {
            return Ok(Some(key));
        }
        let before = self.turns.load(Ordering::Acquire);
        let _turn = self.turn.lock().await;
        // Somebody may have asked while we waited.
        if let Some(key) = self.fresh(clock.now(), id) {
            return Ok(Some(key));
        }
        let asked = self.turns.load(Ordering::Acquire) != before || clock.now() < self.held().next;
        let fetched = if asked {
            Err("its keys were asked for a moment ago".to_owned())
        } else {
            self.refresh(egress, clock, word).await
        };
        let held = self.held();
        if clock.now() < held.kept_until { Ok(held.keys.find(id).cloned()) } else { fetched.map(|()| None) }
    }

    fn held(&self) -> Held {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn fresh(&self, now: Time, id: &str) -> Option<Key> {
        let held = self.held();
        if now < held.fresh_until { held.keys.find(id).cloned() } else { None }
    }

    async fn refresh(&self, egress: &Egress, clock: &Clock, word: Word) -> Result<(), String> {
        let fetched = self.fetch(egress, word).await;
        self.turns.fetch_add(1, Ordering::Release);
        let now = clock.now();
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        match fetched {
            Ok((keys, lifetime)) => {
                let fresh_until = now.plus(lifetime);
                let kept_until = fresh_until.plus(GRACE);
                *held = Held { keys: Arc::new(keys), fresh_until, kept_until, next: now.plus(PAUSE) };
                Ok(())
            }
            Err(failed) => {
                let error = failed.to_string();
                // Where we were too busy to ask, the issuer has done nothing.
                if !matches!(failed, Failed::Fetch { failure: Failure::Busy, .. }) {
                    held.next = now.plus(if now < held.kept_until { PAUSE } else { PAUSE_WITHOUT });
                }
                tracing::warn!(place = ?self.place, error, "an issuer's keys can't be fetched");
                Err(error)
            }
        }
    }

    async fn fetch(&self, egress: &Egress, word: Word) -> Result<(KeySet, Duration), Failed> {
        let address = match &self.place {
            Place::Keys(address) => address.clone(),
            Place::Discovered(issuer) => discover(egress, word, issuer).await?,
        };
        let fetched = document(egress, word, &address).await?;
        let keys =
            KeySet::parse(&fetched.body).map_err(|error| Failed::Document(format!("{address}: {error}")))?;
        Ok((keys, lifetime(&fetched.headers)))
    }
}

/// Why there are no keys: for the log.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("{address}: {failure}")]
    Fetch { address: String, failure: Failure },
    #[error("{0}")]
    Document(String),
}

async fn document(egress: &Egress, word: Word, address: &str) -> Result<Fetched, Failed> {
    let fetched = egress.fetch(word, address, DOCUMENT).await;
    fetched.map_err(|failure| Failed::Fetch { address: address.to_owned(), failure })
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// Where the issuer's keys are. A document of another issuer's is none: whoever could put it there would vouch for
/// that one's clients (OpenID Connect Discovery §4.3).
async fn discover(egress: &Egress, word: Word, issuer: &str) -> Result<String, Failed> {
    let address = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let fetched = document(egress, word, &address).await?;
    let found: Discovery = serde_json::from_slice(&fetched.body)
        .map_err(|error| Failed::Document(format!("{address}: no discovery document: {error}")))?;
    if found.issuer != issuer {
        return Err(Failed::Document(format!("{address}: the document is another issuer's")));
    }
    Ok(found.jwks_uri)
}

/// How long an answer is fresh (RFC 9111 §5.2.2.1), within our bounds.
fn lifetime(headers: &HeaderMap) -> Duration {
    let lines = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
    let told = lines.flat_map(|line| line.split(',')).find_map(|directive| {
        let (name, seconds) = directive.trim().split_once('=')?;
        let named = name.eq_ignore_ascii_case("max-age");
        named.then(|| seconds.trim_matches('"').parse().ok().map(Duration::from_secs)).flatten()
    });
    told.unwrap_or(USUAL).clamp(SHORTEST, LONGEST)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Mutex;
    use std::sync::atomic::AtomicUsize;

    use base64::Engine as _;
    use serde_json::json;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn an_issuer_says_how_long_its_keys_are_good_within_bounds() {
        let told = |line: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CACHE_CONTROL, line.parse().unwrap());
            lifetime(&headers)
        };
        assert_eq!(lifetime(&HeaderMap::new()), USUAL);
        assert_eq!(told("public, max-age=19204, must-revalidate"), Duration::from_secs(19204));
        assert_eq!(told("MAX-AGE=600"), Duration::from_secs(600));
        assert_eq!((told("max-age=0"), told("no-store")), (SHORTEST, USUAL));
        assert_eq!((told("max-age=99999999"), told("max-age=-1")), (LONGEST, USUAL));
    }

    /// A host of keys: these ids, or none while it is down.
    struct Host {
        issuer: Issuer,
        egress: Egress,
        clock: Clock,
        ids: Arc<Mutex<Option<Vec<&'static str>>>>,
        asked: Arc<AtomicUsize>,
    }

    impl Host {
        async fn new() -> Self {
            let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let place = Place::Keys(format!("http://{}/keys", listener.local_addr().unwrap()));
            let ids = Arc::new(Mutex::new(None::<Vec<&'static str>>));
            let asked = Arc::new(AtomicUsize::new(0));
            let (answer, count) = (ids.clone(), asked.clone());
            tokio::spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    let _ = stream.read(&mut [0; 4096]).await;
                    count.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    let text = match answer.lock().unwrap().as_ref() {
                        Some(ids) => said(ids),
                        None => "HTTP/1.1 503 Away\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".into(),
                    };
                    let _ = stream.write_all(text.as_bytes()).await;
                }
            });
            let egress = Egress::new(&["127.0.0.1/32".parse().unwrap()]).unwrap();
            Self { issuer: Issuer::new(place), egress, clock: Clock::default(), ids, asked }
        }

        fn has(&self, ids: &[&'static str]) {
            *self.ids.lock().unwrap() = Some(ids.to_vec());
        }

        async fn knows(&self, id: &str) -> Result<bool, String> {
            let key = self.issuer.key(&self.egress, &self.clock, Word::Operator, id).await;
            key.map(|found| found.is_some())
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::SeqCst)
        }
    }

    fn said(ids: &[&str]) -> String {
        let n = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode([0xc5; 256]);
        let keys: Vec<_> =
            ids.iter().map(|id| json!({"kty": "RSA", "kid": id, "n": n, "e": "AQAB"})).collect();
        let body = json!({ "keys": keys }).to_string();
        format!(
            "HTTP/1.1 200 OK\r\ncache-control: max-age=600\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    #[tokio::test]
    async fn keys_are_asked_for_once_whoever_needs_them() {
        let host = Host::new().await;
        host.has(&["a"]);
        let all = futures::future::join_all((0..50).map(|_| host.knows("a"))).await;
        assert!(all.into_iter().all(|found| found == Ok(true)));
        assert_eq!(host.asked(), 1);
    }

    #[tokio::test]
    async fn a_key_that_is_not_known_is_asked_for_once_a_minute() {
        let host = Host::new().await;
        host.has(&["a"]);
        assert_eq!(host.knows("a").await, Ok(true));
        for _ in 0..10 {
            assert_eq!(host.knows("evil").await, Ok(false));
        }
        assert_eq!(host.asked(), 1, "a moment after the first fetch");
        // Rotated: both are good, then the new one alone.
        host.clock.advance(PAUSE);
        host.has(&["a", "b"]);
        let all = futures::future::join_all((0..20).map(|_| host.knows("b"))).await;
        assert!(all.into_iter().all(|found| found == Ok(true)));
        assert_eq!((host.knows("a").await, host.asked()), (Ok(true), 2));
        host.has(&["b"]);
        host.clock.advance(Duration::from_secs(601));
        assert_eq!((host.knows("a").await, host.asked()), (Ok(false), 3));
    }

    #[tokio::test]
    async fn while_an_issuer_is_away_its_keys_are_kept_but_not_for_ever() {
        let host = Host::new().await;
        assert!(host.knows("a").await.unwrap_err().contains("503"));
        assert!(host.knows("a").await.unwrap_err().contains("a moment ago"));
        assert_eq!(host.asked(), 1);
        host.has(&["a"]);
        host.clock.advance(PAUSE_WITHOUT);
        assert_eq!(host.knows("a").await, Ok(true));
        *host.ids.lock().unwrap() = None;
        host.clock.advance(Duration::from_secs(601));
        for _ in 0..5 {
            assert_eq!(host.knows("a").await, Ok(true));
        }
        assert_eq!(host.asked(), 3, "one try, and then a pause");
        host.clock.advance(GRACE);
        assert!(host.knows("a").await.is_err());
    }

    #[tokio::test]
    async fn an_issuer_that_we_were_too_busy_to_ask_is_asked_at_once_afterwards() {
        let host = Host::new().await;
        host.has(&["a"]);
        let silent = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = format!("http://{}/", silent.local_addr().unwrap());
        let word = Word::Tenant(domain::OrgId::new());
        // Its slots are taken, and taken again when they are free.
        let busy = async |after: u64| {
            tokio::time::sleep(Duration::from_secs(after)).await;
            let fetches = (0..4).map(|_| host.egress.fetch(word, &address, 1024));
            futures::future::join_all(fetches).await;
        };
        let key = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            let asked = (0..3).map(|_| host.issuer.key(&host.egress, &host.clock, word, "a"));
            let begun = std::time::Instant::now();
            let answers = futures::future::join_all(asked).await;
            assert!(begun.elapsed() < Duration::from_secs(9), "they wait together: {:?}", begun.elapsed());
            for answer in answers {
                let error = answer.map(|found| found.is_some()).unwrap_err();
                assert!(error.contains("too many fetches") || error.contains("a moment ago"), "{error}");
            }
        };
        tokio::join!(busy(0), busy(1), key);
        assert_eq!(host.asked(), 0);
        let found = host.issuer.key(&host.egress, &host.clock, word, "a").await;
        assert!(found.is_ok_and(|key| key.is_some()));
    }
}
