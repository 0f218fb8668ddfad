//! Device log-in (RFC 8628): one answer, one token, whatever comes at once.

use std::time::Duration;

use harness::{Person, Reply, Value, World, both, json};

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:device_code";

struct Tv {
    code: String,
    user_code: String,
}

async fn tv(w: &World) -> Tv {
    let begun = w.post("/v1/auth/device/code", &json!({"client_id": "tv"})).expect(200, "/device").await;
    assert_eq!((&begun["expires_in"], &begun["interval"]), (&json!(600), &json!(5)));
    let text = |field: &str| begun[field].as_str().unwrap().to_owned();
    Tv { code: text("device_code"), user_code: text("user_code") }
}

async fn poll(w: &World, tv: &Tv) -> Value {
    let body = json!({"device_code": tv.code, "grant_type": GRANT_TYPE});
    w.post("/v1/auth/device/token", &body).expect(200, "").await
}

/// What the device is told after it has waited.
async fn poll_in_time(w: &World, tv: &Tv) -> Value {
    w.sql("UPDATE devices SET polled_at = NULL").await;
    poll(w, tv).await
}

/// A device that somebody lets in: with what it asks for its token.
pub async fn approved(by: &Person<'_>) -> Value {
    let tv = tv(by.world).await;
    answer(by, "approve", &tv).await.expect(200, "approved");
    json!({"device_code": tv.code, "grant_type": GRANT_TYPE})
}

/// The same person, through a device.
pub async fn through_a_device<'w>(by: &Person<'w>) -> Person<'w> {
    let body = approved(by).await;
    let given = by.world.post("/v1/auth/device/token", &body).expect(200, "access_token").await;
    by.through(given["access_token"].as_str().unwrap())
}

/// What the device is told that has last asked so many seconds ago.
async fn poll_after(w: &World, tv: &Tv, seconds: u64) -> Value {
    let polled_at = domain::Clock::default().now().minus(Duration::from_secs(seconds)).millis();
    assert_eq!(w.sql(&format!("UPDATE devices SET polled_at = {polled_at}")).await, 1);
    poll(w, tv).await
}

async fn answer(ada: &Person<'_>, how: &str, tv: &Tv) -> Reply {
    ada.post(&format!("/v1/auth/device/{how}"), &json!({"user_code": tv.user_code})).reply().await
}

both! {
    async fn a_device_is_let_in_for_a_day(w: World) {
        let ada = w.owner("ada").await;
        let tv = tv(&w).await;
        assert_eq!(poll(&w, &tv).await, json!({"error": "authorization_pending"}));
        assert_eq!(poll(&w, &tv).await, json!({"error": "slow_down"}));
        let path = format!("/v1/auth/device/code/{}", tv.user_code.to_lowercase().replace('-', ""));
        assert!(w.get("/device").reply().await.text.contains("Code on the device"));
        let seen = w.get(&path).expect(200, "pending").await;
        assert_eq!((&seen["client_id"], &seen["user_code"]), (&json!("tv"), &json!(tv.user_code)));
        answer(&ada, "approve", &tv).await.expect(200, "approved");
        let given = poll_in_time(&w, &tv).await;
        assert_eq!((&given["email"], &given["expires_in"], &given["token_type"]), (&json!("ada@example.org"), &json!(86400), &json!("Bearer")));
        assert_eq!(given["user_id"], json!(ada.id().await));
        let device = ada.through(given["access_token"].as_str().unwrap());
        device.get("/v1/auth/me").expect(200, "ada@example.org").await;
        device.vault("from-the-tv").await;
        // Once, and not for what must be done in person.
        assert_eq!(poll_in_time(&w, &tv).await, json!({"error": "expired_token"}));
        let other = self::tv(&w).await;
        answer(&device, "approve", &other).await.expect(403, "");
        device.post("/v1/auth/api-keys", &json!({"name": "ci"})).expect(403, "").await;
        let (id, _) = ada.api_key(&json!({"name": "ci"})).await;
        device.delete(&format!("/v1/auth/api-keys/{id}")).expect(403, "").await;
        device.post("/v1/auth/mfa/setup", &json!({})).expect(403, "").await;
        assert!(!w.said().contains(&tv.code), "the log holds a device's code");
        device.delete("/v1/auth/token").expect(204, "").await;
        device.get("/v1/auth/me").expect(401, "revoked").await;
    }
}

both! {
    /// RFC 8628 §3.5: five seconds more from then on, each time; and who waits is told so every time.
    async fn who_polls_too_often_waits_five_seconds_longer(w: World) {
        let tv = tv(&w).await;
        assert_eq!(poll(&w, &tv).await, json!({"error": "authorization_pending"}));
        for (n, (seconds, told)) in [
            (6, "authorization_pending"), (9, "authorization_pending"), (12, "authorization_pending"),
            // Ten seconds from here on,
            (1, "slow_down"), (12, "authorization_pending"), (12, "authorization_pending"),
            // fifteen,
            (6, "slow_down"), (17, "authorization_pending"),
            // twenty, twenty-five.
            (10, "slow_down"), (15, "slow_down"), (27, "authorization_pending"), (27, "authorization_pending"),
        ].into_iter().enumerate() {
            assert_eq!(poll_after(&w, &tv, seconds).await, json!({"error": told}), "poll {n}, after {seconds} s");
        }
    }
}

both! {
    async fn a_device_is_kept_out_and_the_first_answer_stays(w: World) {
        let ada = w.owner("ada").await;
        let denied = tv(&w).await;
        answer(&ada, "deny", &denied).await.expect(200, "denied");
        for how in ["approve", "deny"] {
            answer(&ada, how, &denied).await.expect(409, "answered already");
        }
        assert_eq!(poll(&w, &denied).await, json!({"error": "access_denied"}));
        let let_in = tv(&w).await;
        answer(&ada, "approve", &let_in).await.expect(200, "approved");
        answer(&ada, "deny", &let_in).await.expect(409, "answered already");
        assert!(poll(&w, &let_in).await["access_token"].is_string());

        let late = tv(&w).await;
        w.sql("UPDATE devices SET expires_at = created_at").await;
        assert_eq!(poll(&w, &late).await, json!({"error": "expired_token"}));
        answer(&ada, "approve", &late).await.expect(404, "device code");
        let made_up = Tv { code: "device_nobodys".into(), user_code: "AAAA-AAAA".into() };
        assert_eq!(poll(&w, &made_up).await, json!({"error": "expired_token"}));
        answer(&ada, "approve", &made_up).await.expect(404, "device code");
        let body = json!({"device_code": made_up.code, "grant_type": "password"});
        w.post("/v1/auth/device/token", &body).expect(400, "grant_type").await;
    }
}

both! {
    async fn of_answers_and_polls_at_once_one_counts_and_one_token_comes(w: World) {
        let ada = w.owner("ada").await;
        for _ in 0..3 {
            let tv = tv(&w).await;
            let answers = ["approve", "deny", "approve", "deny"].map(|how| answer(&ada, how, &tv));
            let polls = (0..10).map(|_| poll(&w, &tv));
            let (answers, polls) = tokio::join!(futures::future::join_all(answers), futures::future::join_all(polls));
            let counted: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
            assert_eq!(counted.len(), 1, "{:?}", answers.iter().map(|a| &a.text).collect::<Vec<_>>());
            let later = futures::future::join_all((0..10).map(|_| poll(&w, &tv))).await;
            let tokens = polls.iter().chain(&later).filter(|told| told["access_token"].is_string()).count();
            let denied = polls.iter().chain(&later).any(|told| told["error"] == "access_denied");
            let approved = counted[0].text.contains("approved");
            assert_eq!((tokens, denied), if approved { (1, false) } else { (0, true) });
        }
    }
}

both! {
    async fn codes_are_not_guessed(w: World) {
        let ada = w.owner("ada").await;
        let tv = tv(&w).await;
        let mut statuses = Vec::new();
        for n in 0..31 {
            statuses.push(w.get(&format!("/v1/auth/device/code/AAAA-AA{n:02}")).reply().await.status);
        }
        assert_eq!((statuses[0], statuses[29], statuses[30]), (404, 404, 429));
        w.get(&format!("/v1/auth/device/code/{}", tv.user_code)).expect(429, "").await;
        for n in 0..30 {
            ada.post("/v1/auth/device/approve", &json!({"user_code": format!("BBBB-BB{n:02}")})).expect(404, "").await;
        }
        answer(&ada, "approve", &tv).await.expect(429, "");
        answer(&w.owner("eve").await, "deny", &tv).await.expect(200, "denied");
    }
}

both! {
    async fn only_its_person_lets_a_device_in(w: World) {
        let ada = w.owner("ada").await;
        let tv = tv(&w).await;
        let bot = ada.agent("bot").make().await;
        let (_, key) = ada.api_key(&json!({"name": "ci"})).await;
        for path in ["/v1/auth/device/approve", "/v1/auth/device/deny"] {
            let body = json!({"user_code": tv.user_code});
            bot.post(path, &body).expect(403, "for people").await;
            ada.through(&key).post(path, &body).expect(403, "API key").await;
            w.post(path, &body).expect(401, "needs a token").await;
        }
        answer(&ada, "approve", &tv).await.expect(200, "approved");
        // A grant put under another's name gives nobody a token.
        let eve = w.owner("eve").await;
        w.sql(&format!("UPDATE devices SET user_id = '{}'", eve.id().await)).await;
        let body = json!({"device_code": tv.code, "grant_type": GRANT_TYPE});
        w.post("/v1/auth/device/token", &body).expect(403, "operator").await;
    }
}
