//! Shares: given, accepted, claimed, listed, ended.

use std::time::Duration;

use harness::{Call, PASSWORD, Person, Value, Vault, World, both, json};
use reqwest::Method;

pub const NOBODY: &str = "01890000-0000-4000-8000-000000000000";

/// So many seconds from now.
pub fn later(seconds: u64) -> String {
    domain::Clock::default().now().plus(Duration::from_secs(seconds)).to_string()
}

/// A secret to share, by its id.
pub async fn secret(vault: &Vault<'_>, path: &str, kind: &str) -> String {
    vault.put(path, kind, "hunter2").await["id"].as_str().unwrap().to_owned()
}

/// Shares for an hour; the id.
pub async fn share(by: &Person<'_>, secret: &str, terms: Value) -> String {
    let made = asked(by, secret, terms).expect(201, "/share/").await;
    let id = made["id"].as_str().unwrap();
    assert!(made["share_url"].as_str().unwrap().ends_with(&format!("/share/{id}")), "{made}");
    assert_eq!(id.as_bytes()[14], b'4', "an id that nobody can guess: {id}");
    id.to_owned()
}

pub fn asked(by: &Person<'_>, secret: &str, mut terms: Value) -> Call {
    if terms.get("expires_at").is_none() {
        terms["expires_at"] = later(3600).into();
    }
    by.post(&format!("/v1/secrets/{secret}/share"), &terms)
}

pub fn at(id: &str) -> String {
    format!("/v1/share/{id}")
}

fn anyone() -> Value {
    json!({"recipient_type": "anyone_with_link"})
}

fn shown(list: &Value) -> Vec<&str> {
    list["shares"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap()).collect()
}

async fn signed_up<'w>(w: &'w World, name: &str) -> Person<'w> {
    w.owner(name).await
}

both! {
    async fn whoever_has_the_link_opens_it(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let secret = secret(&vault, "api/token", "api_key").await;
        let id = share(&ada, &secret, json!({"recipient_type": "anyone_with_link", "permissions": ["read"], "max_access_count": 2})).await;
        // Pinned to the version of that moment.
        vault.put("api/token", "api_key", "newer").await;
        let reply = w.get(&at(&id)).reply().await;
        assert_eq!(reply.headers["cache-control"], "no-store");
        let opened = reply.expect(200, "hunter2");
        assert_eq!((&opened["path"], &opened["type"], &opened["value"]), (&json!("api/token"), &json!("api_key"), &json!("hunter2")));
        assert_eq!((&opened["access_count"], &opened["max_access_count"], &opened["id"]), (&json!(1), &json!(2), &json!(id)));
        // A token is of no use here, but a bad one is refused.
        w.call(Method::GET, &at(&id), Some("x.y.z")).expect(401, "not valid").await;
        w.call(Method::HEAD, &at(&id), None).reply().await;
        w.owner("eve").await.get(&at(&id)).expect(200, "hunter2").await;
        w.get(&at(&id)).expect(410, "used up").await;
        w.get(&at(NOBODY)).expect(404, "No such share").await;
        w.get(&at("x")).expect(400, "must be a UUID").await;
        let mail = w.mail("ada@example.org", "What you have shared was opened").await;
        assert!(mail.contains("api/token") && !mail.contains("hunter2") && !mail.contains(&id), "{mail}");
        // Neither the trail nor the log shows the link.
        let trail = w.sql("UPDATE audit_events SET action = action WHERE action IN ('share.create', 'share.access') AND resource_type = 'share'").await;
        assert_eq!(trail, 3);
        let pattern = format!("%{id}%");
        let leaks = format!("UPDATE audit_events SET action = action WHERE details LIKE '{pattern}' OR resource_id LIKE '{pattern}'");
        assert_eq!(w.sql(&leaks).await, 0);
        assert!(!w.said().contains(&id) && !w.said().contains("hunter2"));
    }
}

both! {
    async fn a_user_accepts_and_opens(w: World) {
        let (ada, bob, eve) = (w.owner("ada").await, w.owner("bob").await, w.owner("eve").await);
        let vault = ada.vault("main").await;
        let secret = secret(&vault, "api/token", "api_key").await;
        let bob_id = bob.id().await;
        let id = share(&ada, &secret, json!({"recipient_type": "user", "recipient_id": bob_id})).await;
        let mail = w.mail("bob@example.org", "A secret was shared with you").await;
        assert!(mail.contains("/share/") && !mail.contains("hunter2"), "{mail}");
        w.get(&at(&id)).expect(401, "sign in").await;
        for somebody in [&eve, &ada] {
            somebody.get(&at(&id)).expect(403, "somebody else").await;
            somebody.post(&format!("/v1/shares/{id}/accept"), &json!({})).expect(404, "No such share").await;
            somebody.post(&format!("/v1/shares/{id}/decline"), &json!({})).expect(404, "No such share").await;
        }
        bob.get(&at(&id)).expect(403, "Accept this share first").await;
        let inbound = bob.get("/v1/shares/inbound").expect(200, "api/token").await;
        assert_eq!((shown(&inbound), &inbound["shares"][0]["is_accepted"]), (vec![id.as_str()], &json!(false)));
        assert!(shown(&eve.get("/v1/shares/inbound").expect(200, "shares").await).is_empty());
        for _ in 0..2 {
            bob.post(&format!("/v1/shares/{id}/accept"), &json!({})).expect(204, "").await;
        }
        bob.get(&at(&id)).expect(200, "hunter2").await;
        let outbound = ada.get("/v1/shares/outbound").expect(200, "api/token").await;
        let told = &outbound["shares"][0];
        assert_eq!((&told["is_accepted"], &told["access_count"], &told["is_expired"]), (&json!(true), &json!(1), &json!(false)));
        // Declined, it is gone.
        let id = share(&ada, &secret, json!({"recipient_type": "user", "recipient_id": bob_id})).await;
        bob.post(&format!("/v1/shares/{id}/decline"), &json!({})).expect(204, "").await;
        bob.get(&at(&id)).expect(404, "No such share").await;
        bob.post(&format!("/v1/shares/{id}/accept"), &json!({})).expect(404, "No such share").await;
        // Whether there is such a person elsewhere, the answer does not tell.
        share(&ada, &secret, json!({"recipient_type": "user", "recipient_id": NOBODY})).await;
        asked(&ada, &secret, json!({"recipient_type": "user"})).expect(400, "recipient_id").await;
    }
}

both! {
    async fn agents_share_with_their_creator_and_are_shared_with(w: World) {
        let (ada, eve) = (w.owner("ada").await, w.owner("eve").await);
        let vault = ada.vault("main").await;
        let (token, key) = (secret(&vault, "api/token", "api_key").await, secret(&vault, "keys/a", "ssh_key").await);
        let bot = ada.agent("bot").reads(&vault, "**").make().await;
        let (other, theirs) = (ada.agent("other").intents().make().await, eve.agent("theirs").make().await);
        let terms = json!({"recipient_type": "creator", "expires_at": later(60)});
        let made = bot.post(&format!("/v1/secrets/{token}/share"), &terms).expect(201, "share_url").await;
        let id = made["id"].as_str().unwrap();
        ada.post(&format!("/v1/shares/{id}/accept"), &json!({})).expect(204, "").await;
        ada.get(&at(id)).expect(200, "hunter2").await;
        assert_eq!(shown(&bot.get("/v1/shares/outbound").expect(200, "shares").await), [id]);
        asked(&ada, &token, json!({"recipient_type": "creator"})).expect(400, "creator is for agents").await;
        let mail = json!({"recipient_type": "external_email", "email": "x@example.org", "expires_at": later(60)});
        bot.post(&format!("/v1/secrets/{token}/share"), &mail).expect(403, "a person must").await;
        // Without read permission there is no sharing; the same over MCP.
        other.post(&format!("/v1/secrets/{token}/share"), &terms).expect(403, "read permission").await;
        theirs.post(&format!("/v1/secrets/{token}/share"), &terms).expect(404, "No such secret").await;
        let arguments = json!({"secret_id": token, "recipient_type": "creator", "expires_at": later(60)});
        assert_eq!(bot.tool("share_secret", &arguments).await.expect("share_url")["max_access_count"], 5);
        // To an agent of the organisation, and no other.
        let id = share(&ada, &token, json!({"recipient_type": "agent", "recipient_id": other.id})).await;
        other.get(&at(&id)).expect(403, "Accept this share first").await;
        assert_eq!(shown(&other.get("/v1/shares/inbound").expect(200, "shares").await), [id.as_str()]);
        other.post(&format!("/v1/shares/{id}/accept"), &json!({})).expect(204, "").await;
        other.get(&at(&id)).expect(200, "hunter2").await;
        bot.get(&at(&id)).expect(403, "somebody else").await;
        asked(&ada, &token, json!({"recipient_type": "agent", "recipient_id": theirs.id})).expect(404, "No such agent").await;
        // Keys: never by a link, never for an agent that submits transactions.
        asked(&ada, &key, anyone()).expect(403, "never shared with whoever has a link").await;
        let id = share(&ada, &key, json!({"recipient_type": "agent", "recipient_id": other.id})).await;
        other.post(&format!("/v1/shares/{id}/accept"), &json!({})).expect(204, "").await;
        other.get(&at(&id)).expect(403, "never reads one").await;
        let signs = ada.agent("signs").intents().reads(&vault, "**").make().await;
        signs.post(&format!("/v1/secrets/{key}/share"), &terms).expect(403, "may not share keys").await;
        // A suspended sharer shares nothing; a deactivated one has shared nothing.
        let made = bot.post(&format!("/v1/secrets/{token}/share"), &json!({"recipient_type": "anyone_with_link", "expires_at": later(600)})).expect(201, "").await;
        let id = made["id"].as_str().unwrap();
        w.get(&at(id)).expect(200, "hunter2").await;
        ada.post("/v1/agents/suspend-all", &json!({})).expect(200, "").await;
        w.get(&at(id)).expect(403, "suspended").await;
        ada.post("/v1/agents/resume-all", &json!({})).expect(200, "").await;
        w.get(&at(id)).expect(200, "hunter2").await;
        ada.delete(&format!("/v1/agents/{}", bot.id)).expect(204, "").await;
        w.get(&at(id)).expect(404, "No such share").await;
    }
}

both! {
    async fn an_address_claims_what_was_shared_with_it(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let secret = secret(&vault, "api/token", "api_key").await;
        let terms = json!({"recipient_type": "external_email", "email": "Bob@Example.org"});
        let first = share(&ada, &secret, terms.clone()).await;
        let second = share(&ada, &secret, terms.clone()).await;
        asked(&ada, &secret, json!({"recipient_type": "external_email"})).expect(400, "email: is missing").await;
        asked(&ada, &secret, json!({"recipient_type": "external_email", "email": "x"})).expect(400, "email").await;
        let mail = w.mail("bob@example.org", "A secret was shared with you").await;
        assert!(mail.contains("log in") && !mail.contains("hunter2"), "{mail}");
        w.get(&at(&first)).expect(401, "sign in").await;
        // Who signs up with an address has not shown that it is theirs: nothing leads them to the share but its link.
        let (bob, eve) = (signed_up(&w, "bob").await, signed_up(&w, "eve").await);
        assert!(shown(&bob.get("/v1/shares/inbound").expect(200, "shares").await).is_empty());
        eve.get(&at(&first)).expect(403, "somebody else").await;
        bob.get(&at(&first)).expect(200, "hunter2").await;
        assert_eq!(shown(&bob.get("/v1/shares/inbound").expect(200, "shares").await), [first.as_str()]);
        // A verified address claims with the next log-in.
        w.sql("UPDATE users SET email_verified = 1 WHERE email = 'bob@example.org'").await;
        w.post("/v1/auth/token", &json!({"email": "bob@example.org", "password": PASSWORD})).expect(200, "access_token").await;
        let inbound = bob.get("/v1/shares/inbound").expect(200, "shares").await;
        assert_eq!(inbound["shares"].as_array().unwrap().len(), 2, "{inbound}");
        assert!(inbound["shares"].as_array().unwrap().iter().all(|s| s["is_accepted"] == true), "{inbound}");
        bob.get(&at(&second)).expect(200, "hunter2").await;
        // What comes later is seen at once.
        let third = share(&ada, &secret, terms).await;
        assert!(shown(&bob.get("/v1/shares/inbound").expect(200, "shares").await).contains(&third.as_str()));
        bob.get(&at(&third)).expect(200, "hunter2").await;
    }
}

both! {
    async fn a_verified_sign_up_claims(w: World) {
        let root = w.operator().await;
        root.put("/v1/admin/settings/auth.email_verification", &json!({"value": "true"})).expect(200, "").await;
        let vault = root.vault("main").await;
        let secret = secret(&vault, "api/token", "api_key").await;
        let id = share(&root, &secret, json!({"recipient_type": "external_email", "email": "bob@example.org"})).await;
        let body = json!({"email": "bob@example.org", "password": PASSWORD});
        w.post("/v1/auth/signup", &body).expect(200, "Check your mail").await;
        let ticket = w.ticket("bob@example.org", "Confirm your address").await;
        let token = w.post("/v1/auth/verify-email", &json!({"token": ticket, "password": PASSWORD})).expect(200, "access_token").await;
        let bob = root.through(token["access_token"].as_str().unwrap());
        let inbound = bob.get("/v1/shares/inbound").expect(200, "shares").await;
        assert_eq!((shown(&inbound), &inbound["shares"][0]["is_accepted"]), (vec![id.as_str()], &json!(true)));
        bob.get(&at(&id)).expect(200, "hunter2").await;
    }
}

both! {
    async fn a_share_ends_when_it_is_taken_back(w: World) {
        let (ada, eve) = (w.owner("ada").await, w.owner("eve").await);
        let vault = ada.vault("main").await;
        let secret = secret(&vault, "api/token", "api_key").await;
        let bot = ada.agent("bot").reads(&vault, "**").make().await;
        let id = share(&ada, &secret, anyone()).await;
        eve.delete(&at(&id)).expect(404, "No such share").await;
        bot.delete(&at(&id)).expect(404, "No such share").await;
        ada.delete(&at(&id)).expect(204, "").await;
        w.get(&at(&id)).expect(404, "No such share").await;
        ada.delete(&at(&id)).expect(404, "No such share").await;
        assert!(shown(&ada.get("/v1/shares/outbound").expect(200, "shares").await).is_empty());
        // Who writes to the database does not bring it back.
        w.sql("UPDATE shares SET revoked_at = NULL").await;
        w.get(&at(&id)).expect(410, "ended").await;
        // An owner ends what an agent shared.
        let terms = json!({"recipient_type": "anyone_with_link", "expires_at": later(60)});
        let made = bot.post(&format!("/v1/secrets/{secret}/share"), &terms).expect(201, "").await;
        ada.delete(&at(made["id"].as_str().unwrap())).expect(204, "").await;
        w.get(&at(made["id"].as_str().unwrap())).expect(404, "No such share").await;
    }
}

both! {
    async fn what_is_gone_is_shared_no_more(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let (one, two) = (secret(&vault, "one", "note").await, secret(&vault, "two", "note").await);
        let (first, second) = (share(&ada, &one, anyone()).await, share(&ada, &two, anyone()).await);
        ada.delete(&vault.path("one")).expect(204, "").await;
        w.get(&at(&first)).expect(410, "deleted").await;
        asked(&ada, &one, anyone()).expect(410, "deleted").await;
        // What a secret's own limit leaves, a share does not exceed.
        let limited = ada.put(&vault.path("three"), &json!({"value": "hunter2", "max_access_count": 2})).expect(201, "id").await;
        let third = share(&ada, limited["id"].as_str().unwrap(), anyone()).await;
        w.get(&at(&third)).expect(200, "hunter2").await;
        ada.get(&vault.path("three")).expect(200, "hunter2").await;
        w.get(&at(&third)).expect(410, "used up").await;
        w.get(&at(&second)).expect(200, "hunter2").await;
        ada.delete(&format!("/v1/vaults/{}", vault.id)).expect(204, "").await;
        w.get(&at(&second)).reply().await.expect(404, "No such share");
        // The end of the organisation ends what it shared.
        let other = ada.vault("other").await;
        let fourth = share(&ada, &secret(&other, "a", "note").await, anyone()).await;
        w.get(&at(&fourth)).expect(200, "hunter2").await;
        ada.delete("/v1/auth/me").json(&json!({"confirmation": "DELETE MY ACCOUNT"})).expect(204, "").await;
        w.get(&at(&fourth)).expect(404, "No such share").await;
    }
}

both! {
    async fn terms_are_checked_and_shares_are_few(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let secret = secret(&vault, "api/token", "api_key").await;
        let with = |field: &str, value: Value| {
            let mut terms = anyone();
            terms[field] = value;
            terms
        };
        for (field, value) in [
            ("permissions", json!(["read", "write"])),
            ("max_access_count", json!(0)),
            ("expires_at", json!("2020-01-01T00:00:00Z")),
            ("expires_at", json!(later(366 * 86_400))),
            ("passphrase", json!("short")),
            ("passphrase", json!("x".repeat(129))),
            ("ip_allowlist", json!(["10.0.0.0/33"])),
            ("ip_allowlist", json!(vec!["10.0.0.1"; 101])),
            ("recipient_type", json!("everybody")),
        ] {
            asked(&ada, &secret, with(field, value)).expect(400, field).await;
        }
        ada.post(&format!("/v1/secrets/{secret}/share"), &anyone()).expect(400, "expires_at").await;
        asked(&ada, NOBODY, anyone()).expect(404, "No such secret").await;
        let signing = json!({"value": harness::KEYS[0], "type": "private_key", "metadata": {"signing_only": true}});
        let key = ada.put(&vault.path("k"), &signing).expect(201, "id").await;
        let me = json!({"recipient_type": "user", "recipient_id": ada.id().await});
        asked(&ada, key["id"].as_str().unwrap(), me).expect(403, "signing-only").await;
        // What was refused has taken none of the ten.
        for _ in 0..10 {
            share(&ada, &secret, anyone()).await;
        }
        let refused = asked(&ada, &secret, anyone()).reply().await;
        assert!(refused.headers.contains_key("retry-after"), "{}", refused.text);
        refused.expect(429, "Too many");
        let beside = w.beside().await;
        let terms = json!({"recipient_type": "anyone_with_link", "expires_at": later(60)});
        let path = format!("/v1/secrets/{secret}/share");
        beside.call(Method::POST, &path, Some(&ada.token)).json(&terms).expect(429, "Too many").await;
        // Another organisation has its own.
        let eve = w.owner("eve").await;
        let hers = eve.vault("hers").await;
        let put = hers.put("a", "note", "v").await;
        share(&eve, put["id"].as_str().unwrap(), anyone()).await;
    }
}
