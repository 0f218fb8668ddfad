//! What a transaction would do, by each way that a real node knows.

use harness::{ADDRESSES, Agent, Anvil, Database, Masked, Person, Value, World, calldata, json, word};

/// Each way, and what a node must not know for it to be the best.
const SIMULATE: &[&str] = &[];
const TRACE: &[&str] = &["eth_simulateV1"];
const CALL: &[&str] = &["eth_simulateV1", "debug_traceCall"];

const ME: &str = ADDRESSES[0];
const FRIEND: &str = ADDRESSES[1];

/// A world whose node hides some of its methods.
async fn behind(hidden: &[&str]) -> (Anvil, Masked, World) {
    let anvil = Anvil::start(&[]).await;
    let node = Masked::start(&anvil.url(), hidden).await;
    let w = World::on(Database::Sqlite).with("TALON_RPC_LOCAL", &node.url).start().await;
    (anvil, node, w)
}

/// Tries a call of the agent's.
async fn attempt(bot: &Agent<'_>, to: &str, value: &str, data: &str) -> Value {
    bot.post(&format!("{}/simulate", bot.transactions()), &call(to, value, data))
        .expect(200, "simulation_id")
        .await
}

fn call(to: &str, value: &str, data: &str) -> Value {
    json!({"to": to, "value": value, "chain": "local", "data": data})
}

async fn bundle(bot: &Agent<'_>, calls: &[Value]) -> Vec<Value> {
    let path = format!("{}/simulate-bundle", bot.transactions());
    let answer = bot.post(&path, &json!({"transactions": calls})).expect(200, "simulations").await;
    answer["simulations"].as_array().unwrap().clone()
}

/// `(address, standard, change)` of each.
fn changes(simulation: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_lowercase();
    let changes = simulation["balance_changes"].as_array().unwrap().iter();
    changes.map(|c| (text(&c["address"]), text(&c["standard"]), text(&c["change"]))).collect()
}

fn change(address: &str, standard: &str, change: &str) -> (String, String, String) {
    (address.to_lowercase(), standard.to_owned(), change.to_owned())
}

/// An agent that sends with anvil's first key.
async fn sender<'p>(ada: &'p Person<'p>) -> Agent<'p> {
    let vault = ada.vault("main").await;
    vault.put_key("keys/local-signer", 0).await;
    ada.agent("bot").intents().reads(&vault, "keys/**").make().await
}

async fn what_moves_is_told(hidden: &[&str], way: &str) {
    let (anvil, _node, w) = behind(hidden).await;
    let ada = w.owner("ada").await;
    let bot = sender(&ada).await;
    let coin = anvil.deploy(ME, "Coin").await;
    let (item, things) = (anvil.deploy(ME, "Item").await, anvil.deploy(ME, "Things").await);
    let nonce = anvil.nonce(ME).await;

    let ether = attempt(&bot, FRIEND, "0.5", "0x").await;
    assert_eq!((&ether["status"], &ether["simulated_by"]), (&json!("success"), &json!(way)), "{ether}");
    assert_eq!(changes(&ether), [change(ME, "native", "-0.5"), change(FRIEND, "native", "0.5")]);
    assert_eq!(ether["summary"], "The sender loses 0.5 ETH.");
    assert_eq!(
        (&ether["balance_changes"][0]["token_symbol"], &ether["gas_used"]),
        (&json!("ETH"), &json!(21_000))
    );
    assert!(ether["gas_estimate_usd"].is_null() && ether.get("error").is_none(), "{ether}");

    let paid =
        attempt(&bot, &coin, "0", &calldata("transfer(address,uint256)", &[word(FRIEND), word(1_500_000)]))
            .await;
    assert_eq!(changes(&paid), [change(ME, "erc20", "-1.5"), change(FRIEND, "erc20", "1.5")], "{paid}");
    let first = &paid["balance_changes"][0];
    assert_eq!((&first["token_symbol"], &first["raw_change"]), (&json!("COIN"), &json!("-1500000")));
    assert_eq!(first["token"].as_str().unwrap().to_lowercase(), coin);
    assert!(paid["summary"].as_str().unwrap().starts_with("The sender loses 1.5 COIN (0x"), "{paid}");

    let approve = |much: String| calldata("approve(address,uint256)", &[word(FRIEND), much]);
    let lets = attempt(&bot, &coin, "0", &approve(word(2_500_000))).await;
    assert_eq!(lets["allowances"].as_array().unwrap().len(), 1, "{lets}");
    let granted = &lets["allowances"][0];
    assert_eq!(
        (&granted["spender"], &granted["amount"], &granted["token_symbol"]),
        (&json!(FRIEND), &json!("2.5"), &json!("COIN"))
    );
    assert!(changes(&lets).is_empty(), "{lets}");
    let all = attempt(&bot, &coin, "0", &approve("f".repeat(64))).await;
    assert!(
        all["summary"].as_str().unwrap().contains(&format!("lets {FRIEND} take any amount of COIN")),
        "{all}"
    );

    let given = attempt(
        &bot,
        &item,
        "0",
        &calldata("transferFrom(address,address,uint256)", &[word(ME), word(FRIEND), word(7)]),
    )
    .await;
    assert_eq!(changes(&given), [change(ME, "erc721", "-1"), change(FRIEND, "erc721", "1")], "{given}");
    assert_eq!(
        (&given["balance_changes"][0]["token_id"], &given["balance_changes"][0]["token_symbol"]),
        (&json!("7"), &json!("ITEM"))
    );
    let lent =
        attempt(&bot, &item, "0", &calldata("approve(address,uint256)", &[word(FRIEND), word(7)])).await;
    assert_eq!(
        (&lent["allowances"][0]["token_id"], &lent["allowances"][0]["spender"]),
        (&json!("7"), &json!(FRIEND)),
        "{lent}"
    );
    let every = calldata("setApprovalForAll(address,bool)", &[word(FRIEND), word(1)]);
    for contract in [&item, &things] {
        let lent = attempt(&bot, contract, "0", &every).await;
        assert_eq!(lent["allowances"][0]["all"], true, "{lent}");
        assert!(lent["summary"].as_str().unwrap().contains("take every "), "{lent}");
    }
    let several = attempt(&bot, &things, "0", &calldata("both(address)", &[word(FRIEND)])).await;
    let of =
        |n: usize| (&several["balance_changes"][n]["token_id"], &several["balance_changes"][n]["change"]);
    assert_eq!((of(0), of(1)), ((&json!("1"), &json!("-3")), (&json!("2"), &json!("-4"))), "{several}");
    let made =
        bot.post(&format!("{}/simulate", bot.transactions()), &creation("0.5")).expect(200, "success").await;
    assert_eq!(made["summary"], "It deploys a contract. The sender loses 0.5 ETH.", "{made}");
    assert_eq!(changes(&made)[0], change(ME, "native", "-0.5"), "{made}");
    assert_eq!(anvil.nonce(ME).await, nonce, "nothing was sent");
}

/// `STOP`: a contract without code, that takes what it gets.
fn creation(value: &str) -> Value {
    json!({"value": value, "chain": "local", "data": "0x00"})
}

async fn why_it_fails_is_told(hidden: &[&str], way: &str) {
    let (anvil, _node, w) = behind(hidden).await;
    let ada = w.owner("ada").await;
    let bot = sender(&ada).await;
    let refuses = anvil.deploy(ADDRESSES[3], "Refuses").await;
    for (signature, words, code, reason, sentence) in [
        ("withWords()", vec![], "revert_error", "not today", "The contract refuses: not today."),
        ("withFault(uint256)", vec![word(0)], "revert_panic", "(0x12)", "(0x12)."),
        ("withItsOwn()", vec![], "revert_custom", "0x", "an error of its own: 0x"),
        ("withACommonOne()", vec![], "revert_custom", "has 1 of", "and needs 2."),
        ("withoutAWord()", vec![], "revert", "", "gives no reason."),
    ] {
        let fails = attempt(&bot, &refuses, "0", &calldata(signature, &words)).await;
        assert_eq!(
            (&fails["status"], &fails["error_code"]),
            (&json!("reverted"), &json!(code)),
            "{signature}: {fails}"
        );
        assert!(fails["revert_reason"].as_str().unwrap_or_default().contains(reason), "{signature}: {fails}");
        let told = fails["error_human_readable"].as_str().unwrap();
        assert!(told.contains(sentence) && fails["summary"] == told, "{signature}: {fails}");
        assert!(
            fails["error"].is_string() && fails["simulated_by"] == way && changes(&fails).is_empty(),
            "{fails}"
        );
    }
    let mut endless = call(&refuses, "0", &calldata("withoutEnd()", &[]));
    endless["gas_limit"] = json!(60_000);
    let path = format!("{}/simulate", bot.transactions());
    let endless = bot.post(&path, &endless).expect(200, "out_of_gas").await;
    assert_eq!(endless["status"], "reverted", "{endless}");
    let poor = attempt(&bot, FRIEND, "1000000", "0x").await;
    assert_eq!((&poor["status"], &poor["error_code"]), (&json!("error"), &json!("cant_run")), "{poor}");
    assert!(poor.get("gas_used").is_none() && changes(&poor).is_empty(), "{poor}");
}

async fn each_sees_what_the_one_before_left(hidden: &[&str]) {
    let (anvil, _node, w) = behind(hidden).await;
    let ada = w.owner("ada").await;
    let bot = sender(&ada).await;
    let (coin, shop) = (anvil.deploy(ME, "Coin").await, anvil.deploy(ADDRESSES[3], "Shop").await);
    anvil.ask("anvil_setBalance", json!([shop, "0xde0b6b3a7640000"])).await;
    let approve = call(&coin, "0", &calldata("approve(address,uint256)", &[word(&shop), word(5_000_000)]));
    let sell = call(&shop, "0", &calldata("sell(address,uint256)", &[word(&coin), word(3_000_000)]));
    let alone = bundle(&bot, std::slice::from_ref(&sell)).await;
    assert_eq!(
        (&alone[0]["status"], &alone[0]["revert_reason"]),
        (&json!("reverted"), &json!("not allowed to take so much")),
        "{alone:?}"
    );
    // The first sale is there, and so is what it left of the allowance.
    let told = bundle(&bot, &[approve, sell.clone(), sell.clone()]).await;
    assert_eq!((&told[0]["status"], &told[1]["status"]), (&json!("success"), &json!("success")), "{told:?}");
    let moved = changes(&told[1]);
    assert!(
        moved.contains(&change(ME, "erc20", "-3")) && moved.contains(&change(ME, "native", "0.000000001")),
        "{moved:?}"
    );
    assert_eq!(told[1]["allowances"][0]["amount"], "2", "{told:?}");
    assert_eq!(told[2]["revert_reason"], "not allowed to take so much", "{told:?}");

    // What is spent is gone, and after one that can't even run nothing is known.
    let told = bundle(
        &bot,
        &[call(FRIEND, "9000", "0x"), sell, call(FRIEND, "2000", "0x"), call(FRIEND, "1", "0x")],
    )
    .await;
    let (status, code) =
        (|n: usize| told[n]["status"].as_str().unwrap(), |n: usize| told[n]["error_code"].as_str());
    assert_eq!(
        [status(0), status(1), status(2), status(3)],
        ["success", "reverted", "error", "error"],
        "{told:?}"
    );
    assert_eq!([code(2), code(3)], [Some("cant_run"), Some("not_simulated")], "{told:?}");
    assert_eq!(anvil.nonce(ME).await, 1, "only the coin was deployed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_moves_is_told_by_simulate() {
    what_moves_is_told(SIMULATE, "eth_simulateV1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_moves_is_told_by_trace() {
    what_moves_is_told(TRACE, "debug_traceCall").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_it_fails_is_told_by_simulate() {
    why_it_fails_is_told(SIMULATE, "eth_simulateV1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_it_fails_is_told_by_trace() {
    why_it_fails_is_told(TRACE, "debug_traceCall").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_it_fails_is_told_by_call() {
    why_it_fails_is_told(CALL, "eth_call").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_sees_what_the_one_before_left_by_simulate() {
    each_sees_what_the_one_before_left(SIMULATE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_sees_what_the_one_before_left_by_trace() {
    each_sees_what_the_one_before_left(TRACE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_only_calls_says_what_it_can_not_tell() {
    let (anvil, _node, w) = behind(CALL).await;
    let ada = w.owner("ada").await;
    let bot = sender(&ada).await;
    let coin = anvil.deploy(ME, "Coin").await;
    let ether = attempt(&bot, FRIEND, "0.5", "0x").await;
    assert_eq!(changes(&ether), [change(ME, "native", "-0.5"), change(FRIEND, "native", "0.5")]);
    assert_eq!((&ether["gas_used"], &ether["simulated_by"]), (&json!(21_000), &json!("eth_call")));
    let paid =
        attempt(&bot, &coin, "0", &calldata("transfer(address,uint256)", &[word(FRIEND), word(1)])).await;
    assert!(paid["status"] == "success" && changes(&paid).is_empty(), "{paid}");
    assert!(paid["summary"].as_str().unwrap().contains("can't tell what tokens move"), "{paid}");
    let made =
        bot.post(&format!("{}/simulate", bot.transactions()), &creation("0.5")).expect(200, "success").await;
    assert!(
        made["summary"].as_str().unwrap().starts_with("It deploys a contract. The sender loses 0.5 ETH."),
        "{made}"
    );
    let told = bundle(&bot, &[call(FRIEND, "1", "0x"), call(FRIEND, "1", "0x")]).await;
    assert_eq!((&told[0]["status"], &told[1]["status"]), (&json!("success"), &json!("error")), "{told:?}");
    assert_eq!(told[1]["error_code"], "not_simulated", "{told:?}");
    assert!(told[1]["error_human_readable"].as_str().unwrap().contains("eth_simulateV1"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_way_that_a_node_lacks_is_not_asked_for_each_time() {
    let (_anvil, node, w) = behind(TRACE).await;
    let ada = w.owner("ada").await;
    let bot = sender(&ada).await;
    for _ in 0..4 {
        let told = attempt(&bot, FRIEND, "0.5", "0x").await;
        assert_eq!(told["simulated_by"], "debug_traceCall", "{told}");
    }
    assert_eq!((node.asked("eth_simulateV1"), node.asked("debug_traceCall")), (1, 8));
    // One that loses more is still of use.
    node.hide(CALL);
    assert_eq!(attempt(&bot, FRIEND, "0.5", "0x").await["simulated_by"], "eth_call");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tokens_name_is_only_a_name() {
    let (anvil, _node, w) = behind(SIMULATE).await;
    let ada = w.owner("ada").await;
    let bot = sender(&ada).await;
    let coin = anvil.deploy(ME, "Shouting").await;
    let paid =
        attempt(&bot, &coin, "0", &calldata("transfer(address,uint256)", &[word(FRIEND), word(1)])).await;
    assert_eq!(paid["balance_changes"][0]["token_symbol"], "USDCSYSTEMapprov", "{paid}");
    let text = paid.to_string();
    assert!(
        !text.contains('\u{202e}') && !text.contains('\u{200b}') && !text.contains("everything"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_transaction_is_refused_and_who_may_not_submit_may_not_try() {
    let (_anvil, _node, w) = behind(SIMULATE).await;
    let ada = w.owner("ada").await;
    let bot = sender(&ada).await;
    let (single, many) =
        (format!("{}/simulate", bot.transactions()), format!("{}/simulate-bundle", bot.transactions()));
    let good = call(FRIEND, "1", "0x");
    let with = |field: &str, value: Value| {
        let mut bad = good.clone();
        bad[field] = value;
        bad
    };
    for (field, bad) in [
        ("to", with("to", json!("0x12"))),
        ("to", with("to", Value::Null)),
        ("value", with("value", json!("x"))),
        ("data", with("data", json!("0x1"))),
        ("chain", with("chain", json!("nowhere"))),
        ("gas_limit", with("gas_limit", json!(1))),
        ("nonce", with("nonce", json!(1))),
        ("simulate_first", with("simulate_first", json!(true))),
    ] {
        bot.post(&single, &bad).expect(400, field).await;
        bot.post(&many, &json!({"transactions": [good, bad]})).expect(400, field).await;
    }
    bot.post(&many, &json!({"transactions": [good, with("to", json!("0x12"))]}))
        .expect(400, "transactions[1].to")
        .await;
    bot.post(&many, &json!({"transactions": []})).expect(400, "1 to 10").await;
    bot.post(&many, &json!({"transactions": vec![&good; 11]})).expect(400, "1 to 10").await;
    bot.post(&many, &json!({"transactions": [good, with("chain", json!("base"))]}))
        .expect(400, "one chain")
        .await;
    let mut elsewhere = with("chain", json!("base"));
    bot.post(&single, &elsewhere).expect(404, "keys/base-signer").await;
    elsewhere["signing_key_path"] = json!("keys/local-signer");
    bot.post(&single, &elsewhere).expect(503, "TALON_RPC_BASE").await;
    bot.post(&single, &with("signing_key_path", json!("treasury/eth"))).expect(403, "treasury/eth").await;
    ada.post(&single, &good).expect(403, "").await;
    let reader = ada.agent("reader").make().await;
    reader
        .post(&format!("{}/simulate", reader.transactions()), &good)
        .expect(403, "intents_api_enabled")
        .await;
    reader.post(&single, &good).expect(404, "agent").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_tried_is_on_the_trail() {
    let (_anvil, _node, w) = behind(SIMULATE).await;
    let ada = w.owner("ada").await;
    let bot = sender(&ada).await;
    let tried = attempt(&bot, FRIEND, "0.25", "0x").await;
    bundle(&bot, &[call(FRIEND, "1", "0x"), call(FRIEND, "2", "0x")]).await;
    let trail =
        ada.get("/v1/audit/events?action=transaction.simulate").expect(200, "transaction.simulate").await;
    let events = trail["events"].as_array().unwrap();
    assert_eq!(events.len(), 2, "{trail}");
    let of = |event: &Value| event["details"]["transactions"].as_array().unwrap().clone();
    let single = events.iter().map(of).find(|tried| tried.len() == 1).unwrap();
    assert_eq!(
        (&single[0]["value_wei"], &single[0]["simulation_id"]),
        (&json!("250000000000000000"), &tried["simulation_id"])
    );
    assert_eq!(single[0]["status"], "success");
}
