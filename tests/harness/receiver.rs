//! Somebody who is told of events: takes them, refuses them, is slow, or sends them on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;

/// What was sent.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub headers: HashMap<String, String>,
    pub text: String,
    pub body: Value,
}

impl Delivery {
    /// Whether it is signed by a `whsec_…` key, as Standard Webhooks have it.
    pub fn is_signed_by(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let mut hmac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        hmac.update(
            format!("{}.{}.{}", self.headers["webhook-id"], self.headers["webhook-timestamp"], self.text)
                .as_bytes(),
        );
        self.headers["webhook-signature"] == format!("v1,{}", STANDARD.encode(hmac.finalize().into_bytes()))
    }

    pub fn action(&self) -> &str {
        self.body["action"].as_str().unwrap()
    }
}

#[derive(Default)]
struct Serving {
    seen: Vec<Delivery>,
    status: u16,
    delay: Duration,
}

pub struct Receiver {
    pub url: String,
    state: Arc<Mutex<Serving>>,
}

impl Receiver {
    pub async fn start() -> Self {
        let state = Arc::new(Mutex::new(Serving { status: 200, ..Serving::default() }));
        let router = Router::new().route("/hook", post(take)).with_state(state.clone());
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, state }
    }

    /// What it answers from now on.
    pub fn answers(&self, status: u16) {
        self.state.lock().unwrap().status = status;
    }

    pub fn delays(&self, delay: Duration) {
        self.state.lock().unwrap().delay = delay;
    }

    pub fn seen(&self) -> Vec<Delivery> {
        self.state.lock().unwrap().seen.clone()
    }

    /// Waits until so many have come.
    pub async fn until(&self, many: usize) -> Vec<Delivery> {
        for _ in 0..300 {
            let seen = self.seen();
            if seen.len() >= many {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let seen = self.seen();
        panic!("{many} deliveries did not come: {:?}", seen.iter().map(Delivery::action).collect::<Vec<_>>());
    }
}

async fn take(State(state): State<Arc<Mutex<Serving>>>, headers: HeaderMap, body: Bytes) -> Response {
    let (status, delay) = {
        let mut serving = state.lock().unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        let headers = headers.iter().map(|(k, v)| (k.to_string(), v.to_str().unwrap().to_owned())).collect();
        let body = serde_json::from_str(&text).unwrap();
        serving.seen.push(Delivery { headers, text, body });
        (serving.status, serving.delay)
    };
    tokio::time::sleep(delay).await;
    match status {
        307 => Redirect::temporary("/hook").into_response(),
        status => StatusCode::from_u16(status).unwrap().into_response(),
    }
}
