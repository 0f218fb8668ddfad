//! What of shares is shown to whom: a scoped caller knows none beyond its scopes, owners and admins look after all, and
//! whoever shares hears of guesses and floods nobody.

use std::time::Duration;

use harness::{Person, Value, Vault, both, json};

use crate::approvals::member;
use crate::shares::{asked, at, later, secret, share};

fn anyone() -> Value {
    json!({"recipient_type": "anyone_with_link"})
}

async fn listed(by: &Person<'_>, path: &str) -> Vec<Value> {
    by.get(path).expect(200, "shares").await["shares"].as_array().unwrap().clone()
}

fn ids(list: &[Value]) -> Vec<&str> {
    list.iter().map(|share| share["id"].as_str().unwrap()).collect()
}

both! {
    async fn a_scoped_key_knows_no_share_beyond_its_scopes(w: World) {
        let (ada, eve) = (w.owner("ada").await, w.owner("eve").await);
        let vault = ada.vault("main").await;
        let (inside, outside) = (secret(&vault, "keys/a", "note").await, secret(&vault, "prod/db", "note").await);
        let near = share(&ada, &inside, anyone()).await;
        let far = share(&ada, &outside, anyone()).await;
        let hers = eve.vault("hers").await;
        let to_ada = json!({"recipient_type": "user", "recipient_id": ada.id().await});
        let from_eve = share(&eve, &secret(&hers, "keys/a", "note").await, to_ada).await;
        let (_, key) = ada.api_key(&json!({"name": "ci", "scopes": ["keys/**"]})).await;
        let scoped = ada.through(&key);
        assert_eq!(ids(&listed(&ada, "/v1/shares/outbound").await).len(), 2);
        assert_eq!(ids(&listed(&scoped, "/v1/shares/outbound").await), [near.as_str()]);
        assert_eq!(ids(&listed(&ada, "/v1/shares/inbound").await), [from_eve.as_str()]);
        assert!(listed(&scoped, "/v1/shares/inbound").await.is_empty(), "another organisation's is outside of all scopes");
        scoped.get("/v1/shares/outbound?all=true").expect(403, "scopes").await;
        scoped.delete(&at(&far)).expect(403, "outside your scopes").await;
        for answer in ["accept", "decline"] {
            scoped.post(&format!("/v1/shares/{from_eve}/{answer}"), &json!({})).expect(403, "outside your scopes").await;
        }
        scoped.get(&at(&from_eve)).expect(403, "Accept this share first").await;
        scoped.delete(&at(&near)).expect(204, "").await;
        w.get(&at(&far)).expect(200, "hunter2").await;
        ada.post(&format!("/v1/shares/{from_eve}/accept"), &json!({})).expect(204, "").await;
        // An agent is bound as a key is, by paths and by vaults.
        let bot = ada.agent("bot").reads(&vault, "**").make().await;
        let made = bot.post(&format!("/v1/secrets/{outside}/share"), &json!({"recipient_type": "creator", "expires_at": later(60)})).expect(201, "").await;
        let (id, own) = (made["id"].as_str().unwrap(), ada.through(&bot.token));
        assert_eq!(ids(&listed(&own, "/v1/shares/outbound").await), [id]);
        for bound in [json!({"scopes": ["keys/**"]}), json!({"scopes": [], "vault_ids": [ada.vault("other").await.id]})] {
            ada.patch(&format!("/v1/agents/{}", bot.id), &bound).expect(200, "").await;
            let bot = ada.through(&bot.fresh_token().await);
            assert!(listed(&bot, "/v1/shares/outbound").await.is_empty(), "{bound}");
            bot.delete(&at(id)).expect(403, "outside your scopes").await;
        }
    }
}

both! {
    async fn owners_and_admins_find_and_end_what_others_have_shared(w: World) {
        let (ada, eve) = (w.owner("ada").await, w.owner("eve").await);
        let (bob, ann) = (member(&ada, "bob", "member").await, member(&ada, "ann", "admin").await);
        let (vault, his) = (ada.vault("main").await, bob.vault("his").await);
        let token = secret(&vault, "api/token", "note").await;
        let own = share(&ada, &token, anyone()).await;
        let bobs = share(&bob, &secret(&his, "b", "note").await, anyone()).await;
        let bot = ada.agent("bot").reads(&vault, "**").make().await;
        let made = bot.post(&format!("/v1/secrets/{token}/share"), &json!({"recipient_type": "anyone_with_link", "expires_at": later(600)})).expect(201, "").await;
        let bots = made["id"].as_str().unwrap().to_owned();
        let all = listed(&ada, "/v1/shares/outbound?all=true").await;
        assert_eq!(all.len(), 3, "{all:?}");
        let of = |who: &str| all.iter().find(|share| share["shared_by"] == who).unwrap().clone();
        assert_eq!(of(&ada.id().await)["id"], json!(own), "one's own by its id");
        for (who, kind, id) in [(bob.id().await, "user", &bobs), (bot.id.clone(), "agent", &bots)] {
            let found = of(&who);
            let named = found["id"].as_str().unwrap();
            assert_eq!(found["shared_by_type"], kind);
            assert!(named != id && named[..8] == id[..8] && !json!(all).to_string().contains(id.as_str()), "{found}");
            // The reference opens nothing, and is nobody else's to use.
            w.get(&at(named)).expect(404, "No such share").await;
            ada.get(&at(named)).expect(404, "No such share").await;
            ada.post(&format!("/v1/shares/{named}/accept"), &json!({})).expect(404, "No such share").await;
            eve.delete(&at(named)).expect(404, "No such share").await;
            if who == bot.id {
                bob.delete(&at(named)).expect(404, "No such share").await;
            }
            w.get(&at(id)).expect(200, "hunter2").await;
            ann.delete(&at(named)).expect(204, "").await;
            w.get(&at(id)).expect(404, "No such share").await;
            ann.delete(&at(named)).expect(404, "No such share").await;
        }
        assert_eq!(listed(&ann, "/v1/shares/outbound?all=true").await.len(), 1);
        assert!(listed(&eve, "/v1/shares/outbound?all=true").await.is_empty());
        bob.get("/v1/shares/outbound?all=true").expect(403, "Owners and admins").await;
        bot.get("/v1/shares/outbound?all=true").expect(403, "a person").await;
    }
}

both! {
    /// Three organisations share seven times each with one person: all of it is there, and told of in twenty mails.
    async fn nobody_is_flooded_with_mails(w: World) {
        let bob = w.owner("bob").await;
        let to_bob = json!({"recipient_type": "user", "recipient_id": bob.id().await});
        let mut last = None;
        for name in ["ada", "eve", "cleo"] {
            let sharer = w.owner(name).await;
            let vault: Vault<'_> = sharer.vault("main").await;
            let secret = secret(&vault, "api/token", "note").await;
            for _ in 0..7 {
                share(&sharer, &secret, to_bob.clone()).await;
            }
            let by_mail = json!({"recipient_type": "external_email", "email": "bob@example.org"});
            last = Some(asked(&sharer, &secret, by_mail).reply().await);
            if name != "cleo" {
                // The address has room for this one: it counts as well.
                assert_eq!(last.as_ref().unwrap().status, 201);
            }
        }
        last.unwrap().expect(429, "Too many");
        assert_eq!(listed(&bob, "/v1/shares/inbound").await.len(), 21);
        for _ in 0..20 {
            w.mail("bob@example.org", "A secret was shared with you").await;
        }
        // Mails leave in their order: once one that was asked for afterwards is there, no other is on its way.
        w.post("/v1/auth/forgot-password", &json!({"email": "bob@example.org"})).reply().await;
        w.mail("bob@example.org", "A new password").await;
        assert!(!w.has_mail("bob@example.org", "A secret was shared with you"));
    }
}

both! {
    async fn whoever_shares_hears_of_guesses(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let secret = secret(&vault, "api/token", "note").await;
        let id = share(&ada, &secret, json!({"recipient_type": "anyone_with_link", "passphrase": "correct horse"})).await;
        for _ in 0..4 {
            w.get(&at(&id)).header("x-share-passphrase", "wrong horse").expect(403, "passphrase is wrong").await;
        }
        let mut told = json!({});
        for _ in 0..300 {
            told = ada.get("/v1/audit/events?action=share.refused").expect(200, "events").await;
            let times = told["events"].as_array().unwrap().iter().map(|event| event["details"]["times"].as_u64().unwrap());
            if times.sum::<u64>() == 4 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let event = &told["events"][0];
        assert!(told["count"].as_u64().is_some_and(|count| (1..=2).contains(&count)), "gathered: {told}");
        assert_eq!((&event["details"]["reason"], &event["details"]["path"]), (&json!("passphrase"), &json!("api/token")));
        assert!(event["resource_id"].as_str().unwrap().starts_with(&id[..8]) && !told.to_string().contains(&id), "{told}");
        assert_eq!(event["ip_address"], "127.0.0.1");
        assert!(!told.to_string().contains("horse"));
    }
}

both! {
    async fn a_share_says_nothing_that_is_not_heard(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let secret = secret(&vault, "api/token", "note").await;
        let me = ada.id().await;
        for (terms, said) in [
            (json!({"recipient_type": "anyone_with_link", "password": "hunter2-hunter2"}), "password must be left out"),
            (json!({"recipient_type": "anyone_with_link", "max_acces_count": 1}), "max_acces_count must be left out"),
            (json!({"recipient_type": "anyone_with_link", "recipient_id": me}), "recipient_id: must be left out"),
            (json!({"recipient_type": "anyone_with_link", "email": "bob@example.org"}), "email: must be left out"),
            (json!({"recipient_type": "user", "email": "bob@example.org"}), "use external_email"),
            (json!({"recipient_type": "user"}), "use external_email"),
            (json!({"recipient_type": "external_email", "email": "bob@example.org", "recipient_id": me}), "recipient_id: must be left out"),
        ] {
            let problem = asked(&ada, &secret, terms).expect(400, said).await;
            assert!(!problem.to_string().contains("hunter2"), "{problem}");
        }
        assert!(listed(&ada, "/v1/shares/outbound").await.is_empty());
        let whole = json!({"recipient_type": "user", "recipient_id": me, "email": null, "permissions": ["read"], "max_access_count": 1,
            "passphrase": "correct horse", "ip_allowlist": ["127.0.0.1"]});
        share(&ada, &secret, whole).await;
    }
}

both! {
    /// Whoever knows the id of what goes to an address could sign up with that address, where addresses are not verified.
    async fn the_trail_does_not_show_the_id_of_what_goes_to_an_address(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let secret = secret(&vault, "api/token", "note").await;
        let to = json!({"recipient_type": "external_email", "email": "zed@example.net"});
        let id = share(&ada, &secret, to).await;
        let told = ada.get("/v1/audit/events?action=share.create").expect(200, &id[..8]).await;
        assert!(told["count"] == 1 && !told.to_string().contains(&id), "{told}");
    }
}
