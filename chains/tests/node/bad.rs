//! Nodes that misbehave.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256, Bytes};
use chains::{Broadcast, Call, Node, NodeError, Nodes, Quote};
use domain::{Kind, Wei};
use serde_json::{Value, json};

use crate::fake::{Fake, KEY, Reply};

/// A node that says the same to everything.
async fn says(reply: impl Fn() -> Reply + Send + Sync + 'static) -> Fake {
    Fake::start(move |_, _| reply()).await
}

fn call() -> Call {
    let (from, to) = (Address::ZERO, Address::repeat_byte(1));
    Call { from, to: Some(to), value: Wei::ZERO, data: Bytes::new(), access_list: Default::default() }
}

/// Every request there is, and that each fails.
async fn all_fail(node: &Node) -> Vec<NodeError> {
    vec![
        node.chain_id().await.unwrap_err(),
        node.block_number().await.unwrap_err(),
        node.balance(Address::ZERO).await.unwrap_err(),
        node.next_nonce(Address::ZERO).await.unwrap_err(),
        node.mined_nonce(Address::ZERO).await.unwrap_err(),
        node.estimate_gas(&call()).await.unwrap_err(),
        node.quote().await.unwrap_err(),
        node.broadcast(&[2, 0xc0]).await.unwrap_err(),
        node.receipt(B256::ZERO).await.unwrap_err(),
    ]
}

#[tokio::test]
async fn nonsense_is_an_error_and_never_a_guess() {
    let html = "<html><body>It works!</body></html>";
    let deep = "[".repeat(200_000);
    for body in [
        "",
        " ",
        "\u{0}\u{1}\u{2}",
        html,
        "{",
        "null",
        "7",
        "\"0x1\"",
        "{}",
        "[]",
        "[{}]",
        &deep,
        r#"{"jsonrpc":"2.0","id":"ID"}"#,
        r#"{"jsonrpc":"2.0","id":"ID","result":{}}"#,
        r#"{"jsonrpc":"2.0","id":"ID","result":[]}"#,
        r#"{"jsonrpc":"2.0","id":"ID","result":true}"#,
        r#"{"jsonrpc":"2.0","id":"ID","result":"0x"}"#,
        r#"{"jsonrpc":"2.0","id":"ID","result":"0xzz"}"#,
        r#"{"jsonrpc":"2.0","id":"ID","result":"-1"}"#,
        r#"{"jsonrpc":"2.0","id":"ID","result":"0x1ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"}"#,
        r#"[{"jsonrpc":"2.0","id":"ID","result":"0x1"}]"#,
    ] {
        let owned = body.to_owned();
        let fake = says(move || Reply::json(&owned)).await;
        for error in all_fail(&fake.node).await {
            assert!(matches!(error, NodeError::Malformed(_)), "{body:.80}: {error:?}");
            assert_eq!(domain::Error::from(error).kind(), Kind::Unavailable);
        }
    }
}

#[tokio::test]
async fn what_is_no_http_is_a_node_that_is_not_there() {
    for bytes in [
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
        b"\x16\x03\x01",
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{",
    ] {
        let fake = says(move || Reply::Raw(bytes.to_vec())).await;
        for error in all_fail(&fake.node).await {
            assert!(matches!(error, NodeError::Unreachable(_)), "{bytes:?}: {error:?}");
        }
    }
}

#[tokio::test]
async fn http_failures_are_told_apart() {
    for (status, expected) in [
        ("500 Internal Server Error", "HTTP 500"),
        ("502 Bad Gateway", "HTTP 502"),
        ("401 Unauthorized", "credentials"),
        ("403 Forbidden", "credentials"),
        ("404 Not Found", "HTTP 404"),
        ("429 Too Many Requests", "limits our requests"),
    ] {
        let fake = says(move || Reply::http(status, "text/html", "<html>s3cret-api-key</html>")).await;
        for error in all_fail(&fake.node).await {
            assert!(
                matches!(&error, NodeError::Unreachable(why) if why.contains(expected)),
                "{status}: {error:?}"
            );
            assert_eq!(domain::Error::from(error).kind(), Kind::Unavailable);
        }
    }
    // A JSON-RPC error counts, whatever the status.
    let body = r#"{"jsonrpc":"2.0","id":"ID","error":{"code":-32000,"message":"nonce too low"}}"#;
    let fake = says(move || Reply::http("400 Bad Request", "application/json", body)).await;
    assert_eq!(fake.node.broadcast(&[1]).await, Ok(Broadcast::NonceTooLow));
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let target = says(|| Reply::result(json!("0x1"))).await;
    let head =
        format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", target.url);
    let fake = says(move || Reply::Raw(head.clone().into_bytes())).await;
    let error = fake.node.chain_id().await.unwrap_err();
    assert!(matches!(&error, NodeError::Unreachable(why) if why.contains("elsewhere")), "{error:?}");
    assert_eq!(target.asked(), 0);
    assert_eq!(target.node.chain_id().await, Ok(1), "the target works");
}

#[tokio::test]
async fn endless_answers_are_cut_short() {
    const MANY: usize = 100 * 1024 * 1024;
    for head in [
        format!("HTTP/1.1 200 OK\r\ncontent-length: {MANY}\r\n\r\n"),
        // Without a length, until the connection closes.
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_owned(),
        "HTTP/1.1 500 Oh\r\nconnection: close\r\n\r\n".to_owned(),
    ] {
        let shown = head.clone();
        let fake = says(move || Reply::Flood(head.clone(), MANY)).await;
        let begun = Instant::now();
        let error = fake.node.chain_id().await.unwrap_err();
        assert_eq!(error, NodeError::Malformed("more than 16 MiB".to_owned()), "{shown}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{shown}: {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn slow_nodes_are_given_up() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 10000\r\n\r\n";
    let (silent, slow) = (says(|| Reply::Hang).await, says(move || Reply::Trickle(head.to_owned())).await);
    let begun = Instant::now();
    let (id, said) = tokio::join!(silent.node.chain_id(), slow.node.broadcast(&[1]));
    for error in [id.unwrap_err(), said.unwrap_err()] {
        assert_eq!(error, NodeError::Unreachable("it did not answer in time".to_owned()));
    }
    let took = begun.elapsed();
    assert!(took > Duration::from_secs(9) && took < Duration::from_secs(12), "{took:?}");
}

#[tokio::test]
async fn sixty_four_submissions_ask_for_fees_once() {
    let fake = Fake::start(|method, params| match method {
        "eth_getBlockByNumber" => Reply::result(json!({ "baseFeePerGas": "0x64", "gasLimit": "0x1c9c380" })),
        "eth_feeHistory" => {
            assert_eq!(params[1], "latest");
            Reply::result(json!({ "baseFeePerGas": ["0x64", "0x6e"], "reward": [["0x1e8480"]] }))
        }
        other => panic!("{other}"),
    })
    .await;
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let node = fake.node.clone();
            tokio::spawn(async move { node.quote().await })
        })
        .collect();
    let expected = Quote::Eip1559 {
        base_fee: 110,
        max_fee_per_gas: 220 + 2_000_000,
        max_priority_fee_per_gas: 2_000_000,
    };
    for task in tasks {
        assert_eq!(task.await.unwrap(), Ok(expected));
    }
    assert_eq!(fake.node.head().await.map(|head| head.gas_limit), Ok(Some(30_000_000)));
    assert_eq!(fake.asked(), 2);
}

#[tokio::test]
async fn blocks_without_a_limit_bound_nothing() {
    for block in [json!({ "baseFeePerGas": "0x64" }), json!({ "baseFeePerGas": "0x64", "gasLimit": "0x0" })] {
        let fake = Fake::start(move |method, _| match method {
            "eth_getBlockByNumber" => Reply::result(block.clone()),
            _ => Reply::error(-32601, "the method does not exist/is not available"),
        });
        assert_eq!(fake.await.node.head().await.map(|head| head.gas_limit), Ok(None));
    }
}

#[tokio::test]
async fn nodes_without_the_newer_methods_still_quote() {
    let with = |tip: Option<&'static str>| {
        Fake::start(move |method, _| match (method, tip) {
            ("eth_getBlockByNumber", _) => Reply::result(json!({ "baseFeePerGas": "0x64" })),
            ("eth_maxPriorityFeePerGas", Some(tip)) => Reply::result(json!(tip)),
            _ => Reply::error(-32601, "the method does not exist/is not available"),
        })
    };
    let quote =
        |tip| Quote::Eip1559 { base_fee: 100, max_fee_per_gas: 200 + tip, max_priority_fee_per_gas: tip };
    assert_eq!(with(Some("0x6fc23ac00")).await.node.quote().await, Ok(quote(30_000_000_000)));
    assert_eq!(with(Some("0x1")).await.node.quote().await, Ok(quote(1_000_000)), "the floor");
    assert_eq!(with(None).await.node.quote().await, Ok(quote(1_000_000)));
    // But a node that breaks off in the middle gives no quote.
    let broken = Fake::start(|method, _| match method {
        "eth_getBlockByNumber" => Reply::result(json!({ "baseFeePerGas": "0x64" })),
        _ => Reply::http("502 Bad Gateway", "text/html", ""),
    });
    assert!(matches!(broken.await.node.quote().await, Err(NodeError::Unreachable(_))));
}

#[tokio::test]
async fn the_answer_to_another_request_is_refused() {
    for id in ["7", "null", "\"ID\" "] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":"0x1"}}"#);
        let said = says(move || Reply::json(&body)).await.node.chain_id().await;
        if id.contains("ID") {
            assert_eq!(said, Ok(1));
        } else {
            assert!(matches!(said, Err(NodeError::Malformed(_))), "{id}: {said:?}");
        }
    }
}

#[tokio::test]
async fn a_node_of_another_chain_is_noticed_and_a_right_one_asked_once() {
    let id = Arc::new(AtomicU64::new(5));
    let shown = id.clone();
    let fake = Fake::start(move |method, _| {
        assert_eq!(method, "eth_chainId");
        Reply::result(json!(format!("{:#x}", shown.load(Ordering::SeqCst))))
    })
    .await;
    let error = fake.node.expect_chain(1).await.unwrap_err();
    assert_eq!(error, NodeError::Malformed("it follows chain 5, and not 1".to_owned()));
    id.store(1, Ordering::SeqCst);
    for _ in 0..10 {
        assert_eq!(fake.node.expect_chain(1).await, Ok(()));
    }
    assert_eq!(fake.asked(), 2);
}

#[tokio::test]
async fn an_answer_about_another_transaction_is_refused() {
    let fake = says(|| Reply::result(json!(B256::repeat_byte(1)))).await;
    let said = fake.node.broadcast(&[2, 0xc0]).await;
    assert!(matches!(said, Err(NodeError::Malformed(_))), "{said:?}");
}

#[tokio::test]
async fn unused_addresses_fail_at_once_and_bad_ones_before() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let begun = Instant::now();
    let error = Nodes::new().at(&format!("http://{closed}")).unwrap().chain_id().await.unwrap_err();
    assert!(matches!(&error, NodeError::Unreachable(why) if why.contains("refused")), "{error:?}");
    assert!(begun.elapsed() < Duration::from_secs(1));
    for bad in ["ws://127.0.0.1:8546", "ipc:/tmp/x", "127.0.0.1:8545", "localhost:8545", ""] {
        let error = Nodes::new().at(bad).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{bad}");
    }
}

/// Some providers give each customer a host name of its own.
const HOST: &str = "s3cret-host-name";

/// What is logged, all of it.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_nodes_address_appears_in_no_error_and_no_log() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    let nodes = Nodes::new();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut errors = all_fail(&nodes.at(&format!("http://{closed}/v3/{KEY}")).unwrap()).await;
    // A plain server asked for TLS, and a name that RFC 6761 §6.4 keeps from existing.
    let plain = says(|| Reply::json("")).await;
    let tls = plain.url.replace("http:", "https:");
    errors.push(nodes.at(&tls).unwrap().chain_id().await.unwrap_err());
    let nowhere = nodes.at(&format!("https://{HOST}.invalid/{KEY}")).unwrap();
    errors.push(nowhere.chain_id().await.unwrap_err());
    for error in &errors {
        assert!(matches!(error, NodeError::Unreachable(_)), "{error:?}");
    }
    let mut texts = vec![format!("{nodes:?}")];
    // Nodes and proxies that repeat the key, in every way there is.
    let answers: [fn() -> Reply; 5] = [
        || Reply::json(KEY),
        || Reply::http("403 Forbidden", "text/html", KEY),
        || Reply::error(-32000, "project s3cret-api-key is not allowed"),
        || Reply::error(429, "project s3cret-api-key is rate limited"),
        || Reply::result(Value::from(KEY)),
    ];
    for answer in answers {
        let fake = says(answer).await;
        texts.push(format!("{:?}", fake.node));
        errors.extend([
            fake.node.chain_id().await.unwrap_err(),
            fake.node.estimate_gas(&call()).await.unwrap_err(),
            fake.node.quote().await.unwrap_err(),
        ]);
        texts.push(format!("{:?}", fake.node.broadcast(&[1]).await));
    }
    for error in errors {
        texts.push(format!("{error:?} {error}"));
        texts.push(format!("{:?}", domain::Error::from(error)));
    }
    for text in texts {
        assert!(!text.contains(KEY) && !text.contains(HOST), "{text}");
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("a node did not do what it was asked"), "nothing was captured");
    // Below INFO the HTTP libraries name the host, and never more of an address.
    let theirs = |line: &str| line.contains(" reqwest::connect: ") || line.contains(" hyper_util::client::");
    let leaks: Vec<_> =
        log.lines().filter(|line| line.contains(KEY) || (line.contains(HOST) && !theirs(line))).collect();
    assert!(leaks.is_empty(), "{leaks:#?}");
}
