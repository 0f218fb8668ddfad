//! Transactions that people must approve: what asks for it, who decides, and what becomes of them.

use std::time::Duration;

use futures::future::join_all;
use harness::{ADDRESSES, Agent, Call, Person, Value, Vault, World, both, json};

use crate::approvals::{approve, count, member, step};

/// A vault with anvil's first key at the default path.
pub async fn funded<'p>(ada: &'p Person<'p>) -> Vault<'p> {
    let vault = ada.vault("main").await;
    vault.put_key("keys/local-signer", 0).await;
    vault
}

/// An agent under this policy.
pub async fn careful<'p>(ada: &'p Person<'p>, vault: &Vault<'_>, policy: Value) -> Agent<'p> {
    ada.agent("bot").intents().set("tx_approval_policy", policy).reads(vault, "keys/**").make().await
}

/// Submits a transfer that waits: its id, and its approval's.
pub async fn waits(bot: &Agent<'_>, value: &str) -> (String, String) {
    ids(&bot.send(ADDRESSES[1], value).expect(202, "awaiting_approval").await)
}

pub fn ids(waiting: &Value) -> (String, String) {
    assert_eq!(waiting["status"], "awaiting_approval", "{waiting}");
    assert!(waiting.get("nonce").is_none() && waiting.get("signed_tx").is_none(), "{waiting}");
    let text = |field: &str| waiting[field].as_str().unwrap().to_owned();
    (text("id"), text("approval_id"))
}

pub async fn sent(w: &World) -> usize {
    w.anvil().await.sent_by(ADDRESSES[0]).await.len()
}

fn keyed(bot: &Agent<'_>, key: &str) -> Call {
    bot.send(ADDRESSES[1], "1").header("idempotency-key", key)
}

both! {
    with chain,
    async fn it_waits_for_a_person_and_is_sent_once(w: World) {
        let ada = w.owner("ada").await;
        let vault = funded(&ada).await;
        let bot = careful(&ada, &vault, json!({"always": true})).await;
        let mut told = w.listen(&bot.token, None).await;
        let waiting = keyed(&bot, "k").expect(202, "").await;
        let (tx, id) = ids(&waiting);
        assert_eq!(told.hears("approval.requested").await.data["transaction_id"], json!(tx));
        // The same request finds the same transaction, however often.
        assert_eq!(keyed(&bot, "k").expect(202, "").await["id"], json!(tx));
        let shown = ada.get(&format!("/v1/approvals/{id}")).expect(200, "pending").await;
        for (field, value) in [
            ("kind", json!("transaction")), ("target_type", json!("transaction")), ("target_id", json!(tx)),
            ("requester_type", json!("agent")), ("agent_id", json!(bot.id)), ("required", json!(1)), ("given", json!(0)),
            ("causes", json!(["always"])), ("risk_tier", json!("low")),
        ] {
            assert_eq!(shown[field], value, "{field}: {shown}");
        }
        let summary = shown["summary"].as_str().unwrap();
        assert!(summary.starts_with("Pay 1 ") && summary.contains(ADDRESSES[1]) && summary.contains("local"), "{summary}");
        let what = &shown["transaction"];
        assert_eq!((&what["to"], &what["value_wei"], &what["from"]), (&json!(ADDRESSES[1]), &json!("1000000000000000000"), &json!(ADDRESSES[0])));
        let mail = w.mail("ada@example.org", "A transaction waits for your approval").await;
        assert!(mail.contains("\"bot\"") && mail.contains(ADDRESSES[1]), "{mail}");
        assert_eq!(sent(&w).await, 0);
        // What was shown, and nothing else.
        let hash = shown["intent_hash"].as_str().unwrap();
        let other = json!({"intent_hash": "00".repeat(32)});
        ada.post(&step(&id, "approve"), &other).expect(409, "intent_hash").await;
        let approved = ada.post(&step(&id, "approve"), &json!({"intent_hash": hash})).expect(200, "approved").await;
        assert_eq!((&approved["status"], &approved["given"], &approved["uses"]), (&json!("approved"), &json!(1), &json!(1)));
        assert_eq!(told.hears("approval.approved").await.data["id"], json!(id));
        let done = bot.until(&tx, "confirmed").await;
        assert_eq!((&done["approval_id"], &done["nonce"]), (&json!(id), &json!(0)));
        assert_eq!(keyed(&bot, "k").expect(200, "confirmed").await["id"], json!(tx));
        ada.post(&step(&id, "approve"), &json!({})).expect(409, "approved already").await;
        ada.post(&step(&id, "deny"), &json!({})).expect(409, "approved already").await;
        assert_eq!(sent(&w).await, 1);
    }
}

both! {
    with chain,
    async fn each_cause_asks(w: World) {
        let ada = w.owner("ada").await;
        let vault = funded(&ada).await;
        let bot = careful(&ada, &vault, json!({"above_eth": "1"})).await;
        let at = format!("/v1/agents/{}", bot.id);
        let policy = async |policy: Value| ada.patch(&at, &json!({"tx_approval_policy": policy})).expect(200, "").await;
        let cause = async |body: Value| {
            let (_, id) = ids(&bot.submit(&body).expect(202, "").await);
            let shown = ada.post(&step(&id, "deny"), &json!({})).expect(200, "denied").await;
            (shown["causes"].clone(), shown["risk_tier"].as_str().unwrap().to_owned())
        };
        let pay = |to: &str, value: &str| json!({"to": to, "value": value, "chain": "local", "gas_limit": 100_000});
        bot.submit(&pay(ADDRESSES[1], "1")).expect(201, "").await;
        assert_eq!(cause(pay(ADDRESSES[1], "1.000000000000000001")).await, (json!(["above_eth"]), "medium".into()));
        policy(json!({"new_recipient": true})).await;
        bot.submit(&pay(ADDRESSES[1], "0.1")).expect(201, "").await;
        assert_eq!(cause(pay(ADDRESSES[2], "0.1")).await, (json!(["new_recipient"]), "high".into()));
        policy(json!({"contract_call": true})).await;
        bot.submit(&pay(ADDRESSES[2], "0.1")).expect(201, "").await;
        let mut call = pay(ADDRESSES[2], "0");
        call["data"] = json!("0x12345678");
        assert_eq!(cause(call).await, (json!(["contract_call"]), "medium".into()));
        // A simulation that there was not, or that fails.
        policy(json!({"simulation": true})).await;
        assert_eq!(cause(pay(ADDRESSES[2], "0.1")).await, (json!(["simulation"]), "high".into()));
        let mut simulated = pay(ADDRESSES[2], "0.1");
        simulated["simulate_first"] = json!(true);
        bot.submit(&simulated).expect(201, "").await;
        let reverts = "0x00000000000000000000000000000000000c0de1";
        w.anvil().await.ask("anvil_setCode", json!([reverts, "0x60006000fd"])).await;
        let mut fails = json!({"to": reverts, "value": "0", "chain": "local", "simulate_first": true});
        let refused = bot.submit(&fails).reply().await;
        assert_eq!((refused.status, &refused.body["status"]), (422, &json!("simulation_failed")), "{}", refused.text);
        assert!(refused.text.contains("with a gas_limit of yours"), "{}", refused.text);
        fails["gas_limit"] = json!(100_000);
        assert_eq!(cause(fails).await.0, json!(["simulation"]));
        policy(Value::Null).await;
        bot.submit(&pay(ADDRESSES[3], "2")).expect(201, "").await;
    }
}

both! {
    with chain,
    async fn who_decides_on_transactions(w: World) {
        let (ada, eve) = (w.owner("ada").await, w.owner("eve").await);
        let (bob, cleo) = (member(&ada, "bob", "admin").await, member(&ada, "cleo", "member").await);
        let vault = funded(&ada).await;
        let bot = careful(&ada, &vault, json!({"always": true, "approvals": 2})).await;
        let other = ada.agent("other").make().await;
        let (tx, id) = waits(&bot, "1").await;
        let (_, key) = ada.api_key(&json!({"name": "k"})).await;
        let device = device(&w, &ada).await;
        for (verb, body) in [("approve", json!({})), ("deny", json!({})), ("decide", json!({"decision": "approve"}))] {
            bot.post(&step(&id, verb), &body).expect(403, "Agents may not").await;
            other.post(&step(&id, verb), &body).expect(403, "Agents may not").await;
            cleo.post(&step(&id, verb), &body).expect(403, "Owners and admins").await;
            ada.through(&key).post(&step(&id, verb), &body).expect(403, "").await;
            ada.through(&device).post(&step(&id, verb), &body).expect(403, "").await;
            eve.post(&step(&id, verb), &body).expect(404, "No such approval").await;
        }
        other.get(&format!("/v1/approvals/{id}")).expect(404, "").await;
        // One yes is not enough for two, nor is it when said twice.
        assert_eq!(approve(&ada, &id).await["status"], "pending");
        ada.post(&step(&id, "approve"), &json!({})).expect(409, "somebody else").await;
        assert_eq!(bot.get(&format!("{}/{tx}", bot.transactions())).expect(200, "").await["status"], "awaiting_approval");
        assert_eq!(sent(&w).await, 0);
        let decided = bob.post(&step(&id, "decide"), &json!({"decision": "approve"})).expect(200, "approved").await;
        assert_eq!(decided["given"], 2);
        bot.until(&tx, "confirmed").await;
    }
}

/// A token that a device's login has led to.
async fn device(w: &World, ada: &Person<'_>) -> String {
    let begun = w.post("/v1/auth/device/code", &json!({"client_id": "tv"})).expect(200, "").await;
    ada.post("/v1/auth/device/approve", &json!({"user_code": begun["user_code"]})).expect(200, "").await;
    let body = json!({"device_code": begun["device_code"], "grant_type": "urn:ietf:params:oauth:grant-type:device_code"});
    let given = w.post("/v1/auth/device/token", &body).expect(200, "access_token").await;
    given["access_token"].as_str().unwrap().to_owned()
}

both! {
    with chain,
    /// What waits counts against the daily limit, until it is denied, taken back or expires.
    async fn denied_taken_back_and_expired_are_never_sent(w: World) {
        let ada = w.owner("ada").await;
        let vault = funded(&ada).await;
        let policy = json!({"always": true, "wait_seconds": 60});
        let bot = ada.agent("bot").intents().set("tx_approval_policy", policy).set("tx_daily_limit_eth", "1").reads(&vault, "keys/**").make().await;
        let see = async |tx: &str| bot.get(&format!("{}/{tx}", bot.transactions())).expect(200, "").await;
        let full = async || bot.send(ADDRESSES[1], "0.1").expect(403, "tx_daily_limit_eth").await;

        let (denied, id) = waits(&bot, "1").await;
        full().await;
        ada.post(&step(&id, "deny"), &json!({"reason": "too much"})).expect(200, "denied").await;
        let seen = see(&denied).await;
        assert_eq!(seen["status"], "denied", "{seen}");
        assert!(seen["error_message"].as_str().unwrap().contains("too much"), "{seen}");
        ada.post(&step(&id, "approve"), &json!({})).expect(409, "denied already").await;

        let (cancelled, id) = waits(&bot, "1").await;
        full().await;
        ada.post(&step(&id, "cancel"), &json!({})).expect(403, "Only who asked").await;
        bot.post(&step(&id, "cancel"), &json!({})).expect(200, "cancelled").await;
        assert_eq!(see(&cancelled).await["status"], "failed");
        ada.post(&step(&id, "approve"), &json!({})).expect(409, "cancelled already").await;

        let (expired, id) = waits(&bot, "1").await;
        full().await;
        let mut told = w.listen(&bot.token, None).await;
        w.sql("UPDATE approvals SET expires_at = 1000, runs_out_at = 1000 WHERE status = 'pending'").await;
        ada.post(&step(&id, "approve"), &json!({})).expect(409, "expired already").await;
        assert_eq!(told.hears("approval.expired").await.data["transaction_id"], json!(expired));
        assert_eq!(see(&expired).await["status"], "expired");

        // The signer lets go of it a moment after that was told.
        let free = async || bot.send(ADDRESSES[1], "1").try_reply().await.is_some_and(|reply| reply.status == 202);
        for _ in 0..200 {
            if free().await {
                assert_eq!(sent(&w).await, 0);
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("what expired still counts:\n{}", w.said());
    }
}

both! {
    with chain,
    async fn fifty_approvals_at_once_send_one(w: World) {
        let ada = w.owner("ada").await;
        let bob = member(&ada, "bob", "admin").await;
        let vault = funded(&ada).await;
        let bot = careful(&ada, &vault, json!({"always": true})).await;
        let (tx, id) = waits(&bot, "1").await;
        let none = json!({});
        let calls = (0..50).map(|n| if n % 2 == 0 { &ada } else { &bob }.post(&step(&id, "approve"), &none).reply());
        let all = join_all(calls).await;
        assert_eq!((count(&all, 200), count(&all, 409)), (1, 49), "{:?}", all.iter().map(|r| &r.text).collect::<Vec<_>>());
        bot.until(&tx, "confirmed").await;
        assert_eq!(sent(&w).await, 1);
        let written: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM audit_events WHERE action = 'approval.approve'")
            .fetch_one(&w.database().await).await.unwrap();
        assert_eq!(written, 1);
    }
}

both! {
    with chain,
    /// What has changed since is looked at when it is signed.
    async fn an_agent_that_was_stopped_meanwhile_sends_nothing(w: World) {
        let ada = w.owner("ada").await;
        let vault = funded(&ada).await;
        let bot = careful(&ada, &vault, json!({"always": true})).await;
        let (first, one) = waits(&bot, "1").await;
        let (second, two) = waits(&bot, "2").await;
        let at = format!("/v1/agents/{}", bot.id);
        ada.patch(&at, &json!({"tx_max_value_eth": "1.5"})).expect(200, "").await;
        approve(&ada, &two).await;
        let failed = bot.until(&second, "failed").await;
        assert!(failed["error_message"].as_str().unwrap().contains("tx_max_value_eth"), "{failed}");
        ada.post(&format!("{at}/suspend"), &json!({})).expect(200, "").await;
        assert_eq!(approve(&ada, &one).await["status"], "approved", "it stays history");
        let seen = ada.get(&format!("{}/{first}", bot.transactions())).expect(200, "").await;
        assert_eq!((&seen["status"], seen.get("nonce")), (&json!("failed"), None), "{seen}");
        assert_eq!(sent(&w).await, 0);
    }
}

both! {
    with chain,
    async fn a_model_waits_for_people(w: World) {
        let ada = w.owner("ada").await;
        let vault = funded(&ada).await;
        let bot = careful(&ada, &vault, json!({"always": true})).await;
        let wanted = json!({"chain": "local", "to": ADDRESSES[1], "value": "1", "idempotency_key": "k"});
        let answer = bot.tool("submit_transaction", &wanted).await.expect("awaiting_approval");
        let (tx, id) = ids(&answer);
        let asked = json!({"tx_id": tx, "timeout_seconds": 0});
        let undecided = bot.tool("wait_for_approval", &asked).await.expect("Call this again");
        assert_eq!((&undecided["decided"], &undecided["approval"]["id"]), (&json!(false), &json!(id)));
        let long = json!({"approval_id": id, "timeout_seconds": 25});
        let (heard, _) = tokio::join!(bot.tool("wait_for_approval", &long), async {
            w.listen(&bot.token, None).await;
            approve(&ada, &id).await
        });
        assert_eq!(heard.expect("get_transaction")["decided"], json!(true));
        bot.until(&tx, "confirmed").await;
        bot.tool("wait_for_approval", &json!({})).await.refused("approval_id");
        bot.tool("wait_for_approval", &json!({"tx_id": tx, "timeout_seconds": 26})).await.refused("timeout_seconds");
        let spy = ada.agent("spy").make().await;
        spy.tool("wait_for_approval", &asked).await.refused("No such approval");
        spy.get(&format!("/v1/approvals/wait?approval_id={id}")).expect(404, "").await;
    }
}

both! {
    with chain,
    async fn a_policy_is_checked_and_shown(w: World) {
        let ada = w.owner("ada").await;
        let vault = funded(&ada).await;
        let bot = careful(&ada, &vault, json!({"above_eth": "0.5", "approvals": 2, "wait_seconds": 600})).await;
        let at = format!("/v1/agents/{}", bot.id);
        let shown = ada.get(&at).expect(200, "").await;
        let whole = json!({"always": false, "above_eth": "0.5", "new_recipient": false, "contract_call": false, "simulation": false,
            "approvals": 2, "wait_seconds": 600, "require_passkey": false});
        assert_eq!(shown["tx_approval_policy"], whole);
        assert_eq!(bot.tool("whoami", &json!({})).await.expect("")["tx_approval_policy"], whole);
        for (policy, named) in [
            (json!({}), "must say when"), (json!({"always": false}), "must say when"), (json!({"always": true, "approvals": 0}), "approvals"),
            (json!({"always": true, "approvals": 11}), "approvals"), (json!({"always": true, "wait_seconds": 59}), "wait_seconds"),
            (json!({"always": true, "wait_seconds": 604_801}), "wait_seconds"), (json!({"above_eth": "-1"}), "above_eth"),
            (json!({"always": true, "sometimes": true}), "sometimes"),
        ] {
            ada.patch(&at, &json!({"tx_approval_policy": policy})).expect(400, named).await;
        }
        let cleared = ada.patch(&at, &json!({"tx_approval_policy": null})).expect(200, "").await;
        assert!(cleared.get("tx_approval_policy").is_none(), "{cleared}");
        ada.patch(&at, &json!({"tx_approval_policy": {"always": true}})).expect(200, "86400").await;
        // It gets its nonce when people have approved it.
        let mut body = json!({"to": ADDRESSES[1], "value": "1", "chain": "local", "nonce": 0});
        bot.submit(&body).expect(400, "nonce").await;
        body.as_object_mut().unwrap().remove("nonce");
        bot.submit(&body).expect(202, "").await;
    }
}
