//! Signing in with Google, at an issuer of this test's own: who gets in, and who must not.

use std::time::{Duration, Instant};

use harness::{Database, GOOGLE_CLIENT, Issuer, PASSWORD, SigningKey, Value, World, both, json, now, token};
use reqwest::Method;

/// What Talon answers to a token of Google's.
async fn sign_in(w: &World, id_token: &str) -> harness::Reply {
    w.post("/v1/auth/google", &json!({"id_token": id_token})).reply().await
}

async fn profile(w: &World, answer: &Value) -> Value {
    let token = answer["access_token"].as_str().unwrap();
    w.call(Method::GET, "/v1/auth/me", Some(token)).expect(200, "email").await
}

both! {
    with issuer,
    async fn who_is_new_signs_up_and_who_is_known_logs_in(w: World, issuer: Issuer) {
        let claims = issuer.claims("1001", "Grace@Example.org");
        let first = sign_in(&w, &issuer.rsa.sign(&claims)).await.expect(200, "access_token");
        assert_eq!((&first["token_type"], &first["expires_in"]), (&json!("Bearer"), &json!(900)));
        let me = profile(&w, &first).await;
        assert_eq!((&me["email"], &me["display_name"]), (&json!("grace@example.org"), &json!("Grace H.")));
        assert_eq!((&me["auth_method"], &me["email_verified"], &me["role"]), (&json!("google"), &json!(true), &json!("owner")));
        // With the other kind of key, and after the person's address at Google has changed.
        let again = sign_in(&w, &issuer.curve.sign(&issuer.claims("1001", "hopper@example.org"))).await.expect(200, "access_token");
        assert_eq!(profile(&w, &again).await, me);
        assert_eq!(issuer.asked(), 1, "the keys are kept");
        // It is a token like any other, and says that it rests on somebody's word.
        let claims = first["access_token"].as_str().unwrap().split('.').nth(1).unwrap();
        use base64::Engine as _;
        let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims["asserted"], true);
        let grace = harness::Person::new(&w, String::new(), again["access_token"].as_str().unwrap().to_owned());
        grace.vault("hers").await.put("a", "generic", "v").await;
        // A password does not open it.
        let login = json!({"email": "grace@example.org", "password": PASSWORD});
        w.post("/v1/auth/token", &login).expect(401, "Wrong email or password").await;
        let events: Vec<(String, String)> = sqlx::query_as("SELECT action, details FROM audit_events WHERE details LIKE '%google%' ORDER BY sequence")
            .fetch_all(&w.database().await).await.unwrap();
        let events: Vec<_> = events.iter().map(|(action, _)| action.as_str()).collect();
        assert_eq!(events, ["user.signup", "auth.success", "auth.success"]);
    }
}

both! {
    with issuer,
    async fn of_first_sign_ins_at_once_one_makes_the_account(w: World, issuer: Issuer) {
        let id_token = issuer.curve.sign(&issuer.claims("1", "grace@example.org"));
        let answers = futures::future::join_all((0..8).map(|_| sign_in(&w, &id_token))).await;
        let mut ids = std::collections::HashSet::new();
        for answer in answers {
            ids.insert(profile(&w, &answer.expect(200, "access_token")).await["id"].to_string());
        }
        assert_eq!((ids.len(), issuer.asked()), (1, 1));
    }
}

both! {
    with issuer,
    async fn no_token_but_googles_own_for_us_gets_in(w: World, issuer: Issuer) {
        let good = issuer.claims("1", "grace@example.org");
        let with = |claim: &str, value: Value| {
            let mut claims = good.clone();
            claims[claim] = value;
            issuer.rsa.sign(&claims)
        };
        let header = |alg: &str, kid: &str| json!({"alg": alg, "typ": "JWT", "kid": kid});
        let (rsa, curve) = (&issuer.rsa, &issuer.curve);
        let whole = rsa.sign(&good);
        let (signed, signature) = whole.rsplit_once('.').unwrap();
        let other_payload = with("email", json!("eve@example.org"));
        let tampered = format!("{}.{signature}", other_payload.rsplit_once('.').unwrap().0);
        let mac = |key: &[u8]| {
            let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key);
            token(&header("HS256", "rsa-1"), &good, |m| aws_lc_rs::hmac::sign(&key, m).as_ref().to_vec())
        };
        let jwk = rsa.jwk();
        let stranger = SigningKey::rsa("rsa-1");
        let mut own_key = header("RS256", "evil");
        own_key["jwk"] = SigningKey::rsa("evil").jwk();
        own_key["jku"] = json!(format!("{}/keys", issuer.url));
        let mut critical = header("RS256", "rsa-1");
        critical["crit"] = json!(["exp"]);
        for (what, id_token) in [
            ("another audience", with("aud", json!("other.apps.example.com"))),
            ("several audiences", with("aud", json!([GOOGLE_CLIENT, "other"]))),
            ("no audience", with("aud", Value::Null)),
            ("another client", with("azp", json!("other.apps.example.com"))),
            ("another issuer", with("iss", json!("https://accounts.google.com"))),
            ("expired", with("exp", json!(now() - 61))),
            ("never expires", with("exp", Value::Null)),
            ("from the future", with("iat", json!(now() + 120))),
            ("not yet good", with("nbf", json!(now() + 120))),
            ("an email that is not verified", with("email_verified", json!(false))),
            ("an email said to be verified", with("email_verified", json!("true"))),
            ("an email of which nothing is said", with("email_verified", Value::Null)),
            ("no email", with("email", Value::Null)),
            ("nobody", with("sub", Value::Null)),
            ("nobody, too", with("sub", json!(""))),
            ("alg none", token(&header("none", "rsa-1"), &good, |_| Vec::new())),
            ("alg none with a signature", rsa.sign_as(&header("none", "rsa-1"), &good)),
            ("no signature", format!("{signed}.")),
            ("a MAC with the public key", mac(&rsa.public_bytes())),
            ("a MAC with the modulus", mac(jwk["n"].as_str().unwrap().as_bytes())),
            ("a MAC with the key set's entry", mac(jwk.to_string().as_bytes())),
            ("an unknown key", rsa.sign_as(&header("RS256", "rsa-9"), &good)),
            ("no key named", rsa.sign_as(&json!({"alg": "RS256"}), &good)),
            ("a key of another kind", rsa.sign_as(&header("RS256", "curve-1"), &good)),
            ("a key of another kind, the other way round", curve.sign_as(&header("ES256", "rsa-1"), &good)),
            ("the wrong algorithm for the signature", rsa.sign_as(&header("RS512", "rsa-1"), &good)),
            ("an algorithm that we do not take", rsa.sign_as(&header("PS256", "rsa-1"), &good)),
            ("a stranger's key by a known name", stranger.sign(&good)),
            ("a key of its own", stranger.sign_as(&own_key, &good)),
            ("a demand that we do not know", rsa.sign_as(&critical, &good)),
            ("tampered with", tampered),
            ("cut off", whole[..whole.len() - 4].to_owned()),
            ("nonsense", "x.y.z".to_owned()),
            ("nothing", String::new()),
            ("one of Talon's own", w.owner("eve").await.token),
        ] {
            let reply = sign_in(&w, &id_token).await;
            assert_eq!(reply.status, 401, "{what}: {}", reply.text);
            assert!(id_token.is_empty() || !w.said().contains(&id_token), "{what}: the token is in the log");
            let problem = reply.expect(401, "not valid here");
            assert_eq!(problem["detail"], "Google's token is not valid here, or has expired. Sign in with Google again.", "{what}");
        }
        assert_eq!(w.sql("UPDATE users SET email = email WHERE auth_method = 'google'").await, 0, "somebody was made");
        sign_in(&w, &whole).await.expect(200, "access_token");
        // And within the minute of leeway.
        sign_in(&w, &with("exp", json!(now() - 50))).await.expect(200, "access_token");
        assert_eq!(issuer.asked(), 1, "unknown keys make nobody ask again and again");
    }
}

both! {
    with issuer,
    async fn an_account_with_a_password_is_never_joined(w: World, issuer: Issuer) {
        let ada = w.owner("ada").await;
        let id_token = issuer.rsa.sign(&issuer.claims("1", "ADA@example.org"));
        for _ in 0..2 {
            sign_in(&w, &id_token).await.expect(409, "has an account already");
        }
        // Nor one of another Google account with the same address.
        sign_in(&w, &issuer.rsa.sign(&issuer.claims("7", "grace@example.org"))).await.expect(200, "access_token");
        sign_in(&w, &issuer.rsa.sign(&issuer.claims("8", "grace@example.org"))).await.expect(409, "has an account already");
        // Nor is one with Google's address open to a password.
        let signup = json!({"email": "grace@example.org", "password": PASSWORD});
        w.post("/v1/auth/signup", &signup).expect(409, "has an account").await;
        ada.get("/v1/auth/me").expect(200, r#""auth_method":"password""#).await;
    }
}

both! {
    with issuer,
    async fn who_writes_to_the_database_takes_over_nobody(w: World, issuer: Issuer) {
        sign_in(&w, &issuer.rsa.sign(&issuer.claims("1", "grace@example.org"))).await.expect(200, "access_token");
        w.owner("ada").await;
        for victim in ["grace@example.org", "ada@example.org"] {
            // Eve's identity is made to lead to the victim.
            w.sql(&format!("INSERT INTO outside_logins (issuer, subject, user_id) SELECT '{}', 'eve-{victim}', id FROM users \
                WHERE email = '{victim}'", issuer.url)).await;
            let eve = issuer.rsa.sign(&issuer.claims(&format!("eve-{victim}"), "eve@example.org"));
            sign_in(&w, &eve).await.expect(401, "");
        }
        // Each victim's organisation is told.
        let told = "SELECT u.email FROM audit_events e JOIN users u ON u.id = e.resource_id AND u.org_id = e.org_id \
                    WHERE e.action = 'auth.failure' AND e.details LIKE '%google%' ORDER BY u.email";
        let (pool, begun) = (w.database().await, Instant::now());
        loop {
            let emails: Vec<String> = sqlx::query_scalar(told).fetch_all(&pool).await.unwrap();
            if emails == ["ada@example.org", "grace@example.org"] {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(15), "{emails:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// The code of this moment (RFC 6238: SHA-1, six digits, 30 seconds) for a seed in base32.
fn code(seed: &str) -> String {
    let bits: String = seed
        .chars()
        .map(|c| format!("{:05b}", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".find(c).unwrap()))
        .collect();
    let bytes = bits
        .as_bytes()
        .chunks_exact(8)
        .map(|b| u8::from_str_radix(std::str::from_utf8(b).unwrap(), 2).unwrap());
    let key =
        aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &bytes.collect::<Vec<_>>());
    let mac = aws_lc_rs::hmac::sign(&key, &(now() / 30).to_be_bytes());
    let at = usize::from(mac.as_ref()[19] & 15);
    let word = u32::from_be_bytes(mac.as_ref()[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", word % 1_000_000)
}

both! {
    with issuer,
    async fn a_second_factor_is_asked_for_after_google(w: World, issuer: Issuer) {
        let id_token = || issuer.rsa.sign(&issuer.claims("1", "grace@example.org"));
        let first = sign_in(&w, &id_token()).await.expect(200, "access_token");
        let grace = harness::Person::new(&w, String::new(), first["access_token"].as_str().unwrap().to_owned());
        let seed = grace.post("/v1/auth/mfa/setup", &json!({})).expect(200, "otpauth").await;
        let shown = json!({"code": code(seed["secret"].as_str().unwrap())});
        let enabled = grace.post("/v1/auth/mfa/verify-setup", &shown).expect(200, "recovery_codes").await;
        let half = sign_in(&w, &id_token()).await.expect(200, "mfa_token");
        assert_eq!((&half["mfa_required"], &half["access_token"], &half["expires_in"]), (&json!(true), &json!(""), &json!(300)));
        let half = half["mfa_token"].as_str().unwrap();
        w.call(Method::GET, "/v1/auth/me", Some(half)).expect(401, "").await;
        let whole = json!({"mfa_token": half, "code": enabled["recovery_codes"][0]});
        let answer = w.post("/v1/auth/mfa/verify", &whole).expect(200, "access_token").await;
        assert_eq!(profile(&w, &answer).await["totp_enabled"], true);
    }
}

both! {
    with issuer,
    async fn sign_ups_can_be_closed_and_log_ins_go_on(w: World, issuer: Issuer) {
        sign_in(&w, &issuer.rsa.sign(&issuer.claims("1", "grace@example.org"))).await.expect(200, "access_token");
        let root = w.operator().await;
        root.put("/v1/admin/settings/auth.open_signup", &json!({"value": "false"})).expect(200, "false").await;
        sign_in(&w, &issuer.rsa.sign(&issuer.claims("2", "new@example.org"))).await.expect(403, "closed it");
        sign_in(&w, &issuer.rsa.sign(&issuer.claims("1", "grace@example.org"))).await.expect(200, "access_token");
    }
}

both! {
    with issuer,
    /// Also where nobody else signs up.
    async fn who_is_invited_comes_in_with_google(w: World, issuer: Issuer) {
        let ada = w.owner("ada").await;
        let root = w.operator().await;
        root.put("/v1/admin/settings/auth.open_signup", &json!({"value": "false"})).expect(200, "false").await;
        ada.post("/v1/org/invite", &json!({"email": "grace@example.org", "role": "admin"})).expect(200, "grace").await;
        let ticket = w.ticket("grace@example.org", "You are invited").await;
        let come = async |subject: &str, email: &str, invitation: &str| {
            let body = json!({"id_token": issuer.rsa.sign(&issuer.claims(subject, email)), "invitation": invitation});
            w.post("/v1/auth/google", &body).reply().await
        };
        come("2", "eve@example.org", &ticket).await.expect(403, "another address");
        come("1", "grace@example.org", "none").await.expect(403, "taken up or taken back");
        let first = come("1", "Grace@Example.org", &ticket).await.expect(200, "access_token");
        let me = profile(&w, &first).await;
        assert_eq!((&me["email"], &me["role"], &me["auth_method"]), (&json!("grace@example.org"), &json!("admin"), &json!("google")));
        let members = ada.get("/v1/org/members").expect(200, "grace@example.org").await;
        assert_eq!(members["members"].as_array().unwrap().len(), 2, "{members}");
        let welcome = w.mail("grace@example.org", "Welcome to Talon").await;
        assert!(welcome.contains("Log in with Google") && !welcome.contains("password"), "{welcome}");
        // It is spent, and she is known now.
        come("1", "grace@example.org", &ticket).await.expect(409, "has an account already");
        come("3", "grace@example.org", &ticket).await.expect(403, "taken up or taken back");
        let again = sign_in(&w, &issuer.rsa.sign(&issuer.claims("1", "grace@example.org"))).await.expect(200, "access_token");
        assert_eq!(profile(&w, &again).await["id"], me["id"]);
    }
}

both! {
    with issuer,
    async fn sign_ups_with_google_are_counted_too(w: World, issuer: Issuer) {
        let come = async |subject: &str| {
            sign_in(&w, &issuer.rsa.sign(&issuer.claims(subject, &format!("n{subject}@example.org")))).await
        };
        w.owner("ada").await;
        let (taken,): (String,) = sqlx::query_as("SELECT taken FROM limits").fetch_one(&w.database().await).await.unwrap();
        // As if there had been 199 in the last hour.
        w.sql(&format!("UPDATE limits SET taken = '{}'", vec![taken; 199].join(","))).await;
        come("1").await.expect(200, "access_token");
        come("2").await.expect(429, "Try again in");
        // Who is known logs in.
        come("1").await.expect(200, "access_token");
    }
}

both! {
    with issuer,
    async fn while_google_is_away_nobody_new_is_believed(w: World, issuer: Issuer) {
        issuer.down(true);
        let id_token = issuer.rsa.sign(&issuer.claims("1", "grace@example.org"));
        for _ in 0..3 {
            let problem = sign_in(&w, &id_token).await.expect(503, "try again");
            assert!(!problem.to_string().contains("127.0.0.1"), "{problem}");
        }
        assert_eq!(issuer.asked(), 1, "who is away is not asked again and again");
        assert!(w.said().contains("HTTP 503"), "the log says why");
        issuer.down(false);
        // Longer than a connection may idle: one that closes just as it is used again gives no answer.
        tokio::time::sleep(std::time::Duration::from_secs(12)).await;
        sign_in(&w, &id_token).await.expect(200, "access_token");
        // With keys in hand it may be away.
        issuer.down(true);
        sign_in(&w, &id_token).await.expect(200, "access_token");
    }
}

/// Within a minute, since an unknown key is asked for no more often.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_are_rotated_are_followed() {
    let issuer = Issuer::start().await;
    let w = World::on(Database::Sqlite).all(&issuer.settings()).start().await;
    let claims = || issuer.claims("1", "grace@example.org");
    sign_in(&w, &issuer.rsa.sign(&claims())).await.expect(200, "access_token");
    let (new, evil) = (SigningKey::rsa("rsa-2"), SigningKey::rsa("rsa-3"));
    issuer.has(&[&issuer.curve, &new]);
    sign_in(&w, &new.sign(&claims())).await.expect(401, "not valid here");
    tokio::time::sleep(std::time::Duration::from_secs(61)).await;
    sign_in(&w, &evil.sign(&claims())).await.expect(401, "not valid here");
    sign_in(&w, &new.sign(&claims())).await.expect(200, "access_token");
    sign_in(&w, &issuer.rsa.sign(&claims())).await.expect(401, "not valid here");
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_settings_nobody_signs_in_with_google() {
    let issuer = Issuer::start().await;
    let w = World::on(Database::Sqlite).start().await;
    let id_token = issuer.rsa.sign(&issuer.claims("1", "grace@example.org"));
    sign_in(&w, &id_token).await.expect(404, "TALON_GOOGLE_CLIENT_ID");
    w.post("/v1/auth/google", &json!({})).expect(400, "id_token").await;
    // A key set in a network that nobody has allowed: said at the start, not at the first sign-in.
    let settings = [("TALON_GOOGLE_CLIENT_ID", "x"), ("TALON_GOOGLE_JWKS", "http://169.254.169.254/keys")];
    let folder = tempfile::tempdir().unwrap();
    let mut command = harness::talon();
    let listen = format!("127.0.0.1:{}", harness::free_port());
    command
        .current_dir(&folder)
        .env("TALON_DATA", folder.path().join("data"))
        .env("TALON_LISTEN", listen)
        .envs(settings);
    let mut talon = harness::Process::start(&mut command);
    assert!(!talon.wait(std::time::Duration::from_secs(20)).success());
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert!(talon.said().contains("TALON_GOOGLE_JWKS"), "{}", talon.said());
}
