//! Agents: registered, changed, seen.

use harness::{both, json};

both! {
    async fn registered_with_guardrails_and_shown_as_enforced(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let to = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
        let body = json!({"name": "bot", "description": "pays bills", "intents_api_enabled": true, "scopes": ["keys/**"],
            "tx_to_allowlist": [to.to_lowercase()], "tx_max_value_eth": "0.50", "tx_daily_limit_eth": "2",
            "tx_max_fee_eth": "0.01", "tx_allowed_chains": ["base", "31337"], "token_ttl_seconds": 600,
            "vault_ids": [vault.id], "shroud_enabled": false});
        let made = ada.post("/v1/agents", &body).expect(201, "ocv_").await;
        let agent = &made["agent"];
        assert_eq!(agent["tx_to_allowlist"], json!([to]));
        assert_eq!(agent["tx_max_value_eth"], "0.5");
        assert_eq!(agent["tx_allowed_chains"], json!(["base", "local"]));
        assert_eq!((&agent["auth_method"], &agent["is_active"]), (&json!("api_key"), &json!(true)));
        let path = format!("/v1/agents/{}", agent["id"].as_str().unwrap());
        let seen = ada.get(&path).expect(200, "pays bills").await;
        assert_eq!(seen["tx_daily_limit_eth"], "2");
        assert!(!seen.to_string().contains(made["api_key"].as_str().unwrap()), "the key is shown once");
        let changed = ada.patch(&path, &json!({"tx_max_value_eth": null, "tx_allowed_chains": [], "name": "bob"})).expect(200, "bob").await;
        assert_eq!((changed.get("tx_max_value_eth"), &changed["tx_daily_limit_eth"]), (None, &json!("2")));
        assert_eq!((&changed["tx_allowed_chains"], &changed["token_ttl_seconds"]), (&json!([]), &json!(600)));
        assert_eq!(changed["description"], "pays bills");
    }
}

both! {
    async fn bad_settings_name_their_field(w: World) {
        let ada = w.owner("ada").await;
        let bot = ada.agent("bot").make().await;
        for (field, value) in [
            ("tx_max_value_eth", json!("1e3")),
            ("tx_daily_limit_eth", json!("-1")),
            ("tx_max_fee_eth", json!("0.0000000000000000001")),
            ("tx_to_allowlist", json!(["0x123"])),
            ("tx_to_allowlist", json!(["0x70997970c51812dc3A010C7d01b50e0d17dc79C8"])),
            ("tx_allowed_chains", json!(["nowhere"])),
            ("token_ttl_seconds", json!(59)),
            ("token_ttl_seconds", json!(86401)),
            ("scopes", json!(["a/*b"])),
            ("vault_ids", json!(["00000000-0000-7000-8000-000000000000"])),
            ("vault_ids", json!(["x"])),
            ("expires_at", json!("2020-01-01T00:00:00Z")),
            ("expires_at", json!("soon")),
            ("shroud_enabled", json!(true)),
            ("intents_api_enabled", json!("yes")),
        ] {
            let mut body = json!({"name": "bot"});
            body[field] = value.clone();
            ada.post("/v1/agents", &body).expect(400, field).await;
            ada.patch(&format!("/v1/agents/{}", bot.id), &json!({field: value})).expect(400, field).await;
        }
        ada.post("/v1/agents", &json!({"name": "x", "auth_method": "password"})).expect(400, "auth_method").await;
    }
}

both! {
    async fn who_sees_and_who_changes(w: World) {
        let (ada, eve) = (w.owner("ada").await, w.owner("eve").await);
        let (bot, other) = (ada.agent("bot").make().await, ada.agent("other").make().await);
        let path = format!("/v1/agents/{}", bot.id);
        let me = bot.get("/v1/agents/me").expect(200, "bot").await;
        assert_eq!(me["id"], json!(bot.id));
        ada.get("/v1/agents/me").expect(403, "for agents").await;
        bot.get("/v1/auth/me").expect(403, "for people").await;
        bot.get(&path).expect(200, "bot").await;
        other.get(&path).expect(404, "agent").await;
        assert_eq!(bot.get("/v1/agents").expect(200, "").await["agents"].as_array().unwrap().len(), 1);
        assert_eq!(ada.get("/v1/agents").expect(200, "").await["agents"].as_array().unwrap().len(), 2);
        eve.get(&path).expect(404, "agent").await;
        eve.patch(&path, &json!({"name": "x"})).expect(404, "agent").await;
        eve.delete(&path).expect(404, "agent").await;
        bot.patch(&path, &json!({"tx_daily_limit_eth": null})).expect(403, "never").await;
        bot.delete(&path).expect(403, "never").await;
        bot.post(&format!("{path}/rotate-key"), &json!({})).expect(403, "never").await;
        bot.post("/v1/agents", &json!({"name": "child"})).expect(403, "Agents may not").await;
    }
}

both! {
    async fn scopes_and_vault_bindings_are_a_ceiling(w: World) {
        let ada = w.owner("ada").await;
        let (one, two) = (ada.vault("one").await, ada.vault("two").await);
        for vault in [&one, &two] {
            vault.put("keys/a", "generic", "v").await;
            vault.put("other", "generic", "v").await;
        }
        let bot = ada.agent("bot").set("scopes", json!(["keys/**"])).set("vault_ids", json!([one.id]))
            .reads(&one, "**").reads(&two, "**").make().await;
        bot.get(&one.path("keys/a")).expect(200, "v").await;
        bot.get(&one.path("other")).expect(403, "").await;
        bot.get(&two.path("keys/a")).expect(403, "").await;
        assert_eq!(bot.get("/v1/vaults").expect(200, "").await["vaults"].as_array().unwrap().len(), 1);
        bot.post("/v1/vaults", &json!({"name": "x"})).expect(403, "bound").await;
    }
}

both! {
    async fn an_expired_agent_does_nothing(w: World) {
        let ada = w.owner("ada").await;
        let soon = domain::Clock::default().now().plus(std::time::Duration::from_millis(2500));
        let bot = ada.agent("bot").set("expires_at", soon.to_string()).make().await;
        bot.get("/v1/agents/me").expect(200, "bot").await;
        tokio::time::sleep(std::time::Duration::from_millis(2600)).await;
        bot.get("/v1/agents/me").expect(401, "").await;
        w.post("/v1/auth/agent-token", &json!({"api_key": bot.key})).expect(401, "").await;
    }
}

both! {
    /// One that has ended must not look active, with a key that is dead.
    async fn what_has_ended_is_told_and_not_active_again_without_a_key(w: World) {
        let ada = w.owner("ada").await;
        let bot = ada.agent("bot").make().await;
        let path = format!("/v1/agents/{}", bot.id);
        let (rotate, active) = (format!("{path}/rotate-key"), json!({"is_active": true}));
        let is = async |active: bool, status: &str| {
            let seen = ada.get(&path).expect(200, "").await;
            assert_eq!((&seen["is_active"], &seen["status"]), (&json!(active), &json!(status)));
        };
        is(true, "active").await;
        ada.patch(&path, &json!({"is_active": false})).expect(200, "suspended").await;
        is(false, "suspended").await;
        ada.patch(&path, &active).expect(200, "").await;
        is(true, "active").await;
        ada.delete(&path).expect(204, "").await;
        is(false, "ended").await;
        ada.patch(&path, &active).expect(409, "rotate-key").await;
        // What leaves it as it is may be changed.
        ada.patch(&path, &json!({"name": "was", "is_active": false})).expect(200, "was").await;
        is(false, "ended").await;
        let key = ada.post(&rotate, &json!({})).expect(200, "ocv_").await["api_key"].clone();
        is(false, "suspended").await;
        let soon = domain::Clock::default().now().plus(std::time::Duration::from_secs(10));
        ada.patch(&path, &json!({"is_active": true, "expires_at": soon.to_string()})).expect(200, "").await;
        is(true, "active").await;
        let shown = json!({"agent_id": bot.id, "api_key": key});
        w.post("/v1/auth/agent-token", &shown).expect(200, "access_token").await;
        let begun = std::time::Instant::now();
        while ada.get(&path).expect(200, "").await["status"] == "active" {
            assert!(begun.elapsed() < std::time::Duration::from_secs(20));
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
        is(true, "expired").await;
    }
}
