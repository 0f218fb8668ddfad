//! Agents that show a certificate: on connections of their own, and through a proxy.

use std::sync::Arc;

use harness::{Call, Certificate, Database, Person, Value, World, believing, json};
use reqwest::Method;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, SignatureScheme, SupportedProtocolVersion};
use sha2::Digest as _;

fn fingerprint(certificate: &Certificate) -> String {
    hex::encode(sha2::Sha256::digest(&certificate.der))
}

/// An agent with this certificate; its id.
async fn register(ada: &Person<'_>, certificate: &Certificate) -> String {
    let hex = fingerprint(certificate);
    let colons = hex
        .to_uppercase()
        .as_bytes()
        .chunks(2)
        .map(|p| String::from_utf8_lossy(p).into_owned())
        .collect::<Vec<_>>()
        .join(":");
    let body = json!({"name": "edge", "auth_method": "mtls", "client_cert_fingerprint": colons});
    let made = ada.post("/v1/agents", &body).expect(201, "mtls").await;
    assert_eq!((made.get("api_key"), &made["agent"]["client_cert_fingerprint"]), (None, &json!(hex)));
    made["agent"]["id"].as_str().unwrap().to_owned()
}

fn ask(w: &World, client: &reqwest::Client, id: &str) -> Call {
    Call::new(client, &w.base, Method::POST, "/v1/auth/agent-token", None).json(&json!({"agent_id": id}))
}

fn showing(w: &World, certificate: &Certificate) -> reqwest::Client {
    believing(w.certificate.as_ref().unwrap()).identity(certificate.identity()).build().unwrap()
}

async fn works(w: &World, answer: &Value, id: &str) {
    let me = w.call(Method::GET, "/v1/agents/me", answer["access_token"].as_str()).expect(200, "edge").await;
    assert_eq!(me["id"], json!(id));
}

/// Both databases; TLS of Talon's own.
async fn on_tls(database: Database) {
    let w = World::on(database)
        .tls()
        .with("TALON_CLIENT_CERT_HEADER", "X-Client-Cert")
        .with("TALON_TRUSTED_PROXIES", "10.9.8.7")
        .start()
        .await;
    let ada = w.owner("ada").await;
    let (own, other) = (Certificate::new("edge"), Certificate::new("other"));
    let id = register(&ada, &own).await;
    let client = showing(&w, &own);
    let answer = ask(&w, &client, &id).expect(200, "access_token").await;
    assert_eq!((&answer["agent_id"], &answer["expires_in"]), (&json!(id), &json!(3600)));
    works(&w, &answer, &id).await;
    // Over one connection as over another, with an empty key, and people beside it.
    let with_empty = json!({"agent_id": id, "api_key": ""});
    Call::new(&client, &w.base, Method::POST, "/v1/auth/agent-token", None)
        .json(&with_empty)
        .expect(200, "access_token")
        .await;
    Call::new(&client, &w.base, Method::GET, "/v1/auth/me", Some(&ada.token)).expect(200, "ada").await;

    // Another certificate; none; and one that is only talked of.
    ask(&w, &showing(&w, &other), &id).expect(401, "Wrong agent or key").await;
    ask(&w, &w.http, &id).expect(400, "api_key").await;
    for (name, value) in [
        ("x-client-cert", fingerprint(&own)),
        ("x-forwarded-client-cert", format!("Hash={}", fingerprint(&own))),
    ] {
        ask(&w, &w.http, &id).header(name, &value).expect(400, "api_key").await;
        ask(&w, &showing(&w, &other), &id).header(name, &value).expect(401, "Wrong agent or key").await;
    }
    let key = json!({"agent_id": id, "api_key": format!("ocv_{}", "A".repeat(43))});
    Call::new(&client, &w.base, Method::POST, "/v1/auth/agent-token", None)
        .json(&key)
        .expect(401, "Wrong agent or key")
        .await;
    // A certificate is for the agent that was registered with it, and for none else.
    let bot = ada.agent("bot").make().await;
    let second = register(&ada, &other).await;
    for not_its in [&bot.id, &second, "00000000-0000-7000-8000-000000000000"] {
        ask(&w, &client, not_its).expect(401, "Wrong agent or key").await;
    }
    ask(&w, &showing(&w, &other), &second).expect(200, "access_token").await;

    ada.post(&format!("/v1/agents/{id}/rotate-key"), &json!({})).expect(409, "no").await;
    ada.delete(&format!("/v1/agents/{id}")).expect(204, "").await;
    w.call(Method::GET, "/v1/agents/me", answer["access_token"].as_str()).expect(401, "").await;
    ask(&w, &client, &id).expect(401, "Wrong agent or key").await;
    // For good: no other way leads back either.
    for verb in ["resume", "rotate-key"] {
        ada.post(&format!("/v1/agents/{id}/{verb}"), &json!({})).expect(409, "register another agent").await;
    }
    ada.patch(&format!("/v1/agents/{id}"), &json!({"is_active": true}))
        .expect(409, "register another agent")
        .await;
    ask(&w, &client, &id).expect(401, "Wrong agent or key").await;
    // Who comes with the same certificate again is another agent.
    let again = register(&ada, &own).await;
    ask(&w, &client, &again).expect(200, "access_token").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_certificate_of_the_connection_is_the_credential_sqlite() {
    on_tls(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_certificate_of_the_connection_is_the_credential_postgres() {
    on_tls(Database::Postgres).await;
}

/// Shows a certificate whose key he has not.
#[derive(Debug)]
struct Thief(Arc<CertifiedKey>);

impl ResolvesClientCert for Thief {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
    fn has_certs(&self) -> bool {
        true
    }
}

fn thief(
    w: &World,
    certificate: &Certificate,
    key: &Certificate,
    version: &'static SupportedProtocolVersion,
) -> reqwest::Client {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(w.certificate.as_ref().unwrap().der.clone())).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.key.as_bytes()).unwrap();
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
    let shown = CertifiedKey::new(vec![CertificateDer::from(certificate.der.clone())], key);
    let config = ClientConfig::builder_with_protocol_versions(&[version])
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::new(Thief(Arc::new(shown))));
    reqwest::Client::builder().no_proxy().tls_backend_preconfigured(config).build().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_without_its_key_is_worth_nothing() {
    let w = World::on(Database::Sqlite).tls().start().await;
    let ada = w.owner("ada").await;
    let (own, other) = (Certificate::new("edge"), Certificate::new("other"));
    let id = register(&ada, &own).await;
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        // With its key the same client gets in.
        ask(&w, &thief(&w, &own, &own, version), &id).expect(200, "access_token").await;
        assert!(ask(&w, &thief(&w, &own, &other, version), &id).try_reply().await.is_none(), "{version:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxys_header_counts_from_the_proxy_alone() {
    let (own, other) = (Certificate::new("edge"), Certificate::new("other"));
    let escaped = |certificate: &Certificate| {
        // As nginx has it in $ssl_client_escaped_cert.
        certificate
            .pem
            .replace('\n', "%0A")
            .replace(' ', "%20")
            .replace('+', "%2B")
            .replace('/', "%2F")
            .replace('=', "%3D")
    };
    // Plain HTTP behind a proxy at 127.0.0.1, which is where this test is.
    let w = World::on(Database::Sqlite)
        .with("TALON_CLIENT_CERT_HEADER", "X-Client-Cert")
        .with("TALON_TRUSTED_PROXIES", "127.0.0.1")
        .start()
        .await;
    let ada = w.owner("ada").await;
    let id = register(&ada, &own).await;
    for value in [fingerprint(&own), fingerprint(&own).to_uppercase(), escaped(&own)] {
        let answer = ask(&w, &w.http, &id).header("x-client-cert", &value).expect(200, "access_token").await;
        works(&w, &answer, &id).await;
    }
    for value in [fingerprint(&other), escaped(&other)] {
        ask(&w, &w.http, &id).header("x-client-cert", &value).expect(401, "Wrong agent or key").await;
    }
    for nonsense in ["", "SUCCESS", "00", "-----BEGIN%20CERTIFICATE-----"] {
        ask(&w, &w.http, &id).header("x-client-cert", nonsense).expect(400, "api_key").await;
    }
    let twice = ask(&w, &w.http, &id)
        .header("x-client-cert", &fingerprint(&own))
        .header("x-client-cert", &fingerprint(&other));
    twice.expect(400, "api_key").await;

    // The same from a stranger; and where no header is set up.
    for setting in [Some("10.9.8.7"), None] {
        let mut draft = World::on(Database::Sqlite);
        if let Some(proxy) = setting {
            draft =
                draft.with("TALON_CLIENT_CERT_HEADER", "X-Client-Cert").with("TALON_TRUSTED_PROXIES", proxy);
        } else {
            draft = draft.with("TALON_TRUSTED_PROXIES", "127.0.0.1");
        }
        let w = draft.start().await;
        let id = register(&w.owner("ada").await, &own).await;
        ask(&w, &w.http, &id).header("x-client-cert", &fingerprint(&own)).expect(400, "api_key").await;
    }

    // A proxy that shows a certificate of its own to Talon: that is nobody's but the proxy's.
    let w = World::on(Database::Sqlite)
        .tls()
        .with("TALON_CLIENT_CERT_HEADER", "X-Client-Cert")
        .with("TALON_TRUSTED_PROXIES", "127.0.0.1")
        .start()
        .await;
    let id = register(&w.owner("ada").await, &own).await;
    ask(&w, &showing(&w, &own), &id).expect(400, "api_key").await;
    ask(&w, &showing(&w, &other), &id)
        .header("x-client-cert", &fingerprint(&own))
        .expect(200, "access_token")
        .await;
}
