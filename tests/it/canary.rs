//! Marked values, keys and passwords go through every operation, over REST and MCP, with logs at their most talkative.
//! Afterwards they are in no log, answer, row, mail or file, but where they were asked for, and a moment later not in the
//! gateway's memory either.

mod marks;
mod memory;

use std::path::Path;
use std::time::Duration;

use harness::{ADDRESSES, Agent, CustomerKey, Database, Person, Reply, Value, Vault, World, json};
use reqwest::Method;
use sqlx::AssertSqlSafe;

use self::marks::{Marks, escaped};
use crate::shares::{asked, at};

const VALUE: &str = "mArKeD\"vAlUe/8Zq3+wK";
const ROTATED: &str = "mArKeD-rOtAtEd-5TgP1x";
const VARIABLE: &str = "mArKeD-vArIaBlE-c7Rb2";
const PASSWORD: &str = "mArKeD-pAsSwOrD-Hn40e";
const NEW_PASSWORD: &str = "mArKeD-nExT-pass-Vd93s";
/// A private key of no account, in hex.
const KEY: &str = "d3b1f0a97c5e4826b8d09e6f41a7c35298fe0d6b4a1c73e5f2098b6d7e4c1a35";
const CUSTOMER: CustomerKey = CustomerKey(*b"mArKeD-cUsToMeR-kEy-of-32-bytes!");
const NEXT_CUSTOMER: CustomerKey = CustomerKey(*b"mArKeD-tHe-nExT-kEy-of-32-bytes!");
/// What the customer encrypted: neither it nor its ciphertext in the clear.
const PLAIN: &str = "mArKeD-pLaIn-tExT-9Lw2u";
const PASSPHRASE: &str = "mArKeD-pAsSpHrAsE-Jq7yD";
const NOBODY: &str = "01890000-0000-7000-8000-000000000000";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite() {
    nothing_leaks(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    nothing_leaks(Database::Postgres).await;
}

/// Answers that must not hold a mark.
struct Answers<'m> {
    marks: &'m Marks,
    count: usize,
}

impl Answers<'_> {
    fn clean(&mut self, what: &str, reply: &Reply) {
        self.marks.absent(&format!("the answer to {what} ({})", reply.status), reply.text.as_bytes());
        self.count += 1;
    }
}

async fn nothing_leaks(database: Database) {
    let w = World::on(database).chain().with("TALON_LOG", "trace").start().await;
    let key = hex::decode(KEY).unwrap();
    let mut secrets: Vec<(&str, &[u8])> = vec![
        ("the value", VALUE.as_bytes()),
        ("the rotated value", ROTATED.as_bytes()),
        ("the variable", VARIABLE.as_bytes()),
        ("the password", PASSWORD.as_bytes()),
        ("the new password", NEW_PASSWORD.as_bytes()),
        ("the private key", &key),
        ("the customer's key", &CUSTOMER.0),
        ("the customer's next key", &NEXT_CUSTOMER.0),
        ("what the customer encrypted", PLAIN.as_bytes()),
        ("the passphrase of a share", PASSPHRASE.as_bytes()),
    ];
    let body = json!({"email": "ada@example.org", "password": PASSWORD, "display_name": "ada"});
    let token = w.post("/v1/auth/signup", &body).expect(200, "access_token").await["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let ada = harness::Person::new(&w, "ada@example.org".into(), token);
    let (_, personal) = ada.api_key(&json!({"name": "k"})).await;
    let vault = ada.vault("main").await;
    let sealed = ada.vault("customer").await;
    let bot = ada.agent("bot").reads(&vault, "**").make().await;
    let sender = ada.agent("sender").intents().reads(&vault, "keys/**").make().await;
    let (bots_key, senders_key, token) = (bot.key.clone(), sender.key.clone(), ada.token.clone());
    secrets.extend([
        ("a personal API key", personal.as_bytes()),
        ("an agent's key", bots_key.as_bytes()),
        ("an agent's key", senders_key.as_bytes()),
        ("an access token", token.as_bytes()),
    ]);
    let marks = Marks::new(&secrets);
    let mut answers = Answers { marks: &marks, count: 0 };

    // What is meant to be done with them; what gives a value out is named by its status alone.
    answers
        .clean("put", &ada.put(&vault.path("a"), &json!({"value": VALUE, "type": "password"})).reply().await);
    ada.get(&vault.path("a")).expect(200, &escaped(VALUE)).await;
    answers.clean(
        "rotate",
        &ada.post(&format!("/v1/vaults/{}/rotate/a", vault.id), &json!({"value": ROTATED})).reply().await,
    );
    bot.get(&vault.path("a")).expect(200, ROTATED).await;
    bot.tool_in(Some(&vault.id), "get_secret", &json!({"path": "a"})).await.expect(ROTATED);
    answers.clean(
        "bundle",
        &ada.put(&vault.path("env"), &json!({"value": format!("A={VARIABLE}"), "type": "env_bundle"}))
            .reply()
            .await,
    );
    ada.get(&format!("/v1/vaults/{}/env/env", vault.id)).expect(200, VARIABLE).await;
    answers.clean(
        "key",
        &ada.put(&vault.path("keys/local-signer"), &json!({"value": KEY, "type": "private_key"}))
            .reply()
            .await,
    );
    answers.clean("transaction", &sender.send(ADDRESSES[1], "0.1").reply().await);
    answers.clean("key refused", &sender.get(&vault.path("keys/local-signer")).reply().await);
    for bad in [
        json!({"value": VALUE, "type": VALUE}),
        json!({"value": [VALUE]}),
        json!({"value": VALUE, "expires_at": VALUE}),
        json!([VALUE]),
    ] {
        answers.clean("put, refused", &ada.put(&vault.path("bad"), &bad).reply().await);
    }
    answers.clean(
        "no JSON",
        &ada.call(Method::PUT, &vault.path("bad"))
            .header("content-type", "application/json")
            .body(format!("{{{VALUE}"))
            .reply()
            .await,
    );
    let cmek = format!("/v1/vaults/{}/cmek", sealed.id);
    answers.clean("cmek", &ada.post(&cmek, &json!({"fingerprint": CUSTOMER.fingerprint()})).reply().await);
    answers.clean("cmek, refused", &ada.put(&sealed.path("a"), &json!({"value": VALUE})).reply().await);
    answers.clean(
        "encrypted",
        &ada.put(&sealed.path("a"), &json!({"value": CUSTOMER.encrypt(PLAIN)})).reply().await,
    );
    let rotate = |old: &CustomerKey, new: &CustomerKey, print: &str| {
        ada.post(&format!("{cmek}-rotate"), &json!({"new_fingerprint": print}))
            .header("x-cmek-old-key", &old.header())
            .header("x-cmek-new-key", &new.header())
    };
    answers.clean("keys, refused", &rotate(&CUSTOMER, &NEXT_CUSTOMER, &CUSTOMER.fingerprint()).reply().await);
    answers.clean("keys, refused", &rotate(&NEXT_CUSTOMER, &CUSTOMER, &CUSTOMER.fingerprint()).reply().await);
    let job = rotate(&CUSTOMER, &NEXT_CUSTOMER, &NEXT_CUSTOMER.fingerprint()).expect(202, "running").await;
    let job = format!("{cmek}-rotate/{}", job["id"].as_str().unwrap());
    while ada.get(&job).expect(200, "status").await["status"] == "running" {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let changed = ada.get(&sealed.path("a")).expect(200, "cmek_encrypted").await;
    assert_eq!(NEXT_CUSTOMER.decrypt(changed["value"].as_str().unwrap()).as_deref(), Some(PLAIN));

    shared(&w, &ada, &vault, &mut answers).await;

    every_tool(&bot, &vault.id, &mut answers).await;
    every_tool(&sender, &vault.id, &mut answers).await;
    every_operation(&w, &ada, &vault.id, &bot.id, &mut answers).await;
    // Good and bad credentials where they belong; the answers hold fresh tokens, none of the marks.
    for password in [NEW_PASSWORD, PASSWORD] {
        answers.clean(
            "login",
            &w.post("/v1/auth/token", &json!({"email": ada.email, "password": password})).reply().await,
        );
    }
    answers.clean(
        "agent",
        &w.post("/v1/auth/agent-token", &json!({"agent_id": bot.id, "api_key": VALUE})).reply().await,
    );
    let change = json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD});
    answers.clean("change", &ada.post("/v1/auth/change-password", &change).reply().await);
    every_end(&w, &ada, [&vault, &sealed], &bot, &mut answers).await;
    assert!(answers.count > 120, "{}", answers.count);

    // Logs and mails are written behind.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let said = w.said();
    let talkative = ["TRACE", "DEBUG"].iter().any(|level| said.contains(level));
    assert!(talkative && said.len() > 20_000, "the log says little: {} bytes", said.len());
    marks.absent("the log", said.as_bytes());
    assert!(files(&w.data(), &marks) > 3);
    if database == Database::Postgres {
        rows(&w, &marks).await;
    }
    memory::forgets(&w, &marks).await;
}

/// A share with a passphrase: made, opened with it and without, from where an address may be kept and where not.
async fn shared(w: &World, ada: &Person<'_>, vault: &Vault<'_>, answers: &mut Answers<'_>) {
    let secret = vault.put("shared", "generic", VALUE).await["id"].as_str().unwrap().to_owned();
    let terms = json!({"recipient_type": "anyone_with_link", "passphrase": PASSPHRASE});
    let made = asked(ada, &secret, terms).reply().await;
    answers.clean("share", &made);
    let link = at(made.body["id"].as_str().unwrap());
    w.get(&link).header("x-share-passphrase", PASSPHRASE).expect(200, &escaped(VALUE)).await;
    w.get(&format!("{link}?passphrase={PASSPHRASE}")).expect(200, &escaped(VALUE)).await;
    answers.clean("open, refused", &w.get(&link).header("x-share-passphrase", ROTATED).reply().await);
    answers.clean("open, refused", &w.get(&link).reply().await);
    answers.clean("shares", &ada.get("/v1/shares/outbound").reply().await);
}

/// What ends what the others need, last of all, each by somebody who may.
async fn every_end(
    w: &World,
    ada: &Person<'_>,
    [vault, sealed]: [&Vault<'_>; 2],
    bot: &Agent<'_>,
    answers: &mut Answers<'_>,
) {
    // A new password has ended the tokens from before.
    let body = json!({"email": ada.email, "password": NEW_PASSWORD});
    let token = w.post("/v1/auth/token", &body).expect(200, "access_token").await;
    let ada = ada.through(token["access_token"].as_str().unwrap());
    let agent = format!("/v1/agents/{}", bot.id);
    let body = json!({"value": VALUE, "password": NEW_PASSWORD, "current_password": NEW_PASSWORD, "api_key": bot.key});
    // These have no body, and refuse one.
    for path in [format!("{agent}/rotate-key"), "/v1/agents/suspend-all".to_owned()] {
        let refused = ada.post(&path, &body).reply().await;
        assert_eq!(refused.status, 400, "{path}: {}", refused.text);
        answers.clean(&path, &refused);
        let reply = ada.call(Method::POST, &path).reply().await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text);
        answers.clean(&path, &reply);
    }
    let ends = [
        (Method::DELETE, format!("/v1/vaults/{}/cmek", sealed.id), 200),
        (Method::DELETE, agent, 204),
        (Method::DELETE, format!("/v1/vaults/{}", vault.id), 204),
    ];
    for (method, path, status) in ends {
        let reply = ada.call(method, &path).json(&body).reply().await;
        assert_eq!(reply.status, status, "{path}: {}", reply.text);
        answers.clean(&path, &reply);
    }
    let spare = w
        .post("/v1/auth/token", &json!({"email": ada.email, "password": NEW_PASSWORD}))
        .expect(200, "")
        .await;
    let spare = ada.through(spare["access_token"].as_str().unwrap());
    answers.clean("revokeToken", &spare.call(Method::DELETE, "/v1/auth/token").json(&body).reply().await);
    let mut confirmed = body;
    confirmed["confirmation"] = "DELETE MY ACCOUNT".into();
    let reply = ada.call(Method::DELETE, "/v1/auth/me").json(&confirmed).reply().await;
    assert_eq!(reply.status, 204, "{}", reply.text);
    answers.clean("deleteMe", &reply);
}

async fn every_tool(bot: &Agent<'_>, vault: &str, answers: &mut Answers<'_>) {
    for name in bot.tools().await {
        // What gives out a value is asked for one that is not there.
        let arguments = json!({"path": "none", "value": VALUE, "vault_id": NOBODY, "metadata": VALUE});
        let call =
            bot.mcp("tools/call", &json!({"name": name, "arguments": arguments})).header("x-vault-id", vault);
        answers.clean(&format!("the tool {name}"), &call.reply().await);
        let good = json!({"path": "by-tool", "value": VALUE});
        if name == "put_secret" || name == "rotate_and_store" {
            let call =
                bot.mcp("tools/call", &json!({"name": name, "arguments": good})).header("x-vault-id", vault);
            answers.clean(&format!("the tool {name}"), &call.reply().await);
        }
    }
}

/// Each once, with marks in every field that takes a secret.
async fn every_operation(w: &World, ada: &Person<'_>, vault: &str, agent: &str, answers: &mut Answers<'_>) {
    let fields = [
        "value",
        "password",
        "current_password",
        "new_password",
        "api_key",
        "token",
        "code",
        "mfa_token",
        "id_token",
        "device_code",
        "ticket",
        "invitation",
        "user_code",
        "type",
        "expires_at",
        "conditions",
        "fingerprint",
        "new_fingerprint",
    ];
    let output = harness::talon().arg("openapi").output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            // Those that would end what the others need are asked without a token here, and refused: `every_end` does them.
            let ends = [
                "deleteMe",
                "revokeToken",
                "suspendAllAgents",
                "deleteVault",
                "deleteAgent",
                "rotateAgentKey",
                "disableCmek",
            ];
            let token = (!ends.contains(&id)).then_some(ada.token.as_str());
            let mut at =
                path.replace("{vault_id}", vault).replace("{agent_id}", agent).replace("{path}", "none");
            while let (Some(from), Some(to)) = (at.find('{'), at.find('}')) {
                at.replace_range(from..=to, NOBODY);
            }
            let call = w.call(method.to_uppercase().parse().unwrap(), &at, token);
            // One that it does not know could be refused before the others are looked at.
            let known = super::bodies::fields(&document, operation);
            let body = fields.iter().filter(|field| known.iter().any(|name| name == *field));
            let body: serde_json::Map<_, _> =
                body.map(|field| ((*field).to_owned(), Value::from(VALUE))).collect();
            let call =
                if operation.get("requestBody").is_some() { call.json(&Value::from(body)) } else { call };
            let call = call.header("x-cmek-old-key", ROTATED).header("x-cmek-new-key", ROTATED);
            answers.clean(id, &call.reply().await);
        }
    }
}

/// How many files were searched.
fn files(folder: &Path, marks: &Marks) -> usize {
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let kind = std::fs::symlink_metadata(&path).unwrap().file_type();
        if kind.is_dir() {
            count += files(&path, marks);
        } else if kind.is_file() {
            marks.absent(&path.display().to_string(), &std::fs::read(&path).unwrap());
            count += 1;
        }
    }
    count
}

/// Every row of every table, bytes in hex.
async fn rows(w: &World, marks: &Marks) {
    let pool = w.database().await;
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT CAST(table_name AS TEXT) FROM information_schema.tables WHERE table_schema = 'public'",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert!(tables.len() > 20, "{tables:?}");
    for table in tables {
        let all = AssertSqlSafe(format!("SELECT CAST(t AS TEXT) FROM \"{table}\" AS t"));
        let rows: Vec<String> = sqlx::query_scalar(all).fetch_all(&pool).await.unwrap();
        marks.absent(&format!("the table {table}"), rows.join("\n").as_bytes());
    }
}
