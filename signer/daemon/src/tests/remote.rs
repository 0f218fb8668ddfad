//! Gateways on other hosts: who gets in, who does not, and what a start says about its files.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Parser as _;
use domain::{Clock, Time};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use signer_protocol::service::Health;
use signer_protocol::tls::{Files, TlsError};
use signer_protocol::{Address, Client, Reason};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{World, reason};
use crate::certificates::{self, make};
use crate::config::TlsConfig;
use crate::remote;
use crate::service::Service;
use crate::start::StartError;

/// One set of certificates, as the command writes them.
struct Set(TempDir);

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    options: certificates::Options,
}

fn command(out: &Path, more: &[&str]) -> Result<String, StartError> {
    let line = ["certificates", "--out", out.to_str().unwrap()].into_iter().chain(more.iter().copied());
    make(&Line::parse_from(line).options, now())
}

fn now() -> Time {
    Clock::default().now()
}

impl Set {
    fn new() -> Self {
        Self::made(now(), "localhost")
    }

    fn made(at: Time, host: &str) -> Self {
        let set = Self(tempfile::tempdir().unwrap());
        let line = ["certificates", "--out", set.0.path().to_str().unwrap(), "--host", host, "--days", "90"];
        make(&Line::parse_from(line).options, at).unwrap();
        set
    }

    fn expired() -> Self {
        Self::made(now().minus(Duration::from_secs(91 * 24 * 60 * 60)), "localhost")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn files(&self, end: &str) -> Files {
        Files {
            ca: self.path("ca.pem"),
            cert: self.path(&format!("{end}.pem")),
            key: self.path(&format!("{end}-key.pem")),
        }
    }

    fn client(&self) -> ClientConfig {
        self.files("gateway").read().unwrap().client().unwrap()
    }

    fn server(&self) -> ServerConfig {
        self.files("signer").read().unwrap().server().unwrap()
    }

    fn certificates(&self, end: &str) -> Vec<CertificateDer<'static>> {
        let pem = std::fs::read(self.path(&format!("{end}.pem"))).unwrap();
        CertificateDer::pem_slice_iter(&pem).map(Result::unwrap).collect()
    }

    fn key(&self, end: &str) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_file(self.path(&format!("{end}-key.pem"))).unwrap()
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.certificates("ca"));
        roots
    }

    /// A client that does not look at itself first: it believes this set, and shows `end` of another.
    fn client_showing(&self, other: &Self, end: &str) -> ClientConfig {
        ClientConfig::builder()
            .with_root_certificates(self.roots())
            .with_client_auth_cert(other.certificates(end), other.key(end))
            .unwrap()
    }
}

fn installed() {
    let _installed_before = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// A signer that listens by TLS, until it is dropped.
struct Served {
    w: World,
    at: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(server: ServerConfig) -> Served {
    let w = World::new();
    let at = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let task = listen(&w, at, server);
    Served { w, at, task }
}

fn listen(w: &World, at: SocketAddr, server: ServerConfig) -> tokio::task::JoinHandle<()> {
    let listener = remote::bind(&TlsConfig { addresses: vec![at], server: Arc::new(server) }).unwrap();
    tokio::spawn(listener.serve(Service(w.signer.clone())))
}

impl Served {
    fn client(&self, host: &str, config: ClientConfig) -> Client {
        let at = format!("{host}:{}", self.at.port()).parse().unwrap();
        Client::new(Address::Tls(at, Arc::new(config)))
    }
}

async fn healthy(client: &Client) {
    assert_eq!(client.ask(async |signer, cx| signer.health(cx).await).await.unwrap(), Health::Ok);
}

/// Nothing is answered; why, by what reached this end.
async fn refused(client: &Client) -> String {
    refused_quietly(client).await;
    // The connection may break a moment after the request is given up.
    for _ in 0..100 {
        if let Some(trouble) = client.trouble() {
            return trouble;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no cause is known")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_with_its_certificate_gets_in() {
    let set = Set::new();
    let served = serve(set.server()).await;
    let client = served.client("localhost", set.client());
    healthy(&client).await;
    assert!(client.trouble().is_none());
    // Many at once on one connection.
    futures::future::join_all((0..300).map(|_| healthy(&client))).await;
    // By address instead of name.
    let set = Set::made(now(), "127.0.0.1");
    healthy(&serve(set.server()).await.client("127.0.0.1", set.client())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_without_the_right_certificate_are_refused() {
    installed();
    let (set, other, old) = (Set::new(), Set::new(), Set::expired());
    let served = serve(set.server()).await;
    let bare = ClientConfig::builder().with_root_certificates(set.roots()).with_no_client_auth();
    for (config, alert) in [
        (bare, "CertificateRequired"),
        (set.client_showing(&other, "gateway"), "UnknownCA"),
        (set.client_showing(&set, "signer"), "UnsupportedCertificate"),
    ] {
        let said = refused(&served.client("localhost", config)).await;
        assert!(said.contains(alert), "{alert}: {said}");
    }
    healthy(&served.client("localhost", set.client())).await;

    // Of the right CA, and too late: the signer believes both CAs, so that the date alone is wrong.
    let both = tempfile::tempdir().unwrap();
    let mut files = set.files("signer");
    files.ca = both.path().join("ca.pem");
    let pem = |set: &Set| std::fs::read_to_string(set.path("ca.pem")).unwrap();
    std::fs::write(&files.ca, pem(&set) + &pem(&old)).unwrap();
    let served = serve(files.read().unwrap().server().unwrap()).await;
    let said = refused(&served.client("localhost", set.client_showing(&old, "gateway"))).await;
    assert!(said.contains("CertificateExpired"), "{said}");
    healthy(&served.client("localhost", set.client())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_cas_in_one_file_let_both_sets_in_while_one_takes_the_others_place() {
    let (old, new) = (Set::new(), Set::new());
    let pem = |set: &Set| std::fs::read_to_string(set.path("ca.pem")).unwrap();
    for ca in [pem(&old) + &pem(&new), pem(&new) + &pem(&old)] {
        std::fs::write(old.path("both.pem"), ca).unwrap();
        let files = Files { ca: old.path("both.pem"), ..old.files("signer") };
        let served = serve(files.read().unwrap().server().unwrap()).await;
        healthy(&served.client("localhost", old.client())).await;
        let files = Files { ca: old.path("both.pem"), ..new.files("gateway") };
        healthy(&served.client("localhost", files.read().unwrap().client().unwrap())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_believes_no_other_signer() {
    installed();
    let (set, other) = (Set::new(), Set::new());
    let said = refused(&serve(other.server()).await.client("localhost", set.client())).await;
    assert!(said.contains("UnknownIssuer"), "{said}");
    let said = refused(&serve(set.server()).await.client("127.0.0.1", set.client())).await;
    assert!(said.contains("not valid for name"), "{said}");
    // A gateway that poses as the signer, to another one.
    let posing = |set: &Set, end: &str| {
        ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(set.certificates(end), set.key(end))
            .unwrap()
    };
    let said = refused(&serve(posing(&set, "gateway")).await.client("localhost", set.client())).await;
    assert!(said.contains("does not allow extended key usage for server authentication"), "{said}");
    let old = Set::expired();
    let config = old.client_showing(&set, "gateway");
    let said = refused(&serve(posing(&old, "signer")).await.client("localhost", config)).await;
    assert!(said.contains("expired"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn older_tls_and_plain_text_get_no_word_in() {
    installed();
    let set = Set::new();
    let served = serve(set.server()).await;
    let old = ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS12])
        .with_root_certificates(set.roots())
        .with_client_auth_cert(set.certificates("gateway"), set.key("gateway"))
        .unwrap();
    let said = refused(&served.client("localhost", old)).await;
    assert!(said.contains("ProtocolVersion"), "{said}");

    for rubbish in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 64], &[0, 0, 0, 1, 0xc1]] {
        let mut stream = TcpStream::connect(served.at).await.unwrap();
        stream.write_all(rubbish).await.unwrap();
        let mut answer = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(4), stream.read_to_end(&mut answer)).await;
        // An alert of TLS at most: 7 bytes.
        assert!(closed.is_ok() && answer.len() <= 7, "{rubbish:?}: {answer:?}");
    }
    healthy(&served.client("localhost", set.client())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_who_say_nothing_take_no_gateways_place_and_are_hung_up_on() {
    let set = Set::new();
    let served = serve(set.server()).await;
    let mut strangers = Vec::new();
    for _ in 0..100 {
        strangers.push(TcpStream::connect(served.at).await.unwrap());
    }
    let client = served.client("localhost", set.client());
    tokio::time::timeout(Duration::from_secs(2), healthy(&client)).await.unwrap();
    for mut stranger in strangers {
        let mut answer = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(8), stranger.read_to_end(&mut answer)).await;
        assert!(closed.is_ok() && answer.is_empty(), "{answer:?}");
    }
    healthy(&client).await;
}

/// No ticket is given out, so every connection shows its certificate anew.
#[tokio::test(flavor = "multi_thread")]
async fn no_session_is_resumed() {
    installed();
    let set = Set::new();
    let served = serve(set.server()).await;
    let eager = Arc::new(set.client_showing(&set, "gateway"));
    for _ in 0..3 {
        let stream = TcpStream::connect(served.at).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(eager.clone());
        let mut stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
        // Tickets would come with the first answer.
        let _quiet = tokio::time::timeout(Duration::from_millis(200), stream.read_u8()).await;
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_comes_back_with_its_signer_and_nobody_waits_in_a_queue() {
    let set = Set::new();
    let mut served = serve(set.server()).await;
    let client = served.client("localhost", set.client());
    healthy(&client).await;
    served.task.abort();
    // What the task has spawned goes on until the other end hangs up: a new client finds nobody.
    let other = served.client("localhost", set.client());
    while TcpStream::connect(served.at).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    refused(&other).await;
    served.task = listen(&served.w, served.at, set.server());
    healthy(&other).await;

    // A host that answers nothing: everybody who asks waits once, and together.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = format!("localhost:{}", silent.local_addr().unwrap().port()).parse().unwrap();
    let client = Client::new(Address::Tls(at, Arc::new(set.client())));
    let begun = std::time::Instant::now();
    futures::future::join_all((0..20).map(|_| refused_quietly(&client))).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

async fn refused_quietly(client: &Client) {
    let answer = client.ask(async |signer, cx| signer.health(cx).await).await;
    assert_eq!(reason(answer), Reason::Unavailable);
}

#[test]
fn the_command_writes_a_set_once_and_says_what_goes_where() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("new/certificates");
    let said = command(&out, &["--host", "signer.example.org", "--host", "192.0.2.7"]).unwrap();
    for named in [
        "tls:signer.example.org:8444",
        "TALON_SIGNER_CERT=gateway.pem",
        "--tls-key signer-key.pem",
        "good until",
    ] {
        assert!(said.contains(named), "{named}: {said}");
    }
    let mode = |name: &str| std::fs::metadata(out.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("signer-key.pem"), mode("gateway-key.pem")), (0o600, 0o600));
    let names = |folder: &Path| {
        let mut names: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    // No key of the CA's.
    assert_eq!(names(&out), ["ca.pem", "gateway-key.pem", "gateway.pem", "signer-key.pem", "signer.pem"]);

    let kept = std::fs::read(out.join("gateway-key.pem")).unwrap();
    let error = command(&out, &["--host", "other"]).unwrap_err().to_string();
    assert!(error.contains("ca.pem") && error.contains("exists"), "{error}");
    assert_eq!(std::fs::read(out.join("gateway-key.pem")).unwrap(), kept);
    // One of them there is enough, and what was begun is taken back.
    let half = folder.path().join("half");
    std::fs::create_dir(&half).unwrap();
    std::fs::write(half.join("gateway.pem"), "mine").unwrap();
    assert!(command(&half, &["--host", "other"]).unwrap_err().to_string().contains("gateway.pem"));
    assert_eq!(names(&half), ["gateway.pem"]);
    assert_eq!(std::fs::read_to_string(half.join("gateway.pem")).unwrap(), "mine");
}

#[test]
fn hosts_and_days_are_checked() {
    for line in [
        &["--host", "signer.example.org:8444"][..],
        &["--host", "a b"],
        &["--host", ""],
        &["--host", "*.example.org"],
        &["--host", "a", "--days", "0"],
        &["--host", "a", "--days", "3651"],
        &[],
    ] {
        let line = ["certificates", "--out", "x"].into_iter().chain(line.iter().copied());
        assert!(Line::try_parse_from(line.clone()).is_err(), "{:?}", line.collect::<Vec<_>>());
    }
}

/// What is wrong with a file, with the file's name in it.
#[test]
fn files_that_can_not_work_are_named_at_the_start() {
    let (set, other, old) = (Set::new(), Set::new(), Set::expired());
    let early = Set::made(now().plus(Duration::from_secs(7200)), "localhost");
    let said = |files: &Files| -> String {
        let read = files.read().and_then(|read| read.server().map(drop));
        let error: TlsError = read.unwrap_err();
        error.to_string()
    };
    let signer = set.files("signer");
    let rubbish = set.path("rubbish.pem");
    std::fs::write(&rubbish, "-----BEGIN LETTER-----").unwrap();
    std::fs::set_permissions(&rubbish, std::fs::Permissions::from_mode(0o600)).unwrap();
    let open = set.path("open-key.pem");
    std::fs::copy(&signer.key, &open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o604)).unwrap();
    for (files, named) in [
        (Files { ca: "/nowhere/ca.pem".into(), ..signer.clone() }, "/nowhere/ca.pem can't be read"),
        (Files { ca: rubbish.clone(), ..signer.clone() }, "rubbish.pem holds no certificate"),
        (Files { cert: "/nowhere/c.pem".into(), ..signer.clone() }, "/nowhere/c.pem can't be read"),
        (Files { cert: signer.key.clone(), ..signer.clone() }, "signer-key.pem holds no certificate"),
        (Files { key: "/nowhere/k.pem".into(), ..signer.clone() }, "/nowhere/k.pem can't be read"),
        (Files { key: rubbish, ..signer.clone() }, "rubbish.pem holds no private key"),
        (Files { key: open, ..signer.clone() }, "chmod 600"),
        (Files { key: set.path("gateway-key.pem"), ..signer.clone() }, "is not the key of"),
        (Files { ca: other.path("ca.pem"), ..signer.clone() }, "is not of the CA in"),
        (set.files("gateway"), "gateway.pem is no certificate of a signer"),
        (old.files("signer"), "signer.pem has expired: make new ones with `talon-signer certificates`"),
        (early.files("signer"), "signer.pem is not valid yet"),
    ] {
        let said = said(&files);
        assert!(said.contains(named), "{named}: {said}");
        assert!(!said.contains("BEGIN"), "{said}");
    }
    let error = signer.read().unwrap().client().unwrap_err().to_string();
    assert!(error.contains("signer.pem is no certificate of a gateway"), "{error}");
    let error = old.files("gateway").read().unwrap().client().unwrap_err().to_string();
    assert!(error.contains("gateway.pem has expired"), "{error}");
}
