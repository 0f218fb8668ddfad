//! Signing up, logging in, tokens: got, used, ended.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use harness::{Value, both, json, token};

both! {
    async fn a_person_signs_up_logs_in_and_reads_their_profile(w: World) {
        let ada = w.owner("ada").await;
        let me = ada.get("/v1/auth/me").expect(200, "ada@example.org").await;
        assert_eq!((&me["role"], &me["totp_enabled"], &me["auth_method"]), (&json!("owner"), &json!(false), &json!("password")));
        let login = json!({"email": " ADA@example.org ", "password": "Correct-Horse-42!x"});
        let answer = w.post("/v1/auth/token", &login).expect(200, "access_token").await;
        assert_eq!((&answer["token_type"], &answer["expires_in"]), (&json!("Bearer"), &json!(900)));
        let token = answer["access_token"].as_str().unwrap();
        w.call(reqwest::Method::GET, "/v1/auth/me", Some(token)).expect(200, "ada").await;
    }
}

both! {
    async fn bad_credentials_are_refused_alike(w: World) {
        w.owner("ada").await;
        let login = |email: &str, password: &str| json!({"email": email, "password": password});
        w.post("/v1/auth/token", &login("ada@example.org", "Wrong-Horse-42!x")).expect(401, "Wrong email or password.").await;
        w.post("/v1/auth/token", &login("eve@example.org", "Wrong-Horse-42!x")).expect(401, "Wrong email or password.").await;
        let weak = json!({"email": "eve@example.org", "password": "weak"});
        w.post("/v1/auth/signup", &weak).expect(400, "password: needs at least 12 characters").await;
        let taken = json!({"email": "Ada@example.org", "password": "Correct-Horse-42!x"});
        w.post("/v1/auth/signup", &taken).expect(409, "has an account").await;
        let odd = json!({"email": "not an email", "password": "Correct-Horse-42!x"});
        w.post("/v1/auth/signup", &odd).expect(400, "email:").await;
    }
}

both! {
    async fn tokens_that_are_not_ours_are_refused(w: World) {
        let ada = w.owner("ada").await;
        let good = &ada.token;
        let (header, rest) = good.split_once('.').unwrap();
        let (claims, signature) = rest.split_once('.').unwrap();
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let none = format!("{}.{claims}.", encode(r#"{"alg":"none","typ":"JWT"}"#));
        let hs256 = format!("{}.{claims}.{signature}", encode(r#"{"alg":"HS256","typ":"JWT"}"#));
        let other = format!("{header}.{}.{signature}", encode(r#"{"sub":"user:0"}"#));
        for bad in ["x", "a.b.c", none.as_str(), hs256.as_str(), other.as_str(), &good[..good.len() - 2]] {
            w.call(reqwest::Method::GET, "/v1/auth/me", Some(bad)).expect(401, "not valid").await;
        }
        // A MAC, with the public key that everybody has as its secret.
        let jwk = w.get("/.well-known/jwks.json").expect(200, "Ed25519").await["keys"][0].clone();
        let x = jwk["x"].as_str().unwrap();
        let public = URL_SAFE_NO_PAD.decode(x).unwrap();
        // SubjectPublicKeyInfo (RFC 8410 §4), as DER and as PEM.
        let der = [&hex::decode("302a300506032b6570032100").unwrap()[..], &public[..]].concat();
        let lines = base64::engine::general_purpose::STANDARD.encode(&der);
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n");
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        for secret in [&public[..], x.as_bytes(), jwk.to_string().as_bytes(), &der[..], pem.as_bytes()] {
            let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
            for header in [json!({"alg": "HS256", "typ": "JWT", "kid": jwk["kid"]}), json!({"alg": "HS256", "typ": "JWT"})] {
                let bad = token(&header, &claims, |m| aws_lc_rs::hmac::sign(&key, m).as_ref().to_vec());
                w.call(reqwest::Method::GET, "/v1/auth/me", Some(&bad)).expect(401, "not valid").await;
            }
        }
        w.get("/v1/auth/me").expect(401, "needs a token").await;
        w.get("/v1/auth/me").header("authorization", "Basic eDp5").expect(401, "needs a token").await;
    }
}

both! {
    async fn a_revoked_token_is_refused_and_others_live_on(w: World) {
        let ada = w.owner("ada").await;
        let bot = ada.agent("bot").make().await;
        let second = bot.fresh_token().await;
        bot.delete("/v1/auth/token").expect(204, "").await;
        bot.get("/v1/agents/me").expect(401, "revoked").await;
        w.call(reqwest::Method::GET, "/v1/agents/me", Some(&second)).expect(200, "bot").await;
        w.restart().await;
        bot.get("/v1/agents/me").expect(401, "revoked").await;
    }

    /// A key lives on, and whoever wants to end it is not told that it has.
    async fn a_key_is_not_revoked_as_a_token_is(w: World) {
        let ada = w.owner("ada").await;
        let bot = ada.agent("bot").make().await;
        let (_, key) = ada.api_key(&json!({"name": "k"})).await;
        for (key, path) in [(&bot.key, "/v1/agents/me"), (&key, "/v1/auth/me")] {
            w.call(reqwest::Method::DELETE, "/v1/auth/token", Some(key)).expect(400, "which is no token").await;
            w.call(reqwest::Method::GET, path, Some(key)).expect(200, "").await;
        }
    }
}

both! {
    async fn an_agents_key_is_exchanged_by_id_by_itself_or_used_directly(w: World) {
        let ada = w.owner("ada").await;
        let bot = ada.agent("bot").set("token_ttl_seconds", 120).make().await;
        assert!(bot.key.starts_with("ocv_") && bot.key.len() == 47, "{}", bot.key.len());
        let by_key = w.post("/v1/auth/agent-token", &json!({"api_key": bot.key})).expect(200, "access_token").await;
        assert_eq!(by_key["expires_in"], 120);
        w.call(reqwest::Method::GET, "/v1/agents/me", Some(&bot.key)).expect(200, "bot").await;
        let wrong = format!("{}{}", &bot.key[..46], if bot.key.ends_with('A') { "B" } else { "A" });
        w.post("/v1/auth/agent-token", &json!({"agent_id": bot.id, "api_key": wrong})).expect(401, "Wrong agent or key").await;
        w.post("/v1/auth/agent-token", &json!({"api_key": wrong})).expect(401, "Wrong agent or key").await;
        w.call(reqwest::Method::GET, "/v1/agents/me", Some(&wrong)).expect(401, "Wrong agent or key").await;
        w.post("/v1/auth/agent-token", &json!({"agent_id": bot.id})).expect(400, "api_key").await;
    }
}

both! {
    async fn rotating_and_deactivating_end_keys_and_tokens_at_once(w: World) {
        let ada = w.owner("ada").await;
        let bot = ada.agent("bot").make().await;
        w.call(reqwest::Method::GET, "/v1/agents/me", Some(&bot.key)).expect(200, "bot").await;
        let path = format!("/v1/agents/{}", bot.id);
        let rotated = ada.post(&format!("{path}/rotate-key"), &json!({})).expect(200, "ocv_").await;
        bot.get("/v1/agents/me").expect(401, "").await;
        w.call(reqwest::Method::GET, "/v1/agents/me", Some(&bot.key)).expect(401, "").await;
        w.post("/v1/auth/agent-token", &json!({"api_key": bot.key})).expect(401, "").await;
        let new_key = rotated["api_key"].as_str().unwrap();
        let token = w.post("/v1/auth/agent-token", &json!({"api_key": new_key})).expect(200, "access_token").await;
        let token = token["access_token"].as_str().unwrap();
        ada.delete(&path).expect(204, "").await;
        w.call(reqwest::Method::GET, "/v1/agents/me", Some(token)).expect(401, "").await;
        w.post("/v1/auth/agent-token", &json!({"api_key": new_key})).expect(401, "").await;
        ada.get(&path).expect(200, r#""is_active":false"#).await;
    }
}

both! {
    async fn people_change_their_own_profile(w: World) {
        let ada = w.owner("ada").await;
        let me = ada.get("/v1/auth/me").expect(200, "ada").await;
        for field in ["id", "email", "display_name", "auth_method", "role", "email_verified", "marketing_emails", "totp_enabled", "created_at"] {
            assert!(!me[field].is_null(), "{field} is missing: {me}");
        }
        let changed = ada.patch("/v1/auth/me", &json!({"display_name": " Ada L. ", "marketing_emails": true})).expect(200, "Ada L.").await;
        assert_eq!((&changed["display_name"], &changed["marketing_emails"]), (&json!("Ada L."), &json!(true)));
        let kept = ada.patch("/v1/auth/me", &json!({"newer_field": 1, "email": "eve@example.org", "role": "owner"})).expect(200, "").await;
        assert_eq!(kept, changed, "what is not to be changed here stays");
        let cleared = ada.patch("/v1/auth/me", &json!({"display_name": null, "marketing_emails": null})).expect(200, "").await;
        assert_eq!((cleared.get("display_name"), &cleared["marketing_emails"]), (None, &json!(false)));
        assert_eq!(ada.get("/v1/auth/me").expect(200, "").await, cleared);
        for (field, value) in [
            ("display_name", json!("")), ("display_name", json!("a\u{0}b")), ("display_name", json!("x".repeat(201))),
            ("display_name", json!(5)), ("marketing_emails", json!("yes")), ("marketing_emails", json!(1)),
        ] {
            ada.patch("/v1/auth/me", &json!({field: value})).expect(400, &format!("{field}: ")).await;
        }
        let bot = ada.agent("bot").make().await;
        bot.patch("/v1/auth/me", &json!({"display_name": "x"})).expect(403, "Agents may not").await;
        bot.get("/v1/auth/me").expect(403, "people").await;
        let details: Vec<(String,)> = sqlx::query_as("SELECT details FROM audit_events WHERE action = 'user.update' ORDER BY sequence")
            .fetch_all(&w.database().await).await.unwrap();
        assert_eq!(details[0].0, r#"{"changed":["display_name","marketing_emails"]}"#, "what changed, and not to what");
    }
}
