//! Somebody who issues tokens (OpenID Connect): keys of RSA and of a curve, a key set that changes, an address that can
//! be closed. Signed by code of its own, not by that which Talon verifies with.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// What a client that signs in with Google is called.
pub const GOOGLE_CLIENT: &str = "talon.apps.example.com";

pub struct Issuer {
    /// Without a slash at the end.
    pub url: String,
    pub rsa: SigningKey,
    pub curve: SigningKey,
    state: Arc<Mutex<Serving>>,
}

#[derive(Default)]
struct Serving {
    keys: Vec<Value>,
    discovery: Value,
    down: bool,
    delay: Duration,
    asked: usize,
}

pub struct SigningKey {
    pub id: String,
    kind: Kind,
}

enum Kind {
    Rsa(Box<RsaKeyPair>),
    Curve(Box<EcdsaKeyPair>),
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token with whatever stands in it.
pub fn token(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    let signature = encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

impl SigningKey {
    pub fn rsa(id: &str) -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        Self { id: id.to_owned(), kind: Kind::Rsa(Box::new(pair)) }
    }

    pub fn curve(id: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { id: id.to_owned(), kind: Kind::Curve(Box::new(pair)) }
    }

    pub fn algorithm(&self) -> &'static str {
        match self.kind {
            Kind::Rsa(_) => "RS256",
            Kind::Curve(_) => "ES256",
        }
    }

    /// Its public half.
    pub fn jwk(&self) -> Value {
        match &self.kind {
            Kind::Rsa(pair) => {
                let (n, e) = (pair.public_key().modulus(), pair.public_key().exponent());
                json!({"kty": "RSA", "kid": self.id, "use": "sig", "alg": "RS256",
                    "n": encode(n.big_endian_without_leading_zero()), "e": encode(e.big_endian_without_leading_zero())})
            }
            Kind::Curve(pair) => {
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "kid": self.id, "use": "sig",
                    "x": encode(&point[1..33]), "y": encode(&point[33..])})
            }
        }
    }

    /// The public half's bytes, as somebody would use them who makes a MAC of it.
    pub fn public_bytes(&self) -> Vec<u8> {
        match &self.kind {
            Kind::Rsa(pair) => pair.public_key().as_ref().to_vec(),
            Kind::Curve(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    pub fn sign(&self, claims: &Value) -> String {
        let header = json!({"alg": self.algorithm(), "typ": "JWT", "kid": self.id});
        self.sign_as(&header, claims)
    }

    /// With another header than is right.
    pub fn sign_as(&self, header: &Value, claims: &Value) -> String {
        token(header, claims, |message| self.signature(message))
    }

    fn signature(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.kind {
            Kind::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
            Kind::Curve(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
        }
    }
}

impl Issuer {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (rsa, curve) = (SigningKey::rsa("rsa-1"), SigningKey::curve("curve-1"));
        let discovery = json!({"issuer": url, "jwks_uri": format!("{url}/keys")});
        let keys = vec![rsa.jwk(), curve.jwk()];
        let state = Arc::new(Mutex::new(Serving { keys, discovery, ..Serving::default() }));
        let app = Router::new()
            .route("/.well-known/openid-configuration", get(discovery_document))
            .route("/keys", get(key_set))
            .with_state(state.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, rsa, curve, state }
    }

    /// What a Talon is told that takes this issuer for Google.
    pub fn settings(&self) -> [(&'static str, String); 4] {
        [
            ("TALON_EGRESS_ALLOW", "127.0.0.1".into()),
            ("TALON_GOOGLE_CLIENT_ID", GOOGLE_CLIENT.into()),
            ("TALON_GOOGLE_ISSUER", self.url.clone()),
            ("TALON_GOOGLE_JWKS", format!("{}/keys", self.url)),
        ]
    }

    /// What a sign-in of this person's says now.
    pub fn claims(&self, subject: &str, email: &str) -> Value {
        json!({"iss": self.url, "sub": subject, "aud": GOOGLE_CLIENT, "azp": GOOGLE_CLIENT, "email": email,
            "email_verified": true, "name": "Grace H.", "iat": now(), "exp": now() + 3600})
    }

    /// These keys, from now on.
    pub fn has(&self, keys: &[&SigningKey]) {
        self.state.lock().unwrap().keys = keys.iter().map(|key| key.jwk()).collect();
    }

    /// Says this of itself, from now on.
    pub fn discovery(&self, document: Value) {
        self.state.lock().unwrap().discovery = document;
    }

    pub fn down(&self, down: bool) {
        self.state.lock().unwrap().down = down;
    }

    /// Takes so long over each answer.
    pub fn delay(&self, delay: Duration) {
        self.state.lock().unwrap().delay = delay;
    }

    /// How often it was asked for keys.
    pub fn asked(&self) -> usize {
        self.state.lock().unwrap().asked
    }
}

/// Seconds since 1970.
pub fn now() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

async fn discovery_document(state: State<Arc<Mutex<Serving>>>) -> Response {
    answer(&state, |serving| serving.discovery.clone()).await
}

async fn key_set(state: State<Arc<Mutex<Serving>>>) -> Response {
    state.lock().unwrap().asked += 1;
    answer(&state, |serving| json!({ "keys": serving.keys })).await
}

async fn answer(state: &Mutex<Serving>, body: impl Fn(&Serving) -> Value) -> Response {
    let delay = state.lock().unwrap().delay;
    tokio::time::sleep(delay).await;
    let serving = state.lock().unwrap();
    if serving.down {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    ([(header::CACHE_CONTROL, "public, max-age=600")], Json(body(&serving))).into_response()
}
