//! Transactions on a real chain.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use harness::{ADDRESSES, Agent, Database, Person, Vault, World, both, json};

use crate::front::Front;

const ONE: u128 = 1_000_000_000_000_000_000;

/// A vault with anvil's first key at the default path.
async fn funded<'p>(ada: &'p Person<'p>) -> Vault<'p> {
    let vault = ada.vault("main").await;
    vault.put_key("keys/local-signer", 0).await;
    vault
}

both! {
    with chain,
    async fn sent_signed_and_followed_to_its_receipt(w: World) {
        let ada = w.owner("ada").await;
        let vault = funded(&ada).await;
        let bot = ada.agent("bot").intents().reads(&vault, "keys/**").make().await;
        let before = w.anvil().await.balance(ADDRESSES[1]).await;
        let sent = bot.send(ADDRESSES[1], "0.123456789012345678").expect(201, "signed_tx").await;
        assert_eq!(sent["value_wei"], "123456789012345678");
        assert_eq!((&sent["from"], &sent["nonce"]), (&json!(ADDRESSES[0]), &json!(0)));
        let id = sent["id"].as_str().unwrap();
        let done = bot.until(id, "confirmed").await;
        assert!(done.get("signed_tx").is_none(), "only when asked for");
        assert!(done["block_number"].as_u64().unwrap() > 0);
        let path = format!("{}/{id}", bot.transactions());
        ada.get(&format!("{path}?include_signed_tx=true")).expect(200, "signed_tx\":\"0x02").await;
        assert_eq!(w.anvil().await.balance(ADDRESSES[1]).await - before, 123_456_789_012_345_678);
        let receipt = w.anvil().await.receipt(done["tx_hash"].as_str().unwrap()).await;
        assert_eq!(receipt["status"], "0x1");
        let list = ada.get(&bot.transactions()).expect(200, id).await;
        assert_eq!(list["transactions"].as_array().unwrap().len(), 1);
        ada.get(&format!("{}/00000000-0000-7000-8000-000000000000", bot.transactions())).expect(404, "transaction").await;
    }
}

both! {
    with chain,
    async fn by_path_with_fees_of_its_own_and_by_the_old_kind(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put_key("treasury/eth", 1).await;
        let bot = ada.agent("bot").intents().reads(&vault, "treasury/*").make().await;
        let tx = |extra: harness::Value| {
            let mut body = json!({"to": ADDRESSES[2], "value": "1", "chain": 31337, "signing_key_path": "treasury/eth"});
            for (key, value) in extra.as_object().unwrap() {
                body[key] = value.clone();
            }
            body
        };
        let sent = bot.submit(&tx(json!({"max_fee_per_gas": "7000000000", "max_priority_fee_per_gas": "2000000000", "gas_limit": 30000}))).expect(201, "0x02").await;
        assert_eq!((&sent["max_fee_per_gas"], &sent["gas_limit"]), (&json!("7000000000"), &json!(30000)));
        bot.until(sent["id"].as_str().unwrap(), "confirmed").await;
        let legacy = bot.submit(&tx(json!({"gas_price": "5000000000"}))).expect(201, "0xf8").await;
        bot.until(legacy["id"].as_str().unwrap(), "confirmed").await;
        let on_chain = w.anvil().await.transaction(legacy["tx_hash"].as_str().unwrap()).await;
        assert_eq!((&on_chain["type"], &on_chain["gasPrice"]), (&json!("0x0"), &json!("0x12a05f200")));
        for (extra, named) in [
            (json!({"gas_price": "1", "max_fee_per_gas": "1"}), "gas_price"),
            (json!({"max_fee_per_gas": "1", "max_priority_fee_per_gas": "2"}), "max_priority_fee_per_gas"),
            (json!({"gas_price": "1.5"}), "gas_price"),
            (json!({"gas_limit": 20999}), "gas_limit"),
            (json!({"value": "1e18"}), "value"),
            (json!({"value": "-1"}), "value"),
            (json!({"value": "0.0000000000000000001"}), "value"),
            (json!({"to": "0x123"}), "to"),
            (json!({"to": "0x3c44CdDdB6a900fa2b585dd299e03d12FA4293BC"}), "EIP-55"),
            (json!({"to": null}), "to"),
            (json!({"data": "0xzz"}), "data"),
            (json!({"chain": "nowhere"}), "chain"),
            (json!({"signing_key_path": "a//b"}), "signing_key_path"),
            (json!({"nonce": 99}), "nonce"),
            (json!({"access_list": [1]}), "access_list"),
            (json!({"tip": 1}), "tip"),
        ] {
            bot.submit(&tx(extra)).expect(400, named).await;
        }
        bot.submit(&tx(json!({"signing_key_path": "treasury/none"}))).expect(404, "treasury/none").await;
        bot.submit(&tx(json!({"signing_key_path": "other/eth"}))).expect(403, "other/eth").await;
        bot.submit(&tx(json!({"chain": "ethereum"}))).expect(503, "TALON_RPC_ETHEREUM").await;
    }
}

both! {
    with chain,
    async fn an_access_list_goes_along_by_either_kind_of_fees(w: World) {
        let ada = w.owner("ada").await;
        let vault = funded(&ada).await;
        let bot = ada.agent("bot").intents().reads(&vault, "keys/**").make().await;
        let key = |n: u8| format!("0x{n:064x}");
        let list = json!([{"address": ADDRESSES[2], "storageKeys": [key(1), key(2)]}, {"address": ADDRESSES[3], "storageKeys": []}]);
        let tx = |extra: harness::Value| {
            let mut body = json!({"to": ADDRESSES[1], "value": "0.5", "chain": "local", "access_list": list});
            for (name, value) in extra.as_object().unwrap() {
                body[name] = value.clone();
            }
            body
        };
        // Without its kind of fees, the chain's own: EIP-1559.
        for (fees, kind) in [(json!({"gas_price": "5000000000"}), "0x1"), (json!({"max_fee_per_gas": "5000000000"}), "0x2"), (json!({}), "0x2")] {
            let sent = bot.submit(&tx(fees)).expect(201, &format!("\"signed_tx\":\"0x0{}", &kind[2..])).await;
            // 21,000, two addresses and two keys, and a fifth on top.
            assert_eq!(sent["gas_limit"], 29_600 + 29_600 / 5);
            assert_eq!(sent["access_list"], list);
            let done = bot.until(sent["id"].as_str().unwrap(), "confirmed").await;
            assert_eq!(done["access_list"], list);
            let hash = done["tx_hash"].as_str().unwrap();
            assert_eq!(w.anvil().await.receipt(hash).await["status"], "0x1");
            let on_chain = w.anvil().await.transaction(hash).await;
            assert_eq!(on_chain["type"], kind);
            assert_eq!(on_chain["accessList"].to_string().to_lowercase(), list.to_string().to_lowercase());
            assert_eq!(on_chain["from"].to_string().to_lowercase(), json!(ADDRESSES[0]).to_string().to_lowercase());
        }
        let shown = ada.get(&bot.transactions()).expect(200, "storageKeys").await;
        assert!(shown["transactions"].as_array().unwrap().iter().all(|tx| tx["access_list"] == list), "{shown}");

        // An empty one is none.
        let plain = bot.submit(&tx(json!({"access_list": [], "gas_price": "5000000000"}))).expect(201, "0xf8").await;
        assert!(plain.get("access_list").is_none() && plain["gas_limit"] == 21_000, "{plain}");
        let plain = bot.submit(&tx(json!({"access_list": null}))).expect(201, "\"0x02").await;
        assert!(plain.get("access_list").is_none(), "{plain}");

        // The same list again is the same request; another one is not.
        let once = bot.submit(&tx(json!({}))).header("idempotency-key", "a").expect(201, "").await;
        let lower = json!([{"address": ADDRESSES[2].to_lowercase(), "storageKeys": [key(1), key(2)]}, {"address": ADDRESSES[3], "storageKeys": []}]);
        let again = bot.submit(&tx(json!({"access_list": lower}))).header("idempotency-key", "a").expect(200, "").await;
        assert_eq!(once["id"], again["id"]);
        bot.submit(&tx(json!({"access_list": []}))).header("idempotency-key", "a").expect(422, "another request").await;
    }
}

both! {
    with chain,
    async fn an_access_list_that_is_none_is_refused_by_its_field(w: World) {
        let ada = w.owner("ada").await;
        let vault = funded(&ada).await;
        let bot = ada.agent("bot").intents().reads(&vault, "keys/**").make().await;
        let key = format!("0x{:064x}", 1);
        let entry = |address: &str, keys: harness::Value| json!([{"address": address, "storageKeys": keys}]);
        let many = json!(vec![&key; 256]);
        for (list, named) in [
            (json!("0x"), "access_list"),
            (json!({}), "access_list"),
            (json!([[]]), "access_list"),
            (json!([{"address": ADDRESSES[1]}]), "storageKeys"),
            (json!([{"storageKeys": []}]), "address"),
            (json!([{"address": ADDRESSES[1], "storageKeys": [], "storage_keys": [key]}]), "access_list"),
            (entry("0x123", json!([])), "access_list[0].address"),
            (entry("0x3c44CdDdB6a900fa2b585dd299e03d12FA4293BC", json!([])), "EIP-55"),
            (entry(ADDRESSES[1], json!("0x1")), "access_list"),
            (entry(ADDRESSES[1], json!([key, "0x1"])), "access_list[0].storageKeys[1]"),
            (entry(ADDRESSES[1], json!([&key[2..]])), "access_list[0].storageKeys[0]"),
            (entry(ADDRESSES[1], json!([format!("0x{key}")])), "access_list[0].storageKeys[0]"),
            (entry(ADDRESSES[1], json!([1])), "access_list"),
            (entry(ADDRESSES[1], many), "access_list: must have at most 256"),
        ] {
            let body = json!({"to": ADDRESSES[1], "value": "0", "chain": "local", "gas_limit": 1_000_000, "access_list": list});
            bot.submit(&body).expect(400, named).await;
        }
        let body = json!({"to": ADDRESSES[1], "value": "0", "chain": "local", "gas_limit": 25_299, "access_list": entry(ADDRESSES[1], json!([key]))});
        bot.submit(&body).expect(400, "gas_limit: must be at least 25300").await;
        // The list's gas counts against the cap on fees.
        ada.patch(&format!("/v1/agents/{}", bot.id), &json!({"tx_max_fee_eth": "0.00003"})).expect(200, "").await;
        let body = |list: harness::Value| json!({"to": ADDRESSES[1], "value": "0", "chain": "local", "gas_price": "1400000000", "access_list": list});
        bot.submit(&body(entry(ADDRESSES[1], json!([key])))).expect(403, "tx_max_fee_eth").await;
        let sent = bot.submit(&body(json!([]))).expect(201, "").await;
        bot.until(sent["id"].as_str().unwrap(), "confirmed").await;
        assert_eq!(w.anvil().await.nonce(ADDRESSES[0]).await, 1, "nothing refused was signed");
    }
}

both! {
    with chain,
    async fn guardrails_refuse_by_name_and_by_how_much(w: World) {
        let ada = w.owner("ada").await;
        let vault = funded(&ada).await;
        let bot = ada.agent("bot").intents().reads(&vault, "keys/**").make().await;
        let path = format!("/v1/agents/{}", bot.id);
        for (limit, named) in [
            (json!({"tx_allowed_chains": ["base"]}), "tx_allowed_chains"),
            (json!({"tx_allowed_chains": null, "tx_to_allowlist": [ADDRESSES[3]]}), "tx_to_allowlist"),
            (json!({"tx_to_allowlist": [], "tx_max_value_eth": "0.9"}), "tx_max_value_eth"),
            (json!({"tx_max_value_eth": null, "tx_daily_limit_eth": "0.8"}), "0.8"),
            (json!({"tx_daily_limit_eth": null, "tx_max_fee_eth": "0.000001"}), "tx_max_fee_eth"),
        ] {
            ada.patch(&path, &limit).expect(200, "").await;
            bot.send(ADDRESSES[1], "1").expect(403, named).await;
        }
        ada.patch(&path, &json!({"tx_max_fee_eth": null, "tx_max_value_eth": "1"})).expect(200, "").await;
        let call = json!({"to": ADDRESSES[1], "value": "0", "chain": "local", "data": "0xdeadbeef", "gas_limit": 50000});
        bot.submit(&call).expect(403, "tx_calls_allowlist").await;
        let sent = bot.send(ADDRESSES[1], "1").expect(201, "").await;
        bot.until(sent["id"].as_str().unwrap(), "confirmed").await;
        assert_eq!(w.anvil().await.nonce(ADDRESSES[0]).await, 1, "nothing refused was signed");
    }
}

both! {
    with chain,
    async fn only_an_intents_agent_submits_and_only_for_itself(w: World) {
        let ada = w.owner("ada").await;
        let vault = funded(&ada).await;
        let bot = ada.agent("bot").intents().reads(&vault, "**").make().await;
        let other = ada.agent("other").intents().reads(&vault, "**").make().await;
        let plain = ada.agent("plain").reads(&vault, "**").make().await;
        let body = json!({"to": ADDRESSES[1], "value": "1", "chain": "local"});
        plain.submit(&body).expect(403, "intents_api_enabled").await;
        other.post(&bot.transactions(), &body).expect(404, "agent").await;
        ada.post(&bot.transactions(), &body).expect(403, "Only the agent itself").await;
        other.get(&bot.transactions()).expect(404, "agent").await;
        vault.put("keys/local-signer", "private_key", "no key at all").await;
        bot.submit(&body).expect(400, "signing_key_path").await;
        ada.delete(&vault.path("keys/local-signer")).expect(204, "").await;
        bot.submit(&body).expect(404, "keys/local-signer").await;
        let blind = ada.agent("blind").intents().make().await;
        blind.submit(&body).expect(403, "No read permission").await;
    }
}

both! {
    with chain,
    async fn an_idempotency_key_means_one_transaction(w: World) {
        let ada = w.owner("ada").await;
        let vault = funded(&ada).await;
        let bot = ada.agent("bot").intents().reads(&vault, "keys/**").make().await;
        let once = bot.send(ADDRESSES[1], "0.5").header("idempotency-key", "a").expect(201, "").await;
        let again = bot.send(ADDRESSES[1], "0.50").header("idempotency-key", "a").expect(200, "").await;
        assert_eq!(once["id"], again["id"]);
        bot.send(ADDRESSES[1], "0.6").header("idempotency-key", "a").expect(422, "another request").await;
        bot.send(ADDRESSES[1], "0.6").header("idempotency-key", "").expect(400, "Idempotency-Key").await;
        let at_once = join_all((0..20).map(|_| bot.send(ADDRESSES[1], "0.1").header("idempotency-key", "b").reply())).await;
        assert!(at_once.iter().all(|r| [200, 201, 409].contains(&r.status)), "{:?}", at_once.iter().map(|r| r.status).collect::<Vec<_>>());
        assert_eq!(at_once.iter().filter(|r| r.status == 201).count(), 1);
        let list = bot.get(&bot.transactions()).expect(200, "").await;
        assert_eq!(list["transactions"].as_array().unwrap().len(), 2);
        // A refusal before the row is not remembered.
        ada.patch(&format!("/v1/agents/{}", bot.id), &json!({"tx_max_value_eth": "0.1"})).expect(200, "").await;
        bot.send(ADDRESSES[1], "0.2").header("idempotency-key", "c").expect(403, "").await;
        ada.patch(&format!("/v1/agents/{}", bot.id), &json!({"tx_max_value_eth": null})).expect(200, "").await;
        bot.send(ADDRESSES[1], "0.2").header("idempotency-key", "c").expect(201, "").await;
    }
}

both! {
    with chain,
    async fn sixty_four_at_once_get_consecutive_nonces_and_receipts(w: World) {
        let ada = w.owner("ada").await;
        let vault = funded(&ada).await;
        let bot = ada.agent("bot").intents().reads(&vault, "keys/**").make().await;
        w.hold_blocks().await;
        let sent = join_all((0..64).map(|_| bot.send(ADDRESSES[1], "0.01").expect(201, "nonce"))).await;
        let nonces: BTreeSet<u64> = sent.iter().map(|t| t["nonce"].as_u64().unwrap()).collect();
        assert_eq!(nonces, (0..64).collect());
        w.while_blocks_come(join_all(sent.iter().map(|tx| bot.until(tx["id"].as_str().unwrap(), "confirmed")))).await;
        let anvil = w.anvil().await;
        for tx in &sent {
            assert_eq!(anvil.receipt(tx["tx_hash"].as_str().unwrap()).await["status"], "0x1");
        }
        assert_eq!(anvil.balance(ADDRESSES[1]).await, 10_000 * ONE + 64 * ONE / 100);
        anvil.ask("evm_setAutomine", json!([true])).await;
        drop(anvil);
        explicit_nonces(&bot).await;
    }
}

/// After 64: the next is 64.
async fn explicit_nonces(bot: &Agent<'_>) {
    let tx = |nonce: u64| json!({"to": ADDRESSES[1], "value": "0.01", "chain": "local", "nonce": nonce});
    bot.submit(&tx(66)).expect(400, "nonce: must be 64").await;
    bot.submit(&tx(3)).expect(400, "nonce").await;
    let sent = bot.submit(&tx(64)).expect(201, "").await;
    assert_eq!(sent["nonce"], 64);
    bot.until(sent["id"].as_str().unwrap(), "confirmed").await;
}

both! {
    with chain,
    async fn a_hundred_at_once_against_a_limit_for_fourteen(w: World) {
        let ada = w.owner("ada").await;
        let vault = funded(&ada).await;
        let bot = ada.agent("bot").intents().set("tx_daily_limit_eth", "1.4").reads(&vault, "keys/**").make().await;
        w.hold_blocks().await;
        let replies = join_all((0..100).map(|_| bot.send(ADDRESSES[1], "0.1").reply())).await;
        let count = |status| replies.iter().filter(|r| r.status == status).count();
        assert_eq!((count(201), count(403)), (14, 86));
        assert!(replies.iter().filter(|r| r.status == 403).all(|r| r.text.contains("tx_daily_limit_eth")));
        let sent = replies.iter().filter(|r| r.status == 201);
        w.while_blocks_come(join_all(sent.map(|tx| bot.until(tx.body["id"].as_str().unwrap(), "confirmed")))).await;
        let anvil = w.anvil().await;
        assert_eq!(anvil.nonce(ADDRESSES[0]).await, 14);
        assert_eq!(anvil.balance(ADDRESSES[1]).await, 10_000 * ONE + 14 * ONE / 10);
    }
}

both! {
    with chain,
    async fn a_replacement_counts_once_at_the_larger_value(w: World) {
        let ada = w.owner("ada").await;
        let vault = funded(&ada).await;
        let bot = ada.agent("bot").intents().set("tx_daily_limit_eth", "1").reads(&vault, "keys/**").make().await;
        w.anvil().await.ask("evm_setAutomine", json!([false])).await;
        let tx = |value: &str, fee: u64, nonce: Option<u64>| json!({"to": ADDRESSES[1], "value": value, "chain": "local",
            "nonce": nonce, "max_fee_per_gas": fee.to_string(), "max_priority_fee_per_gas": (fee / 2).to_string()});
        let first = bot.submit(&tx("0.4", 4_000_000_000, None)).expect(201, "broadcast").await;
        bot.submit(&tx("0.4", 4_100_000_000, Some(0))).expect(400, "12.5 %").await;
        bot.submit(&tx("1.1", 4_600_000_000, Some(0))).expect(403, "tx_daily_limit_eth").await;
        let second = bot.submit(&tx("0.9", 4_600_000_000, Some(0))).expect(201, "broadcast").await;
        assert_eq!(second["nonce"], 0);
        // 0.9 counts, not 1.3: a tenth is left.
        bot.send(ADDRESSES[2], "0.2").expect(403, "0.1 left").await;
        w.anvil().await.ask("evm_mine", json!([])).await;
        bot.until(second["id"].as_str().unwrap(), "confirmed").await;
        bot.until(first["id"].as_str().unwrap(), "replaced").await;
        assert_eq!(w.anvil().await.balance(ADDRESSES[1]).await, 10_000 * ONE + 9 * ONE / 10);
    }
}

both! {
    with chain,
    async fn a_reverted_transaction_says_so_and_simulate_first_prevents_it(w: World) {
        let ada = w.owner("ada").await;
        let vault = funded(&ada).await;
        let bot = ada.agent("bot").intents().reads(&vault, "keys/**").make().await;
        // Reverts with Error("no"): PUSH the encoded reason, MSTORE, REVERT.
        let contract = "0x00000000000000000000000000000000000c0de1";
        let code = "0x7f08c379a0000000000000000000000000000000000000000000000000000000006000526020600452600260245261\
                    6e6f60f01b60445260646000fd".replace(' ', "");
        w.anvil().await.ask("anvil_setCode", json!([contract, code])).await;
        let call = |extra: bool| json!({"to": contract, "value": "0", "chain": "local", "gas_limit": 100_000, "simulate_first": extra});
        let refused = bot.submit(&call(true)).reply().await;
        assert_eq!((refused.status, &refused.body["status"]), (422, &json!("simulation_failed")), "{}", refused.text);
        assert!(refused.body["error_message"].as_str().unwrap().contains("no"), "{}", refused.text);
        let sent = bot.submit(&call(false)).expect(201, "").await;
        bot.until(sent["id"].as_str().unwrap(), "reverted").await;
        assert_eq!(w.anvil().await.nonce(ADDRESSES[0]).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_node_nothing_is_begun() {
    let w = World::on(Database::Sqlite).durable_chain().start().await;
    let ada = w.owner("ada").await;
    let vault = funded(&ada).await;
    let bot = ada.agent("bot").intents().set("tx_daily_limit_eth", "2").reads(&vault, "keys/**").make().await;
    let first = bot.send(ADDRESSES[1], "1").expect(201, "").await;
    bot.until(first["id"].as_str().unwrap(), "confirmed").await;
    w.anvil().await.crash().await;
    bot.send(ADDRESSES[1], "1").expect(503, "node").await;
    w.anvil().await.restart().await;
    // The refused one holds neither nonce nor limit.
    let second = bot.send(ADDRESSES[1], "1").expect(201, "").await;
    assert_eq!(second["nonce"], 1);
    bot.until(second["id"].as_str().unwrap(), "confirmed").await;
    let list = bot.get(&bot.transactions()).expect(200, "").await;
    assert_eq!(list["transactions"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_signed_while_the_node_takes_nothing_goes_out_later() {
    let front = Front::before_anvil().await;
    let w = World::on(Database::Sqlite).with("TALON_RPC_LOCAL", &front.url()).start().await;
    let ada = w.owner("ada").await;
    let vault = funded(&ada).await;
    let bot = ada.agent("bot").intents().reads(&vault, "keys/**").make().await;
    front.refuse("eth_sendRawTransaction");
    let sent = bot.send(ADDRESSES[1], "1").expect(201, "signed_tx").await;
    assert_eq!((&sent["status"], &sent["nonce"]), (&json!("signed"), &json!(0)));
    let id = sent["id"].as_str().unwrap();
    front.refuse("");
    w.restart().await;
    bot.until(id, "signed").await;
    front.let_through();
    let done = bot.until(id, "confirmed").await;
    assert_eq!((&done["tx_hash"], &done["nonce"]), (&sent["tx_hash"], &json!(0)));
    assert_eq!(front.anvil.balance(ADDRESSES[1]).await, 10_001 * ONE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_signer_is_503_at_once_and_back_by_itself() {
    let w = World::on(Database::Sqlite).chain().start().await;
    let ada = w.owner("ada").await;
    let vault = funded(&ada).await;
    let bot = ada.agent("bot").intents().reads(&vault, "keys/**").make().await;
    vault.put("a", "generic", "v").await;
    w.freeze_signer(true);
    w.get("/v1/health").expect(200, "healthy").await;
    w.freeze_signer(false);
    w.kill_signer().unwrap();
    let begun = std::time::Instant::now();
    ada.get(&vault.path("a")).expect(503, "signer").await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    for _ in 0..200 {
        if ada.get(&vault.path("a")).reply().await.status == 200 {
            let sent = bot.send(ADDRESSES[1], "1").expect(201, "").await;
            bot.until(sent["id"].as_str().unwrap(), "confirmed").await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the signer does not come back:\n{}", w.said());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_hsm_signs_what_a_node_takes() {
    let w = World::on(Database::Sqlite).hsm().chain().start().await;
    let ada = w.owner("ada").await;
    let vault = funded(&ada).await;
    vault.put("a", "generic", "in the HSM's care").await;
    ada.get(&vault.path("a")).expect(200, "in the HSM's care").await;
    let bot = ada.agent("bot").intents().set("tx_daily_limit_eth", "1").reads(&vault, "keys/**").make().await;
    let listed = json!({"to": ADDRESSES[1], "value": "0.01", "chain": "local", "gas_price": "5000000000",
        "access_list": [{"address": ADDRESSES[1], "storageKeys": [format!("0x{:064x}", 1)]}]});
    let listed = bot.submit(&listed).expect(201, "\"0x01").await;
    bot.until(listed["id"].as_str().unwrap(), "confirmed").await;
    let sent = join_all((0..24).map(|_| bot.send(ADDRESSES[1], "0.01").expect(201, "nonce"))).await;
    for tx in &sent {
        bot.until(tx["id"].as_str().unwrap(), "confirmed").await;
    }
    w.restart().await;
    ada.get(&vault.path("a")).expect(200, "in the HSM's care").await;
    let after = bot.send(ADDRESSES[1], "0.01").expect(201, "").await;
    assert_eq!(after["nonce"], 25);
}
