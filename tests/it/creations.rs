//! Contracts that agents create, where a person has let them.

use harness::{ADDRESSES, Agent, Person, Value, Vault, World, both, code, json};

use crate::approvals::step;
use crate::refusals::refusals;
use crate::tx_approvals::{funded, ids, sent};

const GWEI: u64 = 1_000_000_000;

async fn deployer<'p>(ada: &'p Person<'p>, vault: &Vault<'_>, field: &str, value: Value) -> Agent<'p> {
    let bot = ada.agent("bot").intents().set("tx_contract_creation", true).set(field, value);
    bot.reads(vault, "keys/**").make().await
}

fn creates(name: &str, value: &str) -> Value {
    json!({"value": value, "chain": "local", "data": code(name)})
}

/// What was created is where the node says, and has code.
async fn stands(w: &World, done: &Value) {
    let receipt = w.anvil().await.receipt(done["tx_hash"].as_str().unwrap()).await;
    let address = done["contract_address"].as_str().unwrap();
    assert_eq!(receipt["contractAddress"], address.to_lowercase(), "{done}");
    let there = w.anvil().await.ask("eth_getCode", json!([address, "latest"])).await;
    assert!(there.as_str().unwrap().len() > 100, "{there}");
    assert!(done.get("to").is_none(), "{done}");
}

both! {
    with chain,
    async fn an_agent_creates_a_contract_once_a_person_lets_it(w: World) {
        let ada = w.owner("ada").await;
        let vault = funded(&ada).await;
        let bot = ada.agent("bot").intents().set("tx_daily_limit_eth", "1").reads(&vault, "keys/**").make().await;
        let coin = creates("Coin", "0");
        let mut null = coin.clone();
        null["to"] = Value::Null;
        for body in [&coin, &null] {
            let refused = bot.submit(body).expect(400, "to: tx_contract_creation: a contract was to be created").await;
            assert_eq!(refused["guardrail"], "tx_contract_creation");
        }
        let told = refusals(&ada, 2).await;
        assert_eq!((&told[0]["actor_id"], &told[0]["details"]["guardrail"]), (&json!(bot.id), &json!("tx_contract_creation")));
        assert_eq!(sent(&w).await, 0);
        let at = format!("/v1/agents/{}", bot.id);
        ada.patch(&at, &json!({"tx_contract_creation": true})).expect(200, "\"tx_contract_creation\":true").await;
        // What says nothing of it leaves it.
        ada.patch(&at, &json!({"name": "builder"})).expect(200, "\"tx_contract_creation\":true").await;
        assert_eq!(bot.get("/v1/agents/me").expect(200, "").await["tx_contract_creation"], true);

        let tried = bot.post(&format!("{}/simulate", bot.transactions()), &coin).expect(200, "success").await;
        assert!(tried["summary"].as_str().unwrap().starts_with("It deploys a contract."), "{tried}");
        let made = bot.submit(&coin).expect(201, "signed_tx").await;
        assert!(made.get("to").is_none(), "{made}");
        let done = bot.until(made["id"].as_str().unwrap(), "confirmed").await;
        stands(&w, &done).await;
        let listed = bot.get(&bot.transactions()).expect(200, "").await;
        assert_eq!(listed["transactions"][0]["contract_address"], done["contract_address"]);
        let trail = ada.get("/v1/audit/events?action=transaction.submit").expect(200, "").await;
        assert_eq!(trail["events"][0]["details"]["to"], Value::Null, "{trail}");
        // What it gets counts like any other value. STOP: a contract without code, that takes what it gets.
        let paid = |value: &str| json!({"value": value, "chain": "local", "data": "0x00"});
        bot.submit(&paid("0.6")).expect(201, "").await;
        bot.submit(&paid("0.5")).expect(403, "0.4 left").await;
        let lists = json!({"tx_to_allowlist": [ADDRESSES[1]]});
        ada.patch(&at, &lists).expect(200, "").await;
        bot.submit(&coin).expect(403, "tx_to_allowlist: a new contract").await;
        ada.patch(&at, &json!({"tx_to_allowlist": null, "tx_contract_creation": null})).expect(200, "\"tx_contract_creation\":false").await;
        bot.submit(&coin).expect(400, "tx_contract_creation").await;
    }
}

both! {
    with chain,
    async fn code_that_is_none_fails_or_is_too_long_creates_nothing(w: World) {
        let ada = w.owner("ada").await;
        let vault = funded(&ada).await;
        let bot = deployer(&ada, &vault, "tx_daily_count", json!(1)).await;
        let data = |data: String, simulate: bool| json!({"value": "0", "chain": "local", "data": data, "simulate_first": simulate});
        bot.submit(&json!({"value": "1", "chain": "local"})).expect(400, "to: must be a 20-byte address; to create a contract").await;
        bot.submit(&data("0x".into(), false)).expect(400, "to: must be a 20-byte address; to create a contract").await;
        bot.submit(&data(format!("0x{}", "00".repeat(49_153)), false)).expect(400, "EIP-3860").await;
        let mut little = data("0x00".into(), false);
        little["gas_limit"] = json!(53_005);
        bot.submit(&little).expect(400, "gas_limit: must be at least 53006").await;
        // REVERT(0, 0).
        let failed = bot.submit(&data("0x60006000fd".into(), true)).reply().await;
        assert_eq!((failed.status, &failed.body["status"]), (422, &json!("simulation_failed")), "{}", failed.text);
        assert!(failed.body.get("to").is_none() && failed.body.get("contract_address").is_none(), "{}", failed.text);
        // What is reverted in a block has created nothing either.
        let mut reverts = data("0x60006000fd".into(), false);
        reverts["gas_limit"] = json!(100_000);
        let sent = bot.submit(&reverts).expect(201, "").await;
        let done = bot.until(sent["id"].as_str().unwrap(), "reverted").await;
        assert!(done.get("contract_address").is_none(), "{done}");
    }
}

both! {
    with chain,
    async fn people_approve_the_code_that_they_are_shown(w: World) {
        let ada = w.owner("ada").await;
        let vault = funded(&ada).await;
        let bot = deployer(&ada, &vault, "tx_approval_policy", json!({"contract_call": true})).await;
        let (tx, id) = ids(&bot.submit(&creates("Coin", "0")).expect(202, "").await);
        let shown = ada.get(&format!("/v1/approvals/{id}")).expect(200, "pending").await;
        let bytes = hex::decode(&code("Coin")[2..]).unwrap();
        let hash = alloy_primitives::keccak256(&bytes);
        let summary = shown["summary"].as_str().unwrap();
        assert!(summary.starts_with("Deploy a contract with 0 ") && summary.contains(&hash.to_string()), "{summary}");
        let what = &shown["transaction"];
        assert!(what.get("to").is_none(), "{what}");
        assert_eq!((&what["call"], &what["data"]), (&json!(format!("{} bytes of code with the Keccak-256 {hash}", bytes.len())), &json!(code("Coin"))));
        // A row that says that it is a call is another transaction.
        let to = |address: &str| format!("UPDATE transactions SET to_address = '{address}' WHERE id = '{tx}'");
        assert_eq!(w.sql(&to(ADDRESSES[2])).await, 1);
        ada.post(&step(&id, "approve"), &json!({})).expect(403, "an operator must look into it").await;
        w.sql(&to("")).await;
        ada.post(&step(&id, "approve"), &json!({"intent_hash": shown["intent_hash"]})).expect(200, "approved").await;
        stands(&w, &bot.until(&tx, "confirmed").await).await;
    }
}

both! {
    with chain,
    async fn a_creation_is_sped_up_and_stands_where_it_would_have(w: World) {
        let ada = w.owner("ada").await;
        let vault = funded(&ada).await;
        let bot = deployer(&ada, &vault, "tx_daily_count", json!(1)).await;
        w.hold_blocks().await;
        let mut body = creates("Coin", "0");
        body["max_fee_per_gas"] = json!((4 * GWEI).to_string());
        body["max_priority_fee_per_gas"] = json!(GWEI.to_string());
        let first = bot.submit(&body).expect(201, "broadcast").await;
        assert!(first.get("contract_address").is_none(), "not before it is in a block: {first}");
        let id = |tx: &Value| tx["id"].as_str().unwrap().to_owned();
        let faster = bot.post(&format!("{}/{}/speed-up", bot.transactions(), id(&first)), &json!({})).expect(201, "broadcast").await;
        assert_eq!((&faster["nonce"], faster.get("to")), (&first["nonce"], None), "{faster}");
        w.anvil().await.ask("anvil_mine", json!(["0x1"])).await;
        stands(&w, &bot.until(&id(&faster), "confirmed").await).await;
        assert!(bot.until(&id(&first), "replaced").await.get("contract_address").is_none());
    }
}
