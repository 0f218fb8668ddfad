//! A stand-in for Tenderly, which answers in the shapes that its documentation has
//! (<https://docs.tenderly.co/api-reference/simulations/simulate-transaction>).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

/// What its requests must carry.
pub const TENDERLY_KEY: &str = "tenderly-k3y-0f-the-tests";

/// What was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub account: String,
    pub project: String,
    /// `simulate` or `simulate-bundle`.
    pub what: String,
    pub body: Value,
}

#[derive(Default)]
struct Shared {
    asked: Vec<Asked>,
    answer: Option<(u16, Value)>,
    late: Duration,
    at_once: usize,
    most_at_once: usize,
}

pub struct FakeTenderly {
    pub url: String,
    shared: Arc<Mutex<Shared>>,
}

impl FakeTenderly {
    pub async fn start() -> Self {
        let shared = Arc::<Mutex<Shared>>::default();
        let path = "/api/v1/account/{account}/project/{project}/{what}";
        let router = Router::new().route(path, post(simulate)).with_state(shared.clone());
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, shared }
    }

    /// The settings with which a gateway asks it.
    pub fn settings(&self) -> [(&'static str, String); 4] {
        [
            ("TALON_TENDERLY_URL", self.url.clone()),
            ("TALON_TENDERLY_ACCOUNT", "acme".into()),
            ("TALON_TENDERLY_PROJECT", "vault".into()),
            ("TALON_TENDERLY_KEY", TENDERLY_KEY.into()),
        ]
    }

    /// What it answers from now on.
    pub fn answers(&self, status: u16, body: Value) {
        self.shared.lock().unwrap().answer = Some((status, body));
    }

    /// From now on so long after it was asked.
    pub fn is_slow(&self, late: Duration) {
        self.shared.lock().unwrap().late = late;
    }

    /// How many it was asked at the same time.
    pub fn most_at_once(&self) -> usize {
        self.shared.lock().unwrap().most_at_once
    }

    /// From now on nothing, for ever.
    pub fn hangs(&self) {
        self.shared.lock().unwrap().answer = None;
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.shared.lock().unwrap().asked.clone()
    }
}

async fn simulate(
    State(shared): State<Arc<Mutex<Shared>>>,
    Path((account, project, what)): Path<(String, String, String)>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> (StatusCode, Json<Value>) {
    if headers.get("x-access-key").is_none_or(|key| key != TENDERLY_KEY) {
        return (StatusCode::UNAUTHORIZED, Json(refusal("unauthorized", "Unauthorized")));
    }
    let (answer, late) = {
        let mut shared = shared.lock().unwrap();
        shared.asked.push(Asked { account, project, what, body });
        shared.at_once += 1;
        shared.most_at_once = shared.most_at_once.max(shared.at_once);
        (shared.answer.clone(), shared.late)
    };
    tokio::time::sleep(late).await;
    shared.lock().unwrap().at_once -= 1;
    match answer {
        Some((status, body)) => (StatusCode::from_u16(status).unwrap(), Json(body)),
        None => std::future::pending().await,
    }
}

/// How it refuses.
pub fn refusal(slug: &str, message: &str) -> Value {
    json!({"error": {"id": "2b4e9f0c-0000-4000-8000-000000000000", "slug": slug, "message": message}})
}

/// A simulation that worked, with events as `(contract, topics, data)` and balances as `(address, before, after)`.
pub fn simulated(id: &str, logs: &[(&str, Vec<String>, &str)], balances: &[(&str, &str, &str)]) -> Value {
    let log = |(address, topics, data): &(&str, Vec<String>, &str)| json!({"name": "Transfer", "anonymous": false, "inputs": [], "raw": {"address": address, "topics": topics, "data": data}});
    let balance = |(address, original, dirty): &(&str, &str, &str)| json!({"address": address, "original": original, "dirty": dirty, "is_miner": false});
    let mut answer = shape(id, true);
    let info = &mut answer["transaction"]["transaction_info"];
    // Lists without entries are null there.
    info["logs"] = if logs.is_empty() { Value::Null } else { logs.iter().map(log).collect() };
    info["balance_diff"] = balances.iter().map(balance).collect();
    answer
}

/// One that failed: the outermost call's output, and Tenderly's own word for it.
pub fn failed(id: &str, output: &str, error_message: &str) -> Value {
    let mut answer = shape(id, false);
    answer["transaction"]["error_message"] = error_message.into();
    answer["transaction"]["transaction_info"]["call_trace"]["output"] = output.into();
    answer["transaction"]["transaction_info"]["call_trace"]["error"] = error_message.into();
    answer
}

fn shape(id: &str, status: bool) -> Value {
    let trace = json!({"function_op": "CALL", "call_type": "CALL", "gas": 7_978_936, "gas_used": 2_368, "output": "0x", "calls": null});
    let info = json!({
        "contract_id": "", "block_number": 17_884_583, "method": "", "parameters": null, "intrinsic_gas": 21_064,
        "refund_gas": 0, "stack_trace": null, "logs": null, "balance_diff": null, "nonce_diff": null, "state_diff": null,
        "raw_state_diff": null, "console_logs": null, "asset_changes": null, "balance_changes": [], "call_trace": trace,
        "created_at": "2023-08-17T10:09:18Z",
    });
    let transaction = json!({
        "hash": format!("0x{:064x}", 1), "block_hash": "", "block_number": 17_884_583, "gas": 8_000_000, "gas_price": 0,
        "gas_used": 23_432, "cumulative_gas_used": 0, "nonce": 0, "index": 0, "value": "0x", "access_list": [],
        "status": status, "addresses": [], "contract_ids": [], "network_id": "31337", "method": "", "decoded_input": null,
        "timestamp": "2023-08-17T10:09:18Z", "call_trace": [], "transaction_info": info,
    });
    let simulation = json!({"id": id, "project_id": "", "owner_id": "", "network_id": "31337", "status": status, "gas_used": 23_432});
    json!({"transaction": transaction, "simulation": simulation, "contracts": [], "generated_access_list": []})
}
