//! Approvals of transactions against those who write to the database, and against crashes.

use std::time::Duration;

use harness::{ADDRESSES, Agent, Browser, Database, Person, Value, World, both, json};

use crate::approvals::{approve, member, step};
use crate::tx_approvals::{careful, funded, sent, waits};

/// What the trail says of a decision on this approval that was refused, by this person.
async fn refusal(ada: &Person<'_>, approval: &str) -> Value {
    for _ in 0..100 {
        let found = ada.get("/v1/audit/events?action=signer.refusal").expect(200, "").await;
        let mut events = found["events"].as_array().unwrap().iter();
        if let Some(event) = events.find(|event| event["details"]["approval_id"] == approval) {
            assert_eq!(event["actor_id"], ada.id().await, "{event}");
            return event["details"].clone();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the refusal is not on the trail\n{}", ada.world.said());
}

both! {
    with chain,
    async fn a_changed_transaction_can_not_be_approved(w: World) {
        let ada = w.owner("ada").await;
        let vault = funded(&ada).await;
        let bot = careful(&ada, &vault, json!({"always": true})).await;
        let blob = |old: &str, new: &str| match w.database {
            Database::Sqlite => format!("intent = CAST(REPLACE(CAST(intent AS TEXT), '{old}', '{new}') AS BLOB)"),
            // Bytes as escaped text: what is ASCII in them is itself.
            Database::Postgres => format!("intent = decode(REPLACE(encode(intent, 'escape'), '{old}', '{new}'), 'escape')"),
        };
        let to = |address: &str| address.to_lowercase();
        let swaps = [
            format!("to_address = '{}'", ADDRESSES[2]),
            "value_wei = '5'".to_owned(),
            "gas_limit = 21001".to_owned(),
            "chain_id = 1".to_owned(),
            blob(&to(ADDRESSES[1]), &to(ADDRESSES[2])),
            blob("1000000000000000000", "9000000000000000000"),
            blob("\"data\":\"0x\"", "\"data\":\"0x00\""),
            blob("\"people\":1", "\"people\":0"),
            match w.database {
                Database::Sqlite => "intent = x''".to_owned(),
                Database::Postgres => "intent = ''".to_owned(),
            },
        ];
        for swap in &swaps {
            let (tx, id) = waits(&bot, "1").await;
            assert_eq!(w.sql(&format!("UPDATE transactions SET {swap} WHERE id = '{tx}'")).await, 1);
            ada.post(&step(&id, "approve"), &json!({})).expect(403, "an operator must look into it").await;
            let told = refusal(&ada, &id).await;
            assert_eq!(told["rule"], "tampered", "{swap}: {told}");
            assert!(told["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{swap}: {told}");
        }
        assert_eq!(sent(&w).await, 0);
    }
}

both! {
    with chain,
    /// Of two that wait, one's approval is for that one.
    async fn an_approval_is_for_no_other_transaction(w: World) {
        let ada = w.owner("ada").await;
        let vault = funded(&ada).await;
        let bot = careful(&ada, &vault, json!({"always": true})).await;
        let ((small, one), (large, two)) = (waits(&bot, "1").await, waits(&bot, "9").await);
        let hash = ada.get(&format!("/v1/approvals/{one}")).expect(200, "").await["intent_hash"].clone();
        // The approval of the one is moved to the other.
        w.sql(&format!("UPDATE approvals SET target_id = '{large}', target_version = 1 WHERE id = '{one}'")).await;
        ada.post(&step(&one, "approve"), &json!({})).expect(403, "an operator must look into it").await;
        // With its hash, too: who was shown the one does not approve the other.
        let stolen = format!("UPDATE approvals SET intent_hash = (SELECT intent_hash FROM approvals WHERE id = '{two}') WHERE id = '{one}'");
        w.sql(&stolen).await;
        w.sql(&format!("UPDATE transactions SET approval_id = '{one}' WHERE id = '{large}'")).await;
        ada.post(&step(&one, "approve"), &json!({"intent_hash": hash})).expect(409, "intent_hash").await;
        w.sql(&format!("UPDATE transactions SET approval_id = '{two}' WHERE id = '{large}'")).await;
        // It is shown as what it is, and waits for its own approval.
        let shown = ada.get(&format!("/v1/approvals/{one}")).expect(200, "").await;
        assert_eq!(shown["transaction"]["value"], "9", "{shown}");
        ada.post(&step(&one, "approve"), &json!({})).expect(403, "an operator must look into it").await;
        // An approval that somebody writes into the database is none.
        w.sql(&format!("UPDATE approvals SET status = 'approved', uses = 1, given_by = '{}' WHERE id = '{one}'", ada.id().await)).await;
        w.sql(&format!("UPDATE transactions SET status = 'pending', lease_until = 0 WHERE id = '{small}'")).await;
        let failed = bot.until(&small, "failed").await;
        assert!(failed["error_message"].as_str().unwrap().contains("0 of 1 people"), "{failed}");
        assert_eq!(sent(&w).await, 0);
    }
}

both! {
    with chain,
    /// A gateway that dies after the signer's answer has written nothing down.
    async fn a_yes_that_was_lost_is_said_again_and_counts_once(w: World) {
        let ada = w.owner("ada").await;
        let bob = member(&ada, "bob", "admin").await;
        let vault = funded(&ada).await;
        let bot = careful(&ada, &vault, json!({"always": true, "approvals": 2})).await;
        let forget = "UPDATE approvals SET given_by = '' WHERE status = 'pending'";
        let (first, id) = waits(&bot, "1").await;
        approve(&ada, &id).await;
        w.sql(forget).await;
        let again = approve(&ada, &id).await;
        assert_eq!((&again["status"], &again["given"]), (&json!("pending"), &json!(1)), "{again}");
        assert_eq!(approve(&bob, &id).await["status"], "approved");
        bot.until(&first, "confirmed").await;
        // Or somebody else says what is missing: the signer knows of both.
        let (second, id) = waits(&bot, "1").await;
        approve(&ada, &id).await;
        w.sql(forget).await;
        assert_eq!(approve(&bob, &id).await["status"], "approved");
        bot.until(&second, "confirmed").await;
        assert_eq!(sent(&w).await, 2);
    }
}

/// Whenever the gateway dies while somebody approves, said again it is sent, and once.
async fn killed_while_somebody_approves(database: Database) {
    let w = World::on(database).chain().start().await;
    let ada = w.owner("ada").await;
    let vault = funded(&ada).await;
    let bot = careful(&ada, &vault, json!({"always": true})).await;
    let mut all = Vec::new();
    for round in 0..8 {
        let (tx, id) = waits(&bot, "1").await;
        let call = ada.post(&step(&id, "approve"), &json!({}));
        let kill = async {
            tokio::time::sleep(Duration::from_millis(round * 4)).await;
            w.kill_worker();
        };
        tokio::join!(call.try_reply(), kill);
        until_decided(&w, &ada, &id).await;
        all.push(tx);
    }
    for tx in &all {
        confirmed_in_time(&bot, tx).await;
    }
    assert_eq!(sent(&w).await, all.len());
}

/// Whoever died may have held it: half a minute goes by before others take it up.
async fn confirmed_in_time(bot: &Agent<'_>, tx: &str) {
    let path = format!("{}/{tx}", bot.transactions());
    for _ in 0..1200 {
        let seen = bot.get(&path).try_reply().await;
        if seen.is_some_and(|reply| reply.body["status"] == "confirmed") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the transaction is not confirmed:\n{}", bot.world.said());
}

/// Says yes until it is written down; the gateway may be starting again.
async fn until_decided(w: &World, ada: &Person<'_>, id: &str) {
    for _ in 0..400 {
        let reply = ada.post(&step(id, "approve"), &json!({})).try_reply().await;
        if reply.is_some_and(|reply| matches!(reply.status, 200 | 409)) {
            let seen = ada.get(&format!("/v1/approvals/{id}")).try_reply().await.map(|reply| reply.body);
            if seen.is_some_and(|seen: Value| seen["status"] == "approved") {
                return;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the approval is not written down:\n{}", w.said());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_somebody_approves_on_sqlite() {
    killed_while_somebody_approves(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_somebody_approves_on_postgres() {
    killed_while_somebody_approves(Database::Postgres).await;
}

/// Approved while the node was away, then killed: it goes out by itself.
async fn killed_between_the_approval_and_the_signature(database: Database) {
    let w = World::on(database).durable_chain().start().await;
    let ada = w.owner("ada").await;
    let vault = funded(&ada).await;
    let bot = careful(&ada, &vault, json!({"always": true})).await;
    let (tx, id) = waits(&bot, "1").await;
    w.anvil().await.crash().await;
    assert_eq!(approve(&ada, &id).await["status"], "approved");
    assert_eq!(bot.get(&format!("{}/{tx}", bot.transactions())).expect(200, "").await["status"], "pending");
    w.kill();
    w.anvil().await.restart().await;
    w.restart().await;
    bot.until(&tx, "confirmed").await;
    assert_eq!(sent(&w).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_between_the_approval_and_the_signature_on_sqlite() {
    killed_between_the_approval_and_the_signature(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_between_the_approval_and_the_signature_on_postgres() {
    killed_between_the_approval_and_the_signature(Database::Postgres).await;
}

both! {
    with chain,
    /// A gateway that was taken over has the tokens that pass through it, and no passkey.
    async fn with_a_passkey_an_approval_is_confirmed_by_it_for_what_was_shown(w: World) {
        let ada = w.owner("ada").await;
        let vault = funded(&ada).await;
        let bot = careful(&ada, &vault, json!({"always": true})).await;
        let mut phone = Browser::start();
        ada.enrol(&mut phone).await;
        let ((small, one), (large, two)) = (waits(&bot, "1").await, waits(&bot, "9").await);
        let refused = ada.post(&step(&one, "approve"), &json!({})).expect(403, "passkey_required").await;
        let shown = phone.confirm(&refused).await;
        // What confirms the one does not confirm the other, and a device of nobody's confirms nothing.
        let with = |id: &str| ada.post(&step(id, "approve"), &json!({})).header("x-passkey-assertion", &shown);
        with(&two).expect(403, "another challenge").await;
        ada.get(&format!("/v1/approvals/{two}")).expect(200, "\"pending\"").await;
        with(&one).expect(200, "\"approved\"").await;
        bot.until(&small, "confirmed").await;
        // To deny takes none.
        ada.post(&step(&two, "deny"), &json!({})).expect(200, "\"denied\"").await;
        bot.until(&large, "denied").await;
        assert_eq!(sent(&w).await, 1);
    }
}
