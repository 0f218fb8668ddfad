//! The second factor over REST: switched on, asked for at login, good once, not to be got around.

use harness::{Authenticator, PASSWORD, Person, Value, World, both, json};
use reqwest::Method;

/// Switches a second factor on with the code of the step before: two more codes are left. App and recovery codes.
pub async fn enable(ada: &Person<'_>) -> (Authenticator, Vec<String>) {
    let setup = ada.post("/v1/auth/mfa/setup", &json!({})).expect(200, "otpauth://totp/Talon:").await;
    let secret = setup["secret"].as_str().unwrap();
    assert!(setup["otpauth_uri"].as_str().unwrap().contains(&format!("?secret={secret}&issuer=Talon")));
    let app = Authenticator::new(secret);
    let code = json!({"code": app.code(-1).await});
    let enabled = ada.post("/v1/auth/mfa/verify-setup", &code).expect(200, "recovery_codes").await;
    let codes = enabled["recovery_codes"].as_array().unwrap().iter();
    (app, codes.map(|code| code.as_str().unwrap().to_owned()).collect())
}

async fn log_in(w: &World, email: &str) -> Value {
    w.post("/v1/auth/token", &json!({"email": email, "password": PASSWORD})).expect(200, "access_token").await
}

/// The first half; its token.
pub async fn first_half(w: &World, email: &str) -> String {
    let answer = log_in(w, email).await;
    assert_eq!((&answer["access_token"], &answer["mfa_required"]), (&json!(""), &json!(true)), "{answer}");
    assert_eq!(answer["expires_in"], 300);
    answer["mfa_token"].as_str().unwrap().to_owned()
}

fn shown(token: &str, code: &str) -> Value {
    json!({"mfa_token": token, "code": code})
}

both! {
    async fn switched_on_asked_for_and_switched_off(w: World) {
        let ada = w.owner("ada").await;
        ada.get("/v1/auth/mfa/status").expect(200, "false").await;
        assert_eq!(log_in(&w, &ada.email).await["mfa_required"], false);
        ada.post("/v1/auth/mfa/verify-setup", &json!({"code": "123456"})).expect(400, "begin with").await;
        let (app, recovery) = enable(&ada).await;
        assert_eq!(recovery.len(), 8);
        ada.get("/v1/auth/mfa/status").expect(200, "true").await;
        ada.get("/v1/auth/me").expect(200, "\"totp_enabled\":true").await;
        ada.post("/v1/auth/mfa/setup", &json!({})).expect(409, "is on").await;

        let token = first_half(&w, &ada.email).await;
        let answer = w.post("/v1/auth/mfa/verify", &shown(&token, &app.code(0).await)).expect(200, "Bearer").await;
        assert_eq!(answer["expires_in"], 900);
        let back = ada.through(answer["access_token"].as_str().unwrap());
        back.get("/v1/auth/me").expect(200, "ada@example.org").await;
        w.restart().await;
        let token = first_half(&w, &ada.email).await;
        w.post("/v1/auth/mfa/verify", &shown(&token, &recovery[0].to_lowercase())).expect(200, "Bearer").await;

        let off = |body: Value| back.call(Method::DELETE, "/v1/auth/mfa").json(&body);
        off(json!({})).expect(400, "code or password").await;
        off(json!({"password": "Wrong-Horse-42!x"})).expect(400, "password is wrong").await;
        off(json!({"code": recovery[0]})).expect(400, "was used").await;
        off(json!({"password": PASSWORD})).expect(204, "").await;
        off(json!({"password": PASSWORD})).expect(400, "is off").await;
        back.get("/v1/auth/mfa/status").expect(200, "false").await;
        assert_eq!(log_in(&w, &ada.email).await["mfa_required"], false);
        let mut actions = actions(&w).await;
        for _ in 0..100 {
            if actions.iter().any(|action| action == "auth.failure") {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            actions = self::actions(&w).await;
        }
        for action in ["mfa.setup", "mfa.enable", "mfa.disable", "auth.challenge", "auth.failure"] {
            assert!(actions.iter().any(|a| a == action), "{action} is not in {actions:?}");
        }
    }
}

async fn actions(w: &World) -> Vec<String> {
    use sqlx::Row as _;
    let rows = sqlx::query("SELECT action FROM audit_events").fetch_all(&w.database().await).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>("action")).collect()
}

both! {
    async fn a_code_and_a_token_are_good_once_and_an_mfa_token_opens_nothing(w: World) {
        let ada = w.owner("ada").await;
        let (app, recovery) = enable(&ada).await;
        let (first, second) = (first_half(&w, &ada.email).await, first_half(&w, &ada.email).await);
        for (method, path) in [(Method::GET, "/v1/auth/me"), (Method::GET, "/v1/vaults"), (Method::DELETE, "/v1/auth/token")] {
            w.call(method, path, Some(&first)).expect(401, "not valid").await;
        }
        // Nor is any other token one of these.
        for other in [ada.token.as_str(), "x.y.z", ""] {
            w.post("/v1/auth/mfa/verify", &shown(other, &recovery[0])).expect(401, "login has expired").await;
        }
        let code = app.code(0).await;
        let at_once = [&first, &second].map(|token| w.post("/v1/auth/mfa/verify", &shown(token, &code)).reply());
        let [a, b] = at_once;
        let (a, b) = tokio::join!(a, b);
        assert_eq!([a.status, b.status].iter().filter(|status| **status == 200).count(), 1, "{} {}", a.text, b.text);
        let left = if a.status == 200 { &second } else { &first };
        let dead = if a.status == 200 { &first } else { &second };
        w.post("/v1/auth/mfa/verify", &shown(dead, &recovery[0])).expect(401, "").await;
        w.post("/v1/auth/mfa/verify", &shown(left, &recovery[0])).expect(200, "Bearer").await;
        let third = first_half(&w, &ada.email).await;
        for used in [&code, &recovery[0]] {
            w.post("/v1/auth/mfa/verify", &shown(&third, used)).expect(401, "was used").await;
        }
        for secret in [first.as_str(), &code, &recovery[0], &recovery[1]] {
            assert!(!w.said().contains(secret), "the log holds {secret}");
        }
    }
}

both! {
    async fn wrong_codes_lock_it_for_a_while(w: World) {
        let ada = w.owner("ada").await;
        let (_, recovery) = enable(&ada).await;
        // With a session they are counted apart: whoever has stolen one locks nobody out of logging in.
        let disable = || ada.call(Method::DELETE, "/v1/auth/mfa").json(&json!({"code": "not-it"}));
        for _ in 0..5 {
            disable().expect(400, "wrong").await;
        }
        disable().expect(429, "Too many wrong guesses").await;
        let token = first_half(&w, &ada.email).await;
        w.post("/v1/auth/mfa/verify", &shown(&token, &recovery[1])).expect(200, "access_token").await;
        let token = first_half(&w, &ada.email).await;
        let wrong = shown(&token, "not-it");
        let guesses = futures::future::join_all((0..12).map(|_| w.post("/v1/auth/mfa/verify", &wrong).reply())).await;
        assert_eq!(guesses.iter().filter(|guess| guess.status == 401).count(), 5);
        let locked = w.post("/v1/auth/mfa/verify", &shown(&token, &recovery[0])).reply().await;
        let wait: u64 = locked.headers["retry-after"].parse().unwrap();
        assert!((600..=900).contains(&wait), "{wait}");
        let told = locked.expect(429, "Too many wrong guesses. Try again in 1");
        assert!(told["detail"].as_str().unwrap().ends_with(" minutes."), "{told}");
        ada.call(Method::DELETE, "/v1/auth/mfa").json(&json!({"code": recovery[0]})).expect(429, "").await;
        // The password is another guess, and who has it and a session may switch it off.
        ada.call(Method::DELETE, "/v1/auth/mfa").json(&json!({"password": PASSWORD})).expect(204, "").await;
    }
}

both! {
    async fn of_those_who_switch_it_off_at_once_one_does_and_others_are_told(w: World) {
        let ada = w.owner("ada").await;
        enable(&ada).await;
        let off = || ada.call(Method::DELETE, "/v1/auth/mfa").json(&json!({"password": PASSWORD})).reply();
        let replies = futures::future::join_all((0..4).map(|_| off())).await;
        let (done, late): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == 204);
        assert_eq!(done.len(), 1, "{:?}", late.iter().map(|reply| &reply.text).collect::<Vec<_>>());
        for reply in late {
            // Nothing was wrong with it; who comes after all is done is told so.
            let after = reply.status == 400 && reply.text.contains("is off");
            assert!(after || reply.status == 409, "{} {}", reply.status, reply.text);
        }
    }
}

both! {
    /// A stolen session guesses no better, and hashes no more.
    async fn the_password_is_guessed_at_as_at_a_log_in(w: World) {
        let ada = w.owner("ada").await;
        enable(&ada).await;
        let off = |password: &str| ada.call(Method::DELETE, "/v1/auth/mfa").json(&json!({"password": password}));
        off(&"x".repeat(5000)).expect(400, "password is wrong").await;
        for _ in 0..5 {
            off("Wrong-Horse-42!x").expect(400, "password is wrong").await;
        }
        // A minute more, so that a slow machine does not sit it out.
        w.sql("UPDATE throttles SET blocked_until = blocked_until + 60000, forget_at = forget_at + 60000").await;
        off(PASSWORD).expect(429, "Too many wrong tries").await;
        w.post("/v1/auth/token", &json!({"email": ada.email, "password": PASSWORD})).expect(429, "Too many wrong tries").await;
    }
}

both! {
    async fn only_people_in_person_change_it(w: World) {
        let ada = w.owner("ada").await;
        let bot = ada.agent("bot").make().await;
        let (_, key) = ada.api_key(&json!({"name": "ci"})).await;
        for (method, path) in [
            (Method::POST, "/v1/auth/mfa/setup"), (Method::POST, "/v1/auth/mfa/verify-setup"), (Method::DELETE, "/v1/auth/mfa"),
        ] {
            let body = json!({"code": "123456"});
            bot.call(method.clone(), path).json(&body).expect(403, "for people").await;
            ada.through(&key).call(method, path).json(&body).expect(403, "API key").await;
        }
        bot.get("/v1/auth/mfa/status").expect(403, "for people").await;
        ada.through(&key).get("/v1/auth/mfa/status").expect(200, "false").await;
    }
}

both! {
    /// Whoever writes to the database neither switches it off nor puts another in its place.
    async fn a_database_without_it_lets_nobody_in(w: World) {
        let (ada, eve) = (w.owner("ada").await, w.owner("eve").await);
        enable(&ada).await;
        let (_, theirs) = enable(&eve).await;
        w.sql("DELETE FROM second_factors WHERE user_id = (SELECT id FROM users WHERE email = 'ada@example.org')").await;
        let token = first_half(&w, &ada.email).await;
        w.post("/v1/auth/mfa/verify", &shown(&token, &theirs[0])).expect(401, "").await;
        w.sql("INSERT INTO second_factors (user_id, factor) SELECT a.id, f.factor FROM users a, second_factors f \
               JOIN users e ON e.id = f.user_id WHERE a.email = 'ada@example.org' AND e.email = 'eve@example.org'").await;
        w.post("/v1/auth/mfa/verify", &shown(&token, &theirs[0])).expect(403, "operator").await;
    }
}
