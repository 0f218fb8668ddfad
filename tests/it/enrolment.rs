//! Agents that enrol themselves.

use std::time::{Duration, Instant};

use harness::{PASSWORD, Person, Value, World, both, json};
use reqwest::Method;

async fn enrol(w: &World, email: &str) -> String {
    let answer = w
        .post("/v1/agents/enroll", &json!({"name": "scout", "human_email": email}))
        .expect(201, "agent_id")
        .await;
    answer["agent_id"].as_str().unwrap().to_owned()
}

const SUBJECT: &str = "An agent asks for its key";

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
            let begun = Instant::now();
            let body = json!({"name": "scout", "human_email": email});
            let reply = w.post("/v1/agents/enroll", &body).reply().await;
            (reply.status, shape(&reply.body), reply.body["message"].clone(), begun.elapsed())
        };
        let (known, unknown) = (ask("ada@example.org").await, ask("eve@example.org").await);
        assert_eq!((known.0, known.1, known.2), (unknown.0, unknown.1, unknown.2));
        assert!(known.3.abs_diff(unknown.3) < Duration::from_millis(250), "{:?} {:?}", known.3, unknown.3);
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
