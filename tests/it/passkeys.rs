//! Passkeys over REST, with an authenticator that others wrote: added, asked for, good for one thing, lost.

use harness::{Authenticator, Browser, PASSWORD, Person, Value, both, json};
use reqwest::Method;

/// An agent that submits, with a limit.
fn limited(name: &str, limit: &str) -> Value {
    json!({"name": name, "intents_api_enabled": true, "tx_daily_limit_eth": limit})
}

async fn make(ada: &Person<'_>, browser: &mut Browser, body: &Value) -> Value {
    ada.confirmed(browser, || ada.post("/v1/agents", body)).await.expect(201, "agent").await["agent"].clone()
}

both! {
    async fn added_listed_and_taken_away(w: World) {
        let ada = w.owner("ada").await;
        let (mut phone, mut laptop) = (Browser::start(), Browser::start());
        ada.get("/v1/auth/passkeys").expect(200, "[]").await;
        ada.get("/v1/auth/me").expect(200, "\"passkeys_enabled\":false").await;
        let added = ada.enrol(&mut phone).await;
        ada.get("/v1/auth/me").expect(200, "\"passkeys_enabled\":true").await;
        w.restart().await;

        // A second one, confirmed by the first: by the very answer that was shown, and no other.
        let options = ada.post("/v1/auth/passkeys/challenge", &json!({})).expect(200, "challenge").await;
        assert_eq!(options["excludeCredentials"][0]["id"], added["id"]);
        let second = laptop.make(&options).await;
        let refused = ada.post("/v1/auth/passkeys", &second).expect(403, "passkey_required").await;
        assert_eq!(refused["allow_credentials"], json!([added["id"]]));
        let shown = phone.confirm(&refused).await;
        let third = Browser::start().make(&options).await;
        let add = |body: &Value| ada.post("/v1/auth/passkeys", body).header("x-passkey-assertion", &shown);
        add(&third).expect(403, "passkey_required").await;
        add(&second).expect(201, "phone").await;
        let listed = ada.get("/v1/auth/passkeys").expect(200, "phone").await;
        assert_eq!(listed["passkeys"].as_array().unwrap().len(), 2);

        // Any of them takes any away.
        for id in [&added["id"], &second["id"]] {
            let path = format!("/v1/auth/passkeys/{}", id.as_str().unwrap());
            ada.delete(&path).expect(403, "passkey_required").await;
            ada.confirmed(&mut laptop, || ada.delete(&path)).await.expect(204, "").await;
            ada.delete(&path).expect(404, "No such passkey").await;
        }
        ada.get("/v1/auth/me").expect(200, "\"passkeys_enabled\":false").await;
        for action in ["passkey.challenge", "passkey.add", "passkey.remove"] {
            ada.get(&format!("/v1/audit/events?action={action}")).expect(200, action).await;
        }
        w.mail("ada@example.org", "A passkey was added").await;
        w.mail("ada@example.org", "A passkey was taken away").await;
    }
}

both! {
    async fn loosening_takes_a_passkey_and_tightening_none(w: World) {
        let ada = w.owner("ada").await;
        let bot = ada.agent("bot").intents().set("tx_daily_limit_eth", "1").make().await;
        let mut phone = Browser::start();
        ada.enrol(&mut phone).await;
        let path = format!("/v1/agents/{}", bot.id);
        let limit = |limit: &str| ada.patch(&path, &json!({"tx_daily_limit_eth": limit}));
        limit("0.5").expect(200, "\"0.5\"").await;
        let refused = limit("2").expect(403, "passkey_required").await;
        assert_eq!(refused["challenge"].as_str().unwrap().len(), 43);
        let shown = phone.confirm(&refused).await;
        // What was shown is that change, of the agent as it is.
        limit("3").header("x-passkey-assertion", &shown).expect(403, "another challenge").await;
        ada.get(&path).expect(200, "\"0.5\"").await;
        limit("2").header("x-passkey-assertion", &shown).expect(200, "\"2\"").await;
        limit("0.5").expect(200, "\"0.5\"").await;
        limit("2").header("x-passkey-assertion", &shown).expect(403, "another challenge").await;

        // From another site, by nobody's key, or by rubbish: no.
        let refused = limit("2").expect(403, "passkey_required").await;
        let mut phishing = Browser::start();
        phishing.origin = "https://ta1on.example".to_owned();
        let options = ada.post("/v1/auth/passkeys/challenge", &json!({})).expect(200, "challenge").await;
        let mut theirs = options.clone();
        theirs["rp"]["id"] = "ta1on.example".into();
        let made = phishing.make(&theirs).await;
        ada.post("/v1/auth/passkeys", &made).expect(400, "another origin").await;
        let mut asked = refused.clone();
        asked["allow_credentials"] = json!([made["id"]]);
        let shown = phishing.confirm(&asked).await;
        limit("2").header("x-passkey-assertion", &shown).expect(403, "none of your passkeys").await;
        limit("2").header("x-passkey-assertion", "rubbish").expect(400, "X-Passkey-Assertion").await;

        // To stop takes none; to let go on does.
        ada.post(&format!("{path}/suspend"), &json!({})).expect(200, "").await;
        ada.post(&format!("{path}/resume"), &json!({})).expect(403, "passkey_required").await;
        let resume = || ada.post(&format!("{path}/resume"), &json!({}));
        ada.confirmed(&mut phone, resume).await.expect(200, "").await;
    }
}

both! {
    async fn an_agent_that_submits_is_made_with_a_passkey_each_anew(w: World) {
        let ada = w.owner("ada").await;
        let (_, key) = ada.api_key(&json!({"name": "ci"})).await;
        let mut phone = Browser::start();
        ada.enrol(&mut phone).await;
        ada.agent("reader").make().await;
        let body = limited("bot", "1");
        let refused = ada.post("/v1/agents", &body).expect(403, "passkey_required").await;
        let shown = phone.confirm(&refused).await;
        let with = |body: &Value| ada.post("/v1/agents", body).header("x-passkey-assertion", &shown);
        with(&limited("bot", "9")).expect(403, "passkey_required").await;
        with(&body).expect(201, "bot").await;
        with(&body).expect(403, "passkey_required").await;
        make(&ada, &mut phone, &limited("other", "1")).await;
        // A program of hers can't.
        ada.through(&key).post("/v1/agents", &body).expect(403, "passkey_required").await;
    }
}

both! {
    async fn only_people_in_person_change_them(w: World) {
        let ada = w.owner("ada").await;
        let bot = ada.agent("bot").make().await;
        let (_, key) = ada.api_key(&json!({"name": "ci"})).await;
        let body = json!({"name": "x", "id": "AA", "clientDataJSON": "AA", "attestationObject": "AA"});
        for (method, path) in [
            (Method::POST, "/v1/auth/passkeys/challenge"), (Method::POST, "/v1/auth/passkeys"),
            (Method::DELETE, "/v1/auth/passkeys/AA"),
        ] {
            bot.call(method.clone(), path).json(&body).expect(403, "for people").await;
            ada.through(&key).call(method, path).json(&body).expect(403, "API key").await;
        }
        bot.get("/v1/auth/passkeys").expect(403, "for people").await;
        ada.post("/v1/auth/passkeys", &body).expect(400, "begin with").await;
        ada.delete("/v1/auth/passkeys/AA").expect(404, "No such passkey").await;
    }
}

both! {
    /// Whoever writes to the database has no passkey by that, and takes none away.
    async fn a_database_without_them_lets_nobody_through(w: World) {
        let (ada, eve) = (w.owner("ada").await, w.owner("eve").await);
        let bot = ada.agent("bot").intents().set("tx_daily_limit_eth", "1").make().await;
        let (mut phone, mut theirs) = (Browser::start(), Browser::start());
        ada.enrol(&mut phone).await;
        eve.enrol(&mut theirs).await;
        let path = format!("/v1/agents/{}", bot.id);
        let loosen = || ada.patch(&path, &json!({"tx_daily_limit_eth": "2"}));
        let refused = loosen().expect(403, "passkey_required").await;
        let honest = phone.confirm(&refused).await;
        w.sql("UPDATE passkeys SET statement = (SELECT p.statement FROM passkeys p JOIN users u ON u.id = p.user_id \
               WHERE u.email = 'eve@example.org')").await;
        let refused = loosen().expect(403, "passkey_required").await;
        let shown = theirs.confirm(&refused).await;
        loosen().header("x-passkey-assertion", &shown).expect(403, "operator must look").await;
        w.sql("DELETE FROM passkeys").await;
        loosen().expect(403, "passkey_required").await;
        loosen().header("x-passkey-assertion", &honest).expect(403, "passkey_required").await;
    }
}

both! {
    async fn lost_ones_are_forgotten_at_the_signer(w: World) {
        let ada = w.owner("ada").await;
        let id = ada.id().await;
        let bot = ada.agent("bot").intents().set("tx_daily_limit_eth", "1").make().await;
        let mut phone = Browser::start();
        ada.enrol(&mut phone).await;
        drop(phone);
        let path = format!("/v1/agents/{}", bot.id);
        let limit = |limit: &str| ada.patch(&path, &json!({"tx_daily_limit_eth": limit}));
        limit("2").expect(403, "passkey_required").await;
        let forget = async || {
            let folder = w.data().join("signer");
            let mut command = harness::talon();
            command.args(["signer", "forget-passkeys", &id, "--data"]).arg(&folder);
            tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
        };
        let running = forget().await;
        assert!(String::from_utf8_lossy(&running.stderr).contains("in use"), "{running:?}");
        assert_eq!(w.end(), Some(0));
        let stopped = forget().await;
        assert!(stopped.status.success(), "{stopped:?}");
        w.restart().await;
        let login = json!({"email": ada.email, "password": PASSWORD});
        let back = w.post("/v1/auth/token", &login).expect(200, "access_token").await;
        let ada = ada.through(back["access_token"].as_str().unwrap());
        ada.patch(&path, &json!({"tx_daily_limit_eth": "2"})).expect(200, "\"2\"").await;
        let mut found = Browser::start();
        ada.enrol(&mut found).await;
        let listed = ada.get("/v1/auth/passkeys").expect(200, "phone").await;
        assert_eq!(listed["passkeys"].as_array().unwrap().len(), 1, "{listed}");
        let loosen = || ada.patch(&path, &json!({"tx_daily_limit_eth": "3"}));
        ada.confirmed(&mut found, loosen).await.expect(200, "\"3\"").await;
    }
}

both! {
    /// What would outlive a stolen session: credentials, people who rule, and the end.
    async fn keys_and_people_who_rule_take_a_passkey(w: World) {
        let ada = w.owner("ada").await;
        let bot = ada.agent("bot").make().await;
        let bob = joined(&ada, "bob").await;
        let mut phone = Browser::start();
        ada.enrol(&mut phone).await;
        let rotate = || ada.post(&format!("/v1/agents/{}/rotate-key", bot.id), &json!({}));
        rotate().expect(403, "passkey_required").await;
        bot.get("/v1/agents/me").expect(200, "bot").await;
        ada.confirmed(&mut phone, rotate).await.expect(200, "ocv_").await;
        bot.get("/v1/agents/me").expect(401, "").await;
        let key = |name: &str| ada.post("/v1/auth/api-keys", &json!({"name": name, "scopes": ["a/**"]}));
        let refused = key("ci").expect(403, "passkey_required").await;
        let shown = phone.confirm(&refused).await;
        key("ci").header("x-passkey-assertion", &shown).expect(201, "1ck_").await;
        key("ci").header("x-passkey-assertion", &shown).expect(403, "another challenge").await;
        let invite = |email: &str, role: &str| ada.post("/v1/org/invite", &json!({"email": email, "role": role}));
        invite("cleo@example.org", "member").expect(200, "").await;
        for role in ["admin", "owner"] {
            let refused = invite("zoe@example.org", role).expect(403, "passkey_required").await;
            let shown = phone.confirm(&refused).await;
            invite("eve@example.org", role).header("x-passkey-assertion", &shown).expect(403, "another challenge").await;
            invite("zoe@example.org", role).header("x-passkey-assertion", &shown).expect(200, "zoe").await;
            invite("zoe@example.org", role).header("x-passkey-assertion", &shown).expect(403, "another challenge").await;
        }
        let role = |role: &str| ada.patch(&format!("/v1/org/members/{bob}"), &json!({"role": role}));
        let refused = role("admin").expect(403, "passkey_required").await;
        let shown = phone.confirm(&refused).await;
        role("owner").header("x-passkey-assertion", &shown).expect(403, "another challenge").await;
        role("admin").header("x-passkey-assertion", &shown).expect(200, "admin").await;
        role("member").expect(200, "member").await;
    }
}

both! {
    async fn an_account_and_an_organisation_end_by_a_passkey_each(w: World) {
        let ada = w.owner("ada").await;
        let bob = joined(&ada, "bob").await;
        ada.patch(&format!("/v1/org/members/{bob}"), &json!({"role": "owner"})).expect(200, "owner").await;
        let mut phone = Browser::start();
        ada.enrol(&mut phone).await;
        let delete = || ada.delete("/v1/auth/me").json(&json!({"confirmation": "DELETE MY ACCOUNT"}));
        let refused = delete().expect(403, "passkey_required").await;
        let leaves = phone.confirm(&refused).await;
        // Who meant to leave alone ends nobody's organisation.
        ada.delete(&format!("/v1/org/members/{bob}")).expect(204, "").await;
        delete().header("x-passkey-assertion", &leaves).expect(403, "another challenge").await;
        ada.get("/v1/auth/me").expect(200, "ada").await;
        ada.confirmed(&mut phone, delete).await.expect(204, "").await;
        ada.get("/v1/auth/me").expect(401, "").await;
    }
}

both! {
    /// Else a stolen session locks its person out, by an authenticator of the thief's.
    async fn a_second_factor_is_switched_on_by_a_passkey(w: World) {
        let ada = w.owner("ada").await;
        let mut phone = Browser::start();
        ada.enrol(&mut phone).await;
        let verify = |code: &Value| ada.post("/v1/auth/mfa/verify-setup", code);
        let code = first_code(&ada).await;
        let refused = verify(&code).expect(403, "passkey_required").await;
        let shown = phone.confirm(&refused).await;
        // What was shown is that secret, and no other.
        let code = first_code(&ada).await;
        verify(&code).header("x-passkey-assertion", &shown).expect(403, "another challenge").await;
        ada.get("/v1/auth/mfa/status").expect(200, "false").await;
        ada.confirmed(&mut phone, || verify(&code)).await.expect(200, "recovery_codes").await;
        ada.get("/v1/auth/mfa/status").expect(200, "true").await;
    }
}

both! {
    async fn a_vault_is_deleted_by_a_passkey_whatever_the_token(w: World) {
        let ada = w.owner("ada").await;
        let (_, key) = ada.api_key(&json!({"name": "ci"})).await;
        let (main, other) = (ada.vault("main").await, ada.vault("other").await);
        main.put("api/token", "api_key", "v").await;
        let mut phone = Browser::start();
        ada.enrol(&mut phone).await;
        let program = ada.through(&key);
        let [main_path, other_path] = [&main, &other].map(|vault| format!("/v1/vaults/{}", vault.id));
        program.delete(&main_path).expect(403, "passkey_required").await;
        let refused = ada.delete(&main_path).expect(403, "passkey_required").await;
        let shown = phone.confirm(&refused).await;
        ada.delete(&other_path).header("x-passkey-assertion", &shown).expect(403, "another challenge").await;
        ada.get(&main.path("api/token")).expect(200, "v").await;
        ada.delete(&main_path).header("x-passkey-assertion", &shown).expect(204, "").await;
        ada.get(&main.path("api/token")).expect(404, "").await;
        ada.get(&other_path).expect(200, "other").await;
        program.confirmed(&mut phone, || program.delete(&other_path)).await.expect(204, "").await;
    }
}

/// Begins a second factor; the body with its first code.
async fn first_code(ada: &Person<'_>) -> Value {
    let setup = ada.post("/v1/auth/mfa/setup", &json!({})).expect(200, "secret").await;
    json!({"code": Authenticator::new(setup["secret"].as_str().unwrap()).code(0).await})
}

/// Brings a new member into somebody's organisation; their id.
async fn joined(by: &Person<'_>, name: &str) -> String {
    let email = format!("{name}@example.org");
    by.post("/v1/org/invite", &json!({"email": email})).expect(200, name).await;
    let ticket = by.world.ticket(&email, "You are invited").await;
    let body = json!({"email": email, "password": PASSWORD, "invitation": ticket});
    let answer = by.world.post("/v1/auth/signup", &body).expect(200, "access_token").await;
    by.through(answer["access_token"].as_str().unwrap()).id().await
}
