//! A node behind which some of its methods are hidden, as providers hide them.

use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::parts;

struct Shared {
    node: String,
    hidden: Mutex<Vec<String>>,
    asked: Mutex<Vec<String>>,
    http: reqwest::Client,
}

pub struct Masked {
    pub url: String,
    shared: Arc<Shared>,
}

impl Masked {
    pub async fn start(node: &str, hidden: &[&str]) -> Self {
        let shared = Arc::new(Shared {
            node: node.to_owned(),
            hidden: Mutex::default(),
            asked: Mutex::default(),
            http: parts::http(),
        });
        let router = Router::new().route("/", post(pass)).with_state(shared.clone());
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let masked = Self { url, shared };
        masked.hide(hidden);
        masked
    }

    /// From now on these methods are hidden, and no others.
    pub fn hide(&self, methods: &[&str]) {
        *self.shared.hidden.lock().unwrap() = methods.iter().map(|method| (*method).to_owned()).collect();
    }

    /// How often a method was asked for, hidden or not.
    pub fn asked(&self, method: &str) -> usize {
        self.shared.asked.lock().unwrap().iter().filter(|asked| *asked == method).count()
    }
}

async fn pass(State(shared): State<Arc<Shared>>, Json(request): Json<Value>) -> Json<Value> {
    let method = request["method"].as_str().unwrap().to_owned();
    let is_hidden = shared.hidden.lock().unwrap().contains(&method);
    shared.asked.lock().unwrap().push(method);
    if is_hidden {
        let error = json!({"code": -32601, "message": "the method does not exist/is not available"});
        return Json(json!({"jsonrpc": "2.0", "id": request["id"], "error": error}));
    }
    let answer = shared.http.post(&shared.node).json(&request).send().await.unwrap();
    Json(answer.json().await.unwrap())
}
