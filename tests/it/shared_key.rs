//! What would never be mined is not signed: its nonce would be held against everyone who shares the key.

use std::time::Duration;

use harness::{ADDRESSES, Value, World, both, json, number};

use crate::approvals::{approve, step};
use crate::tx_approvals::{careful, funded, ids};

const ETHER: &str = "0xde0b6b3a7640000";

/// What anvil's first account has from now on, in wei.
async fn has(w: &World, wei: &str) {
    w.anvil().await.ask("anvil_setBalance", json!([ADDRESSES[0], wei])).await;
}

fn pay(value: &str, gas_limit: u64) -> Value {
    json!({"to": ADDRESSES[1], "value": value, "chain": "local", "gas_limit": gas_limit})
}

both! {
    with chain,
    async fn more_gas_than_a_block_has_is_refused(w: World) {
        let ada = w.owner("ada").await;
        let vault = funded(&ada).await;
        let bot = ada.agent("bot").intents().set("tx_daily_count", 1).reads(&vault, "keys/**").make().await;
        let block = w.anvil().await.ask("eth_getBlockByNumber", json!(["latest", false])).await;
        let most = u64::try_from(number(&block["gasLimit"])).unwrap();
        let named = format!("gas_limit: must be at most {most}: local takes no more in one transaction");
        for simulated in [false, true] {
            let mut body = pay("0.1", most + 1);
            body["simulate_first"] = json!(simulated);
            bot.submit(&body).expect(400, &named).await;
        }
        let sent = bot.submit(&pay("0.1", 100_000)).expect(201, "signed_tx").await;
        assert_eq!(sent["nonce"], 0, "nothing was held");
    }
}

both! {
    with chain,
    async fn what_its_address_can_not_pay_is_refused(w: World) {
        let ada = w.owner("ada").await;
        let vault = funded(&ada).await;
        let bot = ada.agent("bot").intents().set("tx_daily_limit_eth", "1").reads(&vault, "keys/**").make().await;
        has(&w, ETHER).await;
        // Fees count, and with or without an estimate it is said alike.
        let short = format!("The address {} has 1 ETH on local, and this takes up to 1.0", ADDRESSES[0]);
        bot.submit(&pay("1", 21_000)).expect(422, &short).await;
        bot.send(ADDRESSES[1], "1").expect(422, &short).await;
        let mut tried = pay("1", 21_000);
        tried["simulate_first"] = json!(true);
        let failed = bot.submit(&tried).reply().await;
        assert_eq!((failed.status, &failed.body["status"]), (422, &json!("simulation_failed")), "{}", failed.text);
        assert!(failed.body["error_message"].as_str().unwrap().starts_with(&short), "{}", failed.text);
        let sent = bot.submit(&pay("0.9", 21_000)).expect(201, "signed_tx").await;
        assert_eq!(sent["nonce"], 0, "nothing was held");
        bot.until(sent["id"].as_str().unwrap(), "confirmed").await;
    }
}

both! {
    with chain,
    /// Where they decide on what fails in the simulation, it does, asked for or not.
    async fn what_can_not_be_paid_yet_is_for_people_to_decide(w: World) {
        let ada = w.owner("ada").await;
        let vault = funded(&ada).await;
        let bot = careful(&ada, &vault, json!({"simulation": true})).await;
        has(&w, ETHER).await;
        let waits = async || {
            let waiting = bot.submit(&pay("2", 21_000)).expect(202, "awaiting_approval").await;
            assert_eq!(waiting["simulation_status"], "error", "it can not even run: {waiting}");
            ids(&waiting)
        };
        let refused = bot.send(ADDRESSES[1], "2").reply().await;
        assert_eq!((refused.status, &refused.body["status"]), (422, &json!("simulation_failed")), "{}", refused.text);
        assert!(refused.text.contains("fees included (with a gas_limit of yours"), "{}", refused.text);
        let (unpaid, id) = waits().await;
        approve(&ada, &id).await;
        let failed = bot.until(&unpaid, "failed").await;
        assert!(failed["error_message"].as_str().unwrap().contains("has 1 ETH on local"), "{failed}");
        let (paid, id) = waits().await;
        has(&w, "0x29a2241af62c0000").await;
        approve(&ada, &id).await;
        assert_eq!(bot.until(&paid, "confirmed").await["nonce"], 0);
    }
}

both! {
    with chain,
    async fn what_people_approve_too_late_takes_no_nonce(w: World) {
        let ada = w.owner("ada").await;
        let vault = funded(&ada).await;
        let bot = ada.agent("bot").intents().set("tx_approval_policy", json!({"always": true})).set("tx_daily_limit_eth", "1")
            .reads(&vault, "keys/**").make().await;
        let other = ada.agent("other").intents().reads(&vault, "keys/**").make().await;
        let block = w.anvil().await.ask("eth_getBlockByNumber", json!(["latest", false])).await;
        let anvil = async |method: &str, param: Value| w.anvil().await.ask(method, json!([param])).await;
        for (method, param, before, why) in [
            ("evm_setBlockGasLimit", json!("0xf4240"), &block["gasLimit"], "gas_limit: must be at most 1000000: local takes no more"),
            ("anvil_setNextBlockBaseFeePerGas", json!("0xba43b7400"), &json!("0x3b9aca00"), "max_fee_per_gas is 4000000000 wei, and the chain's base fee is 50000000000 wei now"),
        ] {
            let mut body = pay("0.9", 2_000_000);
            body["max_fee_per_gas"] = json!("4000000000");
            body["max_priority_fee_per_gas"] = json!("1000000000");
            let (tx, id) = ids(&bot.submit(&body).expect(202, "").await);
            anvil(method, param).await;
            anvil("anvil_mine", json!("0x1")).await;
            // What was known of the block before is forgotten.
            tokio::time::sleep(Duration::from_millis(1100)).await;
            approve(&ada, &id).await;
            let failed = bot.until(&tx, "failed").await;
            let said = failed["error_message"].as_str().unwrap();
            assert!(said.contains(why) && said.ends_with("; submit it anew."), "{failed}");
            assert!(failed.get("nonce").is_none() && failed.get("signed_tx").is_none(), "{failed}");
            ada.post(&step(&id, "approve"), &json!({})).expect(409, "approved already").await;
            anvil(method, before.clone()).await;
            anvil("anvil_mine", json!("0x1")).await;
            tokio::time::sleep(Duration::from_millis(1100)).await;
        }
        // Neither the day's limit nor the nonce was used up.
        let (tx, id) = ids(&bot.submit(&pay("0.9", 21_000)).expect(202, "").await);
        assert_eq!(other.send(ADDRESSES[1], "0.1").expect(201, "").await["nonce"], 0);
        approve(&ada, &id).await;
        assert_eq!(bot.until(&tx, "confirmed").await["nonce"], 1);
    }
}
