//! Personal API keys: made in person, used like a login within their scopes, ended everywhere at once.

use std::time::{Duration, Instant};

use futures::future::join_all;
use harness::{Database, Person, Value, Vault, World, both, json};
use reqwest::Method;

/// Exchanges a key; the token.
async fn exchange(w: &World, key: &str) -> String {
    let answer = w.post("/v1/auth/api-key-token", &json!({"api_key": key})).expect(200, "access_token").await;
    answer["access_token"].as_str().unwrap().to_owned()
}

/// The same key with another last character.
fn wrong(key: &str) -> String {
    format!("{}{}", &key[..46], if key.ends_with('A') { "E" } else { "A" })
}

both! {
    async fn made_shown_once_used_and_revoked(w: World) {
        let ada = w.owner("ada").await;
        let end = domain::Clock::default().now().plus(Duration::from_secs(3600));
        let body = json!({"name": " ci ", "scopes": ["api/**"], "expires_at": end.to_string()});
        let made = ada.post("/v1/auth/api-keys", &body).expect(201, "1ck_").await;
        let (key, about) = (made["api_key"].as_str().unwrap(), &made["key"]);
        assert!(key.starts_with("1ck_") && key.len() == 47, "{}", key.len());
        assert_eq!((&about["name"], &about["scopes"], &about["is_active"]), (&json!("ci"), &json!(["api/**"]), &json!(true)));
        assert_eq!((&about["key_prefix"], &about["expires_at"]), (&json!(&key[..12]), &json!(end.to_string())));
        assert!(about.get("last_used_at").is_none(), "{about}");
        let list = ada.get("/v1/auth/api-keys").expect(200, "ci").await;
        assert_eq!(list["keys"], json!([about]));
        assert!(!list.to_string().contains(key), "the key is shown once");

        let answer = w.post("/v1/auth/api-key-token", &json!({"api_key": key})).expect(200, "access_token").await;
        assert_eq!((&answer["token_type"], &answer["expires_in"]), (&json!("Bearer"), &json!(900)));
        let program = ada.through(answer["access_token"].as_str().unwrap());
        program.get("/v1/auth/me").expect(200, "ada@example.org").await;
        ada.through(key).get("/v1/auth/me").expect(200, "ada@example.org").await;
        let seen = ada.get("/v1/auth/api-keys").expect(200, "last_used_at").await;
        assert!(seen["keys"][0]["last_used_at"].is_string());

        let path = format!("/v1/auth/api-keys/{}", about["id"].as_str().unwrap());
        ada.delete(&path).expect(204, "").await;
        program.get("/v1/auth/me").expect(401, "revoked").await;
        ada.through(key).get("/v1/auth/me").expect(401, "Wrong API key").await;
        w.post("/v1/auth/api-key-token", &json!({"api_key": key})).expect(401, "Wrong API key").await;
        assert_eq!(ada.get("/v1/auth/api-keys").expect(200, "").await["keys"], json!([]));
        ada.delete(&path).expect(404, "API key").await;
        w.restart().await;
        program.get("/v1/auth/me").expect(401, "revoked").await;
        w.post("/v1/auth/api-key-token", &json!({"api_key": key})).expect(401, "Wrong API key").await;
        ada.get("/v1/auth/me").expect(200, "").await;
    }
}

both! {
    /// What programs written against the API do with a key alone.
    async fn a_key_manages_vaults_agents_and_policies(w: World) {
        let ada = w.owner("ada").await;
        let (_, key) = ada.api_key(&json!({"name": "sdk"})).await;
        let token = exchange(&w, &key).await;
        for bearer in [&key, &token] {
            let sdk = ada.through(bearer);
            let vault = sdk.vault("main").await;
            vault.put("api/token", "api_key", "v").await;
            let bot = sdk.agent("bot").reads(&vault, "api/*").make().await;
            bot.get(&vault.path("api/token")).expect(200, "v").await;
            sdk.patch(&format!("/v1/agents/{}", bot.id), &json!({"description": "d"})).expect(200, "").await;
            sdk.post(&format!("/v1/agents/{}/rotate-key", bot.id), &json!({})).expect(200, "ocv_").await;
            sdk.delete(&format!("/v1/agents/{}", bot.id)).expect(204, "").await;
            sdk.delete(&format!("/v1/vaults/{}", vault.id)).expect(204, "").await;
        }
        assert_eq!(ada.get("/v1/agents").expect(200, "").await["agents"].as_array().unwrap().len(), 2);
    }
}

both! {
    async fn a_key_makes_no_key_and_ends_only_itself(w: World) {
        let ada = w.owner("ada").await;
        let ((own, key), (other, _)) = (ada.api_key(&json!({"name": "a"})).await, ada.api_key(&json!({"name": "b"})).await);
        let token = exchange(&w, &key).await;
        for bearer in [&key, &token] {
            let program = ada.through(bearer);
            program.post("/v1/auth/api-keys", &json!({"name": "c"})).expect(403, "came from an API key").await;
            program.delete(&format!("/v1/auth/api-keys/{other}")).expect(403, "that key alone").await;
            program.delete("/v1/auth/api-keys/01890000-0000-7000-8000-000000000000").expect(403, "that key alone").await;
            assert_eq!(program.get("/v1/auth/api-keys").expect(200, "").await["keys"].as_array().unwrap().len(), 2);
        }
        ada.through(&token).delete(&format!("/v1/auth/api-keys/{own}")).expect(204, "").await;
        ada.through(&token).get("/v1/auth/me").expect(401, "revoked").await;
        assert_eq!(ada.get("/v1/auth/api-keys").expect(200, "").await["keys"].as_array().unwrap().len(), 1);
    }
}

both! {
    async fn keys_are_their_persons_own(w: World) {
        let (ada, eve) = (w.owner("ada").await, w.owner("eve").await);
        let bot = ada.agent("bot").make().await;
        let (id, key) = ada.api_key(&json!({"name": "a"})).await;
        let path = format!("/v1/auth/api-keys/{id}");
        let nowhere = eve.delete("/v1/auth/api-keys/01890000-0000-7000-8000-000000000000").expect(404, "No such API key").await;
        assert_eq!(eve.delete(&path).expect(404, "No such API key").await, nowhere);
        assert_eq!(eve.get("/v1/auth/api-keys").expect(200, "").await["keys"], json!([]));
        bot.post("/v1/auth/api-keys", &json!({"name": "x"})).expect(403, "for people").await;
        bot.get("/v1/auth/api-keys").expect(403, "for people").await;
        bot.delete(&path).expect(403, "for people").await;
        ada.delete("/v1/auth/api-keys/x").expect(400, "key_id: must be a UUID").await;
        w.post("/v1/auth/agent-token", &json!({"api_key": key})).expect(401, "").await;
        w.post("/v1/auth/api-key-token", &json!({"api_key": bot.key})).expect(401, "Wrong API key").await;
        ada.through(&key).get("/v1/auth/me").expect(200, "ada").await;
    }
}

both! {
    async fn bad_requests_name_their_field(w: World) {
        let ada = w.owner("ada").await;
        for (field, value) in [
            ("name", json!("")),
            ("name", json!("a\u{7}b")),
            ("name", json!("x".repeat(201))),
            ("scopes", json!(["a/*b"])),
            ("scopes", json!(["/keys"])),
            ("scopes", json!("keys/**")),
            ("scopes", json!(vec!["x".repeat(100); 100])),
            ("expires_at", json!("2020-01-01T00:00:00Z")),
            ("expires_at", json!("soon")),
            ("read_only", json!(true)),
        ] {
            let mut body = json!({"name": "k"});
            body[field] = value;
            ada.post("/v1/auth/api-keys", &body).expect(400, field).await;
        }
        ada.post("/v1/auth/api-keys", &json!({})).expect(400, "name").await;
        w.post("/v1/auth/api-key-token", &json!({})).expect(400, "api_key").await;
        assert_eq!(ada.get("/v1/auth/api-keys").expect(200, "").await["keys"], json!([]));
    }
}

/// The details of the failures that name the key, once they are so many: the first is there a moment later, those that
/// follow are gathered.
async fn failures(w: &World, key: &str, times: u64) -> Vec<String> {
    let find = "SELECT details FROM audit_events WHERE action = 'auth.failure' AND details LIKE $1 ORDER BY sequence";
    let (pool, begun) = (w.database().await, Instant::now());
    loop {
        let found: Vec<String> =
            sqlx::query_scalar(find).bind(format!("%{key}%")).fetch_all(&pool).await.unwrap();
        let of =
            |details: &String| serde_json::from_str::<Value>(details).unwrap()["times"].as_u64().unwrap();
        let sum: u64 = found.iter().map(of).sum();
        if sum == times {
            return found;
        }
        assert!(sum < times && begun.elapsed() < Duration::from_secs(20), "{sum} of {times}: {found:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

both! {
    /// The first characters of a key are no secret: whoever knows them fills no organisation's trail.
    async fn wrong_keys_are_gathered_on_the_trail(w: World) {
        let ada = w.owner("ada").await;
        let (id, key) = ada.api_key(&json!({"name": "a"})).await;
        let begun = Instant::now();
        for some in 0..10 {
            let shown = (0..20).map(|n| format!("{}{:0>35}", &key[..12], some * 20 + n));
            let tried = shown.map(|wrong| w.call(Method::GET, "/v1/auth/me", Some(&wrong)).reply());
            for reply in join_all(tried).await {
                reply.expect(401, "Wrong API key");
            }
        }
        let took = begun.elapsed().as_secs();
        let told = failures(&w, &id, 200).await;
        // Two in ten seconds: the first, and the others.
        assert!(told.len() as u64 <= 2 * (took / 10 + 2), "in {took} seconds: {told:?}");
        ada.through(&key).get("/v1/auth/me").expect(200, "ada").await;
    }
}

both! {
    async fn unknown_and_wrong_keys_are_refused_alike(w: World) {
        let ada = w.owner("ada").await;
        let (id, key) = ada.api_key(&json!({"name": "a"})).await;
        let unknown = format!("1ck_{}", "A".repeat(43));
        let odd = ["1ck_", "1ck_short", &format!("{key}A"), &"1ck_é".repeat(10), &"1ck_".repeat(5000)].map(str::to_owned);
        let mut answers = Vec::new();
        for bad in [wrong(&key), unknown].iter().chain(&odd) {
            answers.push(w.post("/v1/auth/api-key-token", &json!({"api_key": bad})).expect(401, "Wrong API key").await);
        }
        for bad in [wrong(&key), format!("1ck_{}", "A".repeat(43))] {
            answers.push(ada.through(&bad).get("/v1/auth/me").expect(401, "Wrong API key").await);
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        exchange(&w, &key).await;

        // Tried in vain: on the trail of the one whose key it was, a moment later; never the key itself.
        let pool = w.database().await;
        let find = "SELECT details FROM audit_events WHERE action = $1 AND details LIKE $2 ORDER BY sequence";
        let failures = failures(&w, &id, 2).await;
        let successes: Vec<String> =
            sqlx::query_scalar(find).bind("auth.success").bind(format!("%{id}%")).fetch_all(&pool).await.unwrap();
        assert_eq!(successes.len(), 1);
        for details in failures.iter().chain(&successes) {
            assert!(details.contains(r#""method":"api_key""#) && !details.contains(&key[4..]), "{details}");
        }
        for (action, times) in [("api_key.create", 1_i64), ("api_key.revoke", 0)] {
            let count = sqlx::query_scalar("SELECT COUNT(*) FROM audit_events WHERE action = $1 AND resource_id = $2");
            let count: i64 = count.bind(action).bind(id.clone()).fetch_one(&pool).await.unwrap();
            assert_eq!(count, times, "{action}");
        }
        ada.delete(&format!("/v1/auth/api-keys/{id}")).expect(204, "").await;
        let revoked: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM audit_events WHERE action = 'api_key.revoke'")
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(revoked, 1);
        assert!(!w.said().contains(&key[4..]), "the log holds a key");
    }
}

/// A vault of the person's own, with secrets within `api/**` and outside.
async fn furnished<'p>(ada: &'p Person<'_>) -> Vault<'p> {
    let vault = ada.vault("main").await;
    vault.put("api/a", "generic", "inside").await;
    vault.put("root/a", "generic", "outside").await;
    vault
}

both! {
    async fn scopes_are_a_ceiling_on_reading_listing_writing_deleting(w: World) {
        let ada = w.owner("ada").await;
        let vault = furnished(&ada).await;
        let (_, key) = ada.api_key(&json!({"name": "k", "scopes": ["api/**"]})).await;
        let token = exchange(&w, &key).await;
        for bearer in [&key, &token] {
            let scoped = ada.through(bearer);
            scoped.get(&vault.path("api/a")).expect(200, "inside").await;
            scoped.get(&vault.path("root/a")).expect(403, "No read permission").await;
            scoped.put(&vault.path("api/b"), &json!({"value": "x"})).expect(201, "").await;
            scoped.put(&vault.path("root/b"), &json!({"value": "x"})).expect(403, "No write permission").await;
            scoped.delete(&vault.path("root/a")).expect(403, "No delete permission").await;
            let list = scoped.get(&format!("/v1/vaults/{}/secrets", vault.id)).expect(200, "api/a").await;
            assert!(list["secrets"].as_array().unwrap().iter().all(|s| s["path"].as_str().unwrap().starts_with("api/")), "{list}");
            scoped.delete(&vault.path("api/b")).expect(204, "").await;
        }
        // The person is not held to them.
        ada.get(&vault.path("root/a")).expect(200, "outside").await;
    }
}

both! {
    async fn there_is_no_way_around_scopes(w: World) {
        let ada = w.owner("ada").await;
        let vault = furnished(&ada).await;
        let bot = ada.agent("bot").make().await;
        let wide = vault.allow(&bot.id, "**", &["read"]).await;
        let (_, key) = ada.api_key(&json!({"name": "k", "scopes": ["api/**"]})).await;
        let scoped = ada.through(&key);
        let policies = format!("/v1/vaults/{}/policies", vault.id);
        let policy = |pattern: &str| json!({"secret_path_pattern": pattern, "principal_type": "agent",
            "principal_id": bot.id, "permissions": ["read"]});
        for pattern in ["**", "root/a", "*/a"] {
            scoped.post(&policies, &policy(pattern)).expect(403, "further than your scopes").await;
        }
        let own = scoped.post(&policies, &policy("api/*")).expect(201, "id").await;
        scoped.put(&format!("{policies}/{}", own["id"].as_str().unwrap()), &json!({"permissions": ["write"]})).expect(200, "").await;
        let wide = format!("{policies}/{}", wide["id"].as_str().unwrap());
        scoped.put(&wide, &json!({"permissions": ["write"]})).expect(403, "further than your scopes").await;
        scoped.delete(&wide).expect(403, "further than your scopes").await;
        // Through an agent, new or old; or by taking the whole vault along.
        let agent = format!("/v1/agents/{}", bot.id);
        scoped.post("/v1/agents", &json!({"name": "puppet"})).expect(403, "with scopes").await;
        scoped.post(&format!("{agent}/rotate-key"), &json!({})).expect(403, "with scopes").await;
        scoped.patch(&agent, &json!({"tx_max_value_eth": null})).expect(403, "with scopes").await;
        scoped.delete(&agent).expect(403, "with scopes").await;
        scoped.delete(&format!("/v1/vaults/{}", vault.id)).expect(403, "").await;
        bot.get(&vault.path("root/a")).expect(200, "outside").await;
        // A vault that it makes is its person's, and opens to it within the scopes.
        let made = scoped.vault("second").await;
        made.put("api/x", "generic", "v").await;
        scoped.put(&made.path("other"), &json!({"value": "v"})).expect(403, "").await;
    }
}

both! {
    async fn who_is_held_to_scopes_sees_the_policies_within_them(w: World) {
        let ada = w.owner("ada").await;
        let vault = furnished(&ada).await;
        let bot = ada.agent("bot").make().await;
        for pattern in ["**", "root/**", "*/a", "api/**", "api/a"] {
            vault.allow(&bot.id, pattern, &["read"]).await;
        }
        let policies = format!("/v1/vaults/{}/policies", vault.id);
        let seen = async |who: &Person<'_>| {
            let list = who.get(&policies).expect(200, "").await;
            let patterns = list["policies"].as_array().unwrap().iter();
            let mut patterns: Vec<_> =
                patterns.map(|p| p["secret_path_pattern"].as_str().unwrap().to_owned()).collect();
            patterns.sort();
            patterns
        };
        let (_, key) = ada.api_key(&json!({"name": "k", "scopes": ["api/**"]})).await;
        for bearer in [&key, &exchange(&w, &key).await] {
            assert_eq!(seen(&ada.through(bearer)).await, ["api/**", "api/a"]);
        }
        let (_, free) = ada.api_key(&json!({"name": "free"})).await;
        assert_eq!(seen(&ada.through(&free)).await.len(), 5);
        // An agent that made the vault, with scopes of its own.
        let maker = ada.agent("maker").set("scopes", json!(["api/**"])).make().await;
        let made = maker.post("/v1/vaults", &json!({"name": "its"})).expect(201, "id").await;
        let policies = format!("/v1/vaults/{}/policies", made["id"].as_str().unwrap());
        for pattern in ["**", "api/*"] {
            let policy = json!({"secret_path_pattern": pattern, "principal_type": "agent", "principal_id": bot.id,
                "permissions": ["read"]});
            ada.post(&policies, &policy).expect(201, "id").await;
        }
        let list = maker.get(&policies).expect(200, "api/*").await;
        assert_eq!(list["policies"].as_array().unwrap().len(), 1, "{list}");
    }
}

both! {
    async fn a_key_ends_with_its_time(w: World) {
        let ada = w.owner("ada").await;
        let soon = domain::Clock::default().now().plus(Duration::from_millis(2500));
        let (_, key) = ada.api_key(&json!({"name": "k", "expires_at": soon.to_string()})).await;
        let answer = w.post("/v1/auth/api-key-token", &json!({"api_key": key})).expect(200, "access_token").await;
        assert!(answer["expires_in"].as_i64().unwrap() <= 3, "{answer}");
        let token = answer["access_token"].as_str().unwrap();
        tokio::time::sleep(Duration::from_millis(2600)).await;
        ada.through(token).get("/v1/auth/me").expect(401, "expired").await;
        ada.through(&key).get("/v1/auth/me").expect(401, "Wrong API key").await;
        w.post("/v1/auth/api-key-token", &json!({"api_key": key})).expect(401, "Wrong API key").await;
        let list = ada.get("/v1/auth/api-keys").expect(200, "").await;
        assert_eq!(list["keys"][0]["is_active"], false);
    }
}

both! {
    async fn a_hundred_keys_are_enough_however_they_come(w: World) {
        let ada = w.owner("ada").await;
        let body = json!({"name": "k"});
        let replies = futures::future::join_all((0..105).map(|_| ada.post("/v1/auth/api-keys", &body).reply())).await;
        let (made, refused): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == 201);
        assert_eq!((made.len(), refused.len()), (100, 5));
        for reply in refused {
            reply.expect(409, "revoke one first");
        }
        let id = made[7].body["key"]["id"].as_str().unwrap().to_owned();
        ada.delete(&format!("/v1/auth/api-keys/{id}")).expect(204, "").await;
        ada.post("/v1/auth/api-keys", &body).expect(201, "1ck_").await;
        ada.post("/v1/auth/api-keys", &body).expect(409, "revoke one first").await;
    }
}

both! {
    async fn a_live_key_is_listed_however_many_have_expired(w: World) {
        let ada = w.owner("ada").await;
        let (gone, _) = ada.api_key(&json!({"name": "gone"})).await;
        let (live, key) = ada.api_key(&json!({"name": "live"})).await;
        w.sql(&format!("UPDATE api_keys SET expires_at = created_at WHERE id = '{gone}'")).await;
        let more = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) \
            INSERT INTO api_keys (id, org_id, user_id, name, key_prefix, record, created_at, expires_at) \
            SELECT '00000000-0000-7000-8000-' || SUBSTR(CAST(1000000000000 + n.i AS TEXT), 2), \
            k.org_id, k.user_id, k.name, k.key_prefix, k.record, k.created_at, k.expires_at FROM n, api_keys k WHERE k.name = 'gone'";
        assert_eq!(w.sql(more).await, 1000);
        let listed = async || ada.get("/v1/auth/api-keys").expect(200, "keys").await["keys"].as_array().unwrap().clone();
        let keys = listed().await;
        assert_eq!((keys.len(), &keys[0]["id"]), (1000, &json!(live)));
        // A month later those that have ended are forgotten; what lives stays, and works.
        let month = 31_i64 * 24 * 60 * 60 * 1000;
        w.sql(&format!("UPDATE api_keys SET expires_at = expires_at - {month}")).await;
        let (revoked, _) = ada.api_key(&json!({"name": "revoked"})).await;
        ada.delete(&format!("/v1/auth/api-keys/{revoked}")).expect(204, "").await;
        w.sql(&format!("UPDATE api_keys SET revoked_at = revoked_at - {month}")).await;
        w.restart().await;
        let (pool, begun) = (w.database().await, Instant::now());
        loop {
            let left: Vec<String> = sqlx::query_scalar("SELECT id FROM api_keys").fetch_all(&pool).await.unwrap();
            if left == [live.as_str()] {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(15), "{} are left", left.len());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(listed().await.len(), 1);
        exchange(&w, &key).await;
    }
}

both! {
    async fn revoking_the_token_leaves_the_key(w: World) {
        let ada = w.owner("ada").await;
        let (_, key) = ada.api_key(&json!({"name": "k"})).await;
        let program = ada.through(&exchange(&w, &key).await);
        program.delete("/v1/auth/token").expect(204, "").await;
        program.get("/v1/auth/me").expect(401, "revoked").await;
        ada.through(&key).get("/v1/auth/me").expect(200, "ada").await;
    }
}

both! {
    async fn use_is_noted_to_the_minute_and_off_the_path(w: World) {
        let ada = w.owner("ada").await;
        let (id, key) = ada.api_key(&json!({"name": "k"})).await;
        let program = ada.through(&exchange(&w, &key).await);
        let pool = w.database().await;
        let noted = async || -> i64 {
            let find = sqlx::query_scalar("SELECT last_used_at FROM api_keys WHERE id = $1").bind(id.clone());
            find.fetch_one(&pool).await.unwrap()
        };
        program.get("/v1/auth/me").expect(200, "").await;
        // That first use is written by now, or waits for nothing.
        tokio::time::sleep(Duration::from_millis(500)).await;
        w.sql("UPDATE api_keys SET last_used_at = 1").await;
        for _ in 0..20 {
            program.get("/v1/auth/me").expect(200, "").await;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(noted().await, 1, "a write for each request");
        w.restart().await;
        program.get("/v1/auth/me").expect(200, "").await;
        let begun = Instant::now();
        while noted().await == 1 {
            assert!(begun.elapsed() < Duration::from_secs(10), "its use is not noted");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoked_at_one_gateway_ended_at_the_other_within_a_second() {
    let w = World::on(Database::Postgres).start().await;
    let other = w.beside().await;
    let ada = w.owner("ada").await;
    let vault = furnished(&ada).await;
    let there = async |path: &str, token: &str| other.get(path, token).reply().await;
    for _ in 0..3 {
        let (id, key) = ada.api_key(&json!({"name": "k"})).await;
        let token = exchange(&w, &key).await;
        for bearer in [&key, &token] {
            assert_eq!(there("/v1/auth/me", bearer).await.status, 200, "{}", other.said());
            assert_eq!(there(&vault.path("api/a"), bearer).await.status, 200);
        }
        ada.delete(&format!("/v1/auth/api-keys/{id}")).expect(204, "").await;
        let begun = Instant::now();
        // What needs the signer is refused at once, whatever this gateway still believes.
        for bearer in [&key, &token] {
            let reply = there(&vault.path("api/a"), bearer).await;
            assert_eq!(reply.status, 401, "{}", reply.text);
        }
        for bearer in [&key, &token] {
            while there("/v1/auth/me", bearer).await.status != 401 {
                assert!(
                    begun.elapsed() < Duration::from_millis(1200),
                    "still good after {:?}",
                    begun.elapsed()
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}
