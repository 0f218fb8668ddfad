//! Somebody can write to the database. What the signer said is not theirs to change, move or bring back.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use harness::{ADDRESSES, Agent, Value, Vault, World, both, json};

/// What the gateway caches of principals, policies and vaults, it forgets within a second.
async fn caches_expire() {
    tokio::time::sleep(std::time::Duration::from_millis(1300)).await;
}

async fn record(w: &World, agent: &Agent<'_>) -> (Vec<u8>, i64) {
    let find = sqlx::query_as("SELECT record, version FROM agents WHERE id = $1").bind(agent.id.clone());
    find.fetch_one(&w.database().await).await.unwrap()
}

async fn set_record(w: &World, agent: &Agent<'_>, record: Vec<u8>, version: i64) {
    let update = sqlx::query("UPDATE agents SET record = $2, version = $3 WHERE id = $1");
    update.bind(agent.id.clone()).bind(record).bind(version).execute(&w.database().await).await.unwrap();
    caches_expire().await;
}

/// A secret's newest version as it lies in the database.
type Stored = (Option<Vec<u8>>, Option<Vec<u8>>, String);

async fn stored(w: &World, path: &str) -> Stored {
    let find = sqlx::query_as(
        "SELECT v.sealed, v.signing_key, v.type FROM secret_versions v JOIN secrets s ON s.id = v.secret_id WHERE s.path = $1",
    );
    find.bind(path.to_owned()).fetch_one(&w.database().await).await.unwrap()
}

async fn store(w: &World, path: &str, (sealed, signing_key, kind): Stored) {
    let update = sqlx::query(
        "UPDATE secret_versions SET sealed = $2, signing_key = $3, type = $4 WHERE secret_id IN \
         (SELECT id FROM secrets WHERE path = $1)",
    );
    let update = update.bind(path.to_owned()).bind(sealed).bind(signing_key).bind(kind);
    assert_eq!(update.execute(&w.database().await).await.unwrap().rows_affected(), 1);
}

/// Replaces text inside a statement; its authentication code stays.
fn edited(statement: &[u8], from: &str, to: &str) -> Vec<u8> {
    let at = statement.windows(from.len()).position(|w| w == from.as_bytes());
    let at = at.unwrap_or_else(|| panic!("no {from} in {}", String::from_utf8_lossy(statement)));
    [&statement[..at], to.as_bytes(), &statement[at + from.len()..]].concat()
}

async fn nothing_was_sent(w: &World) {
    for address in &ADDRESSES[..2] {
        assert_eq!(w.anvil().await.nonce(address).await, 0, "{address} has sent something");
    }
}

async fn with_key<'p>(ada: &'p harness::Person<'p>) -> Vault<'p> {
    let vault = ada.vault("main").await;
    vault.put_key("keys/local-signer", 0).await;
    vault
}

both! { with chain,
    async fn a_rolled_back_agent(w: World) {
        let ada = w.owner("ada").await;
        let vault = with_key(&ada).await;
        vault.put("a", "generic", "v").await;
        let bot = ada.agent("bot").intents().reads(&vault, "**").make().await;
        let path = format!("/v1/agents/{}", bot.id);
        let (before, version) = record(&w, &bot).await;
        ada.patch(&path, &json!({"tx_max_value_eth": "0.1"})).expect(200, "").await;
        bot.send(ADDRESSES[2], "1").expect(403, "tx_max_value_eth").await;
        set_record(&w, &bot, before.clone(), version).await;
        bot.send(ADDRESSES[2], "1").expect(403, "an operator must look").await;
        bot.get(&vault.path("a")).expect(403, "an operator must look").await;
        w.post("/v1/auth/agent-token", &json!({"agent_id": bot.id, "api_key": bot.key})).expect(403, "an operator must look").await;
        w.restart().await;
        bot.send(ADDRESSES[2], "1").expect(403, "an operator must look").await;
        nothing_was_sent(&w).await;
    }
}

both! { with chain,
    async fn a_deactivated_agent_brought_back(w: World) {
        let ada = w.owner("ada").await;
        let vault = with_key(&ada).await;
        let bot = ada.agent("bot").intents().reads(&vault, "**").make().await;
        let (before, version) = record(&w, &bot).await;
        ada.delete(&format!("/v1/agents/{}", bot.id)).expect(204, "").await;
        set_record(&w, &bot, before, version).await;
        w.restart().await;
        let reply = bot.send(ADDRESSES[2], "1").reply().await;
        assert!([401, 403].contains(&reply.status), "{} {}", reply.status, reply.text);
        let reply = w.post("/v1/auth/agent-token", &json!({"agent_id": bot.id, "api_key": bot.key})).reply().await;
        assert!([401, 403].contains(&reply.status), "{} {}", reply.status, reply.text);
        nothing_was_sent(&w).await;
    }
}

both! { with chain,
    async fn a_widened_guardrail_and_a_dropped_flag(w: World) {
        let ada = w.owner("ada").await;
        let vault = with_key(&ada).await;
        let bot = ada.agent("bot").intents().reads(&vault, "**").set("tx_daily_limit_eth", "0.1").make().await;
        let (genuine, version) = record(&w, &bot).await;
        let wide = edited(&genuine, "\"100000000000000000\"", "\"900000000000000000000\"");
        set_record(&w, &bot, wide, version).await;
        bot.send(ADDRESSES[2], "1").expect(403, "an operator must look").await;
        // Without the flag the gateway would let it read the key.
        let reader = edited(&genuine, "\"intents\":true", "\"intents\":false");
        set_record(&w, &bot, reader, version).await;
        let reply = bot.get(&vault.path("keys/local-signer")).reply().await;
        assert!([401, 403].contains(&reply.status) && !reply.text.contains("0xac09"), "{}", reply.text);
        // Damaged beyond reading: an error, and no access.
        set_record(&w, &bot, genuine[..40].to_vec(), version).await;
        let reply = bot.get(&vault.path("keys/local-signer")).reply().await;
        assert!([401, 403, 500].contains(&reply.status), "{}", reply.text);
        set_record(&w, &bot, genuine, version).await;
        bot.send(ADDRESSES[2], "0.1").expect(201, "tx_hash").await;
    }
}

both! { with chain,
    async fn the_record_of_a_mightier_agent(w: World) {
        let ada = w.owner("ada").await;
        let vault = with_key(&ada).await;
        let weak = ada.agent("weak").reads(&vault, "**").make().await;
        let strong = ada.agent("strong").intents().reads(&vault, "**").make().await;
        let (mighty, version) = record(&w, &strong).await;
        set_record(&w, &weak, mighty, version).await;
        for call in [weak.send(ADDRESSES[2], "1"), weak.get(&vault.path("keys/local-signer"))] {
            let reply = call.reply().await;
            assert!([401, 403, 500].contains(&reply.status), "{} {}", reply.status, reply.text);
        }
        nothing_was_sent(&w).await;
    }
}

both! { with chain,
    async fn a_swapped_key(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put_key("keys/small", 0).await;
        vault.put_key("treasury/large", 1).await;
        let bot = ada.agent("bot").intents().reads(&vault, "keys/*").make().await;
        let (small, large) = (stored(&w, "keys/small").await, stored(&w, "treasury/large").await);
        store(&w, "keys/small", large).await;
        let body = json!({"to": ADDRESSES[2], "value": "1", "chain": "local", "signing_key_path": "keys/small"});
        let reply = bot.submit(&body).reply().await;
        assert!([403, 500].contains(&reply.status), "{} {}", reply.status, reply.text);
        nothing_was_sent(&w).await;
        store(&w, "keys/small", small).await;
        bot.submit(&body).expect(201, "tx_hash").await;
    }
}

both! {
    async fn swapped_values_and_types(w: World) {
        let (ada, eve) = (w.owner("ada").await, w.owner("eve").await);
        let vault = ada.vault("main").await;
        vault.put("public/motd", "note", "good morning").await;
        vault.put("root/password", "password", "hunter2").await;
        vault.put_key("keys/eth", 0).await;
        let bot = ada.agent("bot").intents().reads(&vault, "public/*").reads(&vault, "keys/*").make().await;
        let motd = stored(&w, "public/motd").await;
        let (password, none, _) = stored(&w, "root/password").await;
        store(&w, "public/motd", (password.clone(), none.clone(), "note".into())).await;
        bot.get(&vault.path("public/motd")).expect(403, "an operator must look").await;
        store(&w, "public/motd", motd).await;
        bot.get(&vault.path("public/motd")).expect(200, "good morning").await;
        // A key that calls itself a note.
        let (sealed, key, _) = stored(&w, "keys/eth").await;
        store(&w, "keys/eth", (sealed, key, "note".into())).await;
        bot.get(&vault.path("keys/eth")).expect(403, "an operator must look").await;
        // Another organisation's value in a vault of one's own, with the vault's key and without.
        let own = eve.vault("mine").await;
        own.put("loot", "password", "x").await;
        store(&w, "loot", (password, none, "password".into())).await;
        eve.get(&own.path("loot")).expect(403, "an operator must look").await;
        w.sql(&format!("UPDATE vaults SET key = (SELECT key FROM vaults WHERE id = '{}') WHERE id = '{}'", vault.id, own.id)).await;
        caches_expire().await;
        eve.get(&own.path("loot")).expect(403, "an operator must look").await;
    }
}

both! {
    async fn a_token_that_nobody_proved_anything_for(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put("a", "generic", "v").await;
        let parts: Vec<&str> = ada.token.split('.').collect();
        let mut claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
        claims["exp"] = json!(claims["exp"].as_i64().unwrap() + 86_400);
        let claims = URL_SAFE_NO_PAD.encode(claims.to_string());
        let signed = format!("{}.{claims}", parts[0]);
        let own_key = SigningKey::from_bytes(&[7; 32]);
        let forged = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(own_key.sign(signed.as_bytes()).to_bytes()));
        w.call(reqwest::Method::GET, &vault.path("a"), Some(&forged)).expect(401, "not valid").await;
        // The public key as an HMAC secret is no better: one algorithm is accepted.
        let none = format!("{}.{claims}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#));
        w.call(reqwest::Method::GET, &vault.path("a"), Some(&none)).expect(401, "not valid").await;
    }
}

both! {
    async fn a_revoked_token_and_a_destroyed_vault_stay_ended(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put("a", "generic", "v").await;
        let doomed = ada.vault("doomed").await;
        doomed.put("b", "generic", "gone for good").await;
        let bot = ada.agent("bot").reads(&vault, "a").make().await;
        bot.delete("/v1/auth/token").expect(204, "").await;
        let key: Vec<u8> = sqlx::query_scalar("SELECT key FROM vaults WHERE id = $1")
            .bind(doomed.id.clone())
            .fetch_one(&w.database().await)
            .await
            .unwrap();
        ada.delete(&format!("/v1/vaults/{}", doomed.id)).expect(204, "").await;

        w.sql("DELETE FROM revoked_tokens").await;
        let undelete = sqlx::query("UPDATE vaults SET key = $2, deleted_at = NULL WHERE id = $1").bind(doomed.id.clone()).bind(key);
        undelete.execute(&w.database().await).await.unwrap();
        w.restart().await;
        bot.get(&vault.path("a")).expect(401, "").await;
        let reply = ada.get(&doomed.path("b")).reply().await;
        assert!(reply.status >= 400 && !reply.text.contains("gone for good"), "{} {}", reply.status, reply.text);
    }
}

both! { with chain,
    async fn what_was_spent_is_not_in_the_database(w: World) {
        let ada = w.owner("ada").await;
        let vault = with_key(&ada).await;
        let bot = ada.agent("bot").intents().reads(&vault, "**").set("tx_daily_limit_eth", "0.5").make().await;
        let sent = bot.send(ADDRESSES[2], "0.5").expect(201, "tx_hash").await;
        bot.until(sent["id"].as_str().unwrap(), "confirmed").await;
        for table in ["idempotency_keys", "transactions", "nonces", "free_nonces"] {
            w.sql(&format!("DELETE FROM {table}")).await;
        }
        w.restart().await;
        bot.send(ADDRESSES[2], "0.1").expect(403, "tx_daily_limit_eth").await;
        assert_eq!(w.anvil().await.nonce(ADDRESSES[0]).await, 1);
    }
}

async fn key_row(w: &World, id: &str) -> Vec<u8> {
    let find = sqlx::query_scalar("SELECT record FROM api_keys WHERE id = $1").bind(id.to_owned());
    find.fetch_one(&w.database().await).await.unwrap()
}

async fn set_key_row(w: &World, id: &str, record: &[u8]) {
    let update = sqlx::query("UPDATE api_keys SET record = $2, revoked_at = NULL WHERE id = $1");
    let done = update.bind(id.to_owned()).bind(record.to_vec()).execute(&w.database().await).await.unwrap();
    assert_eq!(done.rows_affected(), 1);
    caches_expire().await;
}

both! {
    async fn a_revoked_api_key_brought_back(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put("a", "generic", "v").await;
        let (id, key) = ada.api_key(&json!({"name": "k"})).await;
        let exchange = || w.post("/v1/auth/api-key-token", &json!({"api_key": key}));
        let token = exchange().expect(200, "access_token").await;
        let program = ada.through(token["access_token"].as_str().unwrap());
        let before = key_row(&w, &id).await;
        ada.delete(&format!("/v1/auth/api-keys/{id}")).expect(204, "").await;
        set_key_row(&w, &id, &before).await;
        for restarted in [false, true] {
            if restarted {
                w.restart().await;
            }
            exchange().expect(403, "an operator must look").await;
            ada.through(&key).get(&vault.path("a")).expect(403, "an operator must look").await;
            program.get(&vault.path("a")).expect(401, "").await;
            program.post("/v1/agents", &json!({"name": "x"})).expect(401, "").await;
        }
        // Its person sees it, and ends it once more.
        assert_eq!(ada.get("/v1/auth/api-keys").expect(200, "").await["keys"].as_array().unwrap().len(), 1);
        ada.delete(&format!("/v1/auth/api-keys/{id}")).expect(204, "").await;
        exchange().expect(401, "Wrong API key").await;
    }
}

both! {
    async fn an_edited_api_key(w: World) {
        let (ada, eve) = (w.owner("ada").await, w.owner("eve").await);
        let vault = ada.vault("main").await;
        vault.put("root/a", "generic", "v").await;
        let (id, key) = ada.api_key(&json!({"name": "k", "scopes": ["api/*"]})).await;
        let (evil, evil_key) = eve.api_key(&json!({"name": "k"})).await;
        let exchange = |key: &str| w.post("/v1/auth/api-key-token", &json!({"api_key": key}));
        let genuine = key_row(&w, &id).await;
        for (from, to) in [("\"scopes\":[\"api/*\"]", "\"scopes\":[]"), ("\"expires_at\":null", "\"expires_at\":\"2100-01-01T00:00:00Z\"")] {
            set_key_row(&w, &id, &edited(&genuine, from, to)).await;
            exchange(&key).expect(403, "an operator must look").await;
            ada.through(&key).get(&vault.path("root/a")).expect(403, "an operator must look").await;
        }
        set_key_row(&w, &id, &genuine[..20]).await;
        exchange(&key).expect(403, "an operator must look").await;
        // A key of one's own that says whose it is not.
        let ids = |of: &str| sqlx::query_scalar::<_, String>("SELECT user_id FROM api_keys WHERE id = $1").bind(of.to_owned());
        let pool = w.database().await;
        let (hers, his) = (ids(&id).fetch_one(&pool).await.unwrap(), ids(&evil).fetch_one(&pool).await.unwrap());
        let own = key_row(&w, &evil).await;
        set_key_row(&w, &evil, &edited(&own, &his, &hers)).await;
        w.sql(&format!("UPDATE api_keys SET user_id = '{hers}' WHERE id = '{evil}'")).await;
        exchange(&evil_key).expect(403, "an operator must look").await;
        // The genuine record under another person.
        set_key_row(&w, &evil, &own).await;
        exchange(&evil_key).expect(403, "an operator must look").await;
        // And another key's record under one's own key.
        w.sql(&format!("UPDATE api_keys SET user_id = '{hers}' WHERE id = '{evil}'")).await;
        set_key_row(&w, &evil, &genuine).await;
        exchange(&evil_key).expect(401, "Wrong API key").await;
        set_key_row(&w, &id, &genuine).await;
        exchange(&key).expect(200, "access_token").await;
        ada.through(&key).get(&vault.path("root/a")).expect(403, "").await;
    }
}
