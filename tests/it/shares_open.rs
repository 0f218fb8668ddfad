//! Shares, opened: exact counts, passphrases, addresses, tampering, the page.

use std::time::Duration;

use futures::future::join_all;
use harness::{both, json};
use reqwest::Method;

use crate::shares::{at, later, secret, share};

both! {
    async fn of_a_hundred_who_open_it_at_once_five_get_it(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let secret = secret(&vault, "api/token", "api_key").await;
        let id = share(&ada, &secret, json!({"recipient_type": "anyone_with_link", "max_access_count": 5})).await;
        let beside = w.beside().await;
        let path = at(&id);
        let calls = (0..100).map(|n| match n % 2 {
            0 => w.get(&path).reply(),
            _ => beside.call(Method::GET, &path, None).reply(),
        });
        let replies = join_all(calls).await;
        let count = |status| replies.iter().filter(|r| r.status == status).count();
        assert_eq!((count(200), count(410)), (5, 95));
        let outbound = ada.get("/v1/shares/outbound").expect(200, "api/token").await;
        assert_eq!(outbound["shares"][0]["access_count"], 5);
        let events = "UPDATE audit_events SET action = action WHERE action = 'share.access'";
        assert_eq!(w.sql(events).await, 5);
        w.get(&at(&id)).expect(410, "used up").await;
    }
}

both! {
    async fn a_passphrase_is_asked_for_and_guesses_slow_down(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let secret = secret(&vault, "api/token", "api_key").await;
        let terms = json!({"recipient_type": "anyone_with_link", "max_access_count": 3, "passphrase": "corréct horse"});
        let id = share(&ada, &secret, terms).await;
        let with = |phrase: &str| w.get(&at(&id)).header("x-share-passphrase", phrase);
        let told = w.get(&at(&id)).expect(403, "X-Share-Passphrase").await;
        assert_eq!(told["needs"], "passphrase");
        with("wrong horse").expect(403, "passphrase is wrong").await;
        with(&"x".repeat(600)).expect(403, "passphrase is wrong").await;
        // As a query, too; and a right one ends the count of the wrong ones.
        let opened = w.get(&format!("{}?passphrase=corr%C3%A9ct+horse", at(&id))).expect(200, "hunter2").await;
        assert_eq!(opened["access_count"], 1, "wrong ones cost no access");
        with("corréct horse").expect(200, "hunter2").await;
        // From the fifth on each is followed by a delay, which doubles: 1 s, 2 s, 4 s, 8 s.
        let mut replies = Vec::new();
        for _ in 0..9 {
            let reply = with("wrong horse").reply().await;
            let slowed = reply.status == 429;
            replies.push(reply);
            if slowed {
                break;
            }
        }
        assert!(replies.len() > 5, "five wrong ones are looked at");
        let slowed = replies.pop().unwrap();
        assert!(replies.iter().all(|reply| reply.status == 403));
        let pause: u64 = slowed.headers["retry-after"].parse().unwrap();
        slowed.expect(429, "Too many wrong tries");
        tokio::time::sleep(Duration::from_millis(pause * 1000 + 300)).await;
        with("corréct horse").expect(200, "hunter2").await;
        with("corréct horse").expect(410, "used up").await;
        assert!(!w.said().contains("horse"));
        let stored = "UPDATE audit_events SET action = action WHERE details LIKE '%horse%'";
        assert_eq!(w.sql(stored).await, 0);
    }
}

both! {
    async fn guesses_at_once_are_no_more_than_one_by_one(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let secret = secret(&vault, "api/token", "api_key").await;
        let id = share(&ada, &secret, json!({"recipient_type": "anyone_with_link", "passphrase": "correct horse"})).await;
        let path = at(&id);
        let replies = join_all((0..20).map(|_| w.get(&path).header("x-share-passphrase", "wrong horse").reply())).await;
        let count = |status| replies.iter().filter(|r| r.status == status).count();
        assert!(count(403) < 10 && count(403) + count(429) == 20, "{} and {}", count(403), count(429));
    }
}

both! {
    async fn an_address_list_holds(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let secret = secret(&vault, "api/token", "api_key").await;
        let terms = |list: &[&str]| json!({"recipient_type": "anyone_with_link", "ip_allowlist": list});
        let inside = share(&ada, &secret, terms(&["127.0.0.0/8", "2001:db8::/32"])).await;
        let outside = share(&ada, &secret, terms(&["192.0.2.0/24"])).await;
        w.get(&at(&inside)).expect(200, "hunter2").await;
        w.get(&at(&outside)).header("x-forwarded-for", "192.0.2.1").expect(403, "from your address").await;
        // IP rules are for an organisation's own doors: what was shared opens on its own terms.
        let bot = ada.agent("bot").make().await;
        let id = share(&ada, &secret, json!({"recipient_type": "agent", "recipient_id": bot.id})).await;
        bot.post(&format!("/v1/shares/{id}/accept"), &json!({})).expect(204, "").await;
        let rule = json!({"rule_type": "allow", "cidr": "203.0.113.0/24", "applies_to": "agents"});
        ada.post("/v1/security/ip-rules", &rule).expect(201, "id").await;
        bot.get("/v1/agents/me").expect(403, "IP rule").await;
        bot.get(&at(&id)).expect(200, "hunter2").await;
    }
}

both! {
    async fn it_expires(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let secret = secret(&vault, "api/token", "api_key").await;
        let id = share(&ada, &secret, json!({"recipient_type": "anyone_with_link", "expires_at": later(3)})).await;
        w.get(&at(&id)).expect(200, "hunter2").await;
        tokio::time::sleep(Duration::from_millis(3100)).await;
        w.get(&at(&id)).expect(410, "expired").await;
        let outbound = ada.get("/v1/shares/outbound").expect(200, "api/token").await;
        assert_eq!(outbound["shares"][0]["is_expired"], true);
    }
}

both! {
    async fn who_writes_to_the_database_loosens_no_share(w: World) {
        let (ada, eve) = (w.owner("ada").await, w.owner("eve").await);
        let vault = ada.vault("main").await;
        let secret = secret(&vault, "api/token", "api_key").await;
        let to = json!({"recipient_type": "user", "recipient_id": ada.id().await});
        let id = share(&ada, &secret, to).await;
        // Another recipient, none at all, no passphrase, a longer life.
        let her = eve.id().await;
        w.sql(&format!("UPDATE shares SET recipient_id = '{her}', accepted_at = 1")).await;
        eve.get(&at(&id)).expect(403, "somebody else").await;
        w.sql("UPDATE shares SET recipient_type = 'anyone_with_link', recipient_id = NULL").await;
        w.get(&at(&id)).expect(401, "sign in").await;
        let locked = share(&ada, &secret, json!({"recipient_type": "anyone_with_link", "passphrase": "correct horse", "expires_at": later(3)})).await;
        w.sql(&format!("UPDATE shares SET salt = NULL, expires_at = expires_at + 1000000 WHERE id = '{locked}'")).await;
        assert_ne!(w.get(&at(&locked)).reply().await.status, 200);
        tokio::time::sleep(Duration::from_millis(3100)).await;
        w.get(&at(&locked)).expect(410, "ended").await;
    }
}

both! {
    async fn the_page_spends_nothing(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let secret = secret(&vault, "api/token", "api_key").await;
        let id = share(&ada, &secret, json!({"recipient_type": "anyone_with_link", "max_access_count": 1})).await;
        let page = format!("/share/{id}");
        for _ in 0..3 {
            let reply = w.get(&page).header("accept", "text/html").reply().await;
            assert_eq!(reply.status, 200, "{}", reply.text);
            assert!(reply.text.contains("Reveal") && !reply.text.contains("hunter2"), "{}", reply.text);
            let header = |name: &str| reply.headers[name].as_str();
            assert_eq!((header("cache-control"), header("referrer-policy")), ("no-store", "no-referrer"));
            assert!(header("content-security-policy").starts_with("default-src 'none'"));
            for path in [&page, &at(&id)] {
                w.call(Method::HEAD, path, None).reply().await;
            }
        }
        // It is the same for a share that there is not.
        assert_eq!(w.get("/share/nothing").reply().await.status, 200);
        w.get(&at(&id)).expect(200, "hunter2").await;
        w.get(&at(&id)).expect(410, "used up").await;
    }
}

both! {
    async fn the_sharer_is_told_and_not_flooded(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let secret = secret(&vault, "api/token", "api_key").await;
        let id = share(&ada, &secret, json!({"recipient_type": "anyone_with_link"})).await;
        for _ in 0..25 {
            w.get(&at(&id)).expect(200, "hunter2").await;
        }
        assert_eq!(w.sql("UPDATE shares SET told_count = told_count WHERE told_count = 20 AND access_count = 25").await, 1);
        let mail = w.mail("ada@example.org", "What you have shared was opened").await;
        assert!(mail.contains("api/token"), "{mail}");
    }
}
