//! What becomes of transactions when the chain and its nodes don't do what was expected.

use std::time::{Duration, Instant};

use harness::{ADDRESSES, Database, World, both, json};

both! {
    with chain,
    async fn a_gap_that_somebody_elses_lost_transaction_left_is_filled_by_name(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put_key("keys/local-signer", 0).await;
        let bot = ada.agent("bot").intents().reads(&vault, "keys/**").make().await;
        w.anvil().await.ask("evm_setAutomine", json!([false])).await;
        // The same key is used elsewhere, and what it sent there is lost again.
        let foreign = json!([{"from": ADDRESSES[0], "to": ADDRESSES[3], "value": "0x1"}]);
        let foreign = w.anvil().await.ask("eth_sendTransaction", foreign).await;
        let waits = bot.send(ADDRESSES[1], "0.1").expect(201, "").await;
        assert_eq!(waits["nonce"], 1);
        w.anvil().await.ask("anvil_dropTransaction", json!([foreign])).await;
        let at = |nonce: u64| json!({"to": ADDRESSES[1], "value": "0.1", "chain": "local", "nonce": nonce});
        bot.submit(&at(3)).expect(400, "nonce").await;
        let fills = bot.submit(&at(0)).expect(201, "").await;
        assert_eq!(fills["nonce"], 0);
        w.anvil().await.ask("evm_setAutomine", json!([true])).await;
        w.anvil().await.ask("evm_mine", json!([])).await;
        for tx in [&fills, &waits] {
            bot.until(tx["id"].as_str().unwrap(), "confirmed").await;
        }
        // What is in a block is no gap.
        bot.submit(&at(0)).expect(400, "nonce").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_hangs_holds_up_no_other_chain() {
    // It takes connections and never says a word.
    let silent = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let w = World::on(Database::Sqlite).chain().with("TALON_RPC_SEPOLIA", &url).start().await;
    let ada = w.owner("ada").await;
    let vault = ada.vault("main").await;
    vault.put_key("keys/local-signer", 0).await;
    let bot = ada.agent("bot").intents().reads(&vault, "keys/**").make().await;
    let sent = bot.send(ADDRESSES[1], "0.1").expect(201, "").await;
    bot.until(sent["id"].as_str().unwrap(), "confirmed").await;
    // It is the hanging chain's from now on, open, and due.
    w.sql("UPDATE transactions SET status = 'broadcast', chain_id = 11155111, lease_until = 0").await;
    let (asked, _) = silent.accept().await.unwrap();
    let begun = Instant::now();
    let sent = bot.send(ADDRESSES[1], "0.1").expect(201, "").await;
    bot.until(sent["id"].as_str().unwrap(), "confirmed").await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    drop(asked);
}
