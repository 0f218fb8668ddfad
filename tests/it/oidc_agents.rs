//! Agents that come with the token of their issuer's client.

use std::time::{Duration, Instant};

use harness::{Issuer, Person, Reply, SigningKey, Value, World, both, json, now, token};
use reqwest::Method;

const CLIENT: &str = "build-7";

/// An agent of this issuer's client; its id.
async fn register(ada: &Person<'_>, issuer: &str) -> String {
    let body = json!({"name": "ci", "auth_method": "oidc_client_credentials", "oidc_issuer": issuer, "oidc_client_id": CLIENT});
    let made = ada.post("/v1/agents", &body).expect(201, "oidc_client_credentials").await;
    assert_eq!(made.get("api_key"), None, "it has no key");
    let agent = &made["agent"];
    assert_eq!((&agent["oidc_issuer"], &agent["oidc_client_id"]), (&json!(issuer), &json!(CLIENT)));
    assert_eq!((agent.get("key_prefix"), agent.get("client_cert_fingerprint")), (None, None));
    agent["id"].as_str().unwrap().to_owned()
}

/// What the client says of itself.
fn claims(w: &World, issuer: &Issuer) -> Value {
    json!({"iss": issuer.url, "sub": "service", "aud": w.base, "azp": CLIENT, "iat": now(), "exp": now() + 300})
}

async fn exchange(w: &World, id: &str, token: &str) -> Reply {
    w.post("/v1/auth/agent-token", &json!({"agent_id": id, "api_key": token})).reply().await
}

both! {
    with issuer,
    async fn the_clients_token_is_exchanged_for_one_of_ours(w: World, issuer: Issuer) {
        let ada = w.owner("ada").await;
        let id = register(&ada, &issuer.url).await;
        for key in [&issuer.rsa, &issuer.curve] {
            let answer = exchange(&w, &id, &key.sign(&claims(&w, &issuer))).await.expect(200, "access_token");
            assert_eq!((&answer["agent_id"], &answer["expires_in"]), (&json!(id), &json!(3600)));
            let token = answer["access_token"].as_str().unwrap();
            let me = w.call(Method::GET, "/v1/agents/me", Some(token)).expect(200, "ci").await;
            assert_eq!(me["id"], json!(id));
        }
        assert_eq!(issuer.asked(), 1);
        // The other spelling of the client, and an array of one.
        let mut other = claims(&w, &issuer);
        (other["azp"], other["client_id"], other["aud"]) = (Value::Null, json!(CLIENT), json!([w.base]));
        exchange(&w, &id, &issuer.rsa.sign(&other)).await.expect(200, "access_token");
        let shown = ada.get(&format!("/v1/agents/{id}")).expect(200, &issuer.url).await;
        assert_eq!(shown["oidc_client_id"], CLIENT);
        ada.post(&format!("/v1/agents/{id}/rotate-key"), &json!({})).expect(409, "no").await;
        let details: Vec<(String, String)> = sqlx::query_as("SELECT action, details FROM audit_events WHERE resource_id = $1 ORDER BY sequence")
            .bind(&id).fetch_all(&w.database().await).await.unwrap();
        assert!(details.iter().any(|(action, d)| action == "agent.register" && d.contains(CLIENT)), "{details:?}");
        assert!(details.iter().any(|(action, d)| action == "auth.success" && d.contains("oidc_client_credentials")), "{details:?}");
        // It ends as any agent does.
        let token = exchange(&w, &id, &issuer.rsa.sign(&claims(&w, &issuer))).await.expect(200, "access_token");
        ada.delete(&format!("/v1/agents/{id}")).expect(204, "").await;
        w.call(Method::GET, "/v1/agents/me", token["access_token"].as_str()).expect(401, "").await;
        exchange(&w, &id, &issuer.rsa.sign(&claims(&w, &issuer))).await.expect(401, "Wrong agent or key");
        // For good: no other way leads back either.
        for verb in ["resume", "rotate-key"] {
            ada.post(&format!("/v1/agents/{id}/{verb}"), &json!({})).expect(409, "register another agent").await;
        }
        ada.patch(&format!("/v1/agents/{id}"), &json!({"is_active": true})).expect(409, "register another agent").await;
        exchange(&w, &id, &issuer.rsa.sign(&claims(&w, &issuer))).await.expect(401, "Wrong agent or key");
    }
}

both! {
    with issuer,
    async fn no_other_token_is(w: World, issuer: Issuer) {
        let ada = w.owner("ada").await;
        let id = register(&ada, &issuer.url).await;
        let bot = ada.agent("bot").make().await;
        let good = claims(&w, &issuer);
        let with = |claim: &str, value: Value| {
            let mut claims = good.clone();
            claims[claim] = value;
            issuer.rsa.sign(&claims)
        };
        let header = |alg: &str, kid: &str| json!({"alg": alg, "kid": kid});
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &issuer.rsa.public_bytes());
        for (what, token) in [
            ("another client", with("azp", json!("build-8"))),
            ("two clients", with("client_id", json!("build-8"))),
            ("no client", with("azp", Value::Null)),
            ("for somebody else", with("aud", json!("https://other.example.org"))),
            ("for somebody else, too", with("aud", json!([w.base, "https://other.example.org"]))),
            ("another issuer", with("iss", json!("https://other.example.org"))),
            ("expired", with("exp", json!(now() - 61))),
            ("never expires", with("exp", Value::Null)),
            ("good for too long", with("exp", json!(now() + 24 * 3600 + 120))),
            ("alg none", token(&header("none", "rsa-1"), &good, |_| Vec::new())),
            ("a MAC with the public key", token(&header("HS256", "rsa-1"), &good, |m| aws_lc_rs::hmac::sign(&key, m).as_ref().to_vec())),
            ("an unknown key", issuer.rsa.sign_as(&header("RS256", "rsa-9"), &good)),
            ("a key of another kind", issuer.rsa.sign_as(&header("RS256", "curve-1"), &good)),
            ("a stranger", SigningKey::curve("curve-1").sign(&good)),
            ("a key of ours", bot.key.clone()),
            ("a token of ours", bot.token.clone()),
        ] {
            let reply = exchange(&w, &id, &token).await;
            assert_eq!(reply.status, 401, "{what}: {}", reply.text);
            reply.expect(401, "Wrong agent or key");
        }
        let token = issuer.rsa.sign(&good);
        // Not without the id, not for an agent with a key, not as a bearer.
        w.post("/v1/auth/agent-token", &json!({"api_key": token})).expect(401, "").await;
        exchange(&w, &bot.id, &token).await.expect(401, "Wrong agent or key");
        w.call(Method::GET, "/v1/agents/me", Some(&token)).expect(401, "").await;
        w.post("/v1/auth/agent-token", &json!({"agent_id": id})).expect(400, "api_key").await;
        exchange(&w, &id, &token).await.expect(200, "access_token");
    }
}

both! {
    with issuer,
    async fn an_issuer_vouches_for_its_own_clients_alone(w: World, issuer: Issuer) {
        let ada = w.owner("ada").await;
        let other = Issuer::start().await;
        // The other says that it is this one: its document is not believed.
        let (here, there) = (register(&ada, &issuer.url).await, register(&ada, &other.url).await);
        other.discovery(json!({"issuer": issuer.url, "jwks_uri": format!("{}/keys", other.url)}));
        for id in [&here, &there] {
            exchange(&w, id, &other.rsa.sign(&claims(&w, &issuer))).await.expect(401, "Wrong agent or key");
        }
        assert!(w.said().contains("another issuer's"), "the log says why");
        exchange(&w, &here, &issuer.rsa.sign(&claims(&w, &issuer))).await.expect(200, "access_token");
    }
}

both! {
    with issuer,
    async fn a_slow_or_dead_issuer_holds_up_its_own_agents_alone(w: World, issuer: Issuer) {
        let ada = w.owner("ada").await;
        let (slow, dead) = (Issuer::start().await, Issuer::start().await);
        slow.delay(Duration::from_secs(60));
        dead.down(true);
        let [quick_id, slow_id, dead_id] = [register(&ada, &issuer.url).await, register(&ada, &slow.url).await, register(&ada, &dead.url).await];
        let token = issuer.rsa.sign(&claims(&w, &issuer));
        let begun = Instant::now();
        let stuck = async {
            let all = futures::future::join_all((0..20).map(|_| exchange(&w, &slow_id, &token))).await;
            (all, begun.elapsed())
        };
        let others = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            exchange(&w, &dead_id, &token).await.expect(401, "Wrong agent or key");
            exchange(&w, &quick_id, &token).await.expect(200, "access_token");
            begun.elapsed()
        };
        let ((stuck, waited), others) = tokio::join!(stuck, others);
        assert!(others < Duration::from_secs(3), "{others:?}");
        // One fetch for all of them, and none of them waits for another.
        assert!(waited < Duration::from_secs(9), "{waited:?}");
        for reply in stuck {
            let problem = reply.expect(401, "Wrong agent or key");
            assert!(!problem.to_string().contains("127.0.0.1"), "{problem}");
        }
    }
}

both! {
    async fn what_says_how_an_agent_logs_in_must_fit_together(w: World) {
        let ada = w.owner("ada").await;
        let (issuer, client) = ("https://issuer.example.org", "x");
        let oidc = "oidc_client_credentials";
        for (body, named) in [
            (json!({"auth_method": oidc}), "oidc_issuer"),
            (json!({"auth_method": oidc, "oidc_issuer": issuer}), "oidc_client_id"),
            (json!({"auth_method": oidc, "oidc_issuer": issuer, "oidc_client_id": ""}), "oidc_client_id"),
            (json!({"auth_method": oidc, "oidc_issuer": issuer, "oidc_client_id": "a\u{7}b"}), "oidc_client_id"),
            (json!({"auth_method": oidc, "oidc_issuer": "http://issuer.example.org", "oidc_client_id": client}), "https"),
            (json!({"auth_method": oidc, "oidc_issuer": "https://169.254.169.254", "oidc_client_id": client}), "private network"),
            (json!({"auth_method": oidc, "oidc_issuer": "https://2130706433/", "oidc_client_id": client}), "private network"),
            (json!({"auth_method": oidc, "oidc_issuer": "https://a:b@issuer.example.org", "oidc_client_id": client}), "no user"),
            (json!({"auth_method": oidc, "oidc_issuer": "https://issuer.example.org?x", "oidc_client_id": client}), "no query"),
            (json!({"auth_method": oidc, "oidc_issuer": issuer, "oidc_client_id": client, "client_cert_fingerprint": "00"}), "client_cert_fingerprint"),
            (json!({"auth_method": "mtls"}), "client_cert_fingerprint"),
            (json!({"auth_method": "mtls", "client_cert_fingerprint": "abcd"}), "client_cert_fingerprint"),
            (json!({"auth_method": "mtls", "client_cert_fingerprint": "0".repeat(64), "oidc_issuer": issuer}), "oidc_issuer"),
            (json!({"oidc_issuer": issuer}), "oidc_issuer"),
            (json!({"auth_method": "api_key", "oidc_client_id": client}), "oidc_client_id"),
            (json!({"client_cert_fingerprint": "0".repeat(64)}), "client_cert_fingerprint"),
            (json!({"auth_method": "password"}), "auth_method"),
        ] {
            let mut body = body;
            body["name"] = json!("ci");
            ada.post("/v1/agents", &body).expect(400, named).await;
        }
        let body = json!({"name": "ci", "auth_method": oidc, "oidc_issuer": issuer, "oidc_client_id": client, "client_cert_fingerprint": ""});
        let made = ada.post("/v1/agents", &body).expect(201, "oidc_issuer").await;
        let path = format!("/v1/agents/{}", made["agent"]["id"].as_str().unwrap());
        for field in ["oidc_issuer", "oidc_client_id", "client_cert_fingerprint", "auth_method"] {
            ada.patch(&path, &json!({field: "https://other.example.org"})).expect(400, field).await;
        }
    }
}
