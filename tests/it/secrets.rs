//! Secrets: versions, types, ends, counts, and who may read them.

use std::time::Duration;

use futures::future::join_all;
use harness::{both, json};

both! {
    async fn versions_are_written_read_and_listed_without_values(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let first = vault.put("db/password", "password", "one").await;
        assert_eq!((&first["version"], &first["type"], &first["path"]), (&json!(1), &json!("password"), &json!("db/password")));
        let body = json!({"value": "two", "metadata": {"owner": "team"}});
        let second = ada.put(&vault.path("db/password"), &body).expect(201, "team").await;
        assert_eq!((&second["version"], &second["type"], &second["id"]), (&json!(2), &json!("generic"), &first["id"]));
        let read = ada.get(&vault.path("db/password")).expect(200, "two").await;
        assert_eq!((&read["value"], &read["version"], &read["cmek_encrypted"]), (&json!("two"), &json!(2), &json!(false)));
        vault.put("db/user", "note", "secret-three").await;
        vault.put("api", "api_key", "secret-four").await;
        let list = format!("/v1/vaults/{}/secrets", vault.id);
        let all = ada.get(&list).expect(200, "db/user").await;
        assert_eq!(all["secrets"].as_array().unwrap().len(), 3);
        assert!(!all.to_string().contains("secret-"), "{all}");
        let some = ada.get(&format!("{list}?prefix=db/")).expect(200, "db/user").await;
        assert_eq!(some["secrets"].as_array().unwrap().len(), 2);
        ada.get(&vault.path("nothing")).expect(404, "secret").await;
    }
}

both! {
    async fn deleted_then_gone_then_written_again(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put("a/b", "generic", "one").await;
        ada.delete(&vault.path("a/b")).expect(204, "").await;
        ada.get(&vault.path("a/b")).expect(410, "deleted").await;
        ada.delete(&vault.path("a/b")).expect(410, "deleted").await;
        ada.delete(&vault.path("a/c")).expect(404, "secret").await;
        let list = ada.get(&format!("/v1/vaults/{}/secrets", vault.id)).expect(200, "").await;
        assert!(list["secrets"].as_array().unwrap().is_empty());
        let again = vault.put("a/b", "generic", "two").await;
        assert_eq!(again["version"], 2);
        ada.get(&vault.path("a/b")).expect(200, "two").await;
    }
}

both! {
    async fn expiry_and_counts(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let soon = domain::Clock::default().now().plus(Duration::from_millis(1500));
        ada.put(&vault.path("e"), &json!({"value": "v", "expires_at": soon.to_string()})).expect(201, "expires_at").await;
        ada.get(&vault.path("e")).expect(200, "v").await;
        tokio::time::sleep(Duration::from_millis(1600)).await;
        ada.get(&vault.path("e")).expect(410, "expired").await;
        ada.put(&vault.path("e"), &json!({"value": "v", "expires_at": "2020-01-01T00:00:00Z"})).expect(400, "expires_at").await;
        ada.put(&vault.path("e"), &json!({"value": "v", "max_access_count": 0})).expect(400, "max_access_count").await;
        ada.put(&vault.path("n"), &json!({"value": "v", "max_access_count": 2})).expect(201, "").await;
        ada.get(&vault.path("n")).expect(200, "v").await;
        ada.get(&vault.path("n")).expect(200, "v").await;
        ada.get(&vault.path("n")).expect(410, "used up").await;
    }
}

both! {
    async fn a_count_is_exact_under_parallel_readers(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        ada.put(&vault.path("n"), &json!({"value": "v", "max_access_count": 7})).expect(201, "").await;
        let path = vault.path("n");
        let replies = join_all((0..60).map(|_| ada.get(&path).reply())).await;
        let count = |status| replies.iter().filter(|r| r.status == status).count();
        assert_eq!((count(200), count(410)), (7, 53));
    }
}

both! {
    async fn parallel_writers_get_a_version_each(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let path = vault.path("p");
        let written = join_all((0..12).map(|n| ada.put(&path, &json!({"value": format!("v{n}")})).reply())).await;
        let mut versions: Vec<u64> = written.iter().map(|r| { assert_eq!(r.status, 201, "{}", r.text); r.body["version"].as_u64().unwrap() }).collect();
        versions.sort_unstable();
        assert_eq!(versions, (1..=12).collect::<Vec<_>>());
    }
}

both! {
    async fn paths_and_types_are_checked_on_read_as_on_write(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        for bad in ["a//b", "a.b", "a%20b", "a/", "%C3%A4", &"x".repeat(513), "a%00"] {
            ada.put(&vault.path(bad), &json!({"value": "v"})).expect(400, "path:").await;
            ada.get(&vault.path(bad)).expect(400, "path:").await;
        }
        // A slash in its escaped form is a slash.
        ada.put(&vault.path("a%2Fb"), &json!({"value": "v"})).expect(201, "a/b").await;
        ada.put(&vault.path("t"), &json!({"value": "v", "type": "magic"})).expect(400, "type: must be one of").await;
        ada.put(&vault.path("t"), &json!({"type": "note"})).expect(400, "value").await;
        let big = "x".repeat(1024 * 1024);
        ada.put(&vault.path("big"), &json!({"value": big})).expect(201, "").await;
        let read = ada.get(&vault.path("big")).expect(200, "").await;
        assert_eq!(read["value"].as_str().unwrap().len(), 1024 * 1024);
        ada.put(&vault.path("big"), &json!({"value": format!("{big}x")})).expect(413, "1 MiB").await;
    }
}

both! {
    async fn an_intents_agent_reads_no_key_by_any_route(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put_key("keys/eth", 0).await;
        vault.put("keys/ssh", "ssh_key", "-----BEGIN").await;
        vault.put("keys/note", "note", "harmless").await;
        let bot = ada.agent("bot").intents().reads(&vault, "**").make().await;
        vault.allow(&bot.id, "**", &["read", "write"]).await;
        bot.get(&vault.path("keys/eth")).expect(403, "private_key is not readable").await;
        bot.get(&vault.path("keys/ssh")).expect(403, "ssh_key is not readable").await;
        bot.get(&vault.path("keys/note")).expect(200, "harmless").await;
        w.call(reqwest::Method::GET, &vault.path("keys/eth"), Some(&bot.key)).expect(403, "not readable").await;
        bot.put(&vault.path("keys/eth"), &json!({"value": "mine", "type": "note"})).expect(403, "may not write keys").await;
        bot.put(&vault.path("keys/new"), &json!({"value": "0x01", "type": "private_key"})).expect(403, "may not write keys").await;
        bot.delete(&vault.path("keys/eth")).expect(403, "may not delete a key").await;
        let own = bot.post("/v1/vaults", &json!({"name": "own"})).expect(201, "").await;
        let policies = format!("/v1/vaults/{}/policies", own["id"].as_str().unwrap());
        let grant = json!({"secret_path_pattern": "**", "principal_type": "agent", "principal_id": bot.id, "permissions": ["read"]});
        bot.post(&policies, &grant).expect(403, "intents_api_enabled").await;
        // The flag counts at once, whatever an older token says.
        let plain = ada.agent("plain").reads(&vault, "**").make().await;
        plain.get(&vault.path("keys/eth")).expect(200, "0xac09").await;
        ada.patch(&format!("/v1/agents/{}", plain.id), &json!({"intents_api_enabled": true})).expect(200, "").await;
        plain.get(&vault.path("keys/eth")).expect(403, "not readable").await;
    }
}

both! {
    async fn a_signing_only_key_has_no_way_out(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let key = json!({"type": "private_key", "value": "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
            "metadata": {"signing_only": true}});
        ada.put(&vault.path("keys/eth"), &key).expect(201, "signing_only").await;
        ada.get(&vault.path("keys/eth")).expect(403, "signing-only").await;
        let no_key = json!({"type": "private_key", "value": "not a key", "metadata": {"signing_only": true}});
        ada.put(&vault.path("keys/eth"), &no_key).expect(400, "").await;
        let no_type = json!({"value": "x", "metadata": {"signing_only": true}});
        ada.put(&vault.path("keys/eth"), &no_type).expect(400, "private_key").await;
    }
}

both! {
    async fn a_read_without_an_answer_is_no_read(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let path = vault.path("once");
        ada.put(&path, &json!({"value": "v", "max_access_count": 1})).expect(201, "").await;
        let head = ada.call(reqwest::Method::HEAD, &path).reply().await;
        assert_eq!(head.status, 405);
        ada.get(&path).expect(200, "\"v\"").await;
        ada.get(&path).expect(410, "used up").await;
    }
}
