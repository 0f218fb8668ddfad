//! A secret's versions: listed, read and taken out of use one by one, made by the gateway, counted exactly.

use std::time::Duration;

use futures::future::join_all;
use harness::{ADDRESSES, Vault, both, json};

fn at(vault: &Vault<'_>, what: &str, path: &str) -> String {
    format!("/v1/vaults/{}/{what}/{path}", vault.id)
}

both! {
    async fn versions_are_listed_read_and_disabled_one_by_one(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        for value in ["value-one", "value-two", "value-three"] {
            vault.put("db/password", "password", value).await;
        }
        let versions = at(&vault, "secret-versions", "db/password");
        let one = |n: u64| at(&vault, "secret-version", &format!("db/password/{n}"));
        let disable = |n: u64| at(&vault, "secret-version-disable", &format!("db/password/{n}"));
        let states = async || {
            let all = ada.get(&versions).expect(200, "\"path\":\"db/password\"").await;
            assert!(!all.to_string().contains("value-"), "{all}");
            let states = all["versions"].as_array().unwrap().iter();
            states.map(|v| format!("{} {}", v["version"], v["state"].as_str().unwrap())).collect::<Vec<_>>()
        };
        assert_eq!(states().await, ["3 live", "2 live", "1 live"]);
        let first = ada.get(&one(1)).expect(200, "value-one").await;
        assert_eq!((&first["version"], &first["path"]), (&json!(1), &json!("db/password")));
        ada.get(&one(4)).expect(404, "No such version").await;
        for odd in ["0", "x", "-1", "1.5", "99999999999999999999"] {
            ada.get(&at(&vault, "secret-version", &format!("db/password/{odd}"))).expect(400, "version:").await;
        }
        ada.get(&at(&vault, "secret-version", "1")).expect(400, "path:").await;
        ada.get(&at(&vault, "secret-versions", "nothing")).expect(404, "secret").await;

        // The newest version that is left is what a read answers.
        ada.post(&disable(3), &json!({})).expect(200, "\"state\":\"disabled\"").await;
        ada.get(&one(3)).expect(410, "disabled").await;
        ada.get(&vault.path("db/password")).expect(200, "value-two").await;
        let list = ada.get(&format!("/v1/vaults/{}/secrets", vault.id)).expect(200, "").await;
        assert_eq!(list["secrets"][0]["version"], 2);
        ada.post(&disable(3), &json!({})).expect(409, "disabled").await;
        ada.post(&disable(9), &json!({})).expect(404, "version").await;
        ada.post(&disable(1), &json!({})).expect(200, "").await;
        ada.get(&vault.path("db/password")).expect(200, "value-two").await;
        ada.post(&disable(2), &json!({})).expect(200, "").await;
        ada.get(&vault.path("db/password")).expect(410, "disabled").await;
        let list = ada.get(&format!("/v1/vaults/{}/secrets", vault.id)).expect(200, "").await;
        assert!(list["secrets"].as_array().unwrap().is_empty(), "{list}");
        // A number is not used twice.
        assert_eq!(vault.put("db/password", "password", "value-four").await["version"], 4);
        ada.get(&vault.path("db/password")).expect(200, "value-four").await;
        ada.delete(&vault.path("db/password")).expect(204, "").await;
        ada.get(&one(4)).expect(410, "deleted").await;
        ada.post(&disable(4), &json!({})).expect(410, "deleted").await;
        assert_eq!(states().await, ["4 deleted", "3 deleted", "2 deleted", "1 deleted"]);

        let pages = ada.get(&format!("{versions}?limit=3")).expect(200, "next_cursor").await;
        assert_eq!((pages["versions"].as_array().unwrap().len(), &pages["next_cursor"]), (3, &json!(2)));
        let rest = ada.get(&format!("{versions}?limit=3&cursor=2")).expect(200, "").await;
        assert_eq!((rest["versions"].as_array().unwrap().len(), rest.get("next_cursor")), (1, None));
        ada.get(&format!("{versions}?limit=0")).expect(400, "limit").await;
    }
}

both! {
    async fn who_may_see_and_disable_versions(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put("a", "generic", "v").await;
        vault.put_key("keys/eth", 0).await;
        let reader = ada.agent("reader").reads(&vault, "a").make().await;
        reader.get(&at(&vault, "secret-version", "a/1")).expect(200, "\"v\"").await;
        reader.get(&at(&vault, "secret-versions", "a")).expect(200, "live").await;
        reader.post(&at(&vault, "secret-version-disable", "a/1"), &json!({})).expect(403, "No write permission").await;
        reader.post(&at(&vault, "secret-restore", "a"), &json!({})).expect(403, "No write permission").await;
        reader.post(&at(&vault, "secret-rotate", "a"), &json!({})).expect(403, "No write permission").await;
        // The same answer whether there is such a version or path, or not.
        for path in ["b/1", "keys/eth/1", "keys/eth/7"] {
            reader.get(&at(&vault, "secret-version", path)).expect(403, "No read permission").await;
        }
        reader.get(&at(&vault, "secret-versions", "keys/eth")).expect(403, "No read permission").await;
        // No key for who sends transactions, by number either; nor does such an agent end one.
        let bot = ada.agent("bot").intents().reads(&vault, "**").make().await;
        vault.allow(&bot.id, "**", &["write"]).await;
        bot.get(&at(&vault, "secret-version", "keys/eth/1")).expect(403, "private_key is not readable").await;
        bot.post(&at(&vault, "secret-version-disable", "keys/eth/1"), &json!({})).expect(403, "may not disable a key").await;
        bot.post(&at(&vault, "secret-rotate", "keys/eth"), &json!({})).expect(403, "may not write keys").await;
        bot.post(&at(&vault, "secret-rotate", "new"), &json!({"type": "private_key"})).expect(403, "may not write keys").await;
        ada.delete(&vault.path("keys/eth")).expect(204, "").await;
        bot.post(&at(&vault, "secret-restore", "keys/eth"), &json!({})).expect(403, "may not restore a key").await;
        ada.get(&vault.path("keys/eth")).expect(410, "deleted").await;
    }
}

both! {
    with chain,
    async fn a_disabled_key_signs_nothing(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put_key("keys/local-signer", 0).await;
        let bot = ada.agent("bot").intents().reads(&vault, "**").make().await;
        bot.send(ADDRESSES[2], "0.1").expect(201, "").await;
        ada.post(&at(&vault, "secret-version-disable", "keys/local-signer/1"), &json!({})).expect(200, "").await;
        bot.send(ADDRESSES[2], "0.1").expect(404, "signing key").await;
        // A key that the gateway makes can sign, and never leaves where that was said.
        let made = json!({"type": "private_key", "metadata": {"signing_only": true}});
        ada.post(&at(&vault, "secret-rotate", "keys/local-signer"), &made).expect(201, "\"version\":2").await;
        ada.post(&at(&vault, "secret-rotate", "keys/local-signer"), &json!({})).expect(201, "\"version\":3").await;
        ada.get(&vault.path("keys/local-signer")).expect(403, "signing-only").await;
        let refused = bot.send(ADDRESSES[2], "0.1").reply().await;
        assert!(!refused.text.contains("signing key"), "it has a key, but no money: {}", refused.text);
    }
}

both! {
    async fn a_value_is_made_and_not_answered(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let rotate = at(&vault, "secret-rotate", "db/password");
        let made = ada.post(&rotate, &json!({"metadata": {"owner": "team"}})).expect(201, "password").await;
        assert_eq!((&made["version"], made.get("value")), (&json!(1), None));
        let first = ada.get(&vault.path("db/password")).expect(200, "").await["value"].as_str().unwrap().to_owned();
        assert!(first.len() == 32 && first.bytes().all(|b| b.is_ascii_alphanumeric()), "{first}");
        assert!(!made.to_string().contains(&first));
        let again = ada.post(&rotate, &json!({"length": 4096, "charset": "hex"})).expect(201, "team").await;
        assert_eq!(again["version"], 2);
        let second = ada.get(&vault.path("db/password")).expect(200, "").await["value"].as_str().unwrap().to_owned();
        assert!(second.len() == 4096 && second.bytes().all(|b| b"0123456789abcdef".contains(&b)));
        for (odd, named) in [
            (json!({"length": 7}), "length"),
            (json!({"length": 4097}), "length"),
            (json!({"charset": "emoji"}), "charset"),
            (json!({"type": "certificate"}), "type"),
            (json!({"type": "private_key", "length": 32}), "length"),
            (json!({"max_access_count": 0}), "max_access_count"),
        ] {
            ada.post(&rotate, &odd).expect(400, named).await;
        }
        // What was deleted is no example for what comes after it.
        ada.delete(&vault.path("db/password")).expect(204, "").await;
        let anew = ada.post(&rotate, &json!({})).expect(201, "\"version\":3").await;
        assert_eq!(anew.get("metadata"), None);
        assert!(!w.said().contains(&first));
    }
}

both! {
    async fn counts_are_exact_by_path_and_by_number_over_two_gateways(w: World) {
        let (ada, beside) = (w.owner("ada").await, w.beside().await);
        let vault = ada.vault("main").await;
        ada.put(&vault.path("n"), &json!({"value": "v", "max_access_count": 17})).expect(201, "").await;
        let (path, number) = (vault.path("n"), at(&vault, "secret-version", "n/1"));
        let readers = (0..100).map(|n| match n % 4 {
            0 => ada.get(&path),
            1 => ada.get(&number),
            2 => beside.get(&path, &ada.token),
            _ => beside.get(&number, &ada.token),
        });
        let replies = join_all(readers.map(|call| call.reply())).await;
        let count = |status| replies.iter().filter(|r| r.status == status).count();
        assert_eq!((count(200), count(410)), (17, 83));
        let all = ada.get(&at(&vault, "secret-versions", "n")).expect(200, "used_up").await;
        assert_eq!(all["versions"][0]["access_count"], 17);
    }
}

both! {
    async fn nobody_reads_after_the_end_however_many_try(w: World) {
        let (ada, beside) = (w.owner("ada").await, w.beside().await);
        let vault = ada.vault("main").await;
        let end = domain::Clock::default().now().plus(Duration::from_millis(2500));
        ada.put(&vault.path("e"), &json!({"value": "v", "expires_at": end.to_string()})).expect(201, "").await;
        let (path, number) = (vault.path("e"), at(&vault, "secret-version", "e/1"));
        let readers = (0..100_u64).map(|n| {
            let call = match n % 4 {
                0 => ada.get(&path),
                1 => ada.get(&number),
                2 => beside.get(&path, &ada.token),
                _ => beside.get(&number, &ada.token),
            };
            async move {
                tokio::time::sleep(Duration::from_millis(n * 50)).await;
                let asked = domain::Clock::default().now();
                let reply = call.reply().await;
                (asked, reply.status, domain::Clock::default().now())
            }
        });
        let answers = join_all(readers).await;
        for (asked, status, answered) in &answers {
            assert!(if *asked >= end { *status == 410 } else { *answered >= end || *status == 200 }, "{status}");
        }
        assert!(answers.iter().any(|a| a.1 == 200) && answers.iter().any(|a| a.1 == 410));
        // No read is on the trail from after the end.
        let late: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM audit_events WHERE action = 'secret.read' AND created_at >= $1")
            .bind(end.millis())
            .fetch_one(&w.database().await)
            .await
            .unwrap();
        assert_eq!(late, 0);
    }
}

both! {
    async fn metadata_has_limits(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        for field in ["metadata", "rotation_policy"] {
            for (odd, limit) in [
                (json!({"a": "x".repeat(16 * 1024)}), "16 KiB"),
                (json!({"x".repeat(65): 1}), "64 characters"),
                (json!({"a": {"b": {"c": {"d": {}}}}}), "4 levels"),
                (json!((0..65).map(|n| (n.to_string(), n)).collect::<std::collections::BTreeMap<_, _>>()), "64 keys"),
            ] {
                let problem = ada.put(&vault.path("a"), &json!({"value": "v", field: odd})).expect(400, limit).await;
                assert!(problem["detail"].as_str().unwrap().starts_with(&format!("{field}: ")), "{problem}");
            }
            let full = json!({"value": "v", field: {"a": {"b": {"c": {"d": 1}}}}});
            ada.put(&vault.path("a"), &full).expect(201, "").await;
        }
    }
}
