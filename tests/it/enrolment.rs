//! Agents that enrol themselves.

use std::time::{Duration, Instant};

use domain::AgentId;
use futures::future::join_all;
use harness::{Database, PASSWORD, Person, Value, World, both, json, now};
use reqwest::Method;

use crate::timing::Pairs;

async fn enrol(w: &World, email: &str) -> String {
    let answer = w
        .post("/v1/agents/enroll", &json!({"name": "scout", "human_email": email}))
        .expect(201, "agent_id")
        .await;
    answer["agent_id"].as_str().unwrap().to_owned()
}

const SUBJECT: &str = "An agent asks for its key";

async fn count(w: &World, which: &str) -> i64 {
    let text = sqlx::AssertSqlSafe(which.to_owned());
    sqlx::query_scalar(text).fetch_one(&w.database().await).await.unwrap()
}

/// Until everything that was asked has been looked at, and everything that was written is sent.
async fn settled(w: &World) {
    const LEFT: &str = "SELECT (SELECT COUNT(*) FROM enrolments) + (SELECT COUNT(*) FROM mails)";
    let (pool, begun) = (w.database().await, Instant::now());
    loop {
        let left: i64 = sqlx::query_scalar(LEFT).fetch_one(&pool).await.unwrap();
        if left == 0 {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "something waits for ever:\n{}", w.said());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

both! {
    async fn a_person_gets_the_key_by_mail_once_and_the_agent_may_nothing_yet(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put("a", "generic", "v").await;
        let id = enrol(&w, " Ada@Example.org").await;
        let token = w.ticket("ada@example.org", SUBJECT).await;
        let seen = ada.get(&format!("/v1/agents/{id}")).expect(200, "scout").await;
        assert_eq!((&seen["created_by"], seen.get("key_prefix")), (&json!(ada.id().await), None), "{seen}");
        assert_eq!(seen["status"], "awaiting_key");
        let body = json!({"token": token});
        let at = "/v1/agents/enroll/credentials";
        let (one, other) = tokio::join!(w.post(at, &body).reply(), w.post(at, &body).reply());
        let mut answers = [one, other];
        answers.sort_by_key(|reply| reply.status);
        let [good, bad] = answers;
        assert!([400, 409].contains(&bad.status), "{}", bad.text);
        let key = good.expect(200, "ocv_")["api_key"].as_str().unwrap().to_owned();
        w.post(at, &body).expect(400, "used up").await;
        let call = |path: &str| w.call(Method::GET, path, Some(&key));
        assert_eq!(call("/v1/agents/me").expect(200, "scout").await["id"], json!(id));
        assert_eq!(ada.get(&format!("/v1/agents/{id}")).expect(200, "").await["status"], "active");
        call(&vault.path("a")).expect(403, "").await;
        let pair = format!("/v1/vaults/{}/secrets/agents/{id}/ssh/private_key", vault.id);
        let refused = call(&pair).reply().await;
        assert!([403, 404].contains(&refused.status), "{}", refused.text);
    }
}

both! {
    async fn an_address_that_nobody_has_is_answered_alike(w: World) {
        w.owner("ada").await;
        let shape = |body: &Value| body.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let ask = async |email: &str| {
            let body = json!({"name": "scout", "human_email": email});
            let reply = w.post("/v1/agents/enroll", &body).reply().await;
            (reply.status, shape(&reply.body), reply.body["message"].clone())
        };
        let (known, unknown) = (ask("ada@example.org").await, ask("eve@example.org").await);
        assert_eq!(known, unknown);
        for email in ["ada@example.org", "EVE@example.org "] {
            let body = json!({"name": "again", "human_email": email});
            let reply = w.post("/v1/agents/enroll", &body).reply().await;
            let wait: u64 = reply.headers["retry-after"].parse().unwrap();
            assert!(reply.status == 429 && (500..=600).contains(&wait), "{} {wait}", reply.text);
        }
        w.mail("ada@example.org", SUBJECT).await;
        let left: (i64,) = sqlx::query_as("SELECT COUNT(*) FROM enrolments").fetch_one(&w.database().await).await.unwrap();
        assert_eq!(left.0, 0);
        assert!(!w.has_mail("eve@example.org", SUBJECT));
        for (body, named) in [
            (json!({"name": "x", "human_email": "no"}), "human_email"),
            (json!({"name": "", "human_email": "a@example.org"}), "name"),
            (json!({"name": "x", "human_email": "a@example.org", "scopes": ["**"]}), "scopes"),
        ] {
            w.post("/v1/agents/enroll", &body).expect(400, named).await;
        }
    }
}

/// Enrolments with a known and an unknown address, in pairs: the median difference of 40 pairs is within 30 per cent of the median,
/// or 3 ms. It runs by itself: see `.config/nextest.toml`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_enrolment_takes_as_long_for_an_address_that_nobody_has() {
    const PAIRS: usize = 40;
    let w = World::on(Database::Sqlite).start().await;
    // No one of them has so many agents that wait for their key that it makes a difference.
    let names = ["ada", "bob", "cleo", "dora"];
    for name in names {
        w.owner(name).await;
    }
    let mut took = [Vec::new(), Vec::new()];
    for pair in 0..PAIRS {
        w.sql("DELETE FROM limits").await;
        let emails = [format!("{}@example.org", names[pair % 4]), format!("nobody{pair}@example.org")];
        for turn in 0..2 {
            // Each goes first as often.
            let which = (pair + turn) % 2;
            let body = json!({"name": "scout", "human_email": emails[which]});
            let begun = Instant::now();
            let reply = w.post("/v1/agents/enroll", &body).reply().await;
            took[which].push(begun.elapsed().as_secs_f64());
            assert_eq!(reply.status, 201, "{}", reply.text);
        }
    }
    let times = Pairs::of(took);
    println!("{times}");
    let most = f64::max(0.3 * times.known, 0.003);
    assert!(times.apart.abs() < most, "{times}");
}

both! {
    /// At two gateways: one for an address, ten from a place.
    async fn enrolments_at_once_are_counted_exactly(w: World) {
        let (ada, beside) = (w.owner("ada").await, w.beside().await);
        let ask = |n: usize, email: String| {
            let (at, body) = ("/v1/agents/enroll", json!({"name": "scout", "human_email": email}));
            if n.is_multiple_of(2) { w.post(at, &body).reply() } else { beside.post(at, &body).reply() }
        };
        let for_one = join_all((0..10).map(|n| ask(n, ada.email.clone()))).await;
        w.sql("DELETE FROM limits").await;
        let from_one = join_all((0..20).map(|n| ask(n, format!("nobody{n}@example.org")))).await;
        for (replies, through) in [(for_one, 1), (from_one, 10)] {
            assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), through);
            for reply in replies.into_iter().filter(|reply| reply.status != 201) {
                assert!(reply.headers.contains_key("retry-after"), "{}", reply.text);
                reply.expect(429, "Try again in");
            }
        }
        // Both gateways look at what was put down, and one of them makes the agent.
        let pool = w.database().await;
        let count = async |of: &'static str| -> i64 { sqlx::query_scalar(of).fetch_one(&pool).await.unwrap() };
        let begun = Instant::now();
        while count("SELECT COUNT(*) FROM enrolments").await > 0 {
            assert!(begun.elapsed() < Duration::from_secs(20), "{}", w.said());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(count("SELECT COUNT(*) FROM agents").await, 1);
    }
}

both! {
    /// The mail with the link is theirs still.
    async fn who_has_left_gives_no_agent_a_key(w: World) {
        let ada = w.owner("ada").await;
        let at = "/v1/agents/enroll/credentials";
        for how in ["removed", "moved"] {
            let email = format!("{how}@example.org");
            ada.post("/v1/org/invite", &json!({"email": email})).expect(200, "").await;
            let ticket = w.ticket(&email, "You are invited").await;
            let body = json!({"email": email, "password": PASSWORD, "invitation": ticket});
            let bob = w.post("/v1/auth/signup", &body).expect(200, "access_token").await;
            let bob = Person::new(&w, email.clone(), bob["access_token"].as_str().unwrap().to_owned());
            enrol(&w, &email).await;
            let token = w.ticket(&email, SUBJECT).await;
            if how == "removed" {
                ada.delete(&format!("/v1/org/members/{}", bob.id().await)).expect(204, "").await;
            } else {
                w.owner("eve").await.post("/v1/org/invite", &json!({"email": email})).expect(200, "").await;
                let ticket = w.ticket(&email, "You are invited").await;
                bob.post("/v1/org/join", &json!({"invitation": ticket})).expect(204, "").await;
            }
            w.post(at, &json!({"token": token})).expect(400, "used up").await;
        }
    }
}

both! {
    async fn a_ticket_of_one_kind_is_none_of_another(w: World) {
        let ada = w.owner("ada").await;
        enrol(&w, &ada.email).await;
        let token = w.ticket(&ada.email, SUBJECT).await;
        w.post("/v1/auth/reset-password", &json!({"token": token, "new_password": "Another-Horse-42!x"})).expect(400, "used up").await;
        w.post("/v1/auth/verify-email", &json!({"token": token})).expect(400, "used up").await;
        // Expired, it is none at all.
        w.sql("UPDATE tickets SET expires_at = 1").await;
        w.post("/v1/agents/enroll/credentials", &json!({"token": token})).expect(400, "used up").await;
    }
}

both! {
    /// Whoever knows an address, and asks from many places for a long time.
    async fn one_person_is_asked_five_times_a_day(w: World) {
        let (ada, eve) = (w.owner("ada").await, w.owner("eve").await);
        for _ in 0..7 {
            // Ten minutes pass, and other places ask; the day is not over.
            let soon = (now() + 2 * 60 * 60) * 1000;
            w.sql(&format!("DELETE FROM limits WHERE forget_at < {soon}")).await;
            enrol(&w, &ada.email).await;
        }
        settled(&w).await;
        assert_eq!(count(&w, "SELECT COUNT(*) FROM agents").await, 5);
        for _ in 0..5 {
            w.mail(&ada.email, SUBJECT).await;
        }
        assert!(!w.has_mail(&ada.email, SUBJECT));
        enrol(&w, &eve.email).await;
        w.mail(&eve.email, SUBJECT).await;
    }
}

both! {
    /// A stranger fills no organisation with agents that nobody asked for.
    async fn agents_that_wait_for_their_key_are_few_and_end(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let ask = async || {
            w.sql("DELETE FROM limits").await;
            let id = enrol(&w, &ada.email).await;
            settled(&w).await;
            id
        };
        let seen = async |id: &str| ada.get(&format!("/v1/agents/{id}")).reply().await.status;
        let first = ask().await;
        // As if others had asked 18 times before.
        for _ in 0..18 {
            let id = AgentId::new();
            w.sql(&format!(
                "INSERT INTO agents (id, org_id, name, auth_method, record, version, created_at) \
                 SELECT '{id}', org_id, name, auth_method, record, 1, created_at FROM agents WHERE id = '{first}'"
            )).await;
        }
        let twentieth = ask().await;
        assert_eq!(seen(&twentieth).await, 200);
        for _ in 0..2 {
            w.mail(&ada.email, SUBJECT).await;
        }
        // One more is answered as any other, and there is none.
        let too_many = ask().await;
        assert_eq!(seen(&too_many).await, 404);
        assert!(!w.has_mail(&ada.email, SUBJECT), "nobody is written to");
        // Whom somebody has given a key, or a policy, waits no more.
        ada.post(&format!("/v1/agents/{twentieth}/rotate-key"), &json!({})).expect(200, "ocv_").await;
        let trusted = ask().await;
        vault.allow(&trusted, "a", &["read"]).await;
        let last = ask().await;
        assert_eq!((seen(&trusted).await, seen(&last).await), (200, 200));
        assert_eq!(seen(&ask().await).await, 404);

        // Days later those that nobody has touched are gone, with their pairs, and not without a trace.
        let pairs = async |id: &str| count(&w, &format!("SELECT COUNT(*) FROM secret_versions WHERE secret_id IN \
            (SELECT id FROM secrets WHERE path LIKE 'agents/{id}/%')")).await;
        assert_eq!(pairs(&first).await, 2);
        let days = |days: i64| (now() - days * 24 * 60 * 60) * 1000;
        w.sql(&format!("UPDATE agents SET created_at = {}", days(6))).await;
        w.sql(&format!("UPDATE agents SET created_at = {} WHERE id = '{last}'", days(4))).await;
        w.restart().await;
        let begun = Instant::now();
        while seen(&first).await != 404 {
            assert!(begun.elapsed() < Duration::from_secs(20), "it is there still");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for kept in [&twentieth, &trusted, &last] {
            assert_eq!((seen(kept).await, pairs(kept).await), (200, 2));
        }
        assert_eq!((count(&w, "SELECT COUNT(*) FROM agents").await, pairs(&first).await), (3, 0));
        assert_eq!(count(&w, &format!("SELECT COUNT(*) FROM secrets WHERE path LIKE 'agents/{first}/%'")).await, 0);
        let told = format!("SELECT COUNT(*) FROM audit_events WHERE action = 'agent.expire' AND resource_id = '{first}'");
        assert_eq!(count(&w, &told).await, 1);
    }
}
