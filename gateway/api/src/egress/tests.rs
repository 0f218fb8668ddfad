//! Hosts that would have this gateway reach into its own network, and hosts that would hold it up.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use futures::future::BoxFuture;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Gives one list of addresses after the other, and the last again and again.
struct Changing {
    answers: Vec<Vec<IpAddr>>,
    asked: AtomicUsize,
}

impl Changing {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let parse = |list: &&[&str]| list.iter().map(|ip| ip.parse().unwrap()).collect();
        Arc::new(Self { answers: answers.iter().map(parse).collect(), asked: AtomicUsize::new(0) })
    }
}

impl Lookup for Changing {
    fn lookup(&self, _: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let turn = self.asked.fetch_add(1, Ordering::SeqCst).min(self.answers.len() - 1);
        let answer = self.answers[turn].clone();
        Box::pin(async move { Ok(answer) })
    }
}

/// A server that says this to everybody, a piece at a time, and how many came.
async fn server(pieces: Vec<Vec<u8>>, pause: Duration) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let at = listener.local_addr().unwrap();
    let came = Arc::new(AtomicUsize::new(0));
    let count = came.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let pieces = pieces.clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                for piece in pieces {
                    if stream.write_all(&piece).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(pause).await;
                }
            });
        }
    });
    (at, came)
}

fn ok(body: &str) -> Vec<Vec<u8>> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    vec![head.into_bytes(), body.as_bytes().to_vec()]
}

fn egress(lookup: Arc<Changing>, allowed: &[&str]) -> Egress {
    let allowed: Vec<IpNet> = allowed.iter().map(|net| net.parse().unwrap()).collect();
    Egress::resolving_by(lookup, &allowed).unwrap()
}

async fn fetch(egress: &Egress, url: &str) -> Result<Vec<u8>, Failure> {
    egress.fetch(Word::Operator, url, 1024).await.map(|fetched| fetched.body)
}

#[tokio::test]
async fn what_is_allowed_is_fetched_by_name_and_by_address() {
    let (at, came) = server(ok("{}"), Duration::ZERO).await;
    let egress = egress(Changing::new(&[&["127.0.0.1"]]), &["127.0.0.0/8"]);
    for host in ["issuer.example.org", "127.0.0.1", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]"] {
        let body = fetch(&egress, &format!("http://{host}:{}/x", at.port())).await;
        assert_eq!(body.unwrap_or_else(|error| panic!("{host}: {error}")), b"{}", "{host}");
    }
    assert_eq!(came.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn a_name_that_leads_inside_is_not_dialled() {
    let (at, came) = server(ok("{}"), Duration::ZERO).await;
    let url = |scheme: &str| format!("{scheme}://issuer.example.org:{}/", at.port());
    for inside in
        ["127.0.0.1", "::ffff:127.0.0.1", "::1", "10.1.2.3", "169.254.169.254", "fd00::1", "0.0.0.0"]
    {
        let failure = fetch(&egress(Changing::new(&[&[inside]]), &[]), &url("https")).await.unwrap_err();
        assert!(failure.to_string().contains("none of its addresses"), "{inside}: {failure}");
    }
    // Other networks being allowed is no leave for this one, nor for plain HTTP to the internet.
    let other = egress(Changing::new(&[&["127.0.0.1"]]), &["10.0.0.0/8"]);
    for scheme in ["http", "https"] {
        assert!(fetch(&other, &url(scheme)).await.is_err());
    }
    let internet = egress(Changing::new(&[&["1.1.1.1"]]), &["10.0.0.0/8"]);
    let failure = fetch(&internet, &url("http")).await.unwrap_err();
    assert!(failure.to_string().contains("none of its addresses"), "{failure}");
    assert_eq!(came.load(Ordering::SeqCst), 0);
}

/// DNS rebinding: an answer for the check, another one for the connection.
#[tokio::test]
async fn a_resolver_that_changes_its_answer_is_asked_once_for_each_connection() {
    let (at, came) = server(ok("{}"), Duration::ZERO).await;
    let lookup = Changing::new(&[&["10.0.0.1", "127.0.0.2"], &["127.0.0.1"]]);
    // 127.0.0.2 alone may be dialled, and nobody listens there: the second answer must never be asked for.
    let once = egress(lookup.clone(), &["127.0.0.2/32"]);
    let url = format!("http://issuer.example.org:{}/", at.port());
    assert!(fetch(&once, &url).await.is_err());
    assert_eq!(lookup.asked.load(Ordering::SeqCst), 1);
    // And when it is asked again, its answer is looked at again.
    let failure = fetch(&once, &url).await.unwrap_err();
    assert!(failure.to_string().contains("none of its addresses"), "{failure}");
    // Among several, those that may not are passed over.
    let mixed = egress(Changing::new(&[&["10.0.0.1", "169.254.169.254", "127.0.0.1"]]), &["127.0.0.1/32"]);
    let begun = Instant::now();
    assert_eq!(fetch(&mixed, &url).await.unwrap(), b"{}");
    assert!(begun.elapsed() < Duration::from_secs(1), "it tried another first");
    assert_eq!(came.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (inside, came) = server(ok("{}"), Duration::ZERO).await;
    let away = format!(
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{}/\r\ncontent-length: 0\r\n\r\n",
        inside.port()
    );
    let (at, _) = server(vec![away.into_bytes()], Duration::ZERO).await;
    let egress = egress(Changing::new(&[&["127.0.0.1"]]), &["127.0.0.1/32"]);
    let failure = fetch(&egress, &format!("http://127.0.0.1:{}/", at.port())).await.unwrap_err();
    assert!(matches!(failure, Failure::Status(StatusCode::FOUND)), "{failure}");
    assert_eq!(came.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_is_too_large_is_given_up_whether_it_says_so_or_not() {
    let endless = std::iter::once(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec())
        .chain((0..64).map(|_| vec![b'x'; 64 * 1024]));
    for pieces in [ok(&"x".repeat(1025)), endless.collect()] {
        let (at, _) = server(pieces, Duration::ZERO).await;
        let egress = egress(Changing::new(&[&[]]), &["127.0.0.1/32"]);
        let failure = fetch(&egress, &format!("http://127.0.0.1:{}/", at.port())).await.unwrap_err();
        assert!(matches!(failure, Failure::TooLarge(1024)), "{failure}");
    }
}

#[tokio::test]
async fn who_is_slow_is_given_up_and_holds_up_nobody_else() {
    let mut drip = ok(&"x".repeat(100));
    let body = drip.pop().unwrap();
    drip.extend(body.into_iter().map(|byte| vec![byte]));
    let (slow, came) = server(drip, Duration::from_millis(500)).await;
    let (fast, _) = server(ok("{}"), Duration::ZERO).await;
    let egress = Arc::new(egress(Changing::new(&[&[]]), &["127.0.0.1/32"]));
    let eve = Word::Tenant(OrgId::new());
    let begun = Instant::now();
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let (egress, url) = (egress.clone(), format!("http://127.0.0.1:{}/", slow.port()));
            tokio::spawn(async move { egress.fetch(eve, &url, 1024).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(came.load(Ordering::SeqCst), OWN_SLOTS, "as many as one organisation gets");
    let url = format!("http://127.0.0.1:{}/", fast.port());
    for other in [Word::Operator, Word::Tenant(OrgId::new())] {
        assert_eq!(egress.fetch(other, &url, 1024).await.unwrap().body, b"{}");
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    for one in waiting {
        assert!(one.await.unwrap().is_err());
    }
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
}

/// Twenty tenants with dead issuers took all the slots that there were.
#[tokio::test]
async fn many_organisations_with_silent_hosts_hold_up_no_other() {
    let silent = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let (fast, _) = server(ok("{}"), Duration::ZERO).await;
    let egress = Arc::new(egress(Changing::new(&[&[]]), &["127.0.0.1/32"]));
    let dead = format!("http://{}/", silent.local_addr().unwrap());
    let slow: Vec<_> = (0..40)
        .map(|_| Word::Tenant(OrgId::new()))
        .flat_map(|word| [word; 2 * OWN_SLOTS])
        .map(|word| {
            let (egress, dead) = (egress.clone(), dead.clone());
            tokio::spawn(async move { egress.fetch(word, &dead, 1024).await.map(drop) })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(egress.further.available_permits(), 0);
    assert_eq!(egress.firsts.available_permits(), FIRST_SLOTS - 40, "one for each organisation");
    let begun = Instant::now();
    let url = format!("http://127.0.0.1:{}/", fast.port());
    for _ in 0..5 {
        let other = Word::Tenant(OrgId::new());
        assert_eq!(egress.fetch(other, &url, 1024).await.unwrap().body, b"{}");
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    slow.into_iter().for_each(|one| one.abort());
}

#[test]
fn addresses_that_no_one_should_name_are_refused_by_themselves() {
    let (none, some) = (egress(Changing::new(&[&[]]), &[]), egress(Changing::new(&[&[]]), &["10.0.0.0/8"]));
    for (address, why) in [
        ("issuer.example.org", "address such as"),
        ("", "address such as"),
        ("https://", "address such as"),
        ("ftp://issuer.example.org", "https"),
        ("file:///etc/passwd", "https"),
        ("gopher://issuer.example.org/_x", "https"),
        ("data:application/json,{}", "https"),
        ("https://ada:hunter2@issuer.example.org", "no user"),
        ("https://127.0.0.1", "private"),
        ("https://127.1", "private"),
        ("https://127.0.0.1.", "private"),
        ("https://2130706433", "private"),
        ("https://0x7f000001", "private"),
        ("https://0177.0.0.1", "private"),
        ("https://0xA9.0376.43518", "private"),
        ("https://①②⑦.⓪.⓪.①", "private"),
        ("https://%31%32%37.0.0.1", "private"),
        ("https://0", "private"),
        ("https://[::1]", "private"),
        ("https://[::]:8443", "private"),
        ("https://[::ffff:169.254.169.254]", "private"),
        ("https://[0:0:0:0:0:ffff:7f00:1]", "private"),
        ("https://[64:ff9b::7f00:1]", "private"),
        ("https://[2002:7f00:1::]", "private"),
        ("https://[fe80::1]", "private"),
    ] {
        for egress in [&none, &some] {
            let refused = egress.check(address).unwrap_err();
            assert!(refused.contains(why) || refused.contains("address such as"), "{address}: {refused}");
        }
    }
    assert!(none.check("http://issuer.example.org").is_err(), "plain HTTP, and no network is allowed");
    assert!(some.check("http://8.8.8.8").is_err(), "plain HTTP, and not into an allowed network");
    for fine in ["https://issuer.example.org/a?b", "https://8.8.8.8:8443/", "https://[2606:4700::1111]"] {
        assert!(none.check(fine).is_ok(), "{fine}");
    }
    for allowed in ["http://10.1.2.3/x", "https://10.1.2.3", "http://167838211", "http://[::ffff:10.1.2.3]"] {
        assert!(some.check(allowed).is_ok() && none.check(allowed).is_err(), "{allowed}");
    }
}

proptest! {
    /// Whatever notation a private address is written in, it is refused.
    #[test]
    fn no_private_address_gets_through_in_any_notation(bits in any::<u32>(), net in 0_usize..8, form in 0_usize..9) {
        const NETS: [(u32, u32); 8] = [
            (0x7f00_0000, 8), (0x0a00_0000, 8), (0xac10_0000, 12), (0xc0a8_0000, 16), (0xa9fe_0000, 16),
            (0x6440_0000, 10), (0, 8), (0xe000_0000, 3),
        ];
        let (base, prefix) = NETS[net];
        let bits = base | (bits & (u32::MAX >> prefix));
        let [a, b, c, d] = bits.to_be_bytes();
        let low = bits & 0x00ff_ffff;
        let host = match form {
            0 => format!("{a}.{b}.{c}.{d}"),
            1 => format!("{bits}"),
            2 => format!("0x{bits:x}"),
            3 => format!("0{bits:o}"),
            4 => format!("0x{a:X}.0{b:o}.{c}.{d}."),
            5 => format!("{a}.{low}"),
            6 => format!("[::ffff:{a}.{b}.{c}.{d}]"),
            7 => format!("[64:ff9b::{a}.{b}.{c}.{d}]"),
            _ => format!("[2002:{a:02x}{b:02x}:{c:02x}{d:02x}::1]"),
        };
        let egress = egress(Changing::new(&[&[]]), &[]);
        let refused = egress.check(&format!("https://{host}/"));
        prop_assert_eq!(refused.err(), Some("must not lead into a private network"), "{}", host);
    }
}
