//! What an agent is given can be taken away while its transactions wait: then they are not signed.

use std::time::Duration;

use futures::future::join_all;
use harness::{ADDRESSES, Agent, CustomerKey, Database, Person, Value, Vault, World, both, json};

use crate::approvals::{approve, step};
use crate::secret_deletion::{count, until_none};
use crate::tx_approvals::{careful, funded, sent, waits};

const KEY: &str = "keys/local-signer";

/// Ends every policy of the vault.
async fn end_policies(ada: &Person<'_>, vault: &Vault<'_>) {
    let at = format!("/v1/vaults/{}/policies", vault.id);
    let given = ada.get(&at).expect(200, "").await;
    for policy in given["policies"].as_array().unwrap() {
        ada.delete(&format!("{at}/{}", policy["id"].as_str().unwrap())).expect(204, "").await;
    }
}

async fn state(bot: &Agent<'_>, tx: &str) -> Value {
    bot.get(&format!("{}/{tx}", bot.transactions())).expect(200, "").await
}

both! {
    with chain,
    async fn nobody_says_yes_to_what_can_not_be_signed_any_more(w: World) {
        let ada = w.owner("ada").await;
        let vault = funded(&ada).await;
        let bot = careful(&ada, &vault, json!({"always": true})).await;
        let version = |what: &str| format!("/v1/vaults/{}/{what}/{KEY}", vault.id);
        let refused = async |id: &str, why: &str| {
            ada.post(&step(id, "approve"), &json!({})).expect(409, why).await;
            ada.get(&format!("/v1/approvals/{id}")).expect(200, "\"pending\"").await;
        };
        let (first, one) = waits(&bot, "1").await;
        let (_, two) = waits(&bot, "1").await;
        end_policies(&ada, &vault).await;
        refused(&one, "may not use the key at keys/local-signer any more").await;
        // Given again, it is as it was.
        vault.allow(&bot.id, "keys/**", &["read"]).await;
        approve(&ada, &one).await;
        bot.until(&first, "confirmed").await;
        // With a new version the old key stays the one that was asked about, until it is out of use.
        vault.put_key(KEY, 1).await;
        ada.post(&format!("{}/1", version("secret-version-disable")), &json!({})).expect(200, "").await;
        refused(&two, "(version 1) is disabled").await;
        let (_, three) = waits(&bot, "0").await;
        ada.delete(&vault.path(KEY)).expect(204, "").await;
        refused(&three, "(version 2) is deleted").await;
        for id in [&two, &three] {
            ada.post(&step(id, "deny"), &json!({})).expect(200, "\"denied\"").await;
        }
        assert_eq!(sent(&w).await, 1);
    }
}

both! {
    with chain,
    async fn what_is_out_of_use_is_not_sped_up_and_can_be_cancelled(w: World) {
        let ada = w.owner("ada").await;
        let vault = funded(&ada).await;
        w.hold_blocks().await;
        let bot = ada.agent("bot").intents().reads(&vault, "keys/**").make().await;
        let out = bot.send(ADDRESSES[1], "1").expect(201, "broadcast").await;
        let at = |what: &str| format!("{}/{}/{what}", bot.transactions(), out["id"].as_str().unwrap());
        end_policies(&ada, &vault).await;
        bot.post(&at("speed-up"), &json!({})).expect(403, "any more").await;
        vault.allow(&bot.id, "keys/**", &["read"]).await;
        ada.delete(&vault.path(KEY)).expect(204, "").await;
        bot.post(&at("speed-up"), &json!({})).expect(410, "is deleted").await;
        ada.post(&at("speed-up"), &json!({})).expect(410, "is deleted").await;
        // To take back what is out, the key is good still.
        let cancel = ada.post(&at("cancel"), &json!({})).expect(201, "broadcast").await;
        w.anvil().await.ask("anvil_mine", json!(["0x1"])).await;
        bot.until(cancel["id"].as_str().unwrap(), "confirmed").await;
    }
}

both! {
    with chain,
    /// However long an agent makes its submission take.
    async fn what_is_taken_away_while_it_is_submitted_is_not_signed(w: World) {
        let ada = w.owner("ada").await;
        let vault = funded(&ada).await;
        let bot = ada.agent("bot").intents().reads(&vault, "keys/**").make().await;
        bot.send(ADDRESSES[1], "1").expect(201, "").await;
        w.anvil().await.freeze(true);
        let takes_away = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            ada.post(&format!("/v1/vaults/{}/secret-version-disable/{KEY}/1", vault.id), &json!({})).expect(200, "").await;
            w.anvil().await.freeze(false);
        };
        let (refused, ()) = tokio::join!(bot.send(ADDRESSES[1], "1").expect(410, "(version 1) is disabled"), takes_away);
        assert!(refused.to_string().contains("nothing is signed"), "{refused}");
        assert_eq!(sent(&w).await, 1);
        let list = bot.get(&bot.transactions()).expect(200, "").await;
        assert_eq!(list["transactions"][0]["status"], "failed", "{list}");
    }
}

both! {
    with chain,
    async fn a_key_whose_vault_becomes_the_customers_signs_nothing_that_waits(w: World) {
        let ada = w.owner("ada").await;
        let vault = funded(&ada).await;
        let bot = careful(&ada, &vault, json!({"always": true})).await;
        let (_, id) = waits(&bot, "1").await;
        let fingerprint = json!({"fingerprint": CustomerKey([7; 32]).fingerprint()});
        ada.post(&format!("/v1/vaults/{}/cmek", vault.id), &fingerprint).expect(200, "").await;
        ada.post(&step(&id, "approve"), &json!({})).expect(409, "CMEK vault").await;
        ada.post(&step(&id, "deny"), &json!({})).expect(200, "\"denied\"").await;
    }
}

both! {
    with chain,
    async fn what_a_person_has_cancelled_does_not_come_back(w: World) {
        let ada = w.owner("ada").await;
        let vault = funded(&ada).await;
        w.hold_blocks().await;
        let bot = ada.agent("bot").intents().reads(&vault, "keys/**").make().await;
        let out = bot.send(ADDRESSES[1], "1").expect(201, "broadcast").await;
        let cancel = format!("{}/{}/cancel", bot.transactions(), out["id"].as_str().unwrap());
        ada.post(&cancel, &json!({})).expect(201, "broadcast").await;
        let again = json!({"to": ADDRESSES[1], "value": "1", "chain": "local", "nonce": 0,
            "max_fee_per_gas": "900000000000", "max_priority_fee_per_gas": "90000000000"});
        bot.submit(&again).expect(409, "a person has cancelled").await;
        // What people have not decided on is not cancelled but taken back.
        let careful = careful(&ada, &vault, json!({"always": true})).await;
        let (tx, id) = waits(&careful, "1").await;
        let cancel = format!("{}/{tx}/cancel", careful.transactions());
        careful.post(&cancel, &json!({})).expect(409, &format!("/v1/approvals/{id}/cancel")).await;
    }
}

both! {
    with chain,
    /// Nobody has tampered with anything: whoever looks for that must not be drowned in it.
    async fn changes_at_once_look_like_no_tampering(w: World) {
        let ada = w.owner("ada").await;
        let vault = funded(&ada).await;
        let bot = ada.agent("bot").intents().reads(&vault, "keys/**").make().await;
        let at = format!("/v1/agents/{}", bot.id);
        let changes = join_all((0..10).map(|n| ada.patch(&at, &json!({"description": format!("{n}")})).reply()));
        let submissions = join_all((0..20).map(|_| bot.send(ADDRESSES[1], "0.01").reply()));
        let (changes, submissions) = tokio::join!(changes, submissions);
        for reply in changes.iter().chain(&submissions) {
            assert!(matches!(reply.status, 200 | 201 | 409 | 503), "{} {}", reply.status, reply.text);
        }
        let rotated = join_all((0..20).map(|_| ada.post(&format!("{at}/rotate-key"), &json!({})).reply())).await;
        assert!(rotated.iter().all(|reply| matches!(reply.status, 200 | 409)), "{:?}", rotated.iter().map(|r| &r.text).collect::<Vec<_>>());
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(count(&w, "SELECT COUNT(*) FROM audit_events WHERE action = 'signer.refusal'").await, 0);
    }
}

/// Approved while the node was away: what is taken away before it is back is not signed.
async fn taken_away_between_the_approval_and_the_signature(database: Database) {
    let w = World::on(database).durable_chain().start().await;
    let ada = w.owner("ada").await;
    let vault = funded(&ada).await;
    let bot = careful(&ada, &vault, json!({"always": true})).await;
    let (tx, id) = waits(&bot, "1").await;
    w.anvil().await.crash().await;
    assert_eq!(approve(&ada, &id).await["status"], "approved");
    assert_eq!(state(&bot, &tx).await["status"], "pending");
    end_policies(&ada, &vault).await;
    w.anvil().await.restart().await;
    let failed = bot.until(&tx, "failed").await;
    assert!(failed["error_message"].as_str().unwrap().contains("may not use the key"), "{failed}");
    let told = "SELECT COUNT(*) FROM audit_events WHERE action = 'transaction.refuse' AND details LIKE '%may not use the key%'";
    assert_eq!(count(&w, told).await, 1);
    assert_eq!(sent(&w).await, 0);
    // It held nothing, and its nonce is free.
    vault.allow(&bot.id, "keys/**", &["read"]).await;
    let (tx, id) = waits(&bot, "1").await;
    approve(&ada, &id).await;
    assert_eq!(bot.until(&tx, "confirmed").await["nonce"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn taken_away_between_the_approval_and_the_signature_on_sqlite() {
    taken_away_between_the_approval_and_the_signature(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn taken_away_between_the_approval_and_the_signature_on_postgres() {
    taken_away_between_the_approval_and_the_signature(Database::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erased_key_lives_on_in_no_transaction() {
    let w = World::on(Database::Sqlite).chain().with("TALON_SECRET_RETENTION_DAYS", "0").start().await;
    let ada = w.owner("ada").await;
    let vault = funded(&ada).await;
    let bot = careful(&ada, &vault, json!({"above_eth": "1"})).await;
    let done = bot.send(ADDRESSES[1], "1").expect(201, "").await;
    bot.until(done["id"].as_str().unwrap(), "confirmed").await;
    let (tx, id) = waits(&bot, "2").await;
    let statement: Vec<u8> =
        sqlx::query_scalar("SELECT signing_key FROM secret_versions WHERE signing_key IS NOT NULL")
            .fetch_one(&w.database().await)
            .await
            .unwrap();
    // Its last field is the wrapped key.
    let mark = &statement[statement.len() - 60..statement.len() - 10];
    let holds = || {
        let bytes = std::fs::read(w.data().join("gateway/talon.db")).unwrap();
        bytes.windows(mark.len()).any(|window| window == mark)
    };
    w.sql("PRAGMA wal_checkpoint(TRUNCATE)").await;
    assert!(holds());
    ada.delete(&vault.path(KEY)).expect(204, "").await;
    until_none(&w, "SELECT COUNT(*) FROM secret_versions WHERE deleted_at IS NOT NULL AND purged_at IS NULL")
        .await;
    w.sql("PRAGMA wal_checkpoint(TRUNCATE)").await;
    assert!(!holds(), "the database's file holds the key that was erased");
    ada.post(&step(&id, "approve"), &json!({})).expect(409, "was erased").await;
    ada.post(&step(&id, "deny"), &json!({})).expect(200, "\"denied\"").await;
    assert_eq!(state(&bot, &tx).await["status"], "denied");
}
