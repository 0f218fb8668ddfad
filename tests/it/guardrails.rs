//! Limits on what a transaction's calldata moves, on how often and at what cost, as people set them.

use futures::future::join_all;
use harness::{ADDRESSES, Value, both, json};

const COIN: &str = "0x7070707070707070707070707070707070707070";
const ROUTER: &str = "0xcacacacacacacacacacacacacacacacacacacaca";

/// Calldata of a function of an address and a number.
fn of(selector: &str, to: &str, amount: &str) -> String {
    format!("0x{selector}{:0>64}{amount:0>64}", to.trim_start_matches("0x").to_lowercase())
}

fn call(to: &str, data: &str) -> Value {
    json!({"to": to, "value": "0", "chain": "local", "data": data, "gas_limit": 60000})
}

both! {
    async fn limits_of_tokens_and_calls_are_set_shown_and_cleared(w: World) {
        let ada = w.owner("ada").await;
        let made = ada.post("/v1/agents", &json!({
            "name": "bot", "intents_api_enabled": true, "tx_daily_count": 20, "tx_recipient_daily_limit_eth": "0.50",
            "tx_daily_gas_eth": "0.1", "tx_unlimited_approvals": true, "tx_auto_bump": true, "tx_contract_creation": true,
            "tx_tokens": [{"chain": "31337", "token": COIN, "max": "10", "daily": "25"}, {"chain": "base", "token": COIN, "standard": "erc721"}],
            "tx_calls_allowlist": [{"chain": "local", "contract": ROUTER, "selectors": ["0xDEADBEEF"]}],
        })).expect(201, "ocv_").await;
        let agent = &made["agent"];
        let tokens = json!([{"chain": "local", "token": COIN, "standard": "erc20", "max": "10", "daily": "25"},
            {"chain": "base", "token": COIN, "standard": "erc721"}]);
        let calls = json!([{"chain": "local", "contract": agent["tx_calls_allowlist"][0]["contract"], "selectors": ["0xdeadbeef"]}]);
        assert_eq!((&agent["tx_daily_count"], &agent["tx_recipient_daily_limit_eth"]), (&json!(20), &json!("0.5")));
        assert_eq!((&agent["tx_tokens"], &agent["tx_calls_allowlist"]), (&tokens, &calls));
        assert_eq!((&agent["tx_daily_gas_eth"], &agent["tx_unlimited_approvals"]), (&json!("0.1"), &json!(true)));
        let path = format!("/v1/agents/{}", agent["id"].as_str().unwrap());
        let kept = ada.patch(&path, &json!({"name": "bob"})).expect(200, "bob").await;
        assert_eq!((&kept["tx_tokens"], &kept["tx_calls_allowlist"]), (&tokens, &calls));
        for flag in ["tx_unlimited_approvals", "tx_auto_bump", "tx_contract_creation"] {
            assert_eq!(kept[flag], true, "{flag}: {kept}");
        }
        for (field, bad) in [
            ("tx_daily_count", json!(-1)),
            ("tx_recipient_daily_limit_eth", json!("1e3")),
            ("tx_daily_gas_eth", json!("x")),
            ("tx_tokens[0].chain", json!([{"chain": "nowhere", "token": COIN}])),
            ("tx_tokens[0].token", json!([{"chain": "local", "token": "0x12"}])),
            ("tx_tokens[1].max", json!([{"chain": "local", "token": COIN}, {"chain": "local", "token": ROUTER, "max": "1.5"}])),
            ("tx_tokens", json!([{"chain": "local", "token": COIN, "standard": "erc9"}])),
            ("tx_tokens", json!([{"chain": "local", "token": COIN, "weekly": "1"}])),
            ("tx_tokens", json!([{"chain": "local", "token": COIN}, {"chain": "31337", "token": COIN}])),
            ("tx_calls_allowlist[0].selectors", json!([{"chain": "local", "contract": COIN, "selectors": ["0x12"]}])),
            ("tx_calls_allowlist", json!([{"chain": "local", "contract": COIN, "selectors": []}])),
        ] {
            let name = field.split('[').next().unwrap();
            ada.patch(&path, &json!({ name: bad })).expect(400, field).await;
        }
        let cleared = ada.patch(&path, &json!({"tx_daily_count": null, "tx_recipient_daily_limit_eth": null, "tx_daily_gas_eth": null,
            "tx_tokens": null, "tx_calls_allowlist": [], "tx_unlimited_approvals": null})).expect(200, "").await;
        assert_eq!((&cleared["tx_tokens"], &cleared["tx_calls_allowlist"]), (&json!([]), &json!([])));
        assert_eq!((cleared.get("tx_daily_count"), &cleared["tx_unlimited_approvals"]), (None, &json!(false)));
    }
}

both! {
    with chain,
    async fn calldata_is_refused_by_the_guardrail_that_it_breaks(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put_key("keys/local-signer", 0).await;
        let bot = ada.agent("bot").intents().set("tx_daily_count", 2).reads(&vault, "keys/**").make().await;
        let path = format!("/v1/agents/{}", bot.id);
        let tokens = json!([{"chain": "local", "token": COIN, "max": "10", "daily": "16"}]);
        let (transfer, approve) = ("a9059cbb", "095ea7b3");
        ada.patch(&path, &json!({"tx_max_value_eth": "1"})).expect(200, "").await;
        bot.submit(&call(COIN, &of(transfer, ADDRESSES[1], "1"))).expect(403, "tx_to_allowlist").await;
        ada.patch(&path, &json!({"tx_to_allowlist": [COIN, ADDRESSES[1]]})).expect(200, "").await;
        bot.submit(&call(COIN, &of(transfer, ADDRESSES[2], "1"))).expect(403, ADDRESSES[2]).await;
        bot.submit(&call(COIN, &of(approve, ADDRESSES[1], &"f".repeat(64)))).expect(403, "tx_unlimited_approvals").await;
        bot.submit(&call(COIN, "0xdeadbeef")).expect(403, "tx_calls_allowlist").await;
        ada.patch(&path, &json!({"tx_to_allowlist": null, "tx_tokens": tokens})).expect(200, "").await;
        bot.submit(&call(COIN, &of(transfer, ADDRESSES[2], "b"))).expect(403, "11 asked").await;
        let sent = bot.submit(&call(COIN, &of(transfer, ADDRESSES[2], "a"))).expect(201, "").await;
        bot.until(sent["id"].as_str().unwrap(), "confirmed").await;
        bot.submit(&call(COIN, &of(transfer, ADDRESSES[2], "7"))).expect(403, "6 left of 16").await;
        let calls = json!([{"chain": "local", "contract": ROUTER, "selectors": ["0xdeadbeef"]}]);
        ada.patch(&path, &json!({"tx_calls_allowlist": calls})).expect(200, "").await;
        let sent = bot.submit(&call(ROUTER, "0xdeadbeef")).expect(201, "").await;
        bot.until(sent["id"].as_str().unwrap(), "confirmed").await;
        bot.submit(&call(ROUTER, "0xdeadbeef")).expect(403, "tx_daily_count: 1 transaction asked, 0 left of 2").await;
        ada.patch(&path, &json!({"tx_daily_count": null, "tx_recipient_daily_limit_eth": "0.2"})).expect(200, "").await;
        bot.send(ADDRESSES[3], "0.3").expect(403, "tx_recipient_daily_limit_eth").await;
        ada.patch(&path, &json!({"tx_daily_gas_eth": "0.000000000001"})).expect(200, "").await;
        bot.send(ADDRESSES[3], "0.1").expect(403, "tx_daily_gas_eth").await;
    }
}

both! {
    with chain,
    async fn two_hundred_transfers_of_a_token_at_once_get_what_its_limit_leaves(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put_key("keys/local-signer", 0).await;
        let tokens = json!([{"chain": "local", "token": COIN, "daily": "144"}]);
        let bot = ada.agent("bot").intents().set("tx_tokens", tokens).reads(&vault, "keys/**").make().await;
        w.hold_blocks().await;
        let body = call(COIN, &of("a9059cbb", ADDRESSES[1], "a"));
        let replies = join_all((0..200).map(|_| bot.submit(&body).reply())).await;
        let count = |status| replies.iter().filter(|reply| reply.status == status).count();
        assert_eq!((count(201), count(403)), (14, 186));
        assert!(replies.iter().filter(|reply| reply.status == 403).all(|reply| reply.text.contains("tx_tokens: 10 asked")));
        let sent = replies.iter().filter(|reply| reply.status == 201);
        w.while_blocks_come(join_all(sent.map(|tx| bot.until(tx.body["id"].as_str().unwrap(), "confirmed")))).await;
        assert_eq!(w.anvil().await.nonce(ADDRESSES[0]).await, 14);
    }
}
