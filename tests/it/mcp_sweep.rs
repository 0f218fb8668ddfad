//! Each tool is its operation: the same JSON, the same refusals.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use harness::{ADDRESSES, Agent, Value, both, json};
use reqwest::Method;

/// A tool's call, and the request that says the same.
struct Case {
    tool: &'static str,
    arguments: Value,
    method: Method,
    path: String,
    body: Option<Value>,
}

impl Case {
    fn new(tool: &'static str, arguments: Value, method: Method, path: impl Into<String>) -> Self {
        Self { tool, arguments, method, path: path.into(), body: None }
    }

    /// What is in the path is no field of a body.
    fn body(mut self, mut body: Value) -> Self {
        body.as_object_mut().unwrap().remove("path");
        self.body = Some(body);
        self
    }

    /// The tool in one vault, the request in its twin.
    async fn run(self, agent: &Agent<'_>, vault: &str) -> &'static str {
        let tool = agent.tool_in(Some(vault), self.tool, &self.arguments).await;
        let mut call = agent.call(self.method, &self.path);
        if let Some(body) = &self.body {
            call = call.json(body);
        }
        if let Some(key) = self.arguments["idempotency_key"].as_str() {
            call = call.header("idempotency-key", key);
        }
        let rest = call.reply().await;
        if rest.status >= 400 {
            assert_eq!(tool.refused(""), rest.body["detail"], "{}", self.tool);
        } else if rest.text.is_empty() {
            assert_eq!(
                (&tool.result["isError"], tool.result.get("structuredContent")),
                (&json!(false), None)
            );
        } else {
            let content = tool.expect("");
            for field in shown(self.tool)["outputSchema"]["required"].as_array().into_iter().flatten() {
                assert!(
                    content.get(field.as_str().unwrap()).is_some(),
                    "{}: no {field} in {content}",
                    self.tool
                );
            }
            assert_eq!(alike(content), alike(rest.body), "{}", self.tool);
        }
        self.tool
    }
}

/// Without what differs between twins: ids and times.
fn alike(mut value: Value) -> Value {
    match &mut value {
        Value::Object(members) => {
            for (name, value) in members {
                *value = if name.ends_with("_at") { "a time".into() } else { alike(value.take()) };
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = alike(item.take())),
        Value::String(text) if text.len() == 36 && text.matches('-').count() == 4 => value = "an id".into(),
        _ => {}
    }
    value
}

async fn own_vault(agent: &Agent<'_>, name: &str) -> String {
    let made = agent.post("/v1/vaults", &json!({"name": name})).expect(201, "id").await;
    made["id"].as_str().unwrap().to_owned()
}

/// The tools as `talon tools` prints them.
fn document() -> &'static Vec<Value> {
    static TOOLS: OnceLock<Vec<Value>> = OnceLock::new();
    TOOLS.get_or_init(|| {
        let output = harness::talon().arg("tools").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        document["tools"].as_array().unwrap().clone()
    })
}

fn shown(tool: &str) -> &'static Value {
    document().iter().find(|shown| shown["name"] == tool).unwrap()
}

fn all_tools() -> BTreeSet<String> {
    document().iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

both! {
    with chain,
    async fn each_tool_answers_as_its_operation(w: World) {
        let ada = w.owner("ada").await;
        let keys = ada.vault("keys").await;
        keys.put_key("keys/local-signer", 0).await;
        let bot = ada.agent("bot").make().await;
        let (here, there) = (own_vault(&bot, "here").await, own_vault(&bot, "there").await);
        let at = |rest: &str| format!("/v1/vaults/{there}/{rest}");
        let (get, put, post, delete) = (Method::GET, Method::PUT, Method::POST, Method::DELETE);
        let stored = json!({"path": "a/b", "value": "v", "type": "note", "metadata": {"k": 1}, "max_access_count": 9});
        let bundle = json!({"path": "env", "value": "A=1", "type": "env_bundle"});
        let grant = json!({"vault_id": here, "principal_type": "agent", "principal_id": bot.id, "permissions": ["read", "delete"], "secret_path_pattern": "a/*"});
        let mut policy = grant.clone();
        policy.as_object_mut().unwrap().remove("vault_id");
        let cases = [
            Case::new("put_secret", stored.clone(), put.clone(), at("secrets/a/b")).body(stored),
            // What a tool's defaults stand for.
            Case::new("put_secret", json!({"path": "c", "value": "v"}), put.clone(), at("secrets/c")).body(json!({"value": "v", "type": "api_key"})),
            Case::new("put_secret", bundle.clone(), put.clone(), at("secrets/env")).body(bundle),
            Case::new("put_secret", json!({"path": "a", "value": "v", "max_access_count": 0}), put, at("secrets/a")).body(json!({"value": "v", "max_access_count": 0})),
            Case::new("list_secrets", json!({}), get.clone(), at("secrets")),
            Case::new("list_secrets", json!({"prefix": "a/"}), get.clone(), at("secrets?prefix=a/")),
            Case::new("get_secret", json!({"path": "a/b"}), get.clone(), at("secrets/a/b")),
            Case::new("get_secret", json!({"path": "none"}), get.clone(), at("secrets/none")),
            Case::new("describe_secret", json!({"path": "a/b"}), get.clone(), at("metadata/a/b")),
            Case::new("describe_secret", json!({"path": "none"}), get.clone(), at("metadata/none")),
            Case::new("get_env_bundle", json!({"path": "env"}), get.clone(), at("env/env")),
            Case::new("get_env_bundle", json!({"path": "a/b"}), get.clone(), at("env/a/b")),
            Case::new("rotate_and_store", json!({"path": "a/b", "value": "w"}), post.clone(), at("rotate/a/b")).body(json!({"value": "w"})),
            Case::new("rotate_and_store", json!({"path": "none", "value": "w"}), post.clone(), at("rotate/none")).body(json!({"value": "w"})),
            Case::new("delete_secret", json!({"path": "a/b"}), delete.clone(), at("secrets/a/b")),
            Case::new("delete_secret", json!({"path": "a/b"}), delete, at("secrets/a/b")),
            Case::new("get_secret", json!({"path": "a/b"}), get.clone(), at("secrets/a/b")),
            Case::new("create_vault", json!({"name": "new", "description": "d"}), post.clone(), "/v1/vaults").body(json!({"name": "new", "description": "d"})),
            Case::new("create_vault", json!({"name": ""}), post.clone(), "/v1/vaults").body(json!({"name": ""})),
            Case::new("list_vaults", json!({}), get.clone(), "/v1/vaults"),
            Case::new("grant_access", grant.clone(), post.clone(), at("policies")).body(policy),
            Case::new("grant_access", json!({"vault_id": keys.id, "principal_type": "agent", "principal_id": bot.id}), post.clone(), format!("/v1/vaults/{}/policies", keys.id)).body(json!({})),
            // A share that is made is another each time; see shares.rs.
            Case::new("share_secret", json!({"secret_id": "01890000-0000-7000-8000-000000000000", "recipient_type": "creator", "expires_at": "2020-01-01T00:00:00Z"}), post.clone(), "/v1/secrets/01890000-0000-7000-8000-000000000000/share").body(json!({})),
            // One that is asked for is another each time; see mcp_approvals.rs.
            Case::new("request_approval", json!({"vault_id": here, "secret_path": "c"}), post.clone(), "/v1/approvals").body(json!({"vault_id": there, "secret_path": "c"})),
            Case::new("check_approval", json!({"approval_id": "01890000-0000-7000-8000-000000000000"}), get.clone(), "/v1/approvals/01890000-0000-7000-8000-000000000000"),
            Case::new("whoami", json!({}), get.clone(), "/v1/agents/me"),
            Case::new("list_chains", json!({}), get.clone(), "/v1/chains"),
        ];
        let mut covered = BTreeSet::new();
        for case in cases {
            covered.insert(case.run(&bot, &here).await.to_owned());
        }
        let sender = ada.agent("sender").intents().set("tx_daily_limit_eth", "1").reads(&keys, "**").make().await;
        let transfer = json!({"chain": "local", "to": ADDRESSES[1], "value": "0.1", "simulate_first": true, "idempotency_key": "k"});
        let mut body = transfer.clone();
        body.as_object_mut().unwrap().remove("idempotency_key");
        // Once it is at its end, asked for again over either door: it is the same.
        let sent = sender.tool("submit_transaction", &transfer).await.expect("tx_hash");
        let id = sent["id"].as_str().unwrap();
        sender.until(id, "confirmed").await;
        let path = sender.transactions();
        let none = "01890000-0000-7000-8000-000000000000";
        let too_much = json!({"chain": "local", "to": ADDRESSES[1], "value": "1.5", "simulate_first": true});
        let tried = json!({"chain": "local", "to": ADDRESSES[1], "value": "0.1"});
        let nowhere = json!({"chain": "local", "to": "0x12", "value": "0.1"});
        let (two, none_at_all) = (json!({"transactions": [tried, tried]}), json!({"transactions": []}));
        let (single, many) = (format!("{path}/simulate"), format!("{path}/simulate-bundle"));
        let cases = [
            Case::new("simulate_transaction", tried.clone(), post.clone(), &single).body(tried),
            Case::new("simulate_transaction", nowhere.clone(), post.clone(), &single).body(nowhere),
            Case::new("simulate_bundle", two.clone(), post.clone(), &many).body(two),
            Case::new("simulate_bundle", none_at_all.clone(), post.clone(), &many).body(none_at_all),
            Case::new("submit_transaction", transfer, post.clone(), &path).body(body),
            Case::new("submit_transaction", too_much.clone(), post, &path).body(too_much),
            Case::new("get_transaction", json!({"tx_id": id}), get.clone(), format!("{path}/{id}")),
            Case::new("get_transaction", json!({"tx_id": none}), get.clone(), format!("{path}/{none}")),
            Case::new("speed_up_transaction", json!({"tx_id": id}), Method::POST, format!("{path}/{id}/speed-up")).body(json!({})),
            Case::new("speed_up_transaction", json!({"tx_id": none, "gas_price": "1"}), Method::POST, format!("{path}/{none}/speed-up")).body(json!({})),
            Case::new("cancel_transaction", json!({"tx_id": id}), Method::POST, format!("{path}/{id}/cancel")).body(json!({})),
            Case::new("list_transactions", json!({}), get.clone(), &path),
            Case::new("wait_for_approval", json!({"tx_id": id, "timeout_seconds": 0}), get.clone(), format!("/v1/approvals/wait?tx_id={id}&timeout_seconds=0")),
            Case::new("whoami", json!({}), get, "/v1/agents/me"),
        ];
        for case in cases {
            covered.insert(case.run(&sender, &keys.id).await.to_owned());
        }
        assert_eq!(covered, all_tools());
    }
}
