//! What requests may hold: nothing that is ignored where it would restrict, nothing without bounds, no NUL.

use harness::{Person, Value, both, json};
use reqwest::Method;

const NOBODY: &str = "01890000-0000-7000-8000-000000000000";

async fn raw(by: &Person<'_>, method: Method, path: &str, body: String) -> harness::Reply {
    by.call(method, path).header("content-type", "application/json").body(body).reply().await
}

both! {
    async fn conditions_are_small_and_each_says_something_once(w: World) {
        let ada = w.owner("ada").await;
        let bot = ada.agent("bot").make().await;
        let made = bot.post("/v1/vaults", &json!({"name": "own"})).expect(201, "").await;
        let list = format!("/v1/vaults/{}/policies", made["id"].as_str().unwrap());
        let own = ada.through(&bot.token);
        let with = |conditions: &str| {
            format!(r#"{{"secret_path_pattern": "a", "principal_type": "agent", "principal_id": "{}", "permissions": ["read"], "conditions": {conditions}}}"#, bot.id)
        };
        let many: Vec<String> = (0..101).map(|n| format!("10.0.{n}.0/24")).collect();
        for (conditions, said) in [
            (json!({"x".repeat(900_000): false}).to_string(), "4 KiB"),
            (json!({"note": null}).to_string(), "is not a condition"),
            (json!({"note": false}).to_string(), "is not a condition"),
            (json!({"ip_allowlist": []}).to_string(), "1 to 100"),
            (json!({"ip_allowlist": many}).to_string(), "1 to 100"),
            (json!({"time_window": {"start": "08:00", "end": "08:00"}}).to_string(), "never open"),
            (r#"{"ip_allowlist": ["10.0.0.1"], "ip_allowlist": ["0.0.0.0/0"]}"#.to_owned(), "each name once"),
            (r#"{"require_approval": {"approvals": 2, "approvals": 1}}"#.to_owned(), "each name once"),
        ] {
            let problem = raw(&own, Method::POST, &list, with(&conditions)).await.expect(400, said);
            assert!(problem.to_string().len() < 1000, "{problem}");
        }
        let policy = raw(&own, Method::POST, &list, with(r#"{"ip_allowlist": null, "require_approval": false}"#)).await.expect(201, "id");
        let change = format!("{list}/{}", policy["id"].as_str().unwrap());
        let twice = r#"{"conditions": {"time_window": null, "time_window": null}}"#.to_owned();
        raw(&own, Method::PUT, &change, twice).await.expect(400, "each name once");
        own.put(&change, &json!({"conditions": {"ip_allowlist": many[..100]}})).expect(200, "10.0.99.0").await;
    }
}

both! {
    /// However long the details are that somebody has brought onto the trail.
    async fn a_page_of_the_trail_is_bounded(w: World) {
        let ada = w.owner("ada").await;
        for n in 0..12 {
            ada.vault(&format!("v{n}")).await;
        }
        let details = json!({"note": "x".repeat(1_000_000)});
        w.sql(&format!("UPDATE audit_events SET details = '{details}' WHERE action = 'vault.create'")).await;
        let (mut seen, mut pages, mut cursor) = (Vec::new(), 0, String::new());
        loop {
            let reply = ada.get(&format!("/v1/audit/events?limit=1000{cursor}")).reply().await;
            assert!(reply.text.len() < 5 << 20, "{}", reply.text.len());
            let page = reply.expect(200, "events");
            pages += 1;
            seen.extend(page["events"].as_array().unwrap().iter().map(|event| event["sequence"].as_i64().unwrap()));
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert!(pages >= 3, "{pages}");
        let last = seen[0];
        assert!(last >= 13 && seen == (1..=last).rev().collect::<Vec<_>>(), "{seen:?}");
    }
}

both! {
    async fn lists_are_bounded(w: World) {
        let ada = w.owner("ada").await;
        let bot = ada.agent("bot").make().await;
        let at = format!("/v1/agents/{}", bot.id);
        let address = harness::ADDRESSES[0];
        let token = json!({"chain": "ethereum", "token": address});
        let calls = |selectors: usize| json!({"chain": "ethereum", "contract": address, "selectors": vec!["0xa9059cbb"; selectors]});
        for (field, list) in [
            ("tx_allowed_chains", json!(vec!["ethereum"; 101])),
            ("tx_to_allowlist", json!(vec![address; 1001])),
            ("tx_tokens", json!(vec![token; 101])),
            ("tx_calls_allowlist", json!(vec![calls(1); 101])),
            ("tx_calls_allowlist", json!([calls(501)])),
            ("scopes", json!(vec!["keys/**"; 2000])),
            ("vault_ids", json!(vec![NOBODY; 101])),
        ] {
            ada.patch(&at, &json!({field: list})).expect(400, "at most").await;
            ada.post("/v1/agents", &json!({"name": "x", field: list})).expect(400, "at most").await;
        }
        ada.patch(&at, &json!({"tx_allowed_chains": vec!["ethereum"; 100]})).expect(200, "ethereum").await;
    }
}

both! {
    async fn what_is_not_known_is_not_ignored(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put("a", "password", "v").await;
        let bot = ada.agent("bot").make().await;
        let out = |field: &str| format!("{field} must be left out");
        let at = |what: &str| format!("/v1/vaults/{}/{what}/a", vault.id);
        ada.put(&at("secrets"), &json!({"value": "v", "max_acces_count": 1})).expect(400, &out("max_acces_count")).await;
        ada.put(&at("secrets"), &json!({"value": "v", "expiry": "2030-01-01T00:00:00Z"})).expect(400, &out("expiry")).await;
        ada.post(&at("rotate"), &json!({"value": "v", "max_access_count": 1})).expect(400, &out("max_access_count")).await;
        ada.post(&at("secret-rotate"), &json!({"len": 64})).expect(400, &out("len")).await;
        let decide = |how: &str| format!("/v1/approvals/{NOBODY}/{how}");
        ada.post(&decide("approve"), &json!({"decision": "reject"})).expect(400, &out("decision")).await;
        ada.post(&decide("deny"), &json!({"until": "2030-01-01T00:00:00Z"})).expect(400, &out("until")).await;
        ada.post(&decide("decide"), &json!({"decision": "approve", "once": true})).expect(400, &out("once")).await;
        ada.post(&decide("approve"), &json!({"reason": "yes"})).expect(404, "No such approval").await;
        // What is to be off from the start is not made to be on.
        let policy = json!({"secret_path_pattern": "a", "principal_type": "agent", "principal_id": bot.id, "permissions": ["read"]});
        for (path, mut body, switch) in [
            ("/v1/agents".to_owned(), json!({"name": "x"}), "is_active"),
            ("/v1/auth/api-keys".to_owned(), json!({"name": "x"}), "is_active"),
            ("/v1/webhooks".to_owned(), json!({"url": "https://example.org/", "events": ["*"]}), "active"),
            (format!("/v1/vaults/{}/policies", vault.id), policy, "enabled"),
            ("/v1/security/ip-rules".to_owned(), json!({"rule_type": "deny", "cidr": "192.0.2.0/24"}), "enabled"),
        ] {
            body[switch] = false.into();
            ada.post(&path, &body).expect(400, &out(switch)).await;
        }
        // What newer clients send and means nothing when it is off.
        ada.post("/v1/agents", &json!({"name": "x", "shroud_enabled": false})).expect(201, "").await;
        for odd in [json!("true"), json!(1), json!(null)] {
            let body = json!({"value": harness::KEYS[0], "type": "private_key", "metadata": {"signing_only": odd}});
            ada.put(&at("secrets"), &body).expect(400, "metadata.signing_only: must be true or false").await;
        }
        // A filter that is none would let everything through.
        ada.get("/v1/audit/events?actor=x").expect(400, "actor must be left out").await;
        ada.get("/v1/approvals?state=pending").expect(400, "state must be left out").await;
        ada.get(&format!("/v1/vaults/{}/secrets?prefixes=a", vault.id)).expect(400, "prefixes must be left out").await;
        // What would be less than was asked for, or more.
        let agents = ada.agent("one").make().await;
        for what in ["suspend", "resume", "rotate-key"] {
            let at = format!("/v1/agents/{}/{what}", agents.id);
            ada.post(&at, &json!({"until": "2030-01-01"})).expect(400, "until must be left out").await;
        }
        for what in ["suspend-all", "resume-all"] {
            ada.post(&format!("/v1/agents/{what}"), &json!({"agents": [agents.id]})).expect(400, "agents must be left out").await;
        }
        agents.get("/v1/agents/me").expect(200, "").await;
        let asked = json!({"vault_id": vault.id, "secret_path": "a", "version": 1});
        agents.post("/v1/approvals", &asked).expect(400, "version must be left out").await;
        // Whoever logs in is told what is taken for nothing.
        let (key, bot) = (ada.api_key(&json!({"name": "x"})).await.1, ada.agent("narrow").make().await);
        for (path, mut body) in [
            ("/v1/auth/api-key-token", json!({"api_key": key})),
            ("/v1/auth/agent-token", json!({"agent_id": bot.id, "api_key": bot.key})),
        ] {
            w.post(path, &body).expect(200, "").await;
            body["vault_ids"] = json!([vault.id]);
            w.post(path, &body).expect(400, "vault_ids must be left out").await;
        }
        // A device may send what is not known here, and no scope (RFC 8628 §3.1): its token would have more.
        for scope in [json!(null), json!(""), json!(" ")] {
            let body = json!({"client_id": "tv", "device_name": "in the kitchen", "scope": scope});
            w.post("/v1/auth/device/code", &body).expect(200, "user_code").await;
        }
        let narrow = json!({"client_id": "tv", "scope": "keys/**"});
        w.post("/v1/auth/device/code", &narrow).expect(400, "scope: must be left out").await;
    }
}

both! {
    async fn refusals_are_in_peoples_words(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let at = vault.path("a");
        for (body, said) in [
            (r#"{"value": "v", "max_access_count": -1}"#, "max_access_count: must be a whole number, 0 or more"),
            (r#"{"value": "v", "metadata": 7}"#, "metadata: must be an object"),
            (r#"{"value": "v", "type": null}"#, "type: must be one of the texts"),
            (r#"{"value": 7}"#, "value: must be text"),
        ] {
            raw(&ada, Method::PUT, &at, body.to_owned()).await.expect(400, said);
        }
        ada.get(&format!("/v1/vaults/{}/secrets?limit=x", vault.id)).expect(400, "limit: must be a whole number").await;
        let never = ada.put(&at, &json!({"value": "v", "expires_at": "9999-12-31T23:59:59Z"})).expect(201, "").await;
        assert_eq!(never["expires_at"], "9999-12-31T23:59:59.000Z");
        assert_eq!(ada.get(&at).expect(200, "").await["expires_at"], never["expires_at"]);
        w.post("/v1/auth/google", &json!({"id_token": "x"})).expect(404, "TALON_GOOGLE_CLIENT_ID").await;
        assert!(!w.said().contains("ERROR"), "{}", w.said());
    }
}

/// Whoever reads the beginning alone is told nothing of the rest.
#[test]
fn a_document_for_head_ends_quietly() {
    for document in ["openapi", "tools"] {
        let mut command = harness::talon();
        command.arg(document).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{document}: {output:?}");
    }
}

fn document() -> Value {
    let output = harness::talon().arg("openapi").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A body's fields, wherever the document keeps them.
pub fn fields(document: &Value, operation: &Value) -> Vec<String> {
    let mut schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    while let Some(place) = schema["$ref"].as_str() {
        schema = document.pointer(place.trim_start_matches('#')).unwrap();
    }
    schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
}

/// A path with NUL in the placeholder of this name.
fn spoilt(path: &str, name: &str) -> String {
    let filled = path.replace(&format!("{{{name}}}"), "%00");
    let known = [
        ("{path}", "keys/a"),
        ("{version}", "1"),
        ("{identifier}", "base"),
        ("{user_code}", "ABCD-EFGH"),
        ("{key}", "x"),
    ];
    let filled = known.iter().fold(filled, |path, (place, with)| path.replace(place, with));
    let mut whole = String::new();
    for segment in filled.split('/').skip(1) {
        whole.push('/');
        whole.push_str(if segment.starts_with('{') { NOBODY } else { segment });
    }
    whole
}

both! {
    /// Each text of each request, one at a time. PostgreSQL keeps no text with NUL in it.
    async fn nul_is_refused_wherever_it_comes(w: World) {
        let root = w.operator().await;
        let vault = root.vault("main").await;
        vault.put("keys/a", "generic", "v").await;
        let bot = root.agent("bot").intents().make().await;
        let document = document();
        let mut tried = 0;
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let method: Method = method.to_uppercase().parse().unwrap();
                // What it is about is there, so that access refuses nothing before the fields are read.
                let there = path.replace("{vault_id}", &vault.id).replace("{agent_id}", &bot.id);
                for token in [Some(&root.token), Some(&bot.token), None] {
                    let token = token.map(String::as_str);
                    let call = |path: &str| w.call(method.clone(), path, token);
                    for parameter in operation["parameters"].as_array().into_iter().flatten() {
                        let name = parameter["name"].as_str().unwrap();
                        let (path, said) = match parameter["in"].as_str().unwrap() {
                            "path" => (spoilt(path, name), [400, 401, 403, 404].as_slice()),
                            "query" => (format!("{}?{name}=%00", spoilt(&there, "")), [400, 401, 403, 404].as_slice()),
                            _ => continue,
                        };
                        let reply = call(&path).reply().await;
                        assert!(said.contains(&reply.status), "{method} {path}: {} {}", reply.status, reply.text);
                        tried += 1;
                    }
                    for field in fields(&document, operation) {
                        // A secret's may hold any; an operator's setting is looked at below.
                        if field == "value" {
                            continue;
                        }
                        let reply = call(&spoilt(&there, "")).json(&json!({ &field: "a\u{0}b" })).reply().await;
                        assert!((400..500).contains(&reply.status), "{method} {path} {field}: {} {}", reply.status, reply.text);
                        tried += 1;
                    }
                }
            }
        }
        assert!(tried > 300, "{tried}");
        // With all else as it should be.
        w.get("/v1/auth/device/code/%00").expect(400, "user_code: must hold no NUL").await;
        w.post("/v1/auth/agent-token", &json!({"api_key": "ocv_\u{0}aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"})).expect(400, "api_key: must hold no NUL").await;
        for answer in ["approve", "deny"] {
            root.post(&format!("/v1/auth/device/{answer}"), &json!({"user_code": "\u{0}"})).expect(400, "user_code: must hold no NUL").await;
        }
        root.put("/v1/admin/settings/auth.email_verification", &json!({"value": "true\u{0}"})).expect(400, "value").await;
        for filter in ["action", "actor_id", "actor_type", "resource_id", "resource_type"] {
            root.get(&format!("/v1/audit/events?{filter}=%00")).expect(400, &format!("{filter}: must hold no NUL")).await;
        }
        let metadata = json!({"value": "v", "metadata": {"deep": ["\u{0}"]}});
        root.put(&vault.path("b"), &metadata).expect(400, "metadata.deep[0]: must hold no NUL").await;
        // A value is sealed as bytes, and may hold any.
        root.put(&vault.path("b"), &json!({"value": "a\u{0}b"})).expect(201, "").await;
        assert_eq!(root.get(&vault.path("b")).expect(200, "").await["value"], "a\u{0}b");
    }
}
