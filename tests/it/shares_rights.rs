//! What a share is worth: no more than its sharer's right, its version and what is left of both; and the lists of shares.

use harness::{CustomerKey, Database, Person, Value, World, both, json};

use crate::shares::{asked, at, later, secret, share};

fn anyone() -> Value {
    json!({"recipient_type": "anyone_with_link"})
}

/// How often this is on the trail, and what it says.
async fn trail(w: &World, action: &str) -> Vec<String> {
    let find = sqlx::query_scalar("SELECT details FROM audit_events WHERE action = $1 ORDER BY sequence")
        .bind(action.to_owned());
    find.fetch_all(&w.database().await).await.unwrap()
}

both! {
    async fn a_share_opens_while_its_sharer_may_read(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let secret = secret(&vault, "api/token", "api_key").await;
        let bot = ada.agent("bot").make().await;
        let policy = vault.allow(&bot.id, "api/*", &["read"]).await;
        let policy = format!("/v1/vaults/{}/policies/{}", vault.id, policy["id"].as_str().unwrap());
        let terms = json!({"recipient_type": "anyone_with_link", "expires_at": later(600)});
        let made = bot.post(&format!("/v1/secrets/{secret}/share"), &terms).expect(201, "").await;
        let id = made["id"].as_str().unwrap();
        let own = share(&ada, &secret, anyone()).await;
        w.get(&at(id)).expect(200, "hunter2").await;
        // Under conditions: an approval, and an end, count for what was shared before. Where the sharer comes from does not.
        let set = async |conditions: Value, ends: Value| {
            let body = json!({"permissions": ["read"], "conditions": conditions, "expires_at": ends});
            ada.put(&policy, &body).expect(200, "").await;
        };
        set(json!({"require_approval": true}), Value::Null).await;
        w.get(&at(id)).expect(404, "No such share").await;
        set(json!({"ip_allowlist": ["10.0.0.0/8"]}), Value::Null).await;
        w.get(&at(id)).expect(200, "hunter2").await;
        set(json!({}), json!(later(3600))).await;
        w.get(&at(id)).expect(200, "hunter2").await;
        // Scopes that leave the path out, and back.
        let agent = format!("/v1/agents/{}", bot.id);
        ada.patch(&agent, &json!({"scopes": ["else/**"]})).expect(200, "").await;
        w.get(&at(id)).expect(404, "No such share").await;
        ada.patch(&agent, &json!({"scopes": []})).expect(200, "").await;
        w.get(&at(id)).expect(200, "hunter2").await;
        ada.delete(&policy).expect(204, "").await;
        w.get(&at(id)).expect(404, "No such share").await;
        // On the trail of whose secret it is, and nothing was counted.
        let refused = trail(&w, "share.refuse").await;
        assert!(refused.len() == 3 && refused.iter().all(|details| details.contains("api/token") && details.contains(&bot.id)), "{refused:?}");
        assert!(refused.iter().all(|details| !details.contains(id) && !details.contains("hunter")), "{refused:?}");
        let list = bot.get("/v1/shares/outbound").expect(200, id).await;
        assert_eq!(list["shares"][0]["access_count"], 4);
        for _ in 0..25 {
            w.get(&at(id)).expect(404, "No such share").await;
        }
        assert_eq!(trail(&w, "share.refuse").await.len(), 20, "the trail is not flooded");
        // Others' shares of the same secret are their own; and what is given again counts again.
        w.get(&at(&own)).expect(200, "hunter2").await;
        vault.allow(&bot.id, "**", &["read"]).await;
        w.get(&at(id)).expect(200, "hunter2").await;
    }
}

/// Does this in the very transaction that opens a share for an address, between the look at it and the count.
async fn meanwhile(w: &World, does: &str) {
    match w.database {
        Database::Sqlite => {
            w.sql(&format!(
                "CREATE TRIGGER meanwhile AFTER UPDATE OF recipient_id ON shares BEGIN {does}; END"
            ))
            .await;
        }
        Database::Postgres => {
            w.sql(&format!("CREATE OR REPLACE FUNCTION meanwhile() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {does}; RETURN NULL; END $$")).await;
            w.sql("CREATE TRIGGER meanwhile AFTER UPDATE OF recipient_id ON shares FOR EACH ROW EXECUTE FUNCTION meanwhile()").await;
        }
    }
}

async fn no_more(w: &World) {
    match w.database {
        Database::Sqlite => w.sql("DROP TRIGGER meanwhile").await,
        Database::Postgres => w.sql("DROP TRIGGER meanwhile ON shares").await,
    };
}

both! {
    async fn what_ends_while_it_is_opened_does_not_leave(w: World) {
        let (ada, bob) = (w.owner("ada").await, w.owner("bob").await);
        let vault = ada.vault("main").await;
        let secret = secret(&vault, "api/token", "api_key").await;
        let id = share(&ada, &secret, json!({"recipient_type": "external_email", "email": bob.email})).await;
        for (does, status, why) in [
            ("UPDATE secret_versions SET disabled_at = 1", 410, "What was shared is gone"),
            ("UPDATE secret_versions SET deleted_at = 1", 410, "What was shared is gone"),
            ("UPDATE secret_versions SET expires_at = 1", 410, "What was shared is gone"),
            ("UPDATE shares SET revoked_at = 1", 404, "No such share"),
            ("UPDATE shares SET declined_at = 1", 404, "No such share"),
            ("UPDATE shares SET max_access_count = 0", 410, "used up"),
        ] {
            meanwhile(&w, does).await;
            bob.get(&at(&id)).expect(status, why).await;
            no_more(&w).await;
        }
        assert!(trail(&w, "share.access").await.is_empty());
        assert_eq!(bob.get(&at(&id)).expect(200, "hunter2").await["access_count"], 1);
    }
}

both! {
    async fn a_value_of_a_customers_key_says_so(w: World) {
        const KEY: CustomerKey = CustomerKey([7; 32]);
        let ada = w.owner("ada").await;
        let (plain, sealed) = (ada.vault("plain").await, ada.vault("sealed").await);
        let set = json!({"fingerprint": KEY.fingerprint()});
        ada.post(&format!("/v1/vaults/{}/cmek", sealed.id), &set).expect(200, "cmek_enabled").await;
        let value = KEY.encrypt("hunter2");
        let put = ada.put(&sealed.path("a"), &json!({"value": value})).expect(201, "id").await;
        let id = share(&ada, put["id"].as_str().unwrap(), anyone()).await;
        let opened = w.get(&at(&id)).expect(200, "cmek_encrypted").await;
        assert_eq!((&opened["cmek_encrypted"], &opened["value"]), (&json!(true), &json!(value)));
        let id = share(&ada, &secret(&plain, "a", "generic").await, anyone()).await;
        assert_eq!(w.get(&at(&id)).expect(200, "hunter2").await["cmek_encrypted"], false);
    }
}

/// All pages of a list, which are full but for the last.
async fn pages(by: &Person<'_>, list: &str, limit: usize) -> Vec<String> {
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = by.get(&format!("/v1/shares/{list}?limit={limit}{cursor}")).expect(200, "shares").await;
        let ids: Vec<_> =
            page["shares"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect();
        let full = ids.len() == limit;
        seen.extend(ids);
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return seen,
        }
        assert!(full, "{page}");
    }
}

both! {
    async fn lists_come_in_pages(w: World) {
        let (ada, bob) = (w.owner("ada").await, w.owner("bob").await);
        let vault = ada.vault("main").await;
        let secret = secret(&vault, "api/token", "api_key").await;
        let to = json!({"recipient_type": "user", "recipient_id": bob.id().await});
        let mut made = Vec::new();
        for n in 0..7 {
            made.push(share(&ada, &secret, if n == 3 { anyone() } else { to.clone() }).await);
        }
        made.sort();
        let whole = async |by: &Person<'_>, list: &str| {
            let all = by.get(&format!("/v1/shares/{list}")).expect(200, "shares").await;
            assert!(all.get("next_cursor").is_none(), "{all}");
            pages(by, list, 500).await
        };
        // As they were made, and as if all had been made in the same moment.
        for times in ["", "UPDATE shares SET created_at = 1000"] {
            if !times.is_empty() {
                w.sql(times).await;
            }
            for (by, list, many) in [(&ada, "outbound", 7), (&bob, "inbound", 6)] {
                let all = whole(by, list).await;
                assert_eq!(all.len(), many);
                for limit in [1, 2, 3, 6, 7] {
                    assert_eq!(pages(by, list, limit).await, all, "{list} by {limit}");
                }
            }
        }
        assert_eq!(whole(&ada, "outbound").await, made, "of one moment, by their ids");
        // One that is taken back between two pages moves nothing.
        let first = ada.get("/v1/shares/outbound?limit=3").expect(200, "next_cursor").await;
        ada.delete(&at(&made[2])).expect(204, "").await;
        let next = format!("/v1/shares/outbound?limit=500&cursor={}", first["next_cursor"].as_str().unwrap());
        let rest = ada.get(&next).expect(200, "shares").await;
        let rest: Vec<_> = rest["shares"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap()).collect();
        assert_eq!(rest, made[3..].iter().map(String::as_str).collect::<Vec<_>>());
        for (bad, field) in [("limit=0", "limit"), ("limit=501", "limit"), ("cursor=x", "cursor"), ("cursor=1.x", "cursor"), ("cursor=x.1", "cursor")] {
            for list in ["outbound", "inbound"] {
                ada.get(&format!("/v1/shares/{list}?{bad}")).expect(400, field).await;
            }
        }
        asked(&ada, &secret, anyone()).expect(201, "").await;
    }
}

both! {
    /// What a key's scopes don't reach shows in no page and no cursor.
    async fn pages_tell_a_scoped_key_of_nothing_else(w: World) {
        let (ada, bob) = (w.owner("ada").await, w.owner("bob").await);
        let vault = ada.vault("main").await;
        let (near, far) = (secret(&vault, "keys/a", "note").await, secret(&vault, "prod/b", "note").await);
        let to = json!({"recipient_type": "user", "recipient_id": bob.id().await});
        let mut inside = Vec::new();
        for n in 0..9 {
            let is_near = n == 3 || n == 6;
            let made = share(&ada, if is_near { &near } else { &far }, to.clone()).await;
            if is_near {
                inside.push(made);
            }
        }
        inside.reverse();
        let scopes = json!({"name": "ci", "scopes": ["keys/**"]});
        let (hers, his) = (ada.api_key(&scopes).await.1, bob.api_key(&scopes).await.1);
        for limit in [1, 2, 3, 500] {
            assert_eq!(pages(&ada.through(&hers), "outbound", limit).await, inside, "by {limit}");
            assert!(pages(&bob.through(&his), "inbound", limit).await.is_empty(), "by {limit}");
        }
        // Each cursor is of a share that was shown.
        let first = ada.through(&hers).get("/v1/shares/outbound?limit=1").expect(200, "next_cursor").await;
        assert_eq!(first["shares"][0]["id"], inside[0], "{first}");
        let alone = ada.get("/v1/shares/outbound?limit=3").expect(200, "next_cursor").await;
        assert_eq!((&first["next_cursor"], &alone["shares"][2]["id"]), (&alone["next_cursor"], &first["shares"][0]["id"]));
    }
}
