//! Reads that people must approve: asked for, decided, used up; and what an approval is not.

use std::time::Duration;

use futures::future::join_all;
use harness::{Agent, PASSWORD, Person, Reply, Value, Vault, World, both, json};

const ONE: &str = "true";

/// Brings a new person into somebody's organisation.
pub async fn member<'w>(by: &Person<'w>, name: &str, role: &str) -> Person<'w> {
    let email = format!("{name}@example.org");
    by.post("/v1/org/invite", &json!({"email": email, "role": role})).expect(200, &email).await;
    let ticket = by.world.ticket(&email, "You are invited").await;
    let body = json!({"email": email, "password": PASSWORD, "invitation": ticket});
    let answer = by.world.post("/v1/auth/signup", &body).expect(200, "access_token").await;
    Person::new(by.world, email, answer["access_token"].as_str().unwrap().to_owned())
}

/// A policy that lets somebody read what people approve; its address.
async fn ask_first(vault: &Vault<'_>, who: (&str, &str), pattern: &str, terms: &str) -> String {
    let terms: Value = serde_json::from_str(terms).unwrap();
    let list = format!("/v1/vaults/{}/policies", vault.id);
    let body = json!({"secret_path_pattern": pattern, "principal_type": who.0, "principal_id": who.1,
        "permissions": ["read", "write"], "conditions": {"require_approval": terms}});
    let made = vault.owner.post(&list, &body).expect(201, "require_approval").await;
    format!("{list}/{}", made["id"].as_str().unwrap())
}

/// A vault with a secret that the agent may read when people approve it.
pub async fn guarded<'p>(ada: &'p Person<'p>, terms: &str) -> (Vault<'p>, Agent<'p>) {
    let vault = ada.vault("main").await;
    vault.put("db/password", "password", "hunter-2").await;
    let bot = ada.agent("bot").make().await;
    ask_first(&vault, ("agent", &bot.id), "db/*", terms).await;
    (vault, bot)
}

/// The request that a refused read names.
fn request(refused: &Value) -> String {
    assert_eq!(refused["type"], "approval_required", "{refused}");
    let id = refused["approval_request_id"].as_str().unwrap().to_owned();
    assert!(refused["detail"].as_str().unwrap().contains(&id), "{refused}");
    id
}

pub async fn asked(bot: &Agent<'_>, path: &str) -> String {
    request(&bot.get(path).expect(403, "approval_required").await)
}

pub fn step(id: &str, verb: &str) -> String {
    format!("/v1/approvals/{id}/{verb}")
}

pub async fn approve(by: &Person<'_>, id: &str) -> Value {
    by.post(&step(id, "approve"), &json!({})).expect(200, "given").await
}

pub fn count(replies: &[Reply], status: u16) -> usize {
    replies.iter().filter(|reply| reply.status == status).count()
}

async fn trail(w: &World) -> Vec<String> {
    let find = "SELECT action FROM audit_events WHERE action LIKE 'approval.%' OR action = 'secret.read' ORDER BY sequence";
    let rows: Vec<(String,)> = sqlx::query_as(find).fetch_all(&w.database().await).await.unwrap();
    rows.into_iter().map(|(action,)| action).collect()
}

both! {
    async fn a_read_waits_for_people_and_is_let_through_once(w: World) {
        let ada = w.owner("ada").await;
        let (vault, bot) = guarded(&ada, ONE).await;
        let at = vault.path("db/password");
        // What there is to ask for is seen; the value is not.
        bot.get(&format!("/v1/vaults/{}/secrets", vault.id)).expect(200, "db/password").await;
        bot.get(&format!("/v1/vaults/{}/metadata/db/password", vault.id)).expect(200, "password").await;
        let id = asked(&bot, &at).await;
        assert_eq!(asked(&bot, &at).await, id, "it waits already");
        let why = json!({"principal_type": "agent", "principal_id": bot.id, "action": "read", "vault_id": vault.id, "path": "db/password"});
        let why = ada.post("/v1/policies/explain", &why).expect(200, "once somebody has approved it").await;
        assert_eq!((&why["allowed"], &why["decided_by"]), (&json!(false), &json!("approval")), "{why}");
        assert!(why["policy_id"].is_string(), "{why}");
        let seen = bot.get(&format!("/v1/approvals/{id}")).expect(200, "pending").await;
        for (field, value) in [
            ("kind", json!("secret_read")), ("target_type", json!("secret")), ("target_version", json!(1)),
            ("risk_tier", json!("medium")), ("vault_id", json!(vault.id)), ("secret_path", json!("db/password")),
            ("requester_type", json!("agent")), ("requester_id", json!(bot.id)), ("agent_id", json!(bot.id)),
            ("required", json!(1)), ("given", json!(0)), ("status", json!("pending")), ("decided_by", json!(null)),
        ] {
            assert_eq!(seen[field], value, "{field}: {seen}");
        }
        let mail = w.mail("ada@example.org", "An approval is asked for").await;
        assert!(mail.contains("\"bot\"") && mail.contains("db/password") && !mail.contains("hunter"), "{mail}");
        let approved = approve(&ada, &id).await;
        assert_eq!((&approved["status"], &approved["given"]), (&json!("approved"), &json!(1)));
        assert_eq!(approved["decided_by"], json!(ada.id().await));
        bot.get(&at).expect(200, "hunter-2").await;
        let used = ada.get(&format!("/v1/approvals/{id}")).expect(200, "approved").await;
        assert_eq!(used["uses"], 1);
        // Used up: the next read asks again.
        assert_ne!(asked(&bot, &at).await, id);
        assert_eq!(trail(&w).await, ["approval.request", "approval.approve", "secret.read", "approval.request"]);
        let details: String = sqlx::query_scalar("SELECT details FROM audit_events WHERE action = 'secret.read'")
            .fetch_one(&w.database().await).await.unwrap();
        assert!(details.contains(&id), "{details}");
    }
}

both! {
    async fn fifty_reads_at_once_make_one_request_on_two_gateways(w: World) {
        let ada = w.owner("ada").await;
        let (vault, bot) = guarded(&ada, ONE).await;
        let (at, beside) = (vault.path("db/password"), w.beside().await);
        let here = (0..25).map(|_| bot.get(&at).reply());
        let there = (0..25).map(|_| beside.get(&at, &bot.token).reply());
        let (here, there) = tokio::join!(join_all(here), join_all(there));
        let ids: std::collections::BTreeSet<String> =
            here.into_iter().chain(there).map(|reply| request(&reply.expect(403, "approval_required"))).collect();
        assert_eq!(ids.len(), 1, "{ids:?}");
        let rows: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM approvals").fetch_one(&w.database().await).await.unwrap();
        assert_eq!(rows, 1);
        assert_eq!(trail(&w).await, ["approval.request"]);
    }
}

both! {
    async fn a_hundred_reads_of_one_approval_give_one_value_on_two_gateways(w: World) {
        let ada = w.owner("ada").await;
        let (vault, bot) = guarded(&ada, ONE).await;
        let (at, beside) = (vault.path("db/password"), w.beside().await);
        let id = asked(&bot, &at).await;
        approve(&ada, &id).await;
        let here = (0..50).map(|_| bot.get(&at).reply());
        let there = (0..50).map(|_| beside.get(&at, &bot.token).reply());
        let (mut all, there) = tokio::join!(join_all(here), join_all(there));
        all.extend(there);
        assert_eq!((count(&all, 200), count(&all, 403)), (1, 99), "{:?}", all.iter().map(|r| r.status).collect::<Vec<_>>());
        let reads: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM audit_events WHERE action = 'secret.read'")
            .fetch_one(&w.database().await).await.unwrap();
        assert_eq!(reads, 1);
        let uses: i64 = sqlx::query_scalar("SELECT CAST(SUM(uses) AS BIGINT) FROM approvals").fetch_one(&w.database().await).await.unwrap();
        assert_eq!(uses, 1);
        // The others asked for the next one, all for the same.
        let next: std::collections::BTreeSet<String> =
            all.into_iter().filter(|r| r.status == 403).map(|r| request(&r.expect(403, ""))).collect();
        assert!(next.len() == 1 && !next.contains(&id), "{next:?}");
    }
}

both! {
    async fn of_many_decisions_one_wins(w: World) {
        let ada = w.owner("ada").await;
        let bob = member(&ada, "bob", "admin").await;
        let (vault, bot) = guarded(&ada, ONE).await;
        for round in 0..4 {
            let path = format!("db/k{round}");
            vault.put(&path, "generic", "v").await;
            let id = asked(&bot, &vault.path(&path)).await;
            let none = json!({});
            let calls = (0..6).map(|n| {
                let (verb, body) = [("approve", none.clone()), ("deny", json!({"reason": "no"})), ("decide", json!({"decision": "approve"}))][n % 3].clone();
                let by = if n % 2 == 0 { &ada } else { &bob };
                by.post(&step(&id, verb), &body).reply()
            });
            let cancels = (0..2).map(|_| bot.post(&step(&id, "cancel"), &none).reply());
            let (mut all, cancelled) = tokio::join!(join_all(calls), join_all(cancels));
            all.extend(cancelled);
            assert_eq!((count(&all, 200), count(&all, 409)), (1, 7), "{:?}", all.iter().map(|r| &r.text).collect::<Vec<_>>());
            let status = all.iter().find(|r| r.status == 200).unwrap().body["status"].clone();
            assert_eq!(ada.get(&format!("/v1/approvals/{id}")).expect(200, "").await["status"], status);
            let reply = bot.get(&vault.path(&path)).reply().await;
            assert_eq!(reply.status == 200, status == "approved", "{status}: {}", reply.text);
        }
    }
}

both! {
    async fn who_decides_and_who_sees(w: World) {
        let (ada, eve) = (w.owner("ada").await, w.owner("eve").await);
        let (bob, cleo) = (member(&ada, "bob", "admin").await, member(&ada, "cleo", "member").await);
        let (vault, bot) = guarded(&ada, ONE).await;
        let (other, spy) = (ada.agent("other").make().await, eve.agent("spy").make().await);
        let id = asked(&bot, &vault.path("db/password")).await;
        let (_, scoped) = ada.api_key(&json!({"name": "k", "scopes": ["db/**"]})).await;
        let none = json!({});
        let decide = json!({"decision": "approve"});
        for (verb, body) in [("approve", &none), ("deny", &none), ("decide", &decide)] {
            bot.post(&step(&id, verb), body).expect(403, "Agents may not").await;
            other.post(&step(&id, verb), body).expect(403, "Agents may not").await;
            cleo.post(&step(&id, verb), body).expect(403, "Owners and admins").await;
            ada.through(&scoped).post(&step(&id, verb), body).expect(403, "with scopes").await;
            eve.post(&step(&id, verb), body).expect(404, "No such approval").await;
        }
        let one = format!("/v1/approvals/{id}");
        for person in [&ada, &bob, &cleo] {
            person.get(&one).expect(200, "pending").await;
            assert_eq!(person.get("/v1/approvals").expect(200, &id).await["approvals"].as_array().unwrap().len(), 1);
        }
        bot.get(&one).expect(200, "pending").await;
        for (agent, status) in [(&other, 404), (&spy, 404)] {
            agent.get(&one).expect(status, "No such approval").await;
            assert_eq!(agent.get("/v1/approvals").expect(200, "").await["approvals"], json!([]));
            agent.post(&step(&id, "cancel"), &none).expect(404, "No such approval").await;
        }
        eve.get(&one).expect(404, "No such approval").await;
        ada.through(&scoped).get(&one).expect(404, "No such approval").await;
        ada.post(&step(&id, "cancel"), &none).expect(403, "Only who asked").await;
        ada.post(&step(&id, "decide"), &json!({"decision": "maybe"})).expect(400, "decision").await;
        ada.post(&step(&id, "deny"), &json!({"reason": "x".repeat(501)})).expect(400, "500 characters").await;
        ada.post(&step(&id, "deny"), &json!({"reason": "a\u{202e}b"})).expect(400, "500 characters").await;
        // Nobody decides on what they asked for themselves, by whatever credential.
        ask_first(&vault, ("user", &bob.id().await), "db/*", ONE).await;
        let own = request(&bob.get(&vault.path("db/password")).expect(403, "approval_required").await);
        let (_, key) = bob.api_key(&json!({"name": "k"})).await;
        for by in [&bob, &bob.through(&key)] {
            for (verb, body) in [("approve", &none), ("deny", &none), ("decide", &decide)] {
                by.post(&step(&own, verb), body).expect(403, "yourself").await;
            }
        }
        approve(&ada, &own).await;
        bob.get(&vault.path("db/password")).expect(200, "hunter-2").await;
        let all = ada.get("/v1/approvals?limit=1").expect(200, &own).await;
        let next = format!("/v1/approvals?limit=1&cursor={}", all["next_cursor"].as_str().unwrap());
        let last = ada.get(&next).expect(200, &id).await;
        assert!(last["next_cursor"].is_null() && last["approvals"].as_array().unwrap().len() == 1, "{last}");
        assert_eq!(ada.get("/v1/approvals?status=approved").expect(200, &own).await["approvals"].as_array().unwrap().len(), 1);
        ada.get("/v1/approvals?limit=0").expect(400, "limit").await;
        ada.get("/v1/approvals?status=odd").expect(400, "status").await;
    }
}

both! {
    async fn where_several_are_required_they_are_different_people(w: World) {
        let ada = w.owner("ada").await;
        let bob = member(&ada, "bob", "admin").await;
        let (vault, bot) = guarded(&ada, r#"{"approvals": 2, "once": false, "valid_for_seconds": 600}"#).await;
        let at = vault.path("db/password");
        let id = asked(&bot, &at).await;
        let half = approve(&ada, &id).await;
        assert_eq!((&half["status"], &half["required"], &half["given"]), (&json!("pending"), &json!(2), &json!(1)));
        ada.post(&step(&id, "approve"), &json!({})).expect(409, "somebody else").await;
        assert_eq!(asked(&bot, &at).await, id);
        assert_eq!(approve(&bob, &id).await["status"], "approved");
        // Good for a time, as often as wanted, and then no more.
        for _ in 0..3 {
            bot.get(&at).expect(200, "hunter-2").await;
        }
        w.sql("UPDATE approvals SET expires_at = 1000, runs_out_at = 1000").await;
        assert_ne!(asked(&bot, &at).await, id);
        assert_eq!(ada.get(&format!("/v1/approvals/{id}")).expect(200, "").await["status"], "expired");
    }
}

both! {
    async fn an_approval_is_for_one_version_one_path_and_one_principal(w: World) {
        let ada = w.owner("ada").await;
        let (vault, bot) = guarded(&ada, r#"{"once": false}"#).await;
        vault.put("db/user", "generic", "root").await;
        let other = ada.agent("other").make().await;
        ask_first(&vault, ("agent", &other.id), "db/*", ONE).await;
        let (at, second) = (vault.path("db/password"), vault.path("db/user"));
        approve(&ada, &asked(&bot, &at).await).await;
        bot.get(&at).expect(200, "hunter-2").await;
        asked(&bot, &second).await;
        asked(&other, &at).await;
        vault.put("db/password", "password", "hunter-3").await;
        let next = asked(&bot, &at).await;
        assert_eq!(ada.get(&format!("/v1/approvals/{next}")).expect(200, "").await["target_version"], 2);
        // An env_bundle is read by its own address, under the same rule.
        vault.put("db/env", "env_bundle", "A=1").await;
        let bundle = format!("/v1/vaults/{}/env/db/env", vault.id);
        approve(&ada, &asked(&bot, &bundle).await).await;
        bot.get(&bundle).expect(200, "A").await;
    }
}

both! {
    /// Everything else is decided when the value is read.
    async fn an_approval_never_widens(w: World) {
        let ada = w.owner("ada").await;
        let (vault, bot) = guarded(&ada, r#"{"once": false}"#).await;
        let at = vault.path("db/password");
        let list = format!("/v1/vaults/{}/policies", vault.id);
        let policies = ada.get(&list).expect(200, "").await;
        let policy = format!("{list}/{}", policies["policies"][0]["id"].as_str().unwrap());
        let id = asked(&bot, &at).await;
        approve(&ada, &id).await;
        bot.get(&at).expect(200, "hunter-2").await;
        let put = |conditions: Value| ada.put(&policy, &json!({"conditions": conditions})).expect(200, "");
        put(json!({"require_approval": {"once": false}, "ip_allowlist": ["10.0.0.0/8"]})).await;
        bot.get(&at).expect(403, "No read permission").await;
        put(json!({"require_approval": {"once": false}, "time_window": crate::policies::closed()})).await;
        bot.get(&at).expect(403, "No read permission").await;
        // Other terms need another approval.
        put(json!({"require_approval": {"once": false, "approvals": 2}})).await;
        let stricter = asked(&bot, &at).await;
        assert_ne!(stricter, id);
        put(json!({"require_approval": true})).await;
        let again = asked(&bot, &at).await;
        assert_ne!(again, stricter, "the one that waited is superseded");
        assert_eq!(ada.get(&format!("/v1/approvals/{stricter}")).expect(200, "").await["status"], "expired");
        put(json!({"require_approval": {"once": false}})).await;
        bot.get(&at).expect(200, "hunter-2").await;
        // Nor does it write or delete.
        bot.put(&at, &json!({"value": "x"})).expect(403, "No write permission").await;
        bot.delete(&at).expect(403, "No delete permission").await;
        let rotate = format!("/v1/vaults/{}/rotate/db/password", vault.id);
        bot.post(&rotate, &json!({"value": "x"})).expect(403, "No write permission").await;
        ada.patch(&format!("/v1/agents/{}", bot.id), &json!({"scopes": ["else/**"]})).expect(200, "").await;
        bot.get(&at).expect(403, "No read permission").await;
        ada.patch(&format!("/v1/agents/{}", bot.id), &json!({"scopes": []})).expect(200, "").await;
        ada.post("/v1/agents/suspend-all", &json!({})).expect(200, "").await;
        bot.get(&at).expect(403, "suspended").await;
        ada.post("/v1/agents/resume-all", &json!({})).expect(200, "").await;
        ada.delete(&policy).expect(204, "").await;
        bot.get(&at).expect(403, "No read permission").await;
        bot.get(&vault.path("db/none")).expect(403, "No read permission").await;
    }
}

both! {
    async fn a_request_ahead_of_the_read(w: World) {
        let ada = w.owner("ada").await;
        let (vault, bot) = guarded(&ada, ONE).await;
        vault.put("open/a", "generic", "v").await;
        vault.allow(&bot.id, "open/*", &["read"]).await;
        let body = |path: &str| json!({"vault_id": vault.id, "secret_path": path, "reason": "the nightly job"});
        let made = bot.post("/v1/approvals", &body("db/password")).expect(201, "the nightly job").await;
        let id = made["id"].as_str().unwrap();
        assert_eq!(bot.post("/v1/approvals", &body("db/password")).expect(200, id).await["id"], made["id"]);
        assert_eq!(asked(&bot, &vault.path("db/password")).await, id);
        // Without a policy that asks for it, alike whether there is a secret or not.
        vault.put("closed/a", "generic", "v").await;
        let there = bot.post("/v1/approvals", &body("closed/a")).expect(403, "").await;
        assert_eq!(there, bot.post("/v1/approvals", &body("closed/b")).expect(403, "").await);
        bot.post("/v1/approvals", &body("open/a")).expect(400, "needs no approval").await;
        bot.post("/v1/approvals", &body("db/none")).expect(404, "secret").await;
        bot.post("/v1/approvals", &body("../x")).expect(400, "path").await;
        let mut long = body("db/password");
        long["reason"] = json!("x".repeat(501));
        bot.post("/v1/approvals", &long).expect(400, "reason").await;
        ada.post("/v1/approvals", &body("db/password")).expect(403, "for agents").await;
        let eve = w.owner("eve").await;
        let spy = eve.agent("spy").make().await;
        spy.post("/v1/approvals", &body("db/password")).expect(404, "No such vault").await;
        // Whoever was denied asks nobody again for an hour, neither by reading nor with words.
        ada.post(&step(id, "deny"), &json!({"reason": "not today"})).expect(200, "not today").await;
        let refused = bot.get(&vault.path("db/password")).expect(403, "has denied this read").await;
        assert_eq!(refused["approval_request_id"], json!(id));
        let again = bot.post("/v1/approvals", &body("db/password")).expect(403, "has denied this read").await;
        assert!(again["approval_request_id"] == json!(id) && again["detail"].as_str().unwrap().contains(id), "{again}");
        assert_eq!(trail(&w).await, ["approval.request", "approval.deny"]);
        w.sql("UPDATE approvals SET decided_at = decided_at - 3600001").await;
        let later = bot.post("/v1/approvals", &body("db/password")).expect(201, "").await;
        ada.post(&step(later["id"].as_str().unwrap(), "deny"), &json!({})).expect(200, "denied").await;
        bot.post("/v1/approvals", &body("db/password")).expect(403, "has denied this read").await;
        // Of another version nobody has said no.
        vault.put("db/password", "password", "hunter-3").await;
        let next = bot.post("/v1/approvals", &body("db/password")).expect(201, "").await;
        bot.post(&step(next["id"].as_str().unwrap(), "cancel"), &json!({})).expect(200, "cancelled").await;
        bot.post(&step(next["id"].as_str().unwrap(), "cancel"), &json!({})).expect(409, "cancelled already").await;
    }
}

both! {
    async fn what_nobody_decides_expires_and_is_told(w: World) {
        let ada = w.owner("ada").await;
        let (vault, bot) = guarded(&ada, ONE).await;
        let id = asked(&bot, &vault.path("db/password")).await;
        let mut told = w.listen(&bot.token, None).await;
        w.sql("UPDATE approvals SET expires_at = 1000, runs_out_at = 1000").await;
        ada.post(&step(&id, "approve"), &json!({})).expect(409, "expired already").await;
        assert_eq!(told.hears("approval.expired").await.data["id"], json!(id));
        let written: String = sqlx::query_scalar("SELECT status FROM approvals").fetch_one(&w.database().await).await.unwrap();
        assert_eq!(written, "expired");
        assert_eq!(trail(&w).await, ["approval.request", "approval.expire"]);
        assert_ne!(asked(&bot, &vault.path("db/password")).await, id);
    }
}

both! {
    /// A limited read and its approval are counted together, or neither is.
    async fn a_read_that_is_used_up_costs_no_approval(w: World) {
        let ada = w.owner("ada").await;
        let (vault, bot) = guarded(&ada, r#"{"once": false}"#).await;
        let at = vault.path("db/twice");
        ada.put(&at, &json!({"value": "v", "max_access_count": 2})).expect(201, "").await;
        let id = asked(&bot, &at).await;
        approve(&ada, &id).await;
        let all = join_all((0..10).map(|_| bot.get(&at).reply())).await;
        assert_eq!((count(&all, 200), count(&all, 410)), (2, 8), "{:?}", all.iter().map(|r| &r.text).collect::<Vec<_>>());
        assert_eq!(ada.get(&format!("/v1/approvals/{id}")).expect(200, "").await["uses"], 2);
        // What can't be read anyway is asked of nobody.
        vault.put("db/key", "private_key", harness::KEYS[0]).await;
        let intents = ada.agent("intents").intents().make().await;
        ask_first(&vault, ("agent", &intents.id), "db/*", ONE).await;
        intents.get(&vault.path("db/key")).expect(403, "not readable by an agent with intents_api_enabled").await;
        assert_eq!(intents.get("/v1/approvals").expect(200, "").await["approvals"], json!([]));
    }
}

both! {
    async fn a_model_is_told_what_to_do(w: World) {
        let ada = w.owner("ada").await;
        let (vault, bot) = guarded(&ada, ONE).await;
        let wanted = json!({"path": "db/password"});
        let text = bot.tool_in(Some(&vault.id), "get_secret", &wanted).await.refused("make the same call again");
        let waiting = bot.get("/v1/approvals?status=pending").expect(200, "").await;
        let id = waiting["approvals"][0]["id"].as_str().unwrap();
        assert!(text.contains(id) && !text.contains("hunter"), "{text}");
        approve(&ada, id).await;
        bot.tool_in(Some(&vault.id), "get_secret", &wanted).await.expect("hunter-2");
    }
}

both! {
    /// People are neither flooded with mail nor with requests.
    async fn requests_and_their_mails_are_bounded(w: World) {
        let ada = w.owner("ada").await;
        let (vault, bot) = guarded(&ada, ONE).await;
        let body = json!({"vault_id": vault.id, "secret_path": "db/password"});
        for _ in 0..60 {
            let made = bot.post("/v1/approvals", &body).expect(201, "").await;
            bot.post(&step(made["id"].as_str().unwrap(), "cancel"), &json!({})).expect(200, "").await;
        }
        bot.post("/v1/approvals", &body).expect(429, "").await;
        bot.get(&vault.path("db/password")).expect(429, "").await;
        let mails: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM mails WHERE letter LIKE '%approval_requested%'")
            .fetch_one(&w.database().await).await.unwrap();
        let mut sent = 0;
        while w.has_mail("ada@example.org", "An approval is asked for") {
            w.mail("ada@example.org", "An approval is asked for").await;
            sent += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(sent >= 1 && sent + mails <= 10, "{sent} sent, {mails} wait");
    }
}

both! {
    async fn ones_many_requests_leave_room_for_the_mails_of_another(w: World) {
        let ada = w.owner("ada").await;
        let (vault, bot) = guarded(&ada, ONE).await;
        let quiet = ada.agent("quiet").make().await;
        ask_first(&vault, ("agent", &quiet.id), "db/*", ONE).await;
        let body = json!({"vault_id": vault.id, "secret_path": "db/password"});
        for _ in 0..12 {
            let made = bot.post("/v1/approvals", &body).expect(201, "").await;
            bot.post(&step(made["id"].as_str().unwrap(), "cancel"), &json!({})).expect(200, "").await;
        }
        asked(&quiet, &vault.path("db/password")).await;
        let mut of_bot = 0;
        for _ in 0..11 {
            let mail = w.mail("ada@example.org", "An approval is asked for").await;
            of_bot += usize::from(mail.contains("\"bot\""));
            assert!(mail.contains("\"bot\"") || mail.contains("\"quiet\""), "{mail}");
        }
        assert_eq!(of_bot, 10);
    }
}

both! {
    /// It is no mistake: more people may be invited yet. But whoever writes it is told.
    async fn a_policy_for_more_people_than_there_are_warns(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let bot = ada.agent("bot").make().await;
        let list = format!("/v1/vaults/{}/policies", vault.id);
        let policy = |terms: Value| json!({"secret_path_pattern": "**", "principal_type": "agent", "principal_id": bot.id,
            "permissions": ["read"], "conditions": {"require_approval": terms}});
        let made = ada.post(&list, &policy(json!({"approvals": 2}))).expect(201, "2 people must approve, and 1 could today").await;
        assert!(ada.post(&list, &policy(json!(true))).expect(201, "").await.get("warning").is_none());
        let one = format!("{list}/{}", made["id"].as_str().unwrap());
        let ten = json!({"conditions": {"require_approval": {"approvals": 10}}});
        ada.put(&one, &ten).expect(200, "10 people must approve, and 1 could today").await;
        member(&ada, "bob", "admin").await;
        let two = json!({"conditions": {"require_approval": {"approvals": 2}}});
        assert!(ada.put(&one, &two).expect(200, "").await.get("warning").is_none());
        // Who asks does not decide.
        let hers = json!({"secret_path_pattern": "**", "principal_type": "user", "principal_id": ada.id().await,
            "permissions": ["read"], "conditions": {"require_approval": {"approvals": 2}}});
        ada.post(&list, &hers).expect(201, "2 people must approve, and 1 could today").await;
        // An agent's transactions likewise: both people may decide on them.
        let at = format!("/v1/agents/{}", bot.id);
        let three = json!({"tx_approval_policy": {"always": true, "approvals": 3}});
        ada.patch(&at, &three).expect(200, "3 people must approve, and 2 could today").await;
        let two = json!({"tx_approval_policy": {"always": true, "approvals": 2}});
        assert!(ada.patch(&at, &two).expect(200, "").await.get("warning").is_none());
    }
}
