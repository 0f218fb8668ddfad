//! Agents' identity pairs: made with the agent, read by it alone, and by nobody who submits intents.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use futures::future::join_all;
use harness::{ADDRESSES, Agent, Database, Person, Value, World, both, json};

/// The id of `__agent-keys`, as somebody who may see it finds it.
async fn agent_keys(list: harness::Call) -> Option<String> {
    let list = list.expect(200, "vaults").await;
    let found = list["vaults"].as_array().unwrap().iter().find(|v| v["name"] == "__agent-keys");
    found.map(|vault| vault["id"].as_str().unwrap().to_owned())
}

/// Where a half of an agent's is.
async fn place(by: &Person<'_>, agent: &Agent<'_>, pair: &str) -> String {
    let vault = agent_keys(by.get("/v1/vaults")).await.unwrap();
    format!("/v1/vaults/{vault}/secrets/agents/{}/{pair}/private_key", agent.id)
}

fn bytes<const N: usize>(base64: &Value) -> [u8; N] {
    STANDARD.decode(base64.as_str().unwrap()).unwrap().try_into().unwrap()
}

async fn private(by: &Person<'_>, agent: &Agent<'_>, pair: &str) -> [u8; 32] {
    let read = agent.get(&place(by, agent, pair).await).expect(200, "value").await;
    bytes(&read["value"])
}

/// What both keystores and both databases must give.
async fn whole(w: &World) {
    let ada = w.owner("ada").await;
    let (one, two) = (ada.agent("one").make().await, ada.agent("two").make().await);
    let me = one.get("/v1/agents/me").expect(200, "one").await;
    let seen = ada.get(&format!("/v1/agents/{}", one.id)).expect(200, "one").await;
    let listed = ada.get("/v1/agents").expect(200, "one").await;
    for key in ["ssh_public_key", "ecdh_public_key"] {
        assert_eq!((&me[key], &me[key]), (&seen[key], &listed["agents"][0][key]), "{key}");
        assert_ne!(me[key], listed["agents"][1][key]);
    }

    let signature = SigningKey::from_bytes(&private(&ada, &one, "ssh").await).sign(b"it is me");
    let public = VerifyingKey::from_bytes(&bytes(&me["ssh_public_key"])).unwrap();
    public.verify_strict(b"it is me", &signature).unwrap();

    let other = two.get("/v1/agents/me").expect(200, "two").await;
    let agreed = |private: [u8; 32], public: &Value| {
        let private = p256::SecretKey::from_slice(&private).unwrap();
        let public = p256::PublicKey::from_sec1_bytes(&bytes::<65>(public)).unwrap();
        *p256::ecdh::diffie_hellman(private.to_nonzero_scalar(), public.as_affine()).raw_secret_bytes()
    };
    assert_eq!(
        agreed(private(&ada, &one, "ecdh").await, &other["ecdh_public_key"]),
        agreed(private(&ada, &two, "ecdh").await, &me["ecdh_public_key"])
    );
    // They outlive a restart and a new key.
    w.restart().await;
    ada.post(&format!("/v1/agents/{}/rotate-key", two.id), &json!({})).expect(200, "ocv_").await;
    let later = ada.get(&format!("/v1/agents/{}", two.id)).expect(200, "two").await;
    assert_eq!(later["ssh_public_key"], other["ssh_public_key"]);
    let again = SigningKey::from_bytes(&private(&ada, &one, "ssh").await);
    assert_eq!(again.verifying_key(), public);
}

both! {
    async fn the_halves_belong_together(w: World) {
        whole(&w).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_halves_belong_together_with_an_hsm() {
    whole(&World::on(Database::Sqlite).hsm().start().await).await;
}

both! {
    async fn an_agent_reads_its_own_pair_and_no_others(w: World) {
        let (ada, eve) = (w.owner("ada").await, w.owner("eve").await);
        let (bot, spy) = (ada.agent("bot").make().await, ada.agent("spy").make().await);
        let foreign = eve.agent("foreign").make().await;
        for (pair, kind) in [("ssh", "ssh_key"), ("ecdh", "private_key")] {
            let path = place(&ada, &bot, pair).await;
            let read = bot.get(&path).expect(200, kind).await;
            assert_eq!((&read["type"], &read["version"]), (&json!(kind), &json!(1)));
            spy.get(&path).expect(403, "No read permission").await;
            ada.get(&path).expect(403, "No read permission").await;
            eve.get(&path).expect(404, "vault").await;
            foreign.get(&path).expect(404, "vault").await;
            w.get(&path).expect(401, "").await;
        }
        let vault = agent_keys(ada.get("/v1/vaults")).await.unwrap();
        let list = bot.get(&format!("/v1/vaults/{vault}/secrets")).expect(200, &bot.id).await;
        assert_eq!(list["secrets"].as_array().unwrap().len(), 2, "{list}");
        // A policy lets a person read, and another agent not even then: the signer has the last word.
        let policies = format!("/v1/vaults/{vault}/policies");
        for (kind, id) in [("user", ada.id().await), ("agent", spy.id.clone())] {
            let body = json!({"secret_path_pattern": format!("agents/{}/**", bot.id), "principal_type": kind,
                "principal_id": id, "permissions": ["read", "write", "delete"]});
            ada.post(&policies, &body).expect(201, "id").await;
        }
        let path = place(&ada, &bot, "ssh").await;
        assert_eq!(ada.get(&path).expect(200, "value").await["value"], bot.get(&path).expect(200, "").await["value"]);
        spy.get(&path).expect(403, "its own identity alone").await;
        // What is kept stays when the agent ends, for people who may read it.
        ada.delete(&format!("/v1/agents/{}", bot.id)).expect(204, "").await;
        bot.get(&path).expect(401, "").await;
        ada.get(&path).expect(200, "value").await;
    }
}

both! {
    async fn an_intents_agent_does_not_read_it(w: World) {
        let ada = w.owner("ada").await;
        let bot = ada.agent("bot").intents().make().await;
        let path = place(&ada, &bot, "ssh").await;
        bot.get(&path).expect(403, "No read permission").await;
        assert_eq!(agent_keys(bot.get("/v1/vaults")).await, None);
        assert_eq!(bytes::<32>(&bot.get("/v1/agents/me").expect(200, "").await["ssh_public_key"]).len(), 32);
        // By the rule for keys, too, whatever a policy says.
        let vault = agent_keys(ada.get("/v1/vaults")).await.unwrap();
        let body = json!({"secret_path_pattern": "**", "principal_type": "agent", "principal_id": bot.id, "permissions": ["read"]});
        ada.post(&format!("/v1/vaults/{vault}/policies"), &body).expect(201, "id").await;
        for pair in ["ssh", "ecdh"] {
            bot.get(&place(&ada, &bot, pair).await).expect(403, "intents_api_enabled").await;
        }

        let mut plain = ada.agent("plain").make().await;
        let path = place(&ada, &plain, "ecdh").await;
        plain.get(&path).expect(200, "value").await;
        for (on, status) in [(true, 403), (false, 200)] {
            ada.patch(&format!("/v1/agents/{}", plain.id), &json!({"intents_api_enabled": on})).expect(200, "").await;
            plain.get(&path).expect(403, "intents_api_enabled").await;
            plain.token = plain.fresh_token().await;
            plain.get(&path).expect(status, "").await;
        }
    }
}

both! {
    async fn its_vault_is_nobodys_to_write_or_delete(w: World) {
        let ada = w.owner("ada").await;
        let bot = ada.agent("bot").make().await;
        let path = place(&ada, &bot, "ssh").await;
        let vault = format!("/v1/vaults/{}", agent_keys(ada.get("/v1/vaults")).await.unwrap());
        let body = json!({"secret_path_pattern": "**", "principal_type": "user", "principal_id": ada.id().await, "permissions": ["write"]});
        ada.post(&format!("{vault}/policies"), &body).expect(201, "id").await;
        ada.put(&path, &json!({"type": "ssh_key", "value": "mine"})).expect(403, "Talon's own").await;
        ada.put(&format!("{vault}/secrets/x"), &json!({"value": "x"})).expect(403, "Talon's own").await;
        bot.put(&path, &json!({"value": "x"})).expect(403, "Talon's own").await;
        ada.delete(&path).expect(403, "Talon's own").await;
        bot.delete(&path).expect(403, "Talon's own").await;
        ada.delete(&vault).expect(403, "Talon's own").await;
        ada.get(&vault).expect(200, "\"reserved\":true").await;
        bot.get(&path).expect(200, "value").await;
        for name in ["__agent-keys", " __x", "__"] {
            ada.post("/v1/vaults", &json!({"name": name})).expect(400, "name: must not start with __").await;
        }
        assert_eq!(ada.vault("_one_").await.owner.email, ada.email);
        // Ordinary vaults come first, whenever they were made.
        let list = ada.get("/v1/vaults").expect(200, "").await;
        let names: Vec<&Value> = list["vaults"].as_array().unwrap().iter().map(|v| &v["name"]).collect();
        assert_eq!(names, ["_one_", "__agent-keys"]);
    }
}

both! {
    async fn bindings_and_scopes_are_a_ceiling_here_too(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let mut bound = ada.agent("bound").set("vault_ids", json!([vault.id])).make().await;
        let mut scoped = ada.agent("scoped").set("scopes", json!(["keys/**"])).make().await;
        let keys = agent_keys(ada.get("/v1/vaults")).await.unwrap();
        bound.get(&place(&ada, &bound, "ssh").await).expect(403, "").await;
        scoped.get(&place(&ada, &scoped, "ssh").await).expect(403, "").await;
        ada.patch(&format!("/v1/agents/{}", bound.id), &json!({"vault_ids": [vault.id, keys]})).expect(200, "").await;
        ada.patch(&format!("/v1/agents/{}", scoped.id), &json!({"scopes": ["keys/**", "agents/**"]})).expect(200, "").await;
        for agent in [&mut bound, &mut scoped] {
            agent.token = agent.fresh_token().await;
            agent.get(&place(&ada, agent, "ssh").await).expect(200, "value").await;
        }
    }
}

both! {
    async fn agents_made_at_once_share_one_vault(w: World) {
        let (ada, eve) = (w.owner("ada").await, w.owner("eve").await);
        let names: Vec<String> = (0..12).map(|n| format!("bot-{n}")).collect();
        let agents = join_all(names.iter().enumerate().map(|(n, name)| {
            if n % 2 == 0 { ada.agent(name).make() } else { eve.agent(name).make() }
        })).await;
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM vaults WHERE purpose = 'agent_keys'")
            .fetch_one(&w.database().await).await.unwrap();
        assert_eq!(count, 2, "one for each organisation");
        for (n, agent) in agents.iter().enumerate() {
            let maker = if n % 2 == 0 { &ada } else { &eve };
            let public = bytes(&agent.get("/v1/agents/me").expect(200, "").await["ssh_public_key"]);
            let seed = private(maker, agent, "ssh").await;
            assert_eq!(SigningKey::from_bytes(&seed).verifying_key().to_bytes(), public);
            private(maker, agent, "ecdh").await;
        }
    }
}

both! {
    async fn rows_that_were_swapped_are_refused(w: World) {
        let ada = w.owner("ada").await;
        let (one, two) = (ada.agent("one").make().await, ada.agent("two").make().await);
        // Its own other half, then another agent's.
        for (pair, with) in [("ssh", format!("agents/{}/ecdh/private_key", one.id)), ("ecdh", format!("agents/{}/ecdh/private_key", two.id))] {
            let path = format!("agents/{}/{pair}/private_key", one.id);
            let swap = format!(
                "UPDATE secret_versions SET sealed = (SELECT v.sealed FROM secret_versions v JOIN secrets s ON s.id = v.secret_id \
                 WHERE s.path = '{with}') WHERE secret_id IN (SELECT id FROM secrets WHERE path = '{path}')"
            );
            assert_eq!(w.sql(&swap).await, 1);
            one.get(&place(&ada, &one, pair).await).expect(403, "an operator must look").await;
        }
        // A public half inside the record: whoever trusts what is shown must not be shown it.
        let shown = |agent: &Agent<'_>| format!("/v1/agents/{}", agent.id);
        let key = |shown: &Value| shown["ecdh_public_key"].as_str().unwrap().to_owned();
        let (mine, theirs) = (
            key(&ada.get(&shown(&one)).expect(200, "").await),
            key(&ada.get(&shown(&two)).expect(200, "").await),
        );
        let pool = w.database().await;
        let record: Vec<u8> = sqlx::query_scalar("SELECT record FROM agents WHERE id = $1").bind(one.id.clone()).fetch_one(&pool).await.unwrap();
        let at = record.windows(mine.len()).position(|w| w == mine.as_bytes()).unwrap();
        let mut edited = record.clone();
        edited[at..at + theirs.len()].copy_from_slice(theirs.as_bytes());
        let genuine_of_two: Vec<u8> = sqlx::query_scalar("SELECT record FROM agents WHERE id = $1").bind(two.id.clone()).fetch_one(&pool).await.unwrap();
        for (swapped, status) in [(edited, 403), (genuine_of_two, 404)] {
            sqlx::query("UPDATE agents SET record = $2 WHERE id = $1").bind(one.id.clone()).bind(swapped).execute(&pool).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(1300)).await;
            ada.get(&shown(&one)).expect(status, "").await;
            ada.get("/v1/agents").expect(403, "an operator must look").await;
            let reply = one.get("/v1/agents/me").reply().await;
            assert!([401, 403].contains(&reply.status), "{} {}", reply.status, reply.text);
        }
        sqlx::query("UPDATE agents SET record = $2 WHERE id = $1").bind(one.id.clone()).bind(record).execute(&pool).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(1300)).await;
        assert_eq!(key(&ada.get(&shown(&one)).expect(200, "").await), mine);
    }
}

both! { with chain,
    async fn an_identity_pays_for_nothing(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put_key("keys/local-signer", 0).await;
        let mut bot = ada.agent("bot").reads(&vault, "**").make().await;
        ada.patch(&format!("/v1/agents/{}", bot.id), &json!({"intents_api_enabled": true})).expect(200, "").await;
        bot.token = bot.fresh_token().await;
        for pair in ["ssh", "ecdh"] {
            let path = format!("agents/{}/{pair}/private_key", bot.id);
            let body = json!({"to": ADDRESSES[2], "value": "0.1", "chain": "local", "signing_key_path": path});
            bot.submit(&body).expect(404, "signing key").await;
        }
        bot.send(ADDRESSES[2], "0.1").expect(201, "tx_hash").await;
    }
}

both! {
    async fn all_of_it_is_on_the_trail(w: World) {
        let ada = w.owner("ada").await;
        let (bot, _) = (ada.agent("bot").make().await, ada.agent("sends").intents().make().await);
        let (me, path) = (ada.id().await, place(&ada, &bot, "ssh").await);
        let value = bot.get(&path).expect(200, "value").await["value"].as_str().unwrap().to_owned();
        let events: Vec<(String, String, String)> =
            sqlx::query_as("SELECT action, actor_id, details FROM audit_events ORDER BY org_id, sequence").fetch_all(&w.database().await).await.unwrap();
        let made = |action: &str| events.iter().filter(|(a, actor, _)| a == action && *actor == me).count();
        for (action, times) in [("vault.create", 1), ("secret.write", 4), ("policy.create", 1), ("agent.register", 2)] {
            assert_eq!(made(action), times, "{action}");
        }
        assert!(events.iter().any(|(a, actor, details)| a == "secret.read" && *actor == bot.id && details.contains("ssh/private_key")));
        let all: String = events.into_iter().map(|(_, _, details)| details).collect();
        assert!(all.contains(&format!("agents/{}/**", bot.id)) && !all.contains(&value));
        assert!(!w.said().contains(&value));
    }
}
