//! Nothing stays stuck: replacements, what a node forgets, what a chain takes back, and gaps.

use std::time::Duration;

use futures::future::join_all;
use harness::{ADDRESSES, Agent, Person, Value, Vault, World, both, json};

const ONE: u128 = 1_000_000_000_000_000_000;
const GWEI: u64 = 1_000_000_000;

/// A vault with anvil's first key, on a chain that mines only when it is told to.
async fn still<'p>(w: &'p World, ada: &'p Person<'p>) -> Vault<'p> {
    let vault = ada.vault("main").await;
    vault.put_key("keys/local-signer", 0).await;
    w.hold_blocks().await;
    vault
}

async fn mine(w: &World, blocks: u64) {
    w.anvil().await.ask("anvil_mine", json!([format!("{blocks:#x}")])).await;
}

fn cheap(value: &str) -> Value {
    json!({"to": ADDRESSES[1], "value": value, "chain": "local", "max_fee_per_gas": (4 * GWEI).to_string(),
        "max_priority_fee_per_gas": GWEI.to_string()})
}

fn at(bot: &Agent<'_>, tx: &Value, what: &str) -> String {
    format!("{}/{}/{what}", bot.transactions(), tx["id"].as_str().unwrap())
}

fn id(tx: &Value) -> &str {
    tx["id"].as_str().unwrap()
}

fn wei(tx: &Value, field: &str) -> u64 {
    tx[field].as_str().unwrap().parse().unwrap()
}

/// Waits until this holds for a transaction.
async fn until(w: &World, holds: &str) {
    for _ in 0..600 {
        // Changes nothing; it counts.
        if w.sql(&format!("UPDATE transactions SET nonce = nonce WHERE {holds}")).await > 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {holds}\n{}", w.said());
}

/// Has everything that waits looked at at once.
async fn look(w: &World) {
    w.sql("UPDATE transactions SET lease_until = 0 WHERE lease_until < 9223372036854775807").await;
}

both! {
    with chain,
    async fn a_transaction_is_sped_up_and_one_of_the_two_is_mined(w: World) {
        let ada = w.owner("ada").await;
        let vault = still(&w, &ada).await;
        let bot = ada.agent("bot").intents().set("tx_daily_limit_eth", "1").reads(&vault, "keys/**").make().await;
        let first = bot.submit(&cheap("0.6")).expect(201, "broadcast").await;
        let path = at(&bot, &first, "speed-up");
        bot.post(&path, &json!({"gas_price": "9000000000"})).expect(400, "gas_price").await;
        bot.post(&path, &json!({"max_fee_per_gas": "4400000000", "max_priority_fee_per_gas": "2000000000"})).expect(400, "4500000000").await;
        bot.post(&path, &json!({"to": ADDRESSES[2]})).expect(400, "to must be left out").await;
        let asked = json!({"max_fee_per_gas": "5000000000", "max_priority_fee_per_gas": "2000000000"});
        let second = bot.post(&path, &asked).header("idempotency-key", "k").expect(201, "broadcast").await;
        assert_eq!((&second["replaces"], &second["nonce"], &second["to"], &second["value_wei"]),
            (&first["id"], &first["nonce"], &first["to"], &first["value_wei"]));
        let again = bot.post(&path, &asked).header("idempotency-key", "k").expect(200, "").await;
        assert_eq!(again["id"], second["id"]);
        bot.post(&path, &json!({})).header("idempotency-key", "k").expect(422, "another request").await;
        // A person's key is another.
        ada.post(&path, &asked).header("idempotency-key", "k").expect(409, id(&second)).await;
        // By a person, with fees that are chosen for them: without a body.
        let third = ada.post(&at(&bot, &second, "speed-up"), &json!({})).expect(201, "broadcast").await;
        assert!(wei(&third, "max_fee_per_gas") >= 5_625_000_000 && wei(&third, "max_priority_fee_per_gas") >= 2_250_000_000, "{third}");
        // Counted once: 0.4 is left.
        bot.send(ADDRESSES[2], "0.5").expect(403, "0.4 left").await;
        mine(&w, 1).await;
        let done = bot.until(id(&third), "confirmed").await;
        assert_eq!((&done["confirmations"], done["confirmed_at"].is_string()), (&json!(1), true), "{done}");
        for tx in [&first, &second] {
            bot.until(id(tx), "replaced").await;
            bot.post(&at(&bot, tx, "speed-up"), &json!({})).expect(409, "replaced").await;
        }
        bot.post(&at(&bot, &third, "cancel"), &json!({})).expect(409, "in block").await;
        assert_eq!(w.anvil().await.balance(ADDRESSES[1]).await, 10_000 * ONE + 6 * ONE / 10);
    }
}

both! {
    with chain,
    async fn a_transaction_is_cancelled_by_its_agent_or_whoever_manages_it(w: World) {
        let ada = w.owner("ada").await;
        let vault = still(&w, &ada).await;
        let bot = ada.agent("bot").intents().set("tx_to_allowlist", json!([ADDRESSES[1]])).reads(&vault, "keys/**").make().await;
        let other = ada.agent("other").intents().reads(&vault, "keys/**").make().await;
        let [first, second] = [bot.submit(&cheap("1")).expect(201, "broadcast").await, bot.submit(&cheap("2")).expect(201, "broadcast").await];
        for what in ["speed-up", "cancel"] {
            other.post(&at(&bot, &first, what), &json!({})).expect(404, "No such").await;
            other.post(&at(&other, &first, what), &json!({})).expect(404, "transaction").await;
        }
        let cancel = bot.post(&at(&bot, &first, "cancel"), &json!({})).expect(201, "broadcast").await;
        assert_eq!((&cancel["to"], &cancel["value_wei"], &cancel["gas_limit"]), (&json!(ADDRESSES[0]), &json!("0"), &json!(21000)));
        // Of an agent that was stopped, a person cancels; it does not, and nobody speeds it up.
        ada.post(&format!("/v1/agents/{}/suspend", bot.id), &json!({})).expect(200, "").await;
        ada.post(&at(&bot, &second, "speed-up"), &json!({})).expect(403, "stopped").await;
        let by_ada = ada.post(&at(&bot, &second, "cancel"), &json!({})).expect(201, "broadcast").await;
        mine(&w, 1).await;
        let path = |tx: &Value| format!("{}/{}", bot.transactions(), id(tx));
        for (tx, status) in [(&cancel, "confirmed"), (&by_ada, "confirmed"), (&first, "replaced"), (&second, "replaced")] {
            until(&w, &format!("id = '{}' AND status = '{status}'", id(tx))).await;
            ada.get(&path(tx)).expect(200, status).await;
        }
        assert_eq!(w.anvil().await.balance(ADDRESSES[1]).await, 10_000 * ONE);
        let trail = ada.get("/v1/audit/events?action=transaction.cancel").expect(200, id(&by_ada)).await;
        assert!(trail.to_string().contains(id(&cancel)), "{trail}");
    }
}

both! {
    with chain,
    async fn of_many_who_replace_one_transaction_one_does(w: World) {
        let ada = w.owner("ada").await;
        let vault = still(&w, &ada).await;
        let bot = ada.agent("bot").intents().reads(&vault, "keys/**").make().await;
        let first = bot.submit(&cheap("1")).expect(201, "broadcast").await;
        let tries = join_all((0..10).map(|n| bot.post(&at(&bot, &first, if n % 2 == 0 { "speed-up" } else { "cancel" }), &json!({})).reply())).await;
        assert_eq!(tries.iter().filter(|reply| reply.status == 201).count(), 1, "{:?}", tries.iter().map(|r| &r.text).collect::<Vec<_>>());
        assert!(tries.iter().all(|reply| [201, 409].contains(&reply.status)));
        let won = tries.iter().find(|reply| reply.status == 201).unwrap();
        mine(&w, 1).await;
        bot.until(id(&won.body), "confirmed").await;
        bot.until(id(&first), "replaced").await;
    }
}

both! {
    with chain,
    async fn what_waits_is_bumped_by_itself_where_a_person_allows_it(w: World) {
        let (root, ada) = (w.operator().await, w.owner("ada").await);
        let vault = still(&w, &ada).await;
        vault.put_key("keys/other", 1).await;
        // Of the two keys, one is used by an agent whose fees may be raised: up to 21,000 times 5 gwei.
        let bot = ada.agent("bot").intents().set("tx_auto_bump", true).set("tx_max_fee_eth", "0.000105").reads(&vault, "keys/**").make().await;
        let plain = ada.agent("plain").intents().reads(&vault, "keys/**").make().await;
        assert_eq!(bot.get("/v1/agents/me").expect(200, "tx_auto_bump").await["tx_auto_bump"], true);
        let beside = w.beside().await;
        let mut theirs = cheap("1");
        theirs["signing_key_path"] = json!("keys/other");
        let first = bot.submit(&cheap("1")).expect(201, "broadcast").await;
        let left = plain.submit(&theirs).expect(201, "broadcast").await;
        let setting = "/v1/admin/settings/intents_api.auto_bump_after_seconds";
        root.put(setting, &json!({"value": "one"})).expect(400, "0 to 86400").await;
        root.put(setting, &json!({"value": "1"})).expect(200, "").await;
        until(&w, &format!("replaces = '{}' AND status = 'broadcast'", id(&first))).await;
        // 4 gwei became 4.5 to 5; above 5 nothing more is possible, however often it is looked at.
        for _ in 0..5 {
            w.sql("UPDATE transactions SET signed_at = signed_at - 60000").await;
            look(&w).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let list = bot.get(&bot.transactions()).expect(200, "").await;
        let all = list["transactions"].as_array().unwrap();
        assert!(all.len() == 2 && (4_500_000_000..=5_000_000_000).contains(&wei(&all[0], "max_fee_per_gas")), "{list}");
        assert_eq!(plain.get(&plain.transactions()).expect(200, "").await["transactions"].as_array().unwrap().len(), 1);
        mine(&w, 1).await;
        bot.until(id(&all[0]), "confirmed").await;
        bot.until(id(&first), "replaced").await;
        plain.until(id(&left), "confirmed").await;
        ada.get("/v1/audit/events?action=transaction.auto_bump").expect(200, id(&all[0])).await;
        drop(beside);
    }
}

both! {
    with chain,
    async fn what_a_node_drops_is_sent_again(w: World) {
        let ada = w.owner("ada").await;
        let vault = still(&w, &ada).await;
        let bot = ada.agent("bot").intents().reads(&vault, "keys/**").make().await;
        let sent = bot.submit(&cheap("1")).expect(201, "broadcast").await;
        for _ in 0..3 {
            w.anvil().await.ask("anvil_dropTransaction", json!([sent["tx_hash"]])).await;
            for tries in 0.. {
                look(&w).await;
                if !w.anvil().await.transaction(sent["tx_hash"].as_str().unwrap()).await.is_null() {
                    break;
                }
                assert!(tries < 200, "it is not sent again\n{}", w.said());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        mine(&w, 1).await;
        bot.until(id(&sent), "confirmed").await;
        assert_eq!(w.anvil().await.balance(ADDRESSES[1]).await, 10_001 * ONE);
    }
}

both! {
    with chain,
    async fn what_a_chain_takes_back_is_sent_again(w: World) {
        let (root, ada) = (w.operator().await, w.owner("ada").await);
        root.put("/v1/admin/settings/intents_api.confirmations", &json!({"value": "5"})).expect(200, "").await;
        let vault = still(&w, &ada).await;
        let bot = ada.agent("bot").intents().reads(&vault, "keys/**").make().await;
        mine(&w, 3).await;
        let first = bot.submit(&cheap("1")).expect(201, "broadcast").await;
        let faster = bot.post(&at(&bot, &first, "speed-up"), &json!({})).expect(201, "broadcast").await;
        mine(&w, 1).await;
        bot.until(id(&faster), "confirmed").await;
        bot.until(id(&first), "replaced").await;
        mine(&w, 1).await;
        until(&w, &format!("id = '{}' AND confirmations = 2", id(&faster))).await;
        // Both blocks are gone, with what was in them.
        w.anvil().await.ask("anvil_reorg", json!([2, []])).await;
        assert_eq!(w.anvil().await.nonce(ADDRESSES[0]).await, 0);
        look(&w).await;
        let back = bot.until(id(&faster), "broadcast").await;
        assert!(back.get("block_number").is_none() && back.get("confirmations").is_none(), "{back}");
        for tries in 0.. {
            look(&w).await;
            if !w.anvil().await.transaction(faster["tx_hash"].as_str().unwrap()).await.is_null() {
                break;
            }
            assert!(tries < 200, "it is not sent again\n{}", w.said());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        mine(&w, 1).await;
        look(&w).await;
        bot.until(id(&faster), "confirmed").await;
        bot.until(id(&first), "replaced").await;
        mine(&w, 4).await;
        // Deep enough: nobody looks any more.
        for _ in 0..200 {
            look(&w).await;
            if w.sql("UPDATE transactions SET nonce = nonce WHERE lease_until < 9223372036854775807").await == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let done = bot.until(id(&faster), "confirmed").await;
        assert_eq!(done["confirmations"], 5, "{done}");
        assert_eq!(w.anvil().await.balance(ADDRESSES[1]).await, 10_001 * ONE);
    }
}

both! {
    with chain,
    async fn a_nonce_that_was_given_up_is_filled_for_those_behind_it(w: World) {
        let ada = w.owner("ada").await;
        let vault = still(&w, &ada).await;
        let bot = ada.agent("bot").intents().reads(&vault, "keys/**").make().await;
        let refused = accepted_and_never_signed(&w, &bot).await;
        // The nonce that it gives up is 2; another has 3 already.
        w.sql("UPDATE nonces SET next = 3").await;
        let above = bot.submit(&cheap("2")).expect(201, "").await;
        assert_eq!(above["nonce"], 3);
        // Others have waited longer, and nobody can fill them: they hold up none.
        w.sql(&format!("INSERT INTO transactions (id, org_id, agent_id, chain, chain_id, from_address, to_address, value_wei, gas_limit, \
            max_fee_per_gas, max_priority_fee_per_gas, nonce, status, intent, lease_until, created_at, updated_at, bumps) \
            SELECT 'no id', org_id, agent_id, chain, chain_id, '{}', to_address, value_wei, gas_limit, max_fee_per_gas, \
            max_priority_fee_per_gas, 1000, 'broadcast', intent, 9223372036854775807, created_at, updated_at, 0 \
            FROM transactions WHERE id = '{refused}'", ADDRESSES[3])).await;
        let gap = async |address: &str, nonce: u64, at: i64| {
            w.sql(&format!("INSERT INTO free_nonces (chain_id, address, nonce, given_up_by, given_up_at) VALUES (31337, '{address}', {nonce}, '{refused}', {at})")).await;
        };
        for nonce in 100..125 {
            gap(ADDRESSES[3], nonce, -1).await;
        }
        gap(ADDRESSES[0], 2, 0).await;
        until(&w, &format!("replaces = '{refused}' AND nonce = 2 AND status = 'broadcast' AND value_wei = '0'")).await;
        mine(&w, 1).await;
        bot.until(id(&above), "confirmed").await;
        until(&w, &format!("replaces = '{refused}' AND status = 'confirmed'")).await;
        assert_eq!(w.anvil().await.nonce(ADDRESSES[0]).await, 4);
        ada.get("/v1/audit/events?action=transaction.fill_gap").expect(200, &refused).await;
        // Nothing that nobody waits for is filled, and what was filled is not filled again.
        let next = bot.submit(&cheap("1")).expect(201, "broadcast").await;
        assert_eq!(next["nonce"], 4);
    }
}

/// A transaction that the signer accepted, and then refused to sign: at its nonce it has signed one that the database has
/// lost. Its id; the nonces 0 and 1 are in the pool.
async fn accepted_and_never_signed(w: &World, bot: &Agent<'_>) -> String {
    bot.submit(&cheap("1")).expect(201, "broadcast").await;
    let lost = bot.submit(&cheap("1")).expect(201, "broadcast").await;
    w.anvil().await.ask("anvil_dropTransaction", json!([lost["tx_hash"]])).await;
    w.sql(&format!("DELETE FROM transactions WHERE id = '{}'", id(&lost))).await;
    w.anvil().await.ask("anvil_dropTransaction", json!([lost["tx_hash"]])).await;
    w.sql("UPDATE nonces SET next = 1").await;
    bot.submit(&cheap("1")).expect(409, "nonce was used").await;
    w.anvil().await.ask("eth_sendRawTransaction", json!([lost["signed_tx"]])).await;
    let list = bot.get(&bot.transactions()).expect(200, "failed").await;
    let failed =
        list["transactions"].as_array().unwrap().iter().find(|tx| tx["status"] == "failed").unwrap().clone();
    id(&failed).to_owned()
}

both! {
    with chain,
    async fn a_gap_that_others_left_is_reported(w: World) {
        let ada = w.owner("ada").await;
        let vault = still(&w, &ada).await;
        let bot = ada.agent("bot").intents().reads(&vault, "keys/**").make().await;
        let foreign = json!({"from": ADDRESSES[0], "to": ADDRESSES[2], "value": "0x1", "nonce": "0x0"});
        let hash = w.anvil().await.ask("eth_sendTransaction", json!([foreign])).await;
        let sent = bot.submit(&cheap("1")).expect(201, "").await;
        assert_eq!(sent["nonce"], 1);
        w.anvil().await.ask("anvil_dropTransaction", json!([hash])).await;
        w.sql("UPDATE transactions SET signed_at = signed_at - 61000").await;
        look(&w).await;
        until(&w, "error_message LIKE 'waits behind nonce 0%another program%'").await;
        let filled = bot.submit(&cheap("1")).expect(201, "").await;
        assert_eq!(filled["nonce"], 0);
        mine(&w, 1).await;
        look(&w).await;
        let done = bot.until(id(&sent), "confirmed").await;
        assert!(done.get("error_message").is_none(), "{done}");
    }
}

both! {
    with chain,
    async fn a_node_that_asks_for_the_moon_gets_nothing_signed(w: World) {
        let (root, ada) = (w.operator().await, w.owner("ada").await);
        root.put("/v1/admin/settings/intents_api.auto_bump_after_seconds", &json!({"value": "1"})).expect(200, "").await;
        let vault = still(&w, &ada).await;
        let bot = ada.agent("bot").intents().set("tx_auto_bump", true).reads(&vault, "keys/**").make().await;
        let capped = ada.agent("capped").intents().set("tx_max_fee_eth", "0.01").reads(&vault, "keys/**").make().await;
        let waits = bot.submit(&cheap("1")).expect(201, "broadcast").await;
        // A million gwei a unit of gas, and what was asked for before is forgotten after a second.
        w.anvil().await.ask("anvil_setNextBlockBaseFeePerGas", json!(["0x38d7ea4c68000"])).await;
        mine(&w, 1).await;
        tokio::time::sleep(Duration::from_millis(1100)).await;
        bot.send(ADDRESSES[1], "0.1").expect(403, "tx_max_fee_eth").await;
        capped.send(ADDRESSES[1], "0.1").expect(403, "at most 0.01 a transaction").await;
        capped.submit(&cheap("1")).expect(400, "base fee").await;
        for what in ["speed-up", "cancel"] {
            bot.post(&at(&bot, &waits, what), &json!({})).expect(403, "tx_max_fee_eth").await;
        }
        w.sql("UPDATE transactions SET signed_at = signed_at - 60000").await;
        for _ in 0..5 {
            look(&w).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let list = bot.get(&bot.transactions()).expect(200, "").await;
        assert_eq!(list["transactions"].as_array().unwrap().len(), 1, "{list}");
        assert!(wei(&list["transactions"][0], "max_fee_per_gas") == 4 * GWEI, "{list}");
    }
}

both! {
    with chain,
    async fn kinds_that_are_not_signed_are_refused_by_name(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put_key("keys/local-signer", 0).await;
        let bot = ada.agent("bot").intents().reads(&vault, "keys/**").make().await;
        let tx = |extra: Value| {
            let mut body = json!({"to": ADDRESSES[1], "value": "0", "chain": "local"});
            for (key, value) in extra.as_object().unwrap() {
                body[key] = value.clone();
            }
            body
        };
        let hash = format!("0x01{}", "0".repeat(62));
        for (extra, said) in [
            (json!({"blob_versioned_hashes": [hash]}), "blob_versioned_hashes: must be left out: transactions with blobs (EIP-4844"),
            (json!({"blob_versioned_hashes": []}), "blob_versioned_hashes"),
            (json!({"blobs": ["0x"]}), "blobs: must be left out"),
            (json!({"max_fee_per_blob_gas": "1"}), "max_fee_per_blob_gas"),
            (json!({"authorization_list": []}), "authorization_list: must be left out: no account is handed over to code (EIP-7702"),
            (json!({"type": 3}), "type: must be left out: transactions with blobs"),
            (json!({"type": "0x4"}), "type: must be left out: no account"),
            (json!({"type": "0x7e"}), "type: must be 0, 1 or 2"),
            (json!({"type": {}}), "type: must be 0, 1 or 2"),
            (json!({"type": 0}), "type: must fit the fees"),
            (json!({"type": 1, "gas_price": "1"}), "type: must fit the fees"),
            (json!({"type": 2, "gas_price": "1"}), "type: must fit the fees"),
            (json!({"to": "", "data": "0x6000"}), "to: must be a 20-byte address"),
            (json!({"to": "0x", "data": "0x6000"}), "to: must be a 20-byte address"),
            (json!({"to": null}), "to: must be a 20-byte address; to create a contract"),
            (json!({"to": null, "data": "0x6000"}), "to: tx_contract_creation: a contract was to be created"),
        ] {
            bot.submit(&tx(extra)).expect(400, said).await;
        }
        bot.submit(&tx(json!({"type": 0, "gas_price": "5000000000"}))).expect(201, "\"0xf8").await;
        bot.submit(&tx(json!({"type": "0x2", "blob_versioned_hashes": null}))).expect(201, "\"0x02").await;
    }
}
