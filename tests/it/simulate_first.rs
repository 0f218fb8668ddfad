//! A simulation before the signature: what fails, or can't be simulated, is not signed.

use std::time::Duration;

use futures::future::join_all;
use harness::tenderly::simulated;
use harness::{ADDRESSES, Agent, Call, Database, FakeTenderly, World, both, calldata, json};

const REQUIRED: &str = "/v1/admin/settings/intents_api.require_simulation";

both! {
    with chain,
    async fn what_fails_holds_nothing_and_is_not_remembered(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put_key("keys/local-signer", 0).await;
        let bot = ada.agent("bot").intents().set("tx_daily_limit_eth", "1").reads(&vault, "keys/**").make().await;
        let refuses = w.anvil().await.deploy(ADDRESSES[3], "Refuses").await;
        // It takes no ether.
        let body = json!({"to": refuses, "value": "0.9", "chain": "local", "simulate_first": true});
        for _ in 0..2 {
            let failed = bot.submit(&body).header("idempotency-key", "k").reply().await;
            assert_eq!((failed.status, &failed.body["status"]), (422, &json!("simulation_failed")), "{}", failed.text);
            assert_eq!((&failed.body["simulation_status"], failed.body.get("id")), (&json!("reverted"), None), "{}", failed.text);
            assert!(failed.body["simulation_id"].is_string() && failed.body["error_message"].is_string(), "{}", failed.text);
            assert!(failed.body.get("signed_tx").is_none() && failed.body.get("nonce").is_none(), "{}", failed.text);
        }
        let list = bot.get(&bot.transactions()).expect(200, "transactions").await;
        assert_eq!(list["transactions"], json!([]));
        // Neither the key nor the limit nor the nonce is taken.
        let sent = bot.send(ADDRESSES[1], "0.9").header("idempotency-key", "k").expect(201, "signed_tx").await;
        assert_eq!((&sent["nonce"], sent.get("simulation_id")), (&json!(0), None));
        // The guardrail is named first: to correct the call would not help.
        bot.submit(&body).expect(403, "tx_daily_limit_eth").await;
    }
}

both! {
    with chain,
    async fn what_is_tried_and_works_says_so_for_good(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put_key("keys/local-signer", 0).await;
        let bot = ada.agent("bot").intents().reads(&vault, "keys/**").make().await;
        let sent = bot.submit(&json!({"to": ADDRESSES[1], "value": "0.5", "chain": "local", "simulate_first": true})).expect(201, "signed_tx").await;
        assert_eq!(sent["simulation_status"], "success", "{sent}");
        let done = bot.until(sent["id"].as_str().unwrap(), "confirmed").await;
        assert_eq!((&done["simulation_id"], &done["simulation_status"]), (&sent["simulation_id"], &json!("success")));
        assert!(done.get("tenderly_dashboard_url").is_none(), "{done}");
    }
}

both! {
    with chain,
    async fn what_behaves_otherwise_when_it_is_executed_is_bound_by_the_guardrails(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put_key("keys/local-signer", 0).await;
        let two_faced = w.anvil().await.deploy(ADDRESSES[3], "TwoFaced").await;
        let keep = calldata("keepSafe()", &[]);
        let bot = ada.agent("bot").intents().set("tx_max_value_eth", "1").set("tx_daily_limit_eth", "1.5")
            .set("tx_calls_allowlist", json!([{"chain": "local", "contract": two_faced, "selectors": [&keep[..10]]}]))
            .reads(&vault, "keys/**").make().await;
        let body = |value: &str| json!({"to": two_faced, "value": value, "chain": "local", "data": keep, "simulate_first": true});
        let mut tried = body("1");
        tried.as_object_mut().unwrap().remove("simulate_first");
        let promised = bot.post(&format!("{}/simulate", bot.transactions()), &tried).expect(200, "success").await;
        assert_eq!(promised["balance_changes"], json!([]), "it gives all of it back, it says");
        // What a simulation promises raises no limit.
        bot.submit(&body("2")).expect(403, "tx_max_value_eth").await;
        let sent = bot.submit(&body("1")).expect(201, "\"simulation_status\":\"success\"").await;
        bot.until(sent["id"].as_str().unwrap(), "confirmed").await;
        assert_eq!(w.anvil().await.balance(&two_faced).await, 1_000_000_000_000_000_000, "it lied");
        bot.submit(&body("1")).expect(403, "tx_daily_limit_eth").await;
    }
}

async fn without_a_simulation_nothing_is_signed(database: Database) {
    let tenderly = FakeTenderly::start().await;
    let w = World::on(database).chain().all(&tenderly.settings()).start().await;
    let (root, ada) = (w.operator().await, w.owner("ada").await);
    let vault = ada.vault("main").await;
    vault.put_key("keys/local-signer", 0).await;
    let bot = ada.agent("bot").intents().set("tx_daily_limit_eth", "1").reads(&vault, "keys/**").make().await;
    root.put(REQUIRED, &json!({"value": "true"})).expect(200, "").await;
    let send = || bot.send(ADDRESSES[1], "0.9").header("idempotency-key", "k");
    for status in [500, 503, 429, 401, 404] {
        tenderly.answers(status, json!({}));
        send().expect(503, "Nothing was signed, since the transaction can't be simulated. Tenderly").await;
    }
    tenderly.answers(200, json!({"transaction": {}}));
    send().expect(503, "make no sense").await;
    assert_eq!(w.anvil().await.nonce(ADDRESSES[0]).await, 0);
    // Nothing of it is held: limit, nonce and key are free.
    tenderly.answers(200, simulated("5f0c9a3e-0b5e-4e4e-9d5f-000000000001", &[], &[]));
    let sent = send().expect(201, "signed_tx").await;
    assert_eq!((&sent["nonce"], &sent["simulation_status"]), (&json!(0), &json!("success")));
    let link = "https://dashboard.tenderly.co/acme/vault/simulator/5f0c9a3e-0b5e-4e4e-9d5f-000000000001";
    assert_eq!(sent["tenderly_dashboard_url"], link);
    assert_eq!(bot.until(sent["id"].as_str().unwrap(), "confirmed").await["tenderly_dashboard_url"], link);
    // What Tenderly lets pass, and the chain's node does not, is not signed either.
    let refuses = w.anvil().await.deploy(ADDRESSES[3], "Refuses").await;
    let failed = bot.submit(&json!({"to": refuses, "value": "0.01", "chain": "local"})).reply().await;
    assert_eq!(
        (failed.status, &failed.body["simulation_status"]),
        (422, &json!("reverted")),
        "{}",
        failed.text
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_simulation_nothing_is_signed_sqlite() {
    without_a_simulation_nothing_is_signed(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_simulation_nothing_is_signed_postgres() {
    without_a_simulation_nothing_is_signed(Database::Postgres).await;
}

fn simulate(bot: &Agent<'_>) -> Call {
    let body = json!({"to": ADDRESSES[1], "value": "0.1", "chain": "local"});
    bot.post(&format!("{}/simulate", bot.transactions()), &body)
}

async fn who_floods_with_simulations_keeps_nobody_else_waiting(database: Database) {
    let tenderly = FakeTenderly::start().await;
    let w = World::on(database).chain().all(&tenderly.settings()).start().await;
    let ada = w.owner("ada").await;
    let vault = ada.vault("main").await;
    vault.put_key("keys/local-signer", 0).await;
    let agent = async |name| ada.agent(name).intents().reads(&vault, "keys/**").make().await;
    let (loud, other) = (agent("loud").await, agent("other").await);
    tenderly.answers(200, simulated("5f0c9a3e-0b5e-4e4e-9d5f-000000000001", &[], &[]));
    tenderly.is_slow(Duration::from_secs(4));
    let flood = join_all((0..12).map(|_| simulate(&loud).reply()));
    let meanwhile = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let tried = json!({"to": ADDRESSES[1], "value": "0.1", "chain": "local", "simulate_first": true});
        let (_, sent, refused, _) = tokio::join!(
            simulate(&other).expect(200, "success"),
            // What is not simulated waits for nothing.
            loud.send(ADDRESSES[1], "0.1").expect(201, "signed_tx"),
            loud.submit(&tried).header("idempotency-key", "k").expect(429, "Nothing was signed"),
            other.submit(&tried).expect(201, "success"),
        );
        assert!(
            sent.get("simulation_id").is_none() && refused["detail"].as_str().unwrap().contains("by you")
        );
    };
    let (flood, ()) = tokio::join!(flood, meanwhile);
    let (served, refused): (Vec<_>, Vec<_>) = flood.iter().partition(|reply| reply.status == 200);
    assert_eq!((served.len(), refused.len()), (2, 10));
    for reply in refused {
        assert_eq!((reply.status, &*reply.headers["retry-after"]), (429, "1"), "{}", reply.text);
    }
    assert_eq!(tenderly.most_at_once(), 4, "two of each agent");
    // What was refused holds nothing: the same key is good once there is room.
    tenderly.is_slow(Duration::ZERO);
    let tried = json!({"to": ADDRESSES[1], "value": "0.1", "chain": "local", "simulate_first": true});
    loud.submit(&tried).header("idempotency-key", "k").expect(201, "success").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_floods_with_simulations_keeps_nobody_else_waiting_sqlite() {
    who_floods_with_simulations_keeps_nobody_else_waiting(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_floods_with_simulations_keeps_nobody_else_waiting_postgres() {
    who_floods_with_simulations_keeps_nobody_else_waiting(Database::Postgres).await;
}
