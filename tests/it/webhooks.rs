//! Webhooks: who sets one, what it is sent, and what becomes of it when nobody takes it.

use std::time::Duration;

use harness::{Database, PASSWORD, Person, Receiver, Value, World, json};

async fn world(database: Database) -> World {
    World::on(database).with("TALON_EGRESS_ALLOW", "127.0.0.0/8").start().await
}

/// The same on both databases, with receivers of this machine's allowed.
macro_rules! each {
    (async fn $name:ident($w:ident: World) $body:block) => {
        mod $name {
            use super::*;
            async fn test($w: World) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                test(world(Database::Sqlite).await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                test(world(Database::Postgres).await).await;
            }
        }
    };
}

async fn hook(ada: &Person<'_>, url: &str, events: Value) -> (String, String) {
    let made = ada.post("/v1/webhooks", &json!({"url": url, "events": events})).expect(201, "whsec_").await;
    (made["id"].as_str().unwrap().to_owned(), made["secret"].as_str().unwrap().to_owned())
}

each! {
    async fn what_is_asked_for_comes_in_order_and_signed(w: World) {
        let (ada, to, all) = (w.owner("ada").await, Receiver::start().await, Receiver::start().await);
        let (id, secret) = hook(&ada, &to.url, json!(["secret.*"])).await;
        let (_, other) = hook(&ada, &all.url, json!(["*"])).await;
        let vault = ada.vault("main").await;
        for n in 0..5 {
            vault.put(&format!("p/{n}"), "generic", "hunter2-value").await;
        }
        ada.get(&vault.path("p/1")).expect(200, "hunter2").await;
        let seen = to.until(6).await;
        let actions: Vec<&str> = seen.iter().map(|d| d.action()).collect();
        assert_eq!(actions, ["secret.write", "secret.write", "secret.write", "secret.write", "secret.write", "secret.read"]);
        for delivery in &seen {
            assert!(delivery.is_signed_by(&secret) && !delivery.is_signed_by(&other));
            assert_eq!(delivery.headers["webhook-id"], delivery.body["id"].as_str().unwrap());
            assert_eq!(delivery.headers["content-type"], "application/json");
            assert!(!delivery.text.contains("hunter2"));
        }
        // As the trail shows it.
        let shown = ada.get("/v1/audit/events?action=secret.read").expect(200, "").await["events"][0].clone();
        assert_eq!(seen[5].body, shown);
        let every = all.until(8).await;
        let sequences: Vec<i64> = every.iter().map(|d| d.body["sequence"].as_i64().unwrap()).collect();
        assert!(sequences.windows(2).all(|two| two[1] == two[0] + 1), "{sequences:?}");

        let shown = ada.get(&format!("/v1/webhooks/{id}")).expect(200, "last_delivered_at").await;
        assert!(shown.get("secret").is_none() && shown.get("last_error").is_none(), "{shown}");
        ada.delete(&format!("/v1/webhooks/{id}")).expect(204, "").await;
        ada.get(&format!("/v1/webhooks/{id}")).expect(404, "No such webhook").await;
        vault.put("later", "generic", "v").await;
        all.until(10).await;
        assert_eq!(to.seen().len(), 6);
        for text in [&secret, &other] {
            assert!(!w.said().contains(text.as_str()));
        }
    }
}

each! {
    async fn what_fails_is_tried_again_and_nothing_is_lost(w: World) {
        let (ada, to) = (w.owner("ada").await, Receiver::start().await);
        let vault = ada.vault("main").await;
        let (id, _) = hook(&ada, &to.url, json!(["secret.write"])).await;
        to.answers(500);
        for path in ["a", "b", "c"] {
            vault.put(path, "generic", "v").await;
        }
        to.until(1).await;
        let at = format!("/v1/webhooks/{id}");
        let mut shown = json!({});
        for _ in 0..50 {
            shown = ada.get(&at).expect(200, "").await;
            if shown.get("last_error").is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(shown["last_error"].as_str().unwrap().contains("500") && shown["next_attempt_at"].is_string(), "{shown}");
        to.answers(200);
        let seen = to.until(4).await;
        let ids: Vec<&str> = seen.iter().map(|d| d.headers["webhook-id"].as_str()).collect();
        assert_eq!(ids[0], ids[1], "the same again, by the same name");
        assert!(ids[1] != ids[2] && ids[2] != ids[3]);
        let mut deliveries = json!({});
        for _ in 0..50 {
            deliveries = ada.get(&format!("{at}/deliveries")).expect(200, "deliveries").await;
            if deliveries["deliveries"][0]["outcome"] == "delivered" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!((&deliveries["deliveries"][0]["outcome"], &deliveries["deliveries"][0]["attempts"]), (&json!("delivered"), &json!(1)), "{deliveries}");
        assert_eq!(deliveries["deliveries"].as_array().unwrap().len(), 1, "what arrives at once leaves no row");
    }
}

each! {
    async fn redirects_are_not_followed_and_who_is_gone_is_left_alone(w: World) {
        let (ada, to) = (w.owner("ada").await, Receiver::start().await);
        let (id, secret) = hook(&ada, &to.url, json!(["*"])).await;
        let (at, test) = (format!("/v1/webhooks/{id}"), format!("/v1/webhooks/{id}/test"));
        let off = ada.patch(&at, &json!({"active": false})).expect(200, "").await;
        assert_eq!(off["active"], false);
        let before = to.seen().len();
        let tested = ada.post(&test, &json!({})).expect(200, "").await;
        assert_eq!((&tested["delivered"], &tested["status"]), (&json!(true), &json!(200)));
        let last = to.seen().pop().unwrap();
        assert!(last.is_signed_by(&secret) && last.action() == "webhook.test");
        assert_eq!(to.seen().len(), before + 1, "one that is off is sent the test alone");
        to.answers(307);
        let tested = ada.post(&test, &json!({})).expect(200, "307").await;
        assert_eq!((&tested["delivered"], to.seen().len()), (&json!(false), before + 2));

        // 410: it wants no more. That is an event of its own.
        to.answers(410);
        ada.patch(&at, &json!({"active": true, "events": ["vault.create"]})).expect(200, "").await;
        ada.vault("main").await;
        for _ in 0..100 {
            if ada.get(&at).expect(200, "").await["active"] == false {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let shown = ada.get(&at).expect(200, "").await;
        assert!(shown["active"] == false && shown["last_error"].as_str().unwrap().contains("410"), "{shown}");
        let disabled = ada.get("/v1/audit/events?action=webhook.disable").expect(200, "").await;
        assert_eq!((&disabled["count"], &disabled["events"][0]["resource_id"]), (&json!(1), &json!(id)));
    }
}

each! {
    async fn what_has_failed_for_too_long_is_given_up(w: World) {
        let (ada, to) = (w.owner("ada").await, Receiver::start().await);
        let vault = ada.vault("main").await;
        let (id, _) = hook(&ada, &to.url, json!(["secret.write"])).await;
        to.answers(503);
        vault.put("a", "generic", "v").await;
        vault.put("b", "generic", "v").await;
        to.until(1).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        // The event has failed for three days: the next one is tried.
        w.sql("UPDATE webhooks SET event_failing_since = 1, due_at = 0").await;
        let seen = to.until(3).await;
        assert!(seen[0].body["id"] == seen[1].body["id"] && seen[1].body["id"] != seen[2].body["id"]);
        let deliveries = ada.get(&format!("/v1/webhooks/{id}/deliveries")).expect(200, "given_up").await;
        assert_eq!(deliveries["deliveries"][1]["outcome"], "given_up", "{deliveries}");
        // Nothing was taken for a week: it is switched off.
        tokio::time::sleep(Duration::from_secs(1)).await;
        w.sql("UPDATE webhooks SET failing_since = 1, due_at = 0").await;
        to.until(4).await;
        for _ in 0..50 {
            if ada.get(&format!("/v1/webhooks/{id}")).expect(200, "").await["active"] == false {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("it is not switched off");
    }
}

each! {
    async fn of_two_gateways_one_delivers(w: World) {
        let (ada, to) = (w.owner("ada").await, Receiver::start().await);
        let _beside = w.beside().await;
        let vault = ada.vault("main").await;
        hook(&ada, &to.url, json!(["secret.write"])).await;
        to.delays(Duration::from_millis(50));
        let paths: Vec<String> = (0..30).map(|n| format!("p/{n}")).collect();
        futures::future::join_all(paths.iter().map(|path| vault.put(path, "generic", "v"))).await;
        to.until(30).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let seen = to.seen();
        let mut sequences: Vec<i64> = seen.iter().map(|d| d.body["sequence"].as_i64().unwrap()).collect();
        assert_eq!(sequences.len(), 30, "each once");
        let sent = sequences.clone();
        sequences.sort_unstable();
        assert_eq!(sent, sequences, "in order");
    }
}

each! {
    async fn only_owners_and_admins_in_person_lead_events_out(w: World) {
        let (ada, eve, to) = (w.owner("ada").await, w.owner("eve").await, Receiver::start().await);
        let (id, _) = hook(&ada, &to.url, json!(["*"])).await;
        let at = format!("/v1/webhooks/{id}");
        let bot = ada.agent("bot").make().await;
        let key = ada.post("/v1/auth/api-keys", &json!({"name": "k"})).expect(201, "1ck_").await;
        let key = key["api_key"].as_str().unwrap();
        let new = json!({"url": to.url, "events": ["*"]});
        for (token, status) in [(&bot.token, 403), (&key.to_owned(), 403)] {
            let call = |method: reqwest::Method, path: &str| w.call(method, path, Some(token)).json(&new);
            call(reqwest::Method::POST, "/v1/webhooks").expect(status, "").await;
            call(reqwest::Method::PATCH, &at).expect(status, "").await;
        }
        for path in [at.clone(), "/v1/webhooks".into(), format!("{at}/deliveries")] {
            bot.get(&path).expect(403, "").await;
        }
        bot.post(&format!("{at}/test"), &json!({})).expect(403, "").await;
        bot.delete(&at).expect(403, "").await;
        eve.get(&at).expect(404, "No such webhook").await;
        eve.patch(&at, &json!({"active": false})).expect(404, "No such webhook").await;
        eve.post(&format!("{at}/test"), &json!({})).expect(404, "No such webhook").await;
        eve.delete(&at).expect(404, "No such webhook").await;
        assert_eq!(eve.get("/v1/webhooks").expect(200, "").await["webhooks"], json!([]));

        let add = |url: &str, events: Value| ada.post("/v1/webhooks", &json!({"url": url, "events": events}));
        for (url, rule) in [
            ("http://10.0.0.1/", "private network"), ("https://169.254.169.254/", "private network"),
            ("https://u:p@example.org/", "no user"), ("ftp://example.org", "https"), ("x", "must be an address"),
        ] {
            add(url, json!(["*"])).expect(400, rule).await;
        }
        for events in [json!([]), json!(["Secret.read"]), json!(["*.read"]), json!("*"), json!(vec!["*"; 51])] {
            add(&to.url, events).expect(400, "").await;
        }
        ada.post("/v1/webhooks", &json!({"url": to.url, "events": ["*"], "secret": "mine"})).expect(400, "must be left out").await;
        for _ in 1..10 {
            add(&to.url, json!(["org.delete"])).expect(201, "").await;
        }
        add(&to.url, json!(["*"])).expect(409, "10 webhooks").await;
        let events = ada.get("/v1/audit/events?action=webhook.create").expect(200, "").await;
        assert!(events["count"] == 10 && !events.to_string().contains("/hook"), "an address is not on the trail: {events}");
    }
}

each! {
    // Who is no owner or admin any more hears nothing more, whichever way they came to be none.
    async fn a_webhook_ends_with_the_role_of_whoever_set_it(w: World) {
        let ada = w.owner("ada").await;
        let (mut hooks, mut people, mut receivers) = (Vec::new(), Vec::new(), Vec::new());
        for name in ["demoted", "removed", "deleted", "moved", "stays"] {
            let email = format!("{name}@example.org");
            ada.post("/v1/org/invite", &json!({"email": email, "role": "admin"})).expect(200, &email).await;
            let ticket = w.ticket(&email, "You are invited").await;
            let body = json!({"email": email, "password": PASSWORD, "invitation": ticket});
            let made = w.post("/v1/auth/signup", &body).expect(200, "access_token").await;
            let person = Person::new(&w, email, made["access_token"].as_str().unwrap().to_owned());
            let to = Receiver::start().await;
            hooks.push(hook(&person, &to.url, json!(["vault.create"])).await.0);
            people.push((person.id().await, person));
            receivers.push(to);
        }
        let at = |which: usize| format!("/v1/org/members/{}", people[which].0);
        ada.patch(&at(0), &json!({"role": "member"})).expect(200, "member").await;
        ada.delete(&at(1)).expect(204, "").await;
        people[2].1.delete("/v1/auth/me").json(&json!({"confirmation": "DELETE MY ACCOUNT"})).expect(204, "").await;
        let eve = w.owner("eve").await;
        eve.post("/v1/org/invite", &json!({"email": "moved@example.org"})).expect(200, "moved").await;
        let ticket = w.ticket("moved@example.org", "You are invited").await;
        people[3].1.post("/v1/org/join", &json!({"invitation": ticket})).expect(204, "").await;
        // From admin to owner and back, they stay one who may.
        for role in ["owner", "admin"] {
            ada.patch(&at(4), &json!({"role": role})).expect(200, role).await;
        }
        ada.vault("main").await;
        receivers[4].until(1).await;
        for (which, hook) in hooks.iter().enumerate() {
            let shown = ada.get(&format!("/v1/webhooks/{hook}")).expect(200, "").await;
            assert_eq!(shown["active"], which == 4, "{shown}");
            if which < 4 {
                assert!(shown["last_error"].as_str().unwrap().contains("no owner or admin"), "{shown}");
                assert!(receivers[which].seen().is_empty());
            }
        }
        let ended = ada.get("/v1/audit/events?action=webhook.disable").expect(200, "").await;
        assert_eq!(ended["count"], 4, "{ended}");
        // Nor do they switch it on again, or set another; they are told who may.
        let login = json!({"email": "demoted@example.org", "password": PASSWORD});
        let again = w.post("/v1/auth/token", &login).expect(200, "access_token").await;
        let demoted = ada.through(again["access_token"].as_str().unwrap());
        demoted.patch(&format!("/v1/webhooks/{}", hooks[0]), &json!({"active": true})).expect(403, "Owners and admins").await;
        demoted.post("/v1/webhooks", &json!({"url": receivers[0].url, "events": ["*"]})).expect(403, "Owners and admins").await;
        // Somebody else may take it on.
        ada.patch(&format!("/v1/webhooks/{}", hooks[0]), &json!({"active": true})).expect(200, "").await;
    }
}
