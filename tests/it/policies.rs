//! Policies: what they allow, when, and who may give them.

use std::time::Duration;

use harness::{both, json};

/// A window of an hour that is not open now, nor soon.
pub fn closed() -> harness::Value {
    let now = domain::Clock::default().now().to_string();
    let hour: u32 = now[11..13].parse().unwrap();
    json!({"start": format!("{:02}:00", (hour + 2) % 24), "end": format!("{:02}:00", (hour + 3) % 24)})
}

both! {
    async fn what_a_policy_allows_and_nothing_else(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put("keys/one", "generic", "1").await;
        vault.put("keys/deep/two", "generic", "2").await;
        vault.put("other", "generic", "3").await;
        let bot = ada.agent("bot").reads(&vault, "keys/*").make().await;
        bot.get(&vault.path("keys/one")).expect(200, "1").await;
        // The same answer whether the path exists or not.
        let there = bot.get(&vault.path("other")).expect(403, "No read permission").await;
        let nowhere = bot.get(&vault.path("nowhere")).expect(403, "No read permission").await;
        assert_eq!(there["detail"], nowhere["detail"]);
        bot.get(&vault.path("keys/deep/two")).expect(403, "").await;
        bot.put(&vault.path("keys/one"), &json!({"value": "x"})).expect(403, "No write permission").await;
        bot.delete(&vault.path("keys/one")).expect(403, "No delete permission").await;
        let list = bot.get(&format!("/v1/vaults/{}/secrets", vault.id)).expect(200, "keys/one").await;
        assert_eq!(list["secrets"].as_array().unwrap().len(), 1);
        vault.allow(&bot.id, "keys/**", &["write"]).await;
        bot.put(&vault.path("keys/deep/two"), &json!({"value": "x"})).expect(201, "").await;
        bot.delete(&vault.path("keys/deep/two")).expect(204, "").await;
        bot.get(&vault.path("keys/deep/two")).expect(403, "").await;
    }
}

both! {
    async fn made_changed_listed_deleted(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put("a", "generic", "v").await;
        let bot = ada.agent("bot").make().await;
        let made = vault.allow(&bot.id, "a", &["read"]).await;
        bot.get(&vault.path("a")).expect(200, "v").await;
        let list = format!("/v1/vaults/{}/policies", vault.id);
        let path = format!("{list}/{}", made["id"].as_str().unwrap());
        assert_eq!(ada.get(&list).expect(200, "a").await["policies"].as_array().unwrap().len(), 1);
        ada.put(&path, &json!({"permissions": ["write"]})).expect(200, "write").await;
        bot.get(&vault.path("a")).expect(403, "").await;
        let until = domain::Clock::default().now().plus(Duration::from_millis(1200));
        ada.put(&path, &json!({"permissions": ["read"], "expires_at": until.to_string()})).expect(200, "read").await;
        bot.get(&vault.path("a")).expect(200, "v").await;
        tokio::time::sleep(Duration::from_millis(1300)).await;
        bot.get(&vault.path("a")).expect(403, "").await;
        ada.put(&path, &json!({"expires_at": null})).expect(200, "").await;
        bot.get(&vault.path("a")).expect(200, "v").await;
        ada.delete(&path).expect(204, "").await;
        bot.get(&vault.path("a")).expect(403, "").await;
        ada.delete(&path).expect(404, "policy").await;
        ada.put(&path, &json!({})).expect(404, "policy").await;
    }
}

both! {
    async fn conditions(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put("a", "generic", "v").await;
        let bot = ada.agent("bot").make().await;
        let list = format!("/v1/vaults/{}/policies", vault.id);
        let with = |conditions: harness::Value| json!({"secret_path_pattern": "a", "principal_type": "agent",
            "principal_id": bot.id, "permissions": ["read"], "conditions": conditions});
        let made = ada.post(&list, &with(json!({"ip_allowlist": ["10.0.0.0/8"]}))).expect(201, "10.0.0.0/8").await;
        bot.get(&vault.path("a")).expect(403, "").await;
        let path = format!("{list}/{}", made["id"].as_str().unwrap());
        ada.put(&path, &json!({"conditions": {"ip_allowlist": ["127.0.0.1"]}})).expect(200, "127.0.0.1").await;
        bot.get(&vault.path("a")).expect(200, "v").await;
        ada.put(&path, &json!({"conditions": {"time_window": closed()}})).expect(200, "").await;
        bot.get(&vault.path("a")).expect(403, "").await;
        ada.put(&path, &json!({"conditions": {"require_approval": true}})).expect(200, "").await;
        bot.get(&vault.path("a")).expect(403, "").await;
        ada.put(&path, &json!({"conditions": {}})).expect(200, "").await;
        bot.get(&vault.path("a")).expect(200, "v").await;
        for (odd, named) in [
            (json!({"moon": "full"}), "conditions.moon"),
            (json!({"ip_allowlist": ["x"]}), "conditions.ip_allowlist"),
            (json!({"time_window": {"start": "9", "end": "10:00"}}), "conditions.time_window"),
            (json!({"time_window": {"start": "09:00", "end": "10:00", "timezone": "Mars"}}), "conditions.time_window"),
        ] {
            ada.post(&list, &with(odd)).expect(400, named).await;
        }
        // A condition that only a newer Talon understands denies here.
        w.sql("UPDATE policies SET conditions = '{\"moon\": \"full\"}'").await;
        tokio::time::sleep(Duration::from_millis(1100)).await;
        bot.get(&vault.path("a")).expect(403, "").await;
    }
}

both! {
    async fn who_may_give_them_and_to_whom(w: World) {
        let (ada, eve) = (w.owner("ada").await, w.owner("eve").await);
        let vault = ada.vault("main").await;
        let bot = ada.agent("bot").reads(&vault, "**").make().await;
        let stranger = eve.agent("stranger").make().await;
        let list = format!("/v1/vaults/{}/policies", vault.id);
        let to = |id: &str| json!({"secret_path_pattern": "**", "principal_type": "agent", "principal_id": id, "permissions": ["read"]});
        ada.post(&list, &to(&stranger.id)).expect(400, "principal_id").await;
        bot.post(&list, &to(&bot.id)).expect(403, "").await;
        bot.get(&list).expect(403, "").await;
        let bad = |field: &str, value: harness::Value| {
            let mut body = to(&bot.id);
            body[field] = value;
            body
        };
        ada.post(&list, &bad("permissions", json!([]))).expect(400, "permissions").await;
        ada.post(&list, &bad("permissions", json!(["own"]))).expect(400, "permissions").await;
        ada.post(&list, &bad("secret_path_pattern", json!("a/*b"))).expect(400, "secret_path_pattern").await;
        ada.post(&list, &bad("principal_type", json!("robot"))).expect(400, "principal_type").await;
        ada.post(&list, &bad("unknown", json!("x"))).expect(400, "unknown must be left out").await;
        ada.post(&list, &bad("unknown", json!(null))).expect(201, "").await;
        // An agent manages the vault that it made.
        let own = bot.post("/v1/vaults", &json!({"name": "own"})).expect(201, "").await;
        let own = format!("/v1/vaults/{}", own["id"].as_str().unwrap());
        bot.put(&format!("{own}/secrets/a"), &json!({"value": "v"})).expect(201, "").await;
        ada.get(&format!("{own}/secrets/a")).expect(403, "").await;
        let me = json!({"secret_path_pattern": "**", "principal_type": "user", "principal_id": ada.id().await, "permissions": ["read"]});
        bot.post(&format!("{own}/policies"), &me).expect(201, "").await;
        ada.get(&format!("{own}/secrets/a")).expect(200, "v").await;
    }
}
