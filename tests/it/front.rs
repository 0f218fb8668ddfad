//! A node's front door that a test can close, for all requests or for one method.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use harness::{Anvil, Value};

pub struct Front {
    pub anvil: Anvil,
    port: u16,
    refused: Arc<Mutex<Option<String>>>,
}

#[derive(Clone)]
struct Door {
    anvil: String,
    http: reqwest::Client,
    refused: Arc<Mutex<Option<String>>>,
}

impl Front {
    pub async fn before_anvil() -> Self {
        let anvil = Anvil::start(&[]).await;
        let refused = Arc::new(Mutex::new(None));
        let door = Door { anvil: anvil.url(), http: reqwest::Client::new(), refused: refused.clone() };
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let app = Router::new().route("/", post(pass)).with_state(door);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { anvil, port, refused }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Methods that begin with this are answered 502 from now on; `""`: all.
    pub fn refuse(&self, method: &str) {
        *self.refused.lock().unwrap() = Some(method.to_owned());
    }

    pub fn let_through(&self) {
        *self.refused.lock().unwrap() = None;
    }
}

async fn pass(State(door): State<Door>, asked: axum::Json<Value>) -> Result<axum::Json<Value>, StatusCode> {
    let method = asked["method"].as_str().unwrap().to_owned();
    if door.refused.lock().unwrap().as_ref().is_some_and(|refused| method.starts_with(refused)) {
        return Err(StatusCode::BAD_GATEWAY);
    }
    let answer =
        door.http.post(&door.anvil).json(&*asked).send().await.map_err(|_| StatusCode::BAD_GATEWAY)?;
    answer.json().await.map(axum::Json).map_err(|_| StatusCode::BAD_GATEWAY)
}
