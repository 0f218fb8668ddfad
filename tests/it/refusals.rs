//! What the signer would not do is on the audit trail, with who asked for it and which rule they ran against.

use std::time::{Duration, Instant};

use futures::future::join_all;
use harness::{ADDRESSES, PASSWORD, Person, Value, both, json};
use reqwest::Method;

use crate::approvals::member;

/// The refusals on the trail, once there are `count`, newest first.
pub async fn refusals(ada: &Person<'_>, count: usize) -> Vec<Value> {
    for _ in 0..100 {
        let found = ada.get("/v1/audit/events?action=signer.refusal").expect(200, "").await;
        let events = found["events"].as_array().unwrap().clone();
        if events.len() >= count {
            assert_eq!(events.len(), count, "{events:?}");
            return events;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("{count} refusals are not on the trail\n{}", ada.world.said());
}

both! { with chain,
    async fn guardrails_that_were_run_against_are_told(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put_key("keys/local-signer", 0).await;
        let bot = ada.agent("bot").intents().reads(&vault, "**").set("tx_max_value_eth", "0.1").make().await;
        bot.send(ADDRESSES[2], "0.1").expect(201, "").await;
        // A mistake is no attempt.
        bot.send("0x12", "0.1").expect(400, "to:").await;
        bot.send(ADDRESSES[2], "0.2").expect(403, "tx_max_value_eth").await;
        let told = refusals(&ada, 1).await;
        assert_eq!(
            (&told[0]["actor_id"], &told[0]["actor_type"], &told[0]["resource_id"]),
            (&json!(bot.id), &json!("agent"), &json!("submitTransaction"))
        );
        let details = &told[0]["details"];
        assert_eq!((&details["rule"], &details["guardrail"]), (&json!("guardrail"), &json!("tx_max_value_eth")));
        assert!(details["detail"].as_str().unwrap().contains("0.2 ether asked"), "{details}");
        // A gateway that was taken over would not tell of it: so the signer says it by itself, too.
        let said = w.said();
        assert!(said.lines().any(|line| line.contains("guardrail") && line.contains("refused")), "{said}");
    }
}

both! {
    async fn what_was_tampered_with_is_told(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put("a", "generic", "one").await;
        vault.put("b", "generic", "two").await;
        w.sql(
            "UPDATE secret_versions SET sealed = (SELECT v.sealed FROM secret_versions v JOIN secrets s \
             ON s.id = v.secret_id WHERE s.path = 'a') WHERE secret_id IN (SELECT id FROM secrets WHERE path = 'b')",
        )
        .await;
        ada.get(&vault.path("b")).expect(403, "an operator must look").await;
        let told = refusals(&ada, 1).await;
        assert_eq!((&told[0]["details"]["rule"], &told[0]["resource_id"]), (&json!("tampered"), &json!("getSecret")));
        assert!(!told[0].to_string().contains("one"), "{}", told[0]);
    }
}

both! {
    /// Whoever looks for an intruder must not be drowned in strangers.
    async fn a_stranger_is_no_sign_of_tampering(w: World) {
        let ada = w.owner("ada").await;
        let [agents, persons] = ["ocv_", "1ck_"].map(|start| format!("{start}{}", "A".repeat(43)));
        let unknown = "01890000-0000-7000-8000-000000000000";
        for (path, body) in [
            ("/v1/auth/token", json!({"email": "nobody@example.org", "password": PASSWORD})),
            ("/v1/auth/agent-token", json!({"agent_id": unknown, "api_key": agents})),
            ("/v1/auth/api-key-token", json!({"api_key": persons})),
        ] {
            w.post(path, &body).expect(401, "Wrong").await;
        }
        // A record that somebody has altered is one.
        let pool = w.database().await;
        let record = sqlx::query_scalar("SELECT record FROM users WHERE email = $1").bind(ada.email.clone());
        let mut record: Vec<u8> = record.fetch_one(&pool).await.unwrap();
        record[0] ^= 1;
        let alter = sqlx::query("UPDATE users SET record = $2 WHERE email = $1");
        alter.bind(ada.email.clone()).bind(record).execute(&pool).await.unwrap();
        let own = json!({"email": ada.email, "password": PASSWORD});
        w.post("/v1/auth/token", &own).expect(403, "an operator must look").await;
        let told = || -> Vec<String> {
            let said = w.said();
            let of_rule = said.lines().filter(|line| line.contains("tampered") && line.contains("refused"));
            of_rule.map(str::to_owned).collect()
        };
        for _ in 0..100 {
            if !told().is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let told = told();
        assert!(told.len() == 1 && told[0].contains("issue_token"), "{told:?}");
    }
}

both! {
    /// Neither is somebody whose record is changed, or whose key is revoked, at the moment that they log in.
    async fn a_change_at_the_same_moment_is_no_sign_of_tampering(w: World) {
        let ada = w.owner("ada").await;
        let bob = member(&ada, "bob", "member").await;
        let (id, bob) = (bob.id().await, json!({"email": bob.email, "password": PASSWORD}));
        let change = async {
            for role in ["admin", "member"].repeat(5) {
                ada.patch(&format!("/v1/org/members/{id}"), &json!({"role": role})).expect(200, "").await;
            }
        };
        let log_ins = async {
            let mut statuses = Vec::new();
            for _ in 0..8 {
                let at_once = join_all((0..4).map(|_| w.post("/v1/auth/token", &bob).reply())).await;
                statuses.extend(at_once.iter().map(|reply| reply.status));
            }
            statuses
        };
        let ((), statuses) = tokio::join!(change, log_ins);
        assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
        let (id, key) = ada.api_key(&json!({"name": "k"})).await;
        let uses = (0..40).map(|_| w.post("/v1/auth/api-key-token", &json!({"api_key": key})).reply());
        let revoke = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            ada.delete(&format!("/v1/auth/api-keys/{id}")).expect(204, "").await;
        };
        let (uses, ()) = tokio::join!(join_all(uses), revoke);
        assert!(uses.iter().all(|reply| [200, 401].contains(&reply.status)), "{:?}", uses.iter().map(|r| r.status).collect::<Vec<_>>());
        let said = w.said();
        assert!(!said.contains("the signer refused what the database holds"), "{said}");
    }
}

both! {
    /// Where they look, by its name, and not on the installation's own trail.
    async fn an_agent_that_is_stopped_and_asks_for_a_token_is_told_of_to_its_owners(w: World) {
        let ada = w.owner("ada").await;
        let bot = ada.agent("bot").make().await;
        let by_key = json!({"api_key": bot.key});
        ada.post("/v1/agents/suspend-all", &json!({})).expect(200, "").await;
        for body in [&json!({"agent_id": bot.id, "api_key": bot.key}), &by_key] {
            w.post("/v1/auth/agent-token", body).expect(403, "suspended").await;
        }
        w.call(Method::GET, "/v1/agents/me", Some(&bot.key)).expect(403, "suspended").await;
        // However often it asks: what is noted later would be there in a second.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let told = refusals(&ada, 1).await;
        let all = sqlx::query_scalar("SELECT COUNT(*) FROM audit_events WHERE action = 'signer.refusal'");
        let all: i64 = all.fetch_one(&w.database().await).await.unwrap();
        assert_eq!(all, 1, "nor is it told of elsewhere");
        assert_eq!((&told[0]["actor_id"], &told[0]["ip_address"]), (&json!(bot.id), &json!("127.0.0.1")));
        assert_eq!((&told[0]["details"]["rule"], &told[0]["resource_id"]), (&json!("forbidden"), &json!("agentToken")));

        // One that was stopped alone fails as with a wrong key, and is told of as well.
        ada.post("/v1/agents/resume-all", &json!({})).expect(200, "").await;
        ada.post(&format!("/v1/agents/{}/suspend", bot.id), &json!({})).expect(200, "").await;
        for _ in 0..2 {
            w.post("/v1/auth/agent-token", &by_key).expect(401, "Wrong agent or key").await;
        }
        let begun = Instant::now();
        loop {
            let failed = ada.get("/v1/audit/events?action=auth.failure").expect(200, "").await;
            let events = failed["events"].as_array().unwrap();
            assert!(events.iter().all(|event| event["actor_id"] == bot.id.as_str()) && events.len() <= 2, "{failed}");
            let times: u64 = events.iter().map(|event| event["details"]["times"].as_u64().unwrap()).sum();
            if times == 2 {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{failed}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
