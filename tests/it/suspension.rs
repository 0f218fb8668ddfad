//! The kill switches: one agent's, and all of an organisation's; and what ends on every gateway.

use std::time::{Duration, Instant};

use futures::future::join_all;
use harness::{ADDRESSES, Agent, Beside, Database, PASSWORD, Person, World, both, json};
use reqwest::Method;

use crate::approvals::member;

const SUSPEND: &str = "/v1/agents/suspend-all";
const RESUME: &str = "/v1/agents/resume-all";
const STOPPED: &str = "Your organisation has suspended all of its agents. An owner or admin can resume them.";

async fn with_secret<'p>(ada: &'p Person<'p>) -> (harness::Vault<'p>, Agent<'p>) {
    let vault = ada.vault("main").await;
    vault.put("api/a", "generic", "v").await;
    let bot = ada.agent("bot").reads(&vault, "**").make().await;
    (vault, bot)
}

both! {
    async fn all_agents_stop_at_once_and_go_on_when_they_are_resumed(w: World) {
        let (ada, eve) = (w.owner("ada").await, w.owner("eve").await);
        let (vault, bot) = with_secret(&ada).await;
        let foreign = eve.agent("other").make().await;
        w.call(Method::GET, "/v1/agents/me", Some(&bot.key)).expect(200, "").await;
        let (_, scoped) = ada.api_key(&json!({"name": "k", "scopes": ["keys/**"]})).await;
        for path in [SUSPEND, RESUME] {
            bot.post(path, &json!({})).expect(403, "Agents may not").await;
            ada.through(&scoped).post(path, &json!({})).expect(403, "with scopes").await;
        }
        assert_eq!(ada.get("/v1/agents").expect(200, "").await["agents_suspended"], false);
        for _ in 0..2 {
            assert_eq!(ada.post(SUSPEND, &json!({})).expect(200, "").await, json!({"agents_suspended": true}));
        }
        bot.get(&vault.path("api/a")).expect(403, STOPPED).await;
        bot.get("/v1/agents/me").expect(403, STOPPED).await;
        w.call(Method::GET, "/v1/agents/me", Some(&bot.key)).expect(403, "suspended").await;
        for body in [json!({"agent_id": bot.id, "api_key": bot.key}), json!({"api_key": bot.key})] {
            w.post("/v1/auth/agent-token", &body).expect(403, "suspended").await;
        }
        bot.post("/mcp", &json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).expect(403, STOPPED).await;
        // People go on, and see it; so does everybody else's.
        let listed = ada.get("/v1/agents").expect(200, "").await;
        assert_eq!((&listed["agents_suspended"], &listed["agents"][0]["is_active"]), (&json!(true), &json!(true)));
        foreign.get("/v1/agents/me").expect(200, "").await;
        w.restart().await;
        bot.get("/v1/agents/me").expect(403, STOPPED).await;
        // An API key is enough to stop, and not to let go on.
        let (_, key) = ada.api_key(&json!({"name": "all"})).await;
        ada.through(&key).post(SUSPEND, &json!({})).expect(200, "").await;
        let refused = ada.through(&key).post(RESUME, &json!({})).reply().await;
        assert_eq!(refused.status, 403, "{}", refused.text);
        bot.get("/v1/agents/me").expect(403, STOPPED).await;
        ada.post(RESUME, &json!({})).expect(200, r#""agents_suspended":false"#).await;
        bot.get(&vault.path("api/a")).expect(200, "v").await;
        bot.fresh_token().await;
        let actions: Vec<(String,)> = sqlx::query_as("SELECT action FROM audit_events WHERE action LIKE 'agent.%_all' ORDER BY sequence")
            .fetch_all(&w.database().await).await.unwrap();
        let actions: Vec<&str> = actions.iter().map(|(action,)| action.as_str()).collect();
        assert_eq!(actions, ["agent.suspend_all", "agent.suspend_all", "agent.suspend_all", "agent.resume_all"]);
    }
}

both! {
    /// Whatever the database is made to say: the signer has a switch of its own.
    async fn the_signer_stops_agents_by_itself(w: World) {
        let ada = w.owner("ada").await;
        let (vault, bot) = with_secret(&ada).await;
        ada.post(SUSPEND, &json!({})).expect(200, "").await;
        w.sql("UPDATE organisations SET agents_suspended = 0").await;
        tokio::time::sleep(Duration::from_millis(1100)).await;
        bot.get(&vault.path("api/a")).expect(403, "suspended").await;
        w.post("/v1/auth/agent-token", &json!({"api_key": bot.key})).expect(403, "suspended").await;
        // Whoever switches it off again does so in both.
        ada.post(RESUME, &json!({})).expect(200, "").await;
        bot.get(&vault.path("api/a")).expect(200, "v").await;
    }
}

both! {
    async fn the_switch_is_the_same_in_both_whoever_sets_it_at_once(w: World) {
        let ada = w.owner("ada").await;
        let (vault, bot) = with_secret(&ada).await;
        for _ in 0..4 {
            let set = join_all((0..8).map(|n| ada.post([SUSPEND, RESUME][n % 2], &json!({})).reply())).await;
            assert!(set.iter().all(|reply| reply.status == 200));
            tokio::time::sleep(Duration::from_millis(1100)).await;
            let suspended = ada.get("/v1/agents").expect(200, "").await["agents_suspended"] == true;
            w.sql("UPDATE organisations SET agents_suspended = 0").await;
            tokio::time::sleep(Duration::from_millis(1100)).await;
            let stopped = bot.get(&vault.path("api/a")).reply().await.status == 403;
            assert_eq!(suspended, stopped, "the database and the signer say the same");
            ada.post(RESUME, &json!({})).expect(200, "").await;
        }
    }
}

both! {
    with chain,
    /// Some are accepted by the signer and not signed yet when the switch is thrown: nothing is signed after it.
    async fn transactions_that_wait_end_as_failed(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put_key("keys/local-signer", 0).await;
        let bot = ada.agent("bot").intents().reads(&vault, "keys/**").make().await;
        w.hold_blocks().await;
        let pool = w.database().await;
        let count = async |which: &'static str| -> i64 { sqlx::query_scalar(which).fetch_one(&pool).await.unwrap() };
        const ALL: &str = "SELECT COUNT(*) FROM transactions";
        const STOPPED_ONES: &str =
            "SELECT COUNT(*) FROM transactions WHERE status = 'failed' AND error_message LIKE '%suspended%'";
        const WAITING: &str = "SELECT COUNT(*) FROM transactions WHERE status = 'pending'";
        w.while_blocks_come(async {
            for _ in 0..12 {
                let before = count(ALL).await;
                let sent = join_all((0..24).map(|_| bot.send(ADDRESSES[1], "0.001").reply()));
                let stop = async {
                    while count(ALL).await == before {
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    }
                    ada.post(SUSPEND, &json!({})).expect(200, "").await;
                };
                let (sent, ()) = tokio::join!(sent, stop);
                for reply in sent {
                    assert!([201, 403].contains(&reply.status), "{} {}", reply.status, reply.text);
                }
                let begun = Instant::now();
                while count(WAITING).await > 0 {
                    assert!(begun.elapsed() < Duration::from_secs(20), "some wait for ever");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                bot.send(ADDRESSES[1], "0.001").expect(403, STOPPED).await;
                ada.post(RESUME, &json!({})).expect(200, "").await;
                if count(STOPPED_ONES).await > 0 {
                    break;
                }
            }
            assert!(count(STOPPED_ONES).await > 0, "none was caught waiting: no race was run");
            // The nonces of those that failed are used by others.
            let last = bot.send(ADDRESSES[1], "0.001").expect(201, "tx_hash").await;
            bot.until(last["id"].as_str().unwrap(), "confirmed").await;
        })
        .await;
    }
}

both! {
    async fn one_agent_is_suspended_and_keeps_its_key(w: World) {
        let (ada, eve) = (w.owner("ada").await, w.owner("eve").await);
        let (vault, bot) = with_secret(&ada).await;
        let other = ada.agent("other").make().await;
        let path = |verb: &str| format!("/v1/agents/{}/{verb}", bot.id);
        other.post(&path("suspend"), &json!({})).expect(404, "No such agent").await;
        bot.post(&path("suspend"), &json!({})).expect(403, "an agent never").await;
        eve.post(&path("suspend"), &json!({})).expect(404, "No such agent").await;
        let before = bot.token.clone();
        for _ in 0..2 {
            ada.post(&path("suspend"), &json!({})).expect(200, r#""is_active":false"#).await;
        }
        bot.get(&vault.path("api/a")).expect(401, "").await;
        w.call(Method::GET, "/v1/agents/me", Some(&bot.key)).expect(401, "").await;
        w.post("/v1/auth/agent-token", &json!({"api_key": bot.key})).expect(401, "deactivated, suspended or expired").await;
        other.get("/v1/agents/me").expect(200, "").await;
        bot.post(&path("resume"), &json!({})).expect(401, "").await;
        ada.post(&path("resume"), &json!({})).expect(200, r#""is_active":true"#).await;
        // Known failure: a deactivated agent's token that lives on. Not even with the agent does it come back.
        w.call(Method::GET, "/v1/agents/me", Some(&before)).expect(401, "").await;
        let token = bot.fresh_token().await;
        w.call(Method::GET, &vault.path("api/a"), Some(&token)).expect(200, "v").await;
        let trail: Vec<(String, String)> = sqlx::query_as(
            "SELECT action, details FROM audit_events WHERE action IN ('agent.suspend', 'agent.resume') ORDER BY sequence")
            .fetch_all(&w.database().await).await.unwrap();
        let actions: Vec<&str> = trail.iter().map(|(action, _)| action.as_str()).collect();
        assert_eq!(actions, ["agent.suspend", "agent.resume"], "what changes nothing is no event");
        assert!(trail[0].1.contains("is_active"), "{trail:?}");
        // One that has ended is not resumed: its key is gone.
        ada.delete(&format!("/v1/agents/{}", bot.id)).expect(204, "").await;
        ada.post(&path("resume"), &json!({})).expect(409, "rotate-key").await;
    }
}

both! {
    async fn a_member_does_not_undo_what_an_owner_has_stopped(w: World) {
        let ada = w.owner("ada").await;
        let mia = member(&ada, "mia", "member").await;
        let stopped = "An owner or admin has stopped this agent";
        for how in ["suspended", "suspended too", "deleted"] {
            let bot = mia.agent("bot").make().await;
            let path = format!("/v1/agents/{}", bot.id);
            let (suspend, resume, rotate) = (format!("{path}/suspend"), format!("{path}/resume"), format!("{path}/rotate-key"));
            // What she stops herself, she lets go on.
            mia.post(&suspend, &json!({})).expect(200, r#""is_active":false"#).await;
            mia.post(&resume, &json!({})).expect(200, r#""is_active":true"#).await;
            match how {
                "deleted" => {
                    ada.delete(&path).expect(204, "").await;
                }
                _ => {
                    if how == "suspended too" {
                        mia.post(&suspend, &json!({})).expect(200, r#""is_active":false"#).await;
                    }
                    ada.post(&suspend, &json!({})).expect(200, r#""is_active":false"#).await;
                    mia.post(&resume, &json!({})).expect(403, stopped).await;
                }
            }
            mia.post(&rotate, &json!({})).expect(403, stopped).await;
            mia.patch(&path, &json!({"is_active": true})).expect(403, stopped).await;
            mia.patch(&path, &json!({"name": "still"})).expect(200, "still").await;
            mia.post(&rotate, &json!({})).expect(403, stopped).await;
            mia.get(&path).expect(200, r#""is_active":false"#).await;
            w.post("/v1/auth/agent-token", &json!({"agent_id": bot.id, "api_key": bot.key})).expect(401, "").await;
            // An owner does; then it is its maker's again.
            let key = ada.post(&rotate, &json!({})).expect(200, "ocv_").await["api_key"].clone();
            ada.post(&resume, &json!({})).expect(200, r#""is_active":true"#).await;
            w.post("/v1/auth/agent-token", &json!({"agent_id": bot.id, "api_key": key})).expect(200, "access_token").await;
            mia.post(&suspend, &json!({})).expect(200, "").await;
            mia.post(&resume, &json!({})).expect(200, r#""is_active":true"#).await;
            mia.post(&rotate, &json!({})).expect(200, "ocv_").await;
        }
    }
}

/// Asks the other gateway until it refuses: within a second, and as long as one question takes.
async fn refused(what: &str, ask: impl AsyncFn() -> harness::Reply, status: u16) {
    let begun = Instant::now();
    loop {
        let reply = ask().await;
        if reply.status == status {
            return;
        }
        assert!(
            begun.elapsed() < Duration::from_millis(1200),
            "{what}: {} after {:?}",
            reply.status,
            begun.elapsed()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// People's sessions: by a new password, by another role, with whoever is removed.
async fn people_end(other: &Beside<'_>, ada: &Person<'_>, [bob, cleo, dora]: [Person<'_>; 3]) {
    let me = "/v1/auth/me";
    let (_, key) = dora.api_key(&json!({"name": "ci"})).await;
    for token in [&bob.token, &cleo.token, &dora.token, &key] {
        other.get(me, token).expect(200, "example.org").await;
    }
    let new = json!({"current_password": PASSWORD, "new_password": "Another-Horse-42!x"});
    bob.post("/v1/auth/change-password", &new).expect(204, "").await;
    refused("a changed password", async || other.get(me, &bob.token).reply().await, 401).await;
    let at = format!("/v1/org/members/{}", cleo.id().await);
    ada.patch(&at, &json!({"role": "member"})).expect(200, "member").await;
    refused("another role", async || other.get(me, &cleo.token).reply().await, 401).await;
    ada.delete(&format!("/v1/org/members/{}", dora.id().await)).expect(204, "").await;
    for token in [&dora.token, &key] {
        refused("a member who was removed", async || other.get(me, token).reply().await, 401).await;
    }
    other.get(me, &ada.token).expect(200, "ada").await;
}

/// Known failure: a revocation that revokes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_at_one_gateway_has_ended_at_the_other_within_a_second() {
    for database in [Database::Sqlite, Database::Postgres] {
        let w = World::on(database).start().await;
        let ada = w.owner("ada").await;
        // Before there are two outboxes.
        let bob = member(&ada, "bob", "member").await;
        let (cleo, dora) = (member(&ada, "cleo", "admin").await, member(&ada, "dora", "member").await);
        let other = w.beside().await;
        people_end(&other, &ada, [bob, cleo, dora]).await;
        let (vault, bot) = with_secret(&ada).await;
        let path = vault.path("api/a");
        // By its id.
        let token = bot.fresh_token().await;
        other.get(&path, &token).expect(200, "v").await;
        w.call(Method::DELETE, "/v1/auth/token", Some(&token)).expect(204, "").await;
        refused("a token that was revoked", async || other.get("/v1/agents/me", &token).reply().await, 401)
            .await;
        assert_eq!(other.get("/v1/agents/me", &bot.token).reply().await.status, 200, "others live on");
        // All of an organisation's.
        ada.post(SUSPEND, &json!({})).expect(200, "").await;
        refused(
            "agents that were suspended",
            async || other.get("/v1/agents/me", &bot.token).reply().await,
            403,
        )
        .await;
        ada.post(RESUME, &json!({})).expect(200, "").await;
        tokio::time::sleep(Duration::from_millis(1100)).await;
        other.get(&path, &bot.token).expect(200, "v").await;
        // By whose they are: suspended, given a new key, ended.
        for (verb, body) in [("suspend", json!({})), ("rotate-key", json!({}))] {
            let token = bot.fresh_token().await;
            other.get(&path, &token).expect(200, "v").await;
            ada.post(&format!("/v1/agents/{}/{verb}", bot.id), &body).expect(200, "").await;
            for token in [&token, &bot.token] {
                refused(verb, async || other.get("/v1/agents/me", token).reply().await, 401).await;
            }
            ada.post(&format!("/v1/agents/{}/resume", bot.id), &body).expect(200, "").await;
            tokio::time::sleep(Duration::from_millis(1100)).await;
        }
        let ended = ada.agent("ended").make().await;
        other.get("/v1/agents/me", &ended.token).expect(200, "").await;
        ada.delete(&format!("/v1/agents/{}", ended.id)).expect(204, "").await;
        refused(
            "an agent that has ended",
            async || other.get("/v1/agents/me", &ended.token).reply().await,
            401,
        )
        .await;
    }
}

both! {
    /// Who logs in again after a change does so wherever the next request goes.
    async fn what_begins_at_one_gateway_is_good_at_the_other_at_once(w: World) {
        let ada = w.owner("ada").await;
        let bob = member(&ada, "bob", "member").await;
        let bot = ada.agent("bot").make().await;
        let other = w.beside().await;
        let me = "/v1/agents/me";
        let exchanged = async |key: &str| {
            let body = json!({"agent_id": bot.id, "api_key": key});
            let given = other.post("/v1/auth/agent-token", &body).expect(200, "access_token").await;
            other.get(me, given["access_token"].as_str().unwrap()).expect(200, "bot").await;
        };
        other.get(me, &bot.token).expect(200, "bot").await;
        let given = ada.post(&format!("/v1/agents/{}/rotate-key", bot.id), &json!({})).expect(200, "ocv_").await;
        let key = given["api_key"].as_str().unwrap();
        other.get(me, key).expect(200, "bot").await;
        exchanged(key).await;
        for verb in ["suspend", "resume"] {
            ada.post(&format!("/v1/agents/{}/{verb}", bot.id), &json!({})).expect(200, "").await;
            // So that it is known there as it is now.
            tokio::time::sleep(Duration::from_millis(1100)).await;
            let status = other.get(me, key).reply().await.status;
            assert_eq!(status, if verb == "suspend" { 401 } else { 200 }, "{verb}");
        }
        ada.post(&format!("/v1/agents/{}/suspend", bot.id), &json!({})).expect(200, "").await;
        tokio::time::sleep(Duration::from_millis(1100)).await;
        other.get(me, key).expect(401, "").await;
        ada.post(&format!("/v1/agents/{}/resume", bot.id), &json!({})).expect(200, "").await;
        exchanged(key).await;
        // People: after another role, and a new password.
        let logged_in = async |password: &str| {
            let body = json!({"email": bob.email, "password": password});
            let given = other.post("/v1/auth/token", &body).expect(200, "access_token").await;
            let token = given["access_token"].as_str().unwrap().to_owned();
            other.get("/v1/auth/me", &token).expect(200, "bob").await;
            token
        };
        logged_in(PASSWORD).await;
        ada.patch(&format!("/v1/org/members/{}", bob.id().await), &json!({"role": "admin"})).expect(200, "").await;
        let token = logged_in(PASSWORD).await;
        let new = json!({"current_password": PASSWORD, "new_password": "Another-Horse-42!x"});
        w.call(Method::POST, "/v1/auth/change-password", Some(&token)).json(&new).expect(204, "").await;
        logged_in("Another-Horse-42!x").await;
    }
}
