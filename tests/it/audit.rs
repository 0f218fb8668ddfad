//! The audit trail: complete, in one chain for each organisation, and free of secrets.

use std::collections::BTreeSet;

use domain::audit::{GENESIS, Hash, Row};
use futures::future::join_all;
use harness::{KEYS, Value, World, both, json};
use sqlx::Row as _;
use sqlx::any::AnyRow;

/// An organisation's events in order, after its chain was checked link by link.
async fn chain(w: &World, org: &str) -> Vec<AnyRow> {
    let pool = w.database().await;
    let find =
        sqlx::query("SELECT * FROM audit_events WHERE org_id = $1 ORDER BY sequence").bind(org.to_owned());
    let events = find.fetch_all(&pool).await.unwrap();
    let (mut previous, mut hash): (String, Hash) = (String::new(), GENESIS);
    for (n, event) in events.iter().enumerate() {
        let text = |column: &str| event.get::<String, _>(column);
        assert_eq!(event.get::<i64, _>("sequence"), i64::try_from(n).unwrap() + 1, "a gap in the chain");
        assert_eq!(text("prev_event_id"), previous);
        let (id, action, details, address) =
            (text("id"), text("action"), text("details"), text("ip_address"));
        let row = Row {
            sequence: event.get("sequence"),
            id: &id,
            org,
            action: &action,
            actor_type: &text("actor_type"),
            actor_id: &text("actor_id"),
            resource_type: &text("resource_type"),
            resource_id: &text("resource_id"),
            details: &details,
            address: &address,
            created_at: event.get("created_at"),
        };
        hash = row.hash(&hash);
        assert_eq!(event.get::<Vec<u8>, _>("integrity_hash"), hash, "event {n}, {action}");
        assert_eq!(address, "127.0.0.1", "{action}");
        previous = id;
    }
    let head = sqlx::query("SELECT sequence, event_id, hash FROM audit_heads WHERE org_id = $1")
        .bind(org.to_owned());
    let head = head.fetch_one(&pool).await.unwrap();
    assert_eq!(head.get::<i64, _>("sequence"), i64::try_from(events.len()).unwrap());
    assert_eq!(
        (head.get::<String, _>("event_id"), head.get::<Vec<u8>, _>("hash")),
        (previous, hash.to_vec())
    );
    events
}

async fn org_of(w: &World, email: &str) -> String {
    let find = sqlx::query_scalar("SELECT org_id FROM users WHERE email = $1").bind(email.to_owned());
    find.fetch_one(&w.database().await).await.unwrap()
}

fn count(events: &[AnyRow], action: &str) -> usize {
    events.iter().filter(|event| event.get::<String, _>("action") == action).count()
}

both! { with chain,
    async fn every_change_and_every_read_is_on_the_trail(w: World) {
        let ada = w.owner("ada").await;
        w.post("/v1/auth/token", &json!({"email": ada.email, "password": "Wrong-Horse-42!x"})).expect(401, "").await;
        let vault = ada.vault("main").await;
        vault.put("db/password", "password", "hunter2-value").await;
        vault.put_key("keys/local-signer", 0).await;
        let bot = ada.agent("bot").intents().reads(&vault, "**").make().await;
        bot.get(&vault.path("db/password")).expect(200, "hunter2").await;
        bot.get(&vault.path("keys/local-signer")).expect(403, "").await;
        let sent = bot.send(harness::ADDRESSES[1], "0.5").expect(201, "tx_hash").await;
        ada.patch(&format!("/v1/agents/{}", bot.id), &json!({"description": "d"})).expect(200, "").await;
        let rotated = ada.post(&format!("/v1/agents/{}/rotate-key", bot.id), &json!({})).expect(200, "ocv_").await;
        ada.delete(&vault.path("db/password")).expect(204, "").await;
        ada.delete(&format!("/v1/agents/{}", bot.id)).expect(204, "").await;
        ada.delete(&format!("/v1/vaults/{}", vault.id)).expect(204, "").await;
        ada.delete("/v1/auth/token").expect(204, "").await;

        let org = org_of(&w, &ada.email).await;
        // What somebody tried in vain is noted a moment later.
        let begun = std::time::Instant::now();
        while count(&chain(&w, &org).await, "auth.failure") == 0 && begun.elapsed().as_secs() < 10 {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        let events = chain(&w, &org).await;
        for (action, times) in [
            ("user.signup", 1), ("auth.failure", 1), ("auth.success", 1), ("vault.create", 2), ("secret.write", 4),
            ("agent.register", 1), ("policy.create", 1), ("secret.read", 1), ("transaction.submit", 1),
            ("agent.update", 1), ("agent.rotate_key", 1), ("secret.delete", 1), ("agent.deactivate", 1),
            ("vault.delete", 1), ("auth.revoke", 1),
        ] {
            assert_eq!(count(&events, action), times, "{action}");
        }
        let read = events.iter().find(|e| e.get::<String, _>("action") == "secret.read").unwrap();
        assert_eq!(read.get::<String, _>("actor_id"), bot.id);
        assert!(read.get::<String, _>("details").contains("db/password"));
        let submit = events.iter().find(|e| e.get::<String, _>("action") == "transaction.submit").unwrap();
        assert_eq!(submit.get::<String, _>("resource_id"), sent["id"].as_str().unwrap());

        let all: String = events.iter().map(|e| e.get::<String, _>("details")).collect();
        let new_key = rotated["api_key"].as_str().unwrap();
        for secret in ["hunter2", harness::PASSWORD, "Wrong-Horse", &KEYS[0][2..], &bot.key, &bot.token, new_key, &ada.token] {
            assert!(!all.contains(secret), "the trail holds a secret");
            assert!(!w.said().contains(secret), "the log holds a secret: {secret}");
        }
    }
}

/// The details of the only event of an action.
fn details(events: &[AnyRow], action: &str) -> Value {
    let mut found = events.iter().filter(|event| event.get::<String, _>("action") == action);
    let details = found.next().unwrap().get::<String, _>("details");
    assert!(found.next().is_none(), "{action} more than once");
    serde_json::from_str(&details).unwrap()
}

both! {
    async fn what_was_changed_about_an_agent_is_on_the_trail(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let to = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
        let bot = ada.agent("bot").set("tx_max_value_eth", "0.50").set("tx_to_allowlist", json!([to.to_lowercase()]))
            .set("tx_allowed_chains", json!(["31337"])).set("scopes", json!(["keys/**"])).make().await;
        let path = format!("/v1/agents/{}", bot.id);
        ada.patch(&path, &json!({"name": "bob", "description": "pays", "tx_max_value_eth": null, "tx_daily_limit_eth": "2.0",
            "tx_max_fee_eth": "0.01", "tx_to_allowlist": [], "tx_allowed_chains": ["local", "base"], "scopes": [],
            "vault_ids": [vault.id], "intents_api_enabled": true, "token_ttl_seconds": 600,
            "expires_at": "9999-12-31T23:59:59Z"})).expect(200, "bob").await;
        let rotated = ada.post(&format!("{path}/rotate-key"), &json!({})).expect(200, "ocv_").await;
        ada.delete(&path).expect(204, "").await;

        let events = chain(&w, &org_of(&w, &ada.email).await).await;
        let begun = details(&events, "agent.register");
        assert_eq!((&begun["name"], &begun["tx_max_value_eth"]), (&json!("bot"), &json!("0.5")));
        assert_eq!((&begun["tx_to_allowlist"], &begun["tx_allowed_chains"]), (&json!([to]), &json!(["local"])));
        assert_eq!((&begun["scopes"], &begun["tx_daily_limit_eth"]), (&json!(["keys/**"]), &json!(null)));
        let from_to = |from: Value, to: Value| json!({"from": from, "to": to});
        assert_eq!(details(&events, "agent.update")["changed"], json!({
            "name": from_to(json!("bot"), json!("bob")),
            "description": from_to(json!(null), json!("pays")),
            "tx_max_value_eth": from_to(json!("0.5"), json!(null)),
            "tx_daily_limit_eth": from_to(json!(null), json!("2")),
            "tx_max_fee_eth": from_to(json!(null), json!("0.01")),
            "tx_to_allowlist": from_to(json!([to]), json!([])),
            "tx_allowed_chains": from_to(json!(["local"]), json!(["local", "base"])),
            "scopes": from_to(json!(["keys/**"]), json!([])),
            "vault_ids": from_to(json!([]), json!([vault.id])),
            "intents_api_enabled": from_to(json!(false), json!(true)),
            "token_ttl_seconds": from_to(json!(3600), json!(600)),
            "expires_at": from_to(json!(null), json!("9999-12-31T23:59:59.000Z")),
        }));
        let new_key = rotated["api_key"].as_str().unwrap();
        let prefixes = from_to(json!(&bot.key[..12]), json!(&new_key[..12]));
        assert_eq!(details(&events, "agent.rotate_key")["changed"], json!({"key_prefix": prefixes}));
        let ended = details(&events, "agent.deactivate");
        assert_eq!(ended["changed"], json!({"is_active": from_to(json!(true), json!(false))}));
        for key in [&bot.key, new_key] {
            assert!(events.iter().all(|event| !event.get::<String, _>("details").contains(&key[12..])));
        }
    }
}

both! {
    async fn one_chain_whatever_comes_at_once(w: World) {
        let (ada, eve) = (w.owner("ada").await, w.owner("eve").await);
        let (hers, other) = (ada.vault("main").await, eve.vault("main").await);
        hers.put("a", "generic", "v").await;
        other.put("a", "generic", "v").await;
        let (path, theirs) = (hers.path("a"), other.path("a"));
        let reads = join_all((0..40).map(|n| if n % 2 == 0 { ada.get(&path).reply() } else { eve.get(&theirs).reply() }));
        let paths: Vec<String> = (0..10).map(|n| format!("p/{n}")).collect();
        let writes = join_all(paths.iter().map(|path| hers.put(path, "generic", "v")));
        let (reads, _) = tokio::join!(reads, writes);
        assert!(reads.iter().all(|r| r.status == 200));
        let events = chain(&w, &org_of(&w, &ada.email).await).await;
        assert_eq!((count(&events, "secret.read"), count(&events, "secret.write")), (20, 11));
        let events = chain(&w, &org_of(&w, &eve.email).await).await;
        assert_eq!((count(&events, "secret.read"), count(&events, "secret.write")), (20, 1));
        let ids: BTreeSet<String> = events.iter().map(|e| e.get("id")).collect();
        assert_eq!(ids.len(), events.len());
    }
}
