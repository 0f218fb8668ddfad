//! Open transactions where a chain forgets, lags or hangs.

use std::time::{Duration, Instant};

use futures::future::join_all;
use harness::{ADDRESSES, Agent, Anvil, Value, World, both, json};

/// An agent that signs with anvil's first key, on a chain that mines only when it is told to.
async fn agent<'p>(w: &'p World, ada: &'p harness::Person<'p>) -> Agent<'p> {
    let vault = ada.vault("main").await;
    vault.put_key("keys/local-signer", 0).await;
    vault.put_key("keys/other-signer", 1).await;
    w.anvil().await.ask("evm_setAutomine", json!([false])).await;
    ada.agent("bot").intents().reads(&vault, "keys/**").make().await
}

/// Sends with Talon's key, but past Talon. Its hash.
async fn foreign(w: &World, nonce: u64) -> Value {
    let tx =
        json!({"from": ADDRESSES[0], "to": ADDRESSES[2], "value": "0x1", "nonce": format!("{nonce:#x}")});
    w.anvil().await.ask("eth_sendTransaction", json!([tx])).await
}

/// Mines until all are confirmed.
async fn all_confirmed(w: &World, bot: &Agent<'_>, sent: &[&Value]) {
    for _ in 0..100 {
        w.anvil().await.ask("evm_mine", json!([])).await;
        let list = bot.get(&bot.transactions()).expect(200, "").await;
        let confirmed = |tx: &&Value| {
            let listed = list["transactions"].as_array().unwrap();
            listed.iter().any(|now| now["id"] == tx["id"] && now["status"] == "confirmed")
        };
        if sent.iter().all(confirmed) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not all are confirmed:\n{}", bot.get(&bot.transactions()).reply().await.text);
}

both! {
    with chain,
    async fn a_foreign_transaction_that_is_lost_leaves_no_gap_for_good(w: World) {
        let ada = w.owner("ada").await;
        let bot = agent(&w, &ada).await;
        let at = |nonce: u64| json!({"to": ADDRESSES[1], "value": "0.01", "chain": "local", "nonce": nonce});
        let lost = [foreign(&w, 0).await, foreign(&w, 1).await];
        let above = bot.send(ADDRESSES[1], "0.01").expect(201, "").await;
        assert_eq!(above["nonce"], 2);
        for hash in lost.iter().rev() {
            w.anvil().await.ask("anvil_dropTransaction", json!([hash])).await;
        }
        bot.submit(&at(4)).expect(400, "nonce: must be 3").await;
        // Of many who want the gap, one gets it; the others would replace that one, and don't pay for it.
        let tries = join_all((0..8).map(|_| bot.submit(&at(0)).reply())).await;
        let first: Vec<_> = tries.iter().filter(|reply| reply.status == 201).collect();
        assert!(first.len() == 1 && tries.iter().all(|reply| [201, 400].contains(&reply.status)), "{:?}",
            tries.iter().map(|reply| &reply.text).collect::<Vec<_>>());
        // The node may only lag: nothing is filled yet that nobody asks for.
        let next = bot.send(ADDRESSES[1], "0.01").expect(201, "").await;
        assert_eq!(next["nonce"], 3);
        let id = above["id"].as_str().unwrap();
        w.sql(&format!("UPDATE transactions SET signed_at = signed_at - 61000 WHERE id = '{id}'")).await;
        let filled = bot.send(ADDRESSES[1], "0.01").expect(201, "").await;
        assert_eq!(filled["nonce"], 1);
        let last = bot.send(ADDRESSES[1], "0.01").expect(201, "").await;
        assert_eq!(last["nonce"], 4);
        all_confirmed(&w, &bot, &[&above, &first[0].body, &next, &filled, &last]).await;
        bot.submit(&at(1)).expect(400, "nonce: must be 5").await;
        assert_eq!(w.anvil().await.nonce(ADDRESSES[0]).await, 5);
    }
}

both! {
    with chain,
    async fn one_answer_that_lags_replaces_nothing(w: World) {
        let ada = w.owner("ada").await;
        let bot = agent(&w, &ada).await;
        let sent = bot.send(ADDRESSES[1], "1").expect(201, "broadcast").await;
        let id = sent["id"].as_str().unwrap();
        // Signed long ago: what counts is since when the chain is past the nonce.
        w.sql("UPDATE transactions SET signed_at = signed_at - 600000").await;
        past(&w, &sent, 1).await;
        until(&w, "passed_at IS NOT NULL").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        bot.until(id, "broadcast").await;
        // The nonce falls back, and all begins again.
        past(&w, &sent, 0).await;
        until(&w, "passed_at IS NULL").await;
        all_confirmed(&w, &bot, &[&sent]).await;

        let gone = bot.send(ADDRESSES[1], "1").expect(201, "broadcast").await;
        past(&w, &gone, 2).await;
        until(&w, "status = 'broadcast' AND passed_at IS NOT NULL").await;
        w.sql("UPDATE transactions SET passed_at = passed_at - 60000 WHERE status = 'broadcast'").await;
        bot.until(gone["id"].as_str().unwrap(), "replaced").await;
    }
}

/// The chain has lost a transaction, and says that this is the sender's nonce.
async fn past(w: &World, sent: &Value, nonce: u64) {
    let anvil = w.anvil().await;
    anvil.ask("anvil_setNonce", json!([ADDRESSES[0], format!("{nonce:#x}")])).await;
    anvil.ask("anvil_dropTransaction", json!([sent["tx_hash"]])).await;
}

/// Waits until this holds for a transaction.
async fn until(w: &World, holds: &str) {
    for _ in 0..200 {
        // Changes nothing; it counts.
        if w.sql(&format!("UPDATE transactions SET nonce = nonce WHERE {holds}")).await > 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {holds}\n{}", w.said());
}

both! {
    with chain,
    async fn a_chain_whose_node_hangs_holds_up_no_other(w: World) {
        let (root, ada) = (w.operator().await, w.owner("ada").await);
        let other = Anvil::start(&["--chain-id", "31338", "--no-mining"]).await;
        let chain = json!({"name": "other", "display_name": "Other", "chain_id": 31338, "rpc_url": other.url()});
        root.post("/v1/admin/chains", &chain).expect(201, "other").await;
        let bot = agent(&w, &ada).await;
        let there = json!({"to": ADDRESSES[2], "value": "0.01", "chain": "other"});
        // More than are carried at once.
        let stuck = join_all((0..40).map(|_| bot.submit(&there).expect(201, "broadcast"))).await;
        let here = bot.send(ADDRESSES[2], "0.01").expect(201, "broadcast").await;
        // Takes connections, and never answers.
        let hanging = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}", hanging.local_addr().unwrap());
        root.put("/v1/admin/chains/31338", &json!({"rpc_url": url})).expect(200, "").await;
        tokio::time::sleep(Duration::from_secs(2)).await;

        w.anvil().await.ask("evm_mine", json!([])).await;
        let begun = Instant::now();
        bot.until(here["id"].as_str().unwrap(), "confirmed").await;
        w.anvil().await.ask("evm_setAutomine", json!([true])).await;
        let another = bot.send(ADDRESSES[2], "0.01").expect(201, "").await;
        bot.until(another["id"].as_str().unwrap(), "confirmed").await;
        // Less than a request to a node may take: it was not waited for.
        assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());

        root.put("/v1/admin/chains/31338", &json!({"rpc_url": other.url()})).expect(200, "").await;
        drop(hanging);
        other.ask("evm_mine", json!([])).await;
        for tx in &stuck {
            bot.until(tx["id"].as_str().unwrap(), "confirmed").await;
        }
    }
}
