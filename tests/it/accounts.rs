//! Accounts: made, their passwords changed and lost, and ended.

use std::process::Output;
use std::time::{Duration, Instant};

use harness::{Database, PASSWORD, Person, Value, World, both, json};
use reqwest::Method;

use crate::shares::{secret, share};

const NEW: &str = "Another-Horse-42!x";

async fn login(w: &World, email: &str, password: &str) -> u16 {
    w.post("/v1/auth/token", &json!({"email": email, "password": password})).reply().await.status
}

async fn verify(w: &World) {
    let on = json!({"value": "true"});
    w.operator().await.put("/v1/admin/settings/auth.email_verification", &on).expect(200, "").await;
}

/// What `talon recover` says, beside the gateway that runs.
pub fn recover(w: &World, arguments: &[&str]) -> Output {
    let mut command = harness::talon();
    command
        .arg("recover")
        .args(arguments)
        .current_dir(w.data().parent().unwrap())
        .env("TALON_DATA", w.data());
    command.env("TALON_DATABASE_URL", w.database_url()).env("TALON_PUBLIC_URL", "https://vault.example.org");
    command.output().unwrap()
}

/// A device that this person has let in: its code.
async fn let_in(person: &Person<'_>) -> String {
    let device = person.world.post("/v1/auth/device/code", &json!({"client_id": "tv"}));
    let device = device.expect(200, "user_code").await;
    let body = json!({"user_code": device["user_code"]});
    person.post("/v1/auth/device/approve", &body).expect(200, "approved").await;
    device["device_code"].as_str().unwrap().to_owned()
}

/// What the device with this code is told.
async fn poll(w: &World, code: &str) -> Value {
    let body = json!({"device_code": code, "grant_type": "urn:ietf:params:oauth:grant-type:device_code"});
    w.post("/v1/auth/device/token", &body).expect(200, "").await
}

fn delete(person: &Person<'_>, body: &Value) -> harness::Call {
    person.delete("/v1/auth/me").json(body)
}

both! {
    async fn where_addresses_are_verified_there_is_no_account_before(w: World) {
        w.owner("ada").await;
        verify(&w).await;
        let sign_up = |email: &str| w.post("/v1/auth/signup", &json!({"email": email, "password": PASSWORD}));
        let begun = Instant::now();
        let known = sign_up("ada@example.org").expect(200, "Check your mail").await;
        let (first, begun) = (begun.elapsed(), Instant::now());
        let mut unknown = sign_up("eve@example.org").expect(200, "Check your mail").await;
        assert!(first.abs_diff(begun.elapsed()) < Duration::from_millis(750), "{first:?} {:?}", begun.elapsed());
        unknown["email"] = known["email"].clone();
        assert_eq!(known, unknown);
        assert!(known.get("access_token").is_none());
        w.mail("ada@example.org", "You have an account already").await;
        let token = w.ticket("eve@example.org", "Confirm your address").await;
        assert_eq!(login(&w, "eve@example.org", PASSWORD).await, 401);
        // Whoever reads the mail and does not know the password is not who signed up.
        let at = "/v1/auth/verify-email";
        w.post(at, &json!({"token": token, "password": NEW})).expect(400, "password").await;
        let answer = w.post(at, &json!({"token": token, "password": PASSWORD})).expect(200, "access_token").await;
        let me = w.call(Method::GET, "/v1/auth/me", answer["access_token"].as_str()).expect(200, "eve@").await;
        assert_eq!((&me["email_verified"], &me["role"]), (&json!(true), &json!("owner")));
        w.post(at, &json!({"token": token, "password": PASSWORD})).expect(400, "used up").await;
        w.mail("eve@example.org", "Welcome to Talon").await;
        // Without the password there is an account, and no token: the signer gives none on the gateway's word.
        sign_up("bob@example.org").expect(200, "").await;
        let token = w.ticket("bob@example.org", "Confirm your address").await;
        assert_eq!(w.post(at, &json!({"token": token})).expect(200, "").await["access_token"], "");
        assert_eq!(login(&w, "bob@example.org", PASSWORD).await, 200);
        // Of two sign-ups within a minute the first counts, as the second's person is told; later the newest.
        let again = |password: &str| w.post("/v1/auth/signup", &json!({"email": "joe@example.org", "password": password}));
        let confirm = |token: &str| w.post(at, &json!({"token": token, "password": NEW}));
        again(PASSWORD).expect(200, "Check your mail").await;
        again(NEW).expect(200, "Check your mail").await;
        let token = w.ticket("joe@example.org", "Confirm your address").await;
        confirm(&token).expect(400, "sign up again after a minute to choose another").await;
        w.sql("DELETE FROM limits").await;
        again(NEW).expect(200, "Check your mail").await;
        let token = w.ticket("joe@example.org", "Confirm your address").await;
        confirm(&token).expect(200, "access_token").await;
        // Who had begun when sign-up was closed is as late as everybody else.
        sign_up("zoe@example.org").expect(200, "").await;
        let token = w.ticket("zoe@example.org", "Confirm your address").await;
        let off = json!({"value": "false"});
        w.operator().await.put("/v1/admin/settings/auth.open_signup", &off).expect(200, "").await;
        w.post(at, &json!({"token": token, "password": PASSWORD})).expect(403, "closed").await;
    }
}

both! {
    async fn a_changed_password_ends_every_session(w: World) {
        let ada = w.owner("ada").await;
        let (_, key) = ada.api_key(&json!({"name": "k"})).await;
        w.mail(&ada.email, "A personal API key was made").await;
        let through = ada.through(&key);
        through.get("/v1/vaults").expect(200, "").await;
        let exchange = json!({"api_key": key});
        let program = w.post("/v1/auth/api-key-token", &exchange).expect(200, "access_token").await;
        let (tv, late) = (let_in(&ada).await, let_in(&ada).await);
        let device = poll(&w, &tv).await;
        let tokens = [&program, &device].map(|given| ada.through(given["access_token"].as_str().unwrap()));
        for session in &tokens {
            session.get("/v1/auth/me").expect(200, "ada@example.org").await;
        }
        let change = |current: &str, new: &str| json!({"current_password": current, "new_password": new});
        let at = "/v1/auth/change-password";
        ada.post(at, &change(NEW, NEW)).expect(400, "new_password").await;
        ada.post(at, &change(PASSWORD, "weak")).expect(400, "new_password: needs").await;
        ada.post(at, &change(NEW, "Third-Horse-42!x")).expect(400, "current_password").await;
        through.post(at, &change(PASSWORD, NEW)).expect(403, "log in").await;
        ada.agent("bot").make().await.post(at, &change(PASSWORD, NEW)).expect(403, "people").await;
        ada.post(at, &change(PASSWORD, NEW)).expect(204, "").await;
        for session in tokens.iter().chain([&ada]) {
            session.get("/v1/auth/me").expect(401, "").await;
        }
        // Nor does a device come in that was let in before. The keys stay: it is their tokens that end.
        assert_eq!(poll(&w, &late).await, json!({"error": "expired_token"}));
        through.get("/v1/vaults").expect(200, "").await;
        w.post("/v1/auth/api-key-token", &exchange).expect(200, "access_token").await;
        assert_eq!((login(&w, &ada.email, PASSWORD).await, login(&w, &ada.email, NEW).await), (401, 200));
        w.mail(&ada.email, "Your password was changed").await;
        w.post("/v1/auth/refresh", &json!({"refresh_token": "x"})).expect(400, "Refresh tokens not yet implemented").await;
    }
}

both! {
    async fn a_lost_password_is_set_anew_by_the_newest_link_once(w: World) {
        let ada = w.owner("ada").await;
        let forgot = |email: &str| w.post("/v1/auth/forgot-password", &json!({"email": email}));
        let begun = Instant::now();
        let known = forgot(" ADA@example.org").expect(202, "If the address").await;
        let (first, begun) = (begun.elapsed(), Instant::now());
        assert_eq!(known, forgot("eve@example.org").expect(202, "").await);
        assert!(first.abs_diff(begun.elapsed()) < Duration::from_millis(250), "{first:?} {:?}", begun.elapsed());
        // Too early for another mail; the answer doesn't say so.
        assert_eq!(known, forgot("ada@example.org").expect(202, "").await);
        let older = w.ticket(&ada.email, "A new password").await;
        assert!(!w.has_mail(&ada.email, "A new password") && !w.has_mail("eve@example.org", "A new password"));
        // As if the time of the one mail were over.
        w.sql("DELETE FROM limits").await;
        forgot("ada@example.org").expect(202, "").await;
        let token = w.ticket(&ada.email, "A new password").await;
        let at = "/v1/auth/reset-password";
        let reset = |token: &str, password: &str| w.post(at, &json!({"token": token, "new_password": password}));
        reset(&older, NEW).expect(400, "used up").await;
        reset(&token, "weak").expect(400, "new_password: needs").await;
        // Half an hour later, and a minute before.
        assert_eq!(w.sql("UPDATE tickets SET expires_at = expires_at - 1800000").await, 1);
        reset(&token, NEW).expect(400, "has expired").await;
        assert_eq!(w.sql("UPDATE tickets SET expires_at = expires_at + 60000").await, 1);
        // Strangers have locked the account meanwhile: that is no lock for whoever reads its mail.
        for _ in 0..5 {
            login(&w, &ada.email, "Wrong-Horse-42!x").await;
        }
        w.sql("UPDATE throttles SET guesses = 50, blocked_until = 9000000000000000").await;
        assert_eq!(login(&w, &ada.email, PASSWORD).await, 429);
        reset(&token.replace(&token[..1], "."), NEW).expect(400, "used up").await;
        let (one, other) = tokio::join!(reset(&token, NEW).reply(), reset(&token, NEW).reply());
        let mut both = [one.status, other.status];
        both.sort_unstable();
        assert!(both[0] == 204 && [400, 409].contains(&both[1]), "{} {}", one.text, other.text);
        ada.get("/v1/auth/me").expect(401, "").await;
        assert_eq!((login(&w, &ada.email, PASSWORD).await, login(&w, &ada.email, NEW).await), (401, 200));
        reset(&token, PASSWORD).expect(400, "used up").await;
        w.mail(&ada.email, "Your password was changed").await;
    }
}

both! {
    async fn an_operator_lets_somebody_in_who_is_locked_out(w: World) {
        let ada = w.owner("ada").await;
        let done = recover(&w, &[&ada.email]);
        let said = String::from_utf8(done.stdout).unwrap();
        assert!(done.status.success() && said.contains("https://vault.example.org/reset#"), "{said}");
        let token = said.trim().split_once('#').unwrap().1;
        w.post("/v1/auth/reset-password", &json!({"token": token, "new_password": NEW})).expect(204, "").await;
        assert_eq!(login(&w, &ada.email, NEW).await, 200);
        let trail: (i64,) = sqlx::query_as("SELECT COUNT(*) FROM audit_events WHERE action = 'auth.recover'")
            .fetch_one(&w.database().await).await.unwrap();
        assert_eq!(trail.0, 1);
        let unknown = recover(&w, &["eve@example.org"]);
        assert!(!unknown.status.success() && String::from_utf8_lossy(&unknown.stderr).contains("No such account"));
    }
}

/// Each table's columns that may hold an id. The trail stays, for operators.
async fn columns(w: &World) -> Vec<(String, String)> {
    let list = match w.database {
        Database::Sqlite => {
            "SELECT m.name AS t, c.name AS c FROM sqlite_master m JOIN pragma_table_info(m.name) c \
             WHERE m.type = 'table' AND c.type = 'TEXT'"
        }
        Database::Postgres => {
            "SELECT table_name::text AS t, column_name::text AS c FROM information_schema.columns \
             WHERE table_schema = 'public' AND data_type = 'text'"
        }
    };
    let columns: Vec<(String, String)> = sqlx::query_as(list).fetch_all(&w.database().await).await.unwrap();
    columns.into_iter().filter(|(table, _)| !table.starts_with("audit_")).collect()
}

/// An organisation, and whatever is its: people, agents, vaults, keys, invitations, shares.
async fn ids_of(w: &World, org: &str) -> Vec<String> {
    let (columns, pool) = (columns(w).await, w.database().await);
    let has = |table: &str, column: &str| columns.iter().any(|(t, c)| t == table && c == column);
    let mut ids = vec![org.to_owned()];
    for (table, _) in columns.iter().filter(|(table, column)| column == "id" && has(table, "org_id")) {
        let find = sqlx::AssertSqlSafe(format!("SELECT id FROM {table} WHERE org_id = '{org}'"));
        let found: Vec<(String,)> = sqlx::query_as(find).fetch_all(&pool).await.unwrap();
        ids.extend(found.into_iter().map(|(id,)| id));
    }
    ids
}

/// Where in the database one of these is named.
async fn named(w: &World, ids: &[String]) -> Vec<String> {
    let pool = w.database().await;
    let list = ids.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(", ");
    let mut places = Vec::new();
    for (table, column) in columns(w).await {
        let count = format!("SELECT COUNT(*) FROM {table} WHERE \"{column}\" IN ({list})");
        let count: (i64,) = sqlx::query_as(sqlx::AssertSqlSafe(count)).fetch_one(&pool).await.unwrap();
        if count.0 > 0 {
            places.push(format!("{table}.{column}"));
        }
    }
    places
}

/// Something in each table that names a person, but what takes more than one.
async fn settled_in(ada: &Person<'_>, secret: &str) {
    let w = ada.world;
    ada.api_key(&json!({"name": "own"})).await;
    share(ada, secret, json!({"recipient_type": "anyone_with_link"})).await;
    ada.post("/v1/auth/mfa/setup", &json!({})).expect(200, "otpauth").await;
    ada.post("/v1/auth/passkeys/challenge", &json!({})).expect(200, "challenge").await;
    let_in(ada).await;
    w.post("/v1/auth/forgot-password", &json!({"email": ada.email})).expect(202, "").await;
    w.ticket(&ada.email, "A new password").await;
    let (id, at) = (ada.id().await, "outside_logins (issuer, subject, user_id)");
    w.sql(&format!("INSERT INTO {at} VALUES ('https://id.example.org', '{}', '{id}')", ada.email)).await;
}

/// Where they are named then.
const OF_A_PERSON: [&str; 8] = [
    "users.id",
    "api_keys.user_id",
    "shares.by_id",
    "second_factors.user_id",
    "passkeys.user_id",
    "devices.user_id",
    "outside_logins.user_id",
    "tickets.subject",
];

async fn org_of(w: &World, email: &str) -> String {
    let find = sqlx::query_as("SELECT org_id FROM users WHERE email = $1").bind(email.to_owned());
    let row: (String,) = find.fetch_one(&w.database().await).await.unwrap();
    row.0
}

both! {
    async fn the_last_owner_takes_all_of_the_organisation_along(w: World) {
        let (ada, eve) = (w.owner("ada").await, w.owner("eve").await);
        let vault = ada.vault("main").await;
        let secret = secret(&vault, "a", "api_key").await;
        let bot = ada.agent("bot").reads(&vault, "a").make().await;
        let (_, key) = ada.api_key(&json!({"name": "k"})).await;
        settled_in(&ada, &secret).await;
        ada.post("/v1/org/invite", &json!({"email": "bob@example.org"})).expect(200, "bob").await;
        w.ticket("bob@example.org", "You are invited").await;
        w.post("/v1/agents/enroll", &json!({"name": "scout", "human_email": ada.email})).expect(201, "agent_id").await;
        w.ticket(&ada.email, "An agent asks for its key").await;
        ada.post("/v1/security/ip-rules", &json!({"rule_type": "deny", "cidr": "203.0.113.0/24"})).expect(201, "id").await;
        let org = org_of(&w, &ada.email).await;
        let ids = ids_of(&w, &org).await;
        let places = named(&w, &ids).await;
        let others = ["organisations.id", "agents.id", "policies.principal_id", "secrets.vault_id", "invitations.id", "ip_rules.org_id"];
        for place in OF_A_PERSON.iter().chain(&others) {
            assert!(places.iter().any(|named| named == place), "nothing in {place}: {places:?}");
        }
        delete(&ada, &json!({"confirmation": "yes"})).expect(400, "DELETE MY ACCOUNT").await;
        let right = json!({"confirm": "DELETE MY ACCOUNT"});
        delete(&ada.through(&key), &right).expect(403, "log in").await;
        bot.delete("/v1/auth/me").json(&right).expect(403, "people").await;
        delete(&ada, &right).expect(204, "").await;
        ada.get("/v1/auth/me").expect(401, "").await;
        bot.get("/v1/agents/me").expect(401, "").await;
        assert_eq!(login(&w, &ada.email, PASSWORD).await, 401);
        w.mail(&ada.email, "Your account is deleted").await;
        assert_eq!(named(&w, &ids).await, Vec::<String>::new());
        let left: (i64,) = sqlx::query_as("SELECT COUNT(*) FROM tickets").fetch_one(&w.database().await).await.unwrap();
        assert_eq!(left.0, 0, "a link leads to what is gone");
        let trail = sqlx::query_as("SELECT COUNT(*) FROM audit_events WHERE org_id = $1 AND action = 'user.delete'");
        let trail: (i64,) = trail.bind(org).fetch_one(&w.database().await).await.unwrap();
        assert_eq!(trail.0, 1, "the trail is gone");
        // Others are as they were, and the address is free.
        eve.get("/v1/auth/me").expect(200, "eve").await;
        w.owner("ada").await;
        let root = w.operator().await;
        delete(&root, &right).expect(409, "operates this installation").await;
    }
}

both! {
    async fn an_end_that_was_cut_short_is_finished(w: World) {
        let ada = w.owner("ada").await;
        let org = org_of(&w, &ada.email).await;
        let ids = ids_of(&w, &org).await;
        let right = json!({"confirmation": "DELETE MY ACCOUNT"});
        // The rows as they were when the signer had ended the organisation and the gateway died.
        let user: (String, String, Vec<u8>, Vec<u8>) = sqlx::query_as("SELECT id, email, salt, record FROM users WHERE org_id = $1")
            .bind(org.clone()).fetch_one(&w.database().await).await.unwrap();
        delete(&ada, &right).expect(204, "").await;
        let pool = w.database().await;
        sqlx::query("INSERT INTO organisations (id, name, created_at) VALUES ($1, 'x', 1)").bind(org.clone()).execute(&pool).await.unwrap();
        sqlx::query("INSERT INTO users (id, org_id, email, auth_method, email_verified, marketing_emails, salt, record, version, created_at) \
                     VALUES ($1, $2, $3, 'password', 0, 0, $4, $5, 1, 1)")
            .bind(user.0).bind(org.clone()).bind(user.1).bind(user.2).bind(user.3).execute(&pool).await.unwrap();
        delete(&ada, &right).expect(204, "").await;
        assert_eq!(named(&w, &ids).await, Vec::<String>::new());
    }
}

both! {
    async fn a_member_leaves_alone_with_all_that_is_theirs(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let secret = secret(&vault, "a", "api_key").await;
        ada.post("/v1/org/invite", &json!({"email": "bob@example.org"})).expect(200, "bob").await;
        let ticket = w.ticket("bob@example.org", "You are invited").await;
        let body = json!({"email": "bob@example.org", "password": PASSWORD, "invitation": ticket});
        let bob = w.post("/v1/auth/signup", &body).expect(200, "access_token").await;
        let bob = Person::new(&w, "bob@example.org".into(), bob["access_token"].as_str().unwrap().into());
        let id = bob.id().await;
        let policy = json!({"secret_path_pattern": "a", "principal_type": "user", "principal_id": id, "permissions": ["read"]});
        ada.post(&format!("/v1/vaults/{}/policies", vault.id), &policy).expect(201, "id").await;
        let (_, key) = bob.api_key(&json!({"name": "ci"})).await;
        settled_in(&bob, &secret).await;
        // Ada has a link of her own, which stays.
        w.post("/v1/auth/forgot-password", &json!({"email": ada.email})).expect(202, "").await;
        let link = w.ticket(&ada.email, "A new password").await;
        let his = [id];
        let places = named(&w, &his).await;
        for place in OF_A_PERSON.iter().chain(&["policies.principal_id"]) {
            assert!(places.iter().any(|named| named == place), "nothing in {place}: {places:?}");
        }
        delete(&bob, &json!({"confirmation": "DELETE MY ACCOUNT"})).expect(204, "").await;
        assert_eq!(named(&w, &his).await, Vec::<String>::new());
        for token in [&bob.token, &key] {
            bob.through(token).get("/v1/auth/me").expect(401, "").await;
        }
        assert_eq!(login(&w, "bob@example.org", PASSWORD).await, 401);
        // The organisation lives, and what is in it.
        let people = ada.get("/v1/org/members").expect(200, "ada@example.org").await;
        assert_eq!(people["members"].as_array().unwrap().len(), 1, "{people}");
        ada.get(&vault.path("a")).expect(200, "hunter2").await;
        let body = json!({"token": link, "new_password": NEW});
        w.post("/v1/auth/reset-password", &body).expect(204, "").await;
        assert_eq!(login(&w, &ada.email, NEW).await, 200);
    }
}
