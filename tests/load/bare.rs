//! Servers that do as little as can be: what is measured against them is Talon's own.

use std::net::SocketAddr;

use alloy_primitives::keccak256;
use axum::Router;
use axum::routing::{get, post};
use harness::{Value, json};

/// Answers 1 KiB to everyone.
pub async fn kibibyte() -> SocketAddr {
    serve(Router::new().route("/", get(async || "x".repeat(1024)))).await
}

/// A node that takes every transaction and has it in a block at once.
pub async fn node() -> SocketAddr {
    serve(
        Router::new()
            .route("/", post(async |axum::Json(asked): axum::Json<Value>| axum::Json(answer(&asked)))),
    )
    .await
}

async fn serve(app: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

fn answer(asked: &Value) -> Value {
    let first = &asked["params"][0];
    let block = format!("{:#066x}", 1);
    let result = match asked["method"].as_str().unwrap() {
        "eth_chainId" => json!("0x7a69"),
        "eth_getTransactionCount" => json!("0x0"),
        "eth_estimateGas" => json!("0x5208"),
        "eth_blockNumber" => json!("0x1"),
        "eth_getBlockByNumber" => {
            json!({"number": "0x1", "hash": block, "baseFeePerGas": "0x3b9aca00", "gasLimit": "0x1c9c380"})
        }
        "eth_getBalance" => json!("0x3635c9adc5dea00000"),
        "eth_feeHistory" => json!({"baseFeePerGas": ["0x3b9aca00"], "reward": []}),
        "eth_maxPriorityFeePerGas" => json!("0x3b9aca00"),
        "eth_sendRawTransaction" => json!(keccak256(hex::decode(&first.as_str().unwrap()[2..]).unwrap())),
        "eth_getTransactionReceipt" => {
            json!({"transactionHash": first, "status": "0x1", "blockNumber": "0x1",
            "blockHash": block, "gasUsed": "0x5208", "effectiveGasPrice": "0x3b9aca00"})
        }
        "eth_getTransactionByHash" => json!({"hash": first}),
        _ => {
            return json!({"jsonrpc": "2.0", "id": asked["id"], "error": {"code": -32601, "message": "not found"}});
        }
    };
    json!({"jsonrpc": "2.0", "id": asked["id"], "result": result})
}
