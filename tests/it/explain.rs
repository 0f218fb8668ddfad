//! Explanations: what they say is what a call gets.

use harness::{Person, Value, both, json};

/// What the explanation says, and what reading, writing and deleting are answered.
async fn compare(
    asks: &Person<'_>,
    kind: &str,
    id: &str,
    token: &str,
    vault: &str,
    path: &str,
) -> Vec<Value> {
    let mut said = Vec::new();
    for action in ["read", "write", "delete"] {
        let question = json!({"principal_type": kind, "principal_id": id, "action": action, "vault_id": vault, "path": path,
            "ip_address": "127.0.0.1"});
        let answer = asks.post("/v1/policies/explain", &question).expect(200, "reasons").await;
        let (at, does) = (format!("/v1/vaults/{vault}/secrets/{path}"), asks.through(token));
        let reply = match action {
            "read" => does.get(&at).reply().await,
            "write" => does.put(&at, &json!({"value": "v"})).reply().await,
            _ => does.delete(&at).reply().await,
        };
        assert_eq!(
            answer["allowed"],
            json!(reply.status < 300 || reply.status == 410),
            "{action} {path}: {answer} {}",
            reply.text
        );
        said.push(answer);
    }
    said
}

both! {
    async fn what_an_explanation_says_is_what_a_call_gets(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        for path in ["keys/a", "keys/b", "notes/a"] {
            vault.put(path, "generic", "v").await;
        }
        let bot = ada.agent("bot").set("scopes", json!(["keys/**"])).make().await;
        let policy = vault.allow(&bot.id, "keys/a", &["read"]).await;
        vault.allow(&bot.id, "**", &["write"]).await;
        let list = format!("/v1/vaults/{}/policies", vault.id);
        let late = json!({"secret_path_pattern": "keys/b", "principal_type": "agent", "principal_id": bot.id,
            "permissions": ["read"], "conditions": {"ip_allowlist": ["10.0.0.0/8"]}});
        ada.post(&list, &late).expect(201, "").await;

        let said = compare(&ada, "agent", &bot.id, &bot.token, &vault.id, "keys/a").await;
        assert_eq!((&said[0]["decided_by"], &said[0]["policy_id"]), (&json!("policy"), &policy["id"]));
        let said = compare(&ada, "agent", &bot.id, &bot.token, &vault.id, "keys/b").await;
        assert_eq!((&said[0]["decided_by"], &said[0]["allowed"]), (&json!("none"), &json!(false)));
        assert!(said[0]["reasons"].to_string().contains("condition ip_allowlist does not hold"), "{}", said[0]);
        let said = compare(&ada, "agent", &bot.id, &bot.token, &vault.id, "notes/a").await;
        assert_eq!(said[1]["decided_by"], "scopes");
        let me = ada.id().await;
        let said = compare(&ada, "user", &me, &ada.token, &vault.id, "notes/a").await;
        assert_eq!(said[0]["decided_by"], "ownership");

        // Elsewhere it would be given.
        let office = json!({"principal_type": "agent", "principal_id": bot.id, "action": "read", "vault_id": vault.id,
            "path": "keys/b", "ip_address": "10.1.1.1"});
        ada.post("/v1/policies/explain", &office).expect(200, "\"allowed\":true").await;

        // An agent that uses keys, and one that is suspended.
        vault.put_key("keys/eth", 0).await;
        let spender = ada.agent("spender").intents().reads(&vault, "**").make().await;
        vault.allow(&spender.id, "**", &["write"]).await;
        let said = compare(&ada, "agent", &spender.id, &spender.token, &vault.id, "keys/eth").await;
        assert_eq!(said[0]["decided_by"], "intents");
        ada.post(&format!("/v1/agents/{}/suspend", bot.id), &json!({})).expect(200, "").await;
        let said = compare(&ada, "agent", &bot.id, &bot.token, &vault.id, "keys/a").await;
        assert_eq!(said[0]["decided_by"], "principal");

        // Talon's own vault.
        let all = ada.get("/v1/vaults").expect(200, "__agent-keys").await;
        let own = all["vaults"].as_array().unwrap().iter().find(|v| v["reserved"] == true).unwrap();
        let said = compare(&ada, "user", &me, &ada.token, own["id"].as_str().unwrap(), "agents/a").await;
        assert_eq!((&said[0]["decided_by"], &said[1]["decided_by"]), (&json!("none"), &json!("reserved")));
    }
}

both! {
    async fn who_is_told_what(w: World) {
        let (ada, eve) = (w.owner("ada").await, w.owner("eve").await);
        let vault = ada.vault("main").await;
        vault.put("a", "generic", "v").await;
        let (bot, other) = (ada.agent("bot").reads(&vault, "a").make().await, ada.agent("other").make().await);
        let ask = |kind: &str, id: &str, path: &str| json!({"principal_type": kind, "principal_id": id, "action": "read",
            "vault_id": vault.id, "path": path});
        let url = "/v1/policies/explain";
        // Everybody about themselves; about others, who manages the vault.
        bot.post(url, &ask("agent", &bot.id, "a")).expect(200, "\"decided_by\":\"policy\"").await;
        bot.post(url, &ask("agent", &other.id, "a")).expect(403, "").await;
        ada.post(url, &ask("agent", &other.id, "a")).expect(200, "there is none").await;
        // Not through a key that is held to some paths.
        let (_, key) = ada.api_key(&json!({"name": "k", "scopes": ["a"]})).await;
        ada.through(&key).post(url, &ask("agent", &bot.id, "a")).expect(403, "").await;
        let me = ada.id().await;
        ada.through(&key).post(url, &ask("user", &me, "b")).expect(200, "\"decided_by\":\"scopes\"").await;
        // Another organisation learns nothing.
        eve.post(url, &ask("agent", &bot.id, "a")).expect(404, "vault").await;
        let spy = eve.agent("spy").make().await;
        ada.post(url, &ask("agent", &spy.id, "a")).expect(400, "principal_id").await;
        // What is not understood is not answered.
        let with = |field: &str, value: Value| {
            let mut question = ask("agent", &bot.id, "a");
            question[field] = value;
            question
        };
        for (field, value) in [
            ("principal_type", json!("god")),
            ("principal_id", json!("x")),
            ("action", json!("sign")),
            ("path", json!("a//b")),
            ("ip_address", json!("everywhere")),
            ("at", json!("tomorrow")),
            ("colour", json!("red")),
        ] {
            ada.post(url, &with(field, value)).expect(400, field).await;
        }
        // What refuses them before any path is looked at.
        ada.post("/v1/agents/suspend-all", &json!({})).expect(200, "").await;
        ada.post(url, &ask("agent", &bot.id, "a")).expect(200, "\"decided_by\":\"suspension\"").await;
        ada.delete(&format!("/v1/agents/{}", other.id)).expect(204, "").await;
        ada.post(url, &ask("agent", &other.id, "a")).expect(200, "\"decided_by\":\"principal\"").await;
    }
}
