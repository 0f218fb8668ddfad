//! Tenderly: what it is asked, what its answers come to, and what becomes of its errors.

use std::time::Duration;

use harness::tenderly::{failed, refusal, simulated};
use harness::{
    ADDRESSES, Agent, Database, FakeTenderly, Person, TENDERLY_KEY, Value, World, calldata, json, word,
};

const ID: &str = "5f0c9a3e-0b5e-4e4e-9d5f-000000000001";
/// keccak256 of Transfer(address,address,uint256) and of Approval(address,address,uint256).
const TRANSFER: &str = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";
const APPROVAL: &str = "0x8c5be1e5ebec7d5bd14f71427d1e84f3dd0314c0f7b2291e5b200ac8c7c3b925";

async fn world(tenderly: &FakeTenderly) -> World {
    World::on(Database::Sqlite).chain().all(&tenderly.settings()).with("TALON_LOG", "trace").start().await
}

/// An agent that sends with anvil's first key.
async fn sender<'p>(ada: &'p Person<'p>) -> Agent<'p> {
    let vault = ada.vault("main").await;
    vault.put_key("keys/local-signer", 0).await;
    ada.agent("bot").intents().reads(&vault, "keys/**").make().await
}

fn transfer(to: &str, value: &str) -> Value {
    json!({"to": to, "value": value, "chain": "local"})
}

fn simulate(bot: &Agent<'_>, body: &Value) -> harness::Call {
    bot.post(&format!("{}/simulate", bot.transactions()), body)
}

fn bundle(bot: &Agent<'_>, calls: &[Value]) -> harness::Call {
    bot.post(&format!("{}/simulate-bundle", bot.transactions()), &json!({"transactions": calls}))
}

/// The key is in nothing that is written or answered.
fn no_key_in(w: &World, answers: &[&Value]) {
    let said = w.said();
    assert!(said.contains("TRACE"), "nothing was logged");
    let line = said.lines().find(|line| line.contains(TENDERLY_KEY));
    assert!(line.is_none(), "{line:?}");
    assert!(answers.iter().all(|answer| !answer.to_string().contains(TENDERLY_KEY)), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_asked_as_documented_and_its_answer_is_told() {
    let tenderly = FakeTenderly::start().await;
    let w = world(&tenderly).await;
    let ada = w.owner("ada").await;
    let bot = sender(&ada).await;
    let coin = w.anvil().await.deploy(ADDRESSES[0], "Coin").await;
    let topic = |address: &str| format!("0x{}", word(address));
    let (me, friend) = (topic(ADDRESSES[0]), topic(ADDRESSES[1]));
    let (much, left) = (format!("0x{}", word(1_500_000)), format!("0x{}", word(2_500_000)));
    let logs = [
        (coin.as_str(), vec![TRANSFER.to_owned(), me.clone(), friend.clone()], much.as_str()),
        (coin.as_str(), vec![APPROVAL.to_owned(), me, friend], left.as_str()),
    ];
    let balances =
        [(ADDRESSES[0], "5000000000000000000", "4500000000000000000"), (&coin, "0", "500000000000000000")];
    tenderly.answers(200, simulated(ID, &logs, &balances));
    let data = calldata("transfer(address,uint256)", &[word(ADDRESSES[1]), word(1_500_000)]);
    let body = json!({"to": coin, "value": "0.5", "chain": "local", "data": data, "gas_limit": 90_000});
    let told = simulate(&bot, &body).expect(200, "success").await;

    let asked = &tenderly.asked()[0];
    assert_eq!(
        (asked.account.as_str(), asked.project.as_str(), asked.what.as_str()),
        ("acme", "vault", "simulate")
    );
    let lower = |value: &Value| value.as_str().unwrap().to_lowercase();
    assert_eq!(asked.body["network_id"], "31337");
    assert_eq!(
        (lower(&asked.body["from"]), lower(&asked.body["to"])),
        (ADDRESSES[0].to_lowercase(), coin.clone())
    );
    assert_eq!((&asked.body["input"], &asked.body["value"]), (&json!(data), &json!("500000000000000000")));
    assert_eq!((&asked.body["gas"], &asked.body["gas_price"]), (&json!(90_000), &json!("0")));
    assert_eq!((&asked.body["save"], &asked.body["simulation_type"]), (&json!(true), &json!("full")));

    assert_eq!(
        (&told["simulation_id"], &told["gas_used"], &told["simulated_by"]),
        (&json!(ID), &json!(23_432), &json!("tenderly"))
    );
    assert_eq!(
        told["tenderly_dashboard_url"],
        format!("https://dashboard.tenderly.co/acme/vault/simulator/{ID}")
    );
    let changes = told["balance_changes"].as_array().unwrap();
    let lost: Vec<_> = changes.iter().filter(|c| c["address"] == ADDRESSES[0]).collect();
    assert_eq!(
        (&lost[0]["change"], &lost[0]["before"], &lost[0]["after"]),
        (&json!("-0.5"), &json!("5"), &json!("4.5")),
        "{told}"
    );
    // Names and places of tokens come from the chain, as without Tenderly.
    assert_eq!((&lost[1]["change"], &lost[1]["token_symbol"]), (&json!("-1.5"), &json!("COIN")), "{told}");
    assert_eq!(
        (&told["allowances"][0]["amount"], &told["allowances"][0]["spender"]),
        (&json!("2.5"), &json!(ADDRESSES[1]))
    );
    no_key_in(&w, &[&told]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_contract_is_to_nobody() {
    let tenderly = FakeTenderly::start().await;
    let w = world(&tenderly).await;
    let ada = w.owner("ada").await;
    let bot = sender(&ada).await;
    tenderly.answers(200, simulated(ID, &[], &[]));
    let body = json!({"value": "0.5", "chain": "local", "data": "0x00"});
    let told = simulate(&bot, &body).expect(200, "It deploys a contract. The sender loses 0.5 ").await;
    assert_eq!(told["balance_changes"][0]["change"], "-0.5", "{told}");
    let asked = &tenderly.asked()[0];
    assert_eq!((asked.body.get("to"), &asked.body["input"]), (None, &json!("0x00")), "{:?}", asked.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_there_is_told_in_words() {
    let tenderly = FakeTenderly::start().await;
    let w = world(&tenderly).await;
    let ada = w.owner("ada").await;
    let bot = sender(&ada).await;
    let ask = || simulate(&bot, &transfer(ADDRESSES[1], "1"));
    let said = format!("0x08c379a0{}{}{:0<64}", word(32), word(9), hex::encode("not today"));
    tenderly.answers(200, failed(ID, &said, "execution reverted"));
    let told = ask().expect(200, "revert_error").await;
    assert_eq!(
        (&told["status"], &told["revert_reason"]),
        (&json!("reverted"), &json!("not today")),
        "{told}"
    );
    assert_eq!(told["balance_changes"], json!([]));
    for (output, message, code) in [
        ("0x", "out of gas", "out_of_gas"),
        ("0x", "execution reverted", "revert"),
        ("0xdeadbeef", "execution reverted", "revert_custom"),
        ("0x", "insufficient balance for transfer", "cant_run"),
    ] {
        tenderly.answers(200, failed(ID, output, message));
        ask().expect(200, &format!("\"error_code\":\"{code}\"")).await;
    }
    // Too little money is an error of its own there.
    let message = format!("insufficient funds for gas * price + value, {TENDERLY_KEY}");
    for status in [400, 200] {
        tenderly.answers(status, refusal("invalid_transaction_simulation", &message));
        let told = ask().expect(200, "insufficient funds").await;
        assert_eq!((&told["status"], &told["error_code"]), (&json!("error"), &json!("cant_run")), "{told}");
        no_key_in(&w, &[&told]);
    }
    // One of the two says that it failed: it failed.
    let mut torn = simulated(ID, &[], &[]);
    torn["simulation"]["status"] = json!(false);
    tenderly.answers(200, torn);
    ask().expect(200, "\"status\":\"reverted\"").await;
    // What is absent is not needed; an id becomes part of an address only if it is one.
    tenderly
        .answers(200, json!({"transaction": {"status": true}, "simulation": {"id": "../../?x=<script>"}}));
    let told = ask().expect(200, "\"status\":\"success\"").await;
    assert!(told.get("tenderly_dashboard_url").is_none() && !told.to_string().contains("script"), "{told}");
    assert_eq!(told["balance_changes"][0]["change"], "-1", "what it carries itself is known: {told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_goes_there_as_one() {
    let tenderly = FakeTenderly::start().await;
    let w = world(&tenderly).await;
    let ada = w.owner("ada").await;
    let bot = sender(&ada).await;
    let calls = [transfer(ADDRESSES[1], "1"), transfer(ADDRESSES[2], "2"), transfer(ADDRESSES[3], "3")];
    let good = simulated(ID, &[], &[]);
    tenderly.answers(200, json!({"simulation_results": [good, good, good]}));
    let told = bundle(&bot, &calls).expect(200, "simulations").await;
    assert_eq!(told["simulations"].as_array().unwrap().len(), 3);
    let asked = tenderly.asked();
    assert_eq!((asked.len(), asked[0].what.as_str()), (1, "simulate-bundle"));
    let values: Vec<_> =
        asked[0].body["simulations"].as_array().unwrap().iter().map(|one| one["value"].clone()).collect();
    assert_eq!(values, ["1000000000000000000", "2000000000000000000", "3000000000000000000"]);

    // Those after one that failed are not tried there.
    tenderly.answers(200, json!({"simulation_results": [good, failed(ID, "0x", "execution reverted")]}));
    let told = bundle(&bot, &calls).expect(200, "simulations").await;
    let status = |n: usize| told["simulations"][n]["status"].as_str().unwrap();
    assert_eq!([status(0), status(1), status(2)], ["success", "reverted", "error"], "{told}");
    assert_eq!(told["simulations"][2]["error_code"], "not_simulated");
    for results in [json!([good, good]), json!([good, good, good, good]), json!([])] {
        tenderly.answers(200, json!({"simulation_results": results}));
        bundle(&bot, &calls).expect(503, "make no sense").await;
    }
    tenderly.answers(400, refusal("invalid_transaction_simulation", "insufficient funds"));
    let told = bundle(&bot, &calls).expect(200, "insufficient funds").await;
    assert!(
        told["simulations"].as_array().unwrap().iter().all(|one| one["error_code"] == "not_simulated"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_errors_are_mapped_and_nobody_else_is_asked_then() {
    let tenderly = FakeTenderly::start().await;
    let w = world(&tenderly).await;
    let ada = w.owner("ada").await;
    let bot = sender(&ada).await;
    let ask = || simulate(&bot, &transfer(ADDRESSES[1], "1"));
    for (status, body, detail) in [
        (401, refusal("unauthorized", "Unauthorized"), "does not take the configured key"),
        (403, json!({}), "does not take the configured key"),
        (404, refusal("not_found", &format!("no project {TENDERLY_KEY}")), "no project … (HTTP 404)"),
        (400, refusal("invalid_network", "the network is not supported"), "not supported (HTTP 400)"),
        (429, refusal("rate_limited", "slow down"), "not reachable"),
        (500, refusal("internal", "oh"), "not reachable"),
        (502, json!("<html>"), "not reachable"),
        (302, json!({}), "not reachable"),
        (200, json!({}), "make no sense"),
        (200, json!({"transaction": {"status": "yes"}}), "make no sense"),
        (200, json!({"transaction": {}, "simulation": {"id": ID}}), "make no sense"),
        (200, refusal("quota", "no simulations are left"), "no simulations are left"),
    ] {
        tenderly.answers(status, body);
        let told = ask().expect(503, detail).await;
        no_key_in(&w, &[&told]);
    }
    tenderly.hangs();
    let begun = std::time::Instant::now();
    ask().expect(503, "not reachable").await;
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
}
