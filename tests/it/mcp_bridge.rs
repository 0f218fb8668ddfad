//! `talon-mcp`: what goes through it, and what it says when something is wrong.

use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use harness::{Database, Value, World, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// A running bridge, spoken to a line at a time.
struct Bridge {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Bridge {
    fn start(environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(harness::built("talon-mcp"));
        for (key, _) in std::env::vars().filter(|(key, _)| key.starts_with("ONECLAW_")) {
            command.env_remove(key);
        }
        command.envs(environment.iter().copied()).kill_on_drop(true);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { input: child.stdin.take(), output, child }
    }

    async fn send(&mut self, line: &str) {
        self.send_bytes(format!("{line}\n").as_bytes()).await;
    }

    async fn send_bytes(&mut self, bytes: &[u8]) {
        self.input.as_mut().unwrap().write_all(bytes).await.unwrap();
    }

    /// The next line, which must be one message.
    async fn next(&mut self) -> Value {
        let line = tokio::time::timeout(Duration::from_secs(20), self.output.next_line()).await;
        serde_json::from_str(&line.unwrap().unwrap().unwrap()).unwrap()
    }

    async fn ask(&mut self, message: &Value) -> Value {
        self.send(&message.to_string()).await;
        self.next().await
    }

    /// Closes its input. Whether it ended well, what else it wrote to standard output, and all of standard error.
    async fn end(mut self) -> (bool, String, String) {
        drop(self.input.take());
        let (mut rest, mut errors) = (String::new(), String::new());
        while let Some(line) = self.output.next_line().await.unwrap() {
            rest.push_str(&line);
        }
        self.child.stderr.take().unwrap().read_to_string(&mut errors).await.unwrap();
        (self.child.wait().await.unwrap().success(), rest, errors)
    }
}

fn call(id: u32, tool: &str, arguments: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": arguments}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_a_line_and_nothing_else_on_standard_output() {
    let w = World::on(Database::Sqlite).start().await;
    let ada = w.owner("ada").await;
    let (one, two) = (ada.vault("one").await, ada.vault("two").await);
    one.put("a", "note", "from one").await;
    two.put("a", "note", "line one\nline two").await;
    let bot = ada.agent("bot").reads(&one, "**").reads(&two, "**").make().await;
    let mut bridge = Bridge::start(&[
        ("ONECLAW_BASE_URL", &w.base),
        ("ONECLAW_VAULT_ID", &two.id),
        // The key says by itself whose it is.
        ("ONECLAW_AGENT_API_KEY", &bot.key),
    ]);
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}});
    assert_eq!(bridge.ask(&hello).await["result"]["protocolVersion"], "2025-11-25");
    bridge.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
    bridge.send("").await;
    assert_eq!(bridge.ask(&json!("hunter2")).await["error"]["code"], -32700);
    bridge.send_bytes(b"\xff\xfe\n").await;
    assert_eq!(bridge.next().await["error"]["code"], -32700);
    bridge.send(&"x".repeat(1536 * 1024 + 1)).await;
    let refused = bridge.next().await;
    assert!(refused["error"]["message"].as_str().unwrap().contains("longer than 1.5 MiB"), "{refused}");
    let read = bridge.ask(&call(2, "get_secret", json!({"path": "a"}))).await;
    assert_eq!(
        (&read["id"], &read["result"]["structuredContent"]["value"]),
        (&json!(2), &json!("line one\nline two"))
    );
    // Asked at once, answered each; the end of input ends nothing that was asked.
    for id in 10..20 {
        bridge.send(&call(id, "list_secrets", json!({})).to_string()).await;
    }
    drop(bridge.input.take());
    let mut answered = Vec::new();
    for _ in 10..20 {
        answered.push(bridge.next().await["id"].as_u64().unwrap());
    }
    answered.sort_unstable();
    assert_eq!(answered, (10..20).collect::<Vec<_>>());
    let (well, rest, errors) = bridge.end().await;
    assert!(well && rest.is_empty(), "{rest}");
    assert!(
        !errors.contains("line one") && !errors.contains(&bot.key) && !errors.contains("hunter2"),
        "{errors}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_in_one_sentence() {
    let w = World::on(Database::Sqlite).start().await;
    let ada = w.owner("ada").await;
    let bot = ada.agent("bot").make().await;
    let wrong_key = "ocv_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let nobody = format!("http://127.0.0.1:{}", harness::free_port());
    for (environment, said) in [
        (
            vec![("ONECLAW_BASE_URL", w.base.as_str()), ("ONECLAW_AGENT_API_KEY", wrong_key)],
            "does not take the agent's key",
        ),
        (vec![("ONECLAW_BASE_URL", &w.base), ("ONECLAW_AGENT_TOKEN", "x.y.z")], "401"),
        (vec![("ONECLAW_BASE_URL", &w.base), ("ONECLAW_AGENT_TOKEN", &ada.token)], "for agents"),
        (vec![("ONECLAW_BASE_URL", &nobody), ("ONECLAW_AGENT_TOKEN", &bot.token)], "can't be reached"),
    ] {
        let mut bridge = Bridge::start(&environment);
        let answer = bridge.ask(&json!({"jsonrpc": "2.0", "id": 7, "method": "tools/list"})).await;
        assert_eq!(answer["id"], 7);
        assert!(answer["error"]["message"].as_str().unwrap().contains(said), "{said}: {answer}");
        let (_, _, errors) = bridge.end().await;
        assert!(
            errors.contains(said) && !errors.contains(wrong_key) && !errors.contains(&ada.token),
            "{errors}"
        );
    }
    for (environment, said) in [
        (vec![("ONECLAW_BASE_URL", w.base.as_str())], "ONECLAW_AGENT_API_KEY"),
        (
            vec![("ONECLAW_BASE_URL", "http://vault.example.org"), ("ONECLAW_AGENT_TOKEN", "t")],
            "must not travel in the clear",
        ),
        (vec![("ONECLAW_BASE_URL", "ftp://127.0.0.1"), ("ONECLAW_AGENT_TOKEN", "t")], "http"),
        (
            vec![("ONECLAW_BASE_URL", "https://ada:hunter2@example.org"), ("ONECLAW_AGENT_TOKEN", "t")],
            "without a user",
        ),
    ] {
        let (well, rest, errors) = Bridge::start(&environment).end().await;
        assert!(!well && rest.is_empty() && errors.contains(said) && !errors.contains("hunter2"), "{errors}");
    }
}

/// A gateway that gives out tokens which it then forgets.
#[derive(Clone, Default)]
struct Forgetful(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    issued: u32,
    /// Tokens up to this one are refused.
    forgotten: u32,
    lifetime: u64,
    bearers: Vec<String>,
}

async fn token(State(gateway): State<Forgetful>) -> Json<Value> {
    let mut seen = gateway.0.lock().unwrap();
    seen.issued += 1;
    Json(
        json!({"access_token": format!("t{}", seen.issued), "token_type": "Bearer", "expires_in": seen.lifetime}),
    )
}

async fn mcp(
    State(gateway): State<Forgetful>,
    headers: HeaderMap,
    message: Json<Value>,
) -> (StatusCode, Json<Value>) {
    let bearer = headers["authorization"].to_str().unwrap().trim_start_matches("Bearer t").to_owned();
    let mut seen = gateway.0.lock().unwrap();
    if bearer.parse::<u32>().unwrap() <= seen.forgotten {
        return (StatusCode::UNAUTHORIZED, Json(json!({"detail": "The token was revoked."})));
    }
    seen.bearers.push(bearer);
    (StatusCode::OK, Json(json!({"jsonrpc": "2.0", "id": message["id"], "result": {}})))
}

/// Serves on a port of its own; the address.
async fn serve(app: Router) -> String {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    base
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_renewed_before_they_end_and_when_they_are_refused() {
    let gateway = Forgetful::default();
    gateway.0.lock().unwrap().lifetime = 62;
    let app = Router::new().route("/v1/auth/agent-token", post(token)).route("/mcp", post(mcp));
    let base = serve(app.with_state(gateway.clone())).await;
    let mut bridge = Bridge::start(&[("ONECLAW_BASE_URL", &base), ("ONECLAW_AGENT_API_KEY", "ocv_k")]);
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    bridge.ask(&ping).await;
    bridge.ask(&ping).await;
    assert_eq!(gateway.0.lock().unwrap().bearers, ["1", "1"], "one token serves until it is old");
    // 62 s of life, renewed 60 s before its end.
    tokio::time::sleep(Duration::from_millis(2200)).await;
    gateway.0.lock().unwrap().lifetime = 3600;
    bridge.ask(&ping).await;
    assert_eq!(gateway.0.lock().unwrap().bearers.last().unwrap(), "2");
    // Revoked in the middle of its life: one more try, and no more.
    gateway.0.lock().unwrap().forgotten = 2;
    assert_eq!(bridge.ask(&ping).await["result"], json!({}));
    assert_eq!(gateway.0.lock().unwrap().bearers.last().unwrap(), "3");
    gateway.0.lock().unwrap().forgotten = 100;
    let refused = bridge.ask(&ping).await;
    assert!(refused["error"]["message"].as_str().unwrap().contains("revoked"), "{refused}");
    assert_eq!(gateway.0.lock().unwrap().issued, 4);
}

/// What answers at the address may be anything.
#[tokio::test(flavor = "multi_thread")]
async fn an_endless_answer_and_an_endless_token_harm_nobody() {
    let gateway = Forgetful::default();
    gateway.0.lock().unwrap().lifetime = u64::MAX;
    let endless = || async { "a".repeat(17 * 1024 * 1024) };
    let app = Router::new().route("/v1/auth/agent-token", post(token)).route("/mcp", post(endless));
    let base = serve(app.with_state(gateway.clone())).await;
    let mut bridge = Bridge::start(&[("ONECLAW_BASE_URL", &base), ("ONECLAW_AGENT_API_KEY", "ocv_k")]);
    for _ in 0..2 {
        let refused = bridge.ask(&json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).await;
        assert!(refused["error"]["message"].as_str().unwrap().contains("more than 16 MiB"), "{refused}");
    }
    assert_eq!(gateway.0.lock().unwrap().issued, 1);
    assert!(bridge.end().await.0);
    let app = Router::new().route("/v1/auth/agent-token", post(endless));
    let base = serve(app).await;
    let mut bridge = Bridge::start(&[("ONECLAW_BASE_URL", &base), ("ONECLAW_AGENT_API_KEY", "ocv_k")]);
    let refused = bridge.ask(&json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).await;
    assert!(refused["error"]["message"].as_str().unwrap().contains("more than 16 MiB"), "{refused}");
}

/// Plain HTTP would show a proxy the key.
#[tokio::test(flavor = "multi_thread")]
async fn plain_http_goes_past_the_proxy_of_the_environment() {
    let gateway = Forgetful::default();
    gateway.0.lock().unwrap().lifetime = 3600;
    let app = Router::new().route("/v1/auth/agent-token", post(token)).route("/mcp", post(mcp));
    let base = serve(app.with_state(gateway.clone())).await;
    let asked = Arc::new(Mutex::new(0_u32));
    let counted = asked.clone();
    let proxy = serve(Router::new().fallback(move || {
        *counted.lock().unwrap() += 1;
        async { StatusCode::BAD_GATEWAY }
    }))
    .await;
    let mut environment = vec![("NO_PROXY", ""), ("no_proxy", "")];
    environment
        .extend(["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"].map(|name| (name, proxy.as_str())));
    environment.extend([("ONECLAW_BASE_URL", base.as_str()), ("ONECLAW_AGENT_API_KEY", "ocv_k")]);
    let mut bridge = Bridge::start(&environment);
    let answer = bridge.ask(&json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).await;
    assert_eq!((&answer["result"], *asked.lock().unwrap()), (&json!({}), 0), "{answer}");
}
