//! The ledger: durable before it answers, one commit for many, one signer at a time.

use std::os::unix::fs::PermissionsExt as _;

use alloy_primitives::B256;
use domain::{Clock, IntentId, Time, TokenId};
use redb::ReadableTable as _;
use signer_protocol::Reason;
use signer_protocol::intent::Release;
use signer_protocol::record::{Change, Guardrails};

use super::intents::{Desk, daily, pay};
use super::{World, ether, guardrail, reason};
use crate::ethereum::TxSignature;
use crate::guardrails::Daily;
use crate::ledger::{self, Hold, Ledger, OpenError, RecordMark, Signing};
use crate::statements::digest;
use crate::tally::Tally;

#[tokio::test]
async fn what_was_answered_survives_a_power_cut() {
    let mut d = Desk::new(daily("3")).await;
    let held = d.submit(pay("1")).await.unwrap();
    let intent = d.submit(pay("1")).await.unwrap();
    let signed = d.sign(&intent, 7).await.unwrap();
    let released = d.submit(pay("1")).await.unwrap();
    d.w.signer.release(Release { intent: released.clone() }).await.unwrap();

    d.w = d.w.after_power_cut();
    assert_eq!(d.spent().await, "2");
    assert_eq!(d.sign(&intent, 7).await.unwrap().raw, signed.raw);
    assert_eq!(reason(d.sign(&held, 7).await), Reason::NonceUsed);
    assert_eq!(reason(d.sign(&released, 9).await), Reason::Conflict);
    d.sign(&held, 8).await.unwrap();
    d.submit(pay("1")).await.unwrap();
    assert_eq!(reason(d.submit(pay("0.1")).await), guardrail("tx_daily_limit_eth"));
}

#[tokio::test]
async fn changes_that_wait_share_a_commit() {
    let w = World::new();
    let ledger = &w.signer.ledger;
    let before = ledger.commits();
    let expires_at = Time::from_millis(i64::MAX / 2);
    let ids: Vec<TokenId> = (0..500).map(|_| TokenId::new()).collect();
    for outcome in futures::future::join_all(ids.iter().map(|id| ledger.revoke(*id, expires_at))).await {
        outcome.unwrap();
    }
    let commits = ledger.commits() - before;
    assert!((1..=50).contains(&commits), "{commits} commits for 500 changes");
    for id in ids {
        assert!(ledger.revoked(id).unwrap());
    }
}

#[tokio::test]
async fn a_refusal_writes_nothing() {
    let d = Desk::new(daily("1")).await;
    d.submit(pay("1")).await.unwrap();
    let before = d.w.signer.ledger.commits();
    for _ in 0..20 {
        assert_eq!(reason(d.submit(pay("1")).await), guardrail("tx_daily_limit_eth"));
    }
    assert_eq!(d.w.signer.ledger.commits(), before);
}

/// In one commit, refused changes stand beside accepted ones and leave no trace.
#[tokio::test]
async fn a_refusal_does_not_spoil_its_commit() {
    let mut d = Desk::new(daily("3")).await;
    let answers =
        futures::future::join_all((0..30).map(|n| d.submit(pay(if n % 2 == 0 { "5" } else { "1" })))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 3);
    assert_eq!(d.spent().await, "3");
    d.w = d.w.after_power_cut();
    assert_eq!(d.spent().await, "3");
}

#[tokio::test]
async fn a_ledger_has_one_signer() {
    let w = World::new();
    let file = w.folder.path().join(ledger::FILE);
    let second = Ledger::open(&file, Clock::default());
    assert!(matches!(second, Err(OpenError::InUse(_))));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    drop(w.signer);
    Ledger::open(&file, Clock::default()).unwrap();
}

#[test]
fn a_damaged_or_newer_ledger_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(ledger::FILE);
    std::fs::write(&file, b"this is no ledger, whatever its name may say").unwrap();
    let error = Ledger::open(&file, Clock::default()).err().unwrap();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("newest backup"), "{error}");

    let file = folder.path().join("newer.redb");
    drop(Ledger::open(&file, Clock::default()).unwrap());
    let db = redb::Database::open(&file).unwrap();
    let tx = db.begin_write().unwrap();
    tx.open_table(redb::TableDefinition::<&str, u64>::new("meta")).unwrap().insert("format", 99).unwrap();
    tx.commit().unwrap();
    drop(db);
    let error = Ledger::open(&file, Clock::default()).err().unwrap();
    assert!(matches!(error, OpenError::Newer { found: 99, .. }), "{error}");
}

/// The record is looked at again inside the change: a deactivation that is confirmed while a transaction is being
/// signed comes first or stops it.
#[tokio::test]
async fn nothing_is_held_or_signed_for_a_record_that_was_replaced() {
    let mut d = Desk::new(daily("3")).await;
    let intent = d.submit(pay("1")).await.unwrap();
    let spoken = intent.peek().unwrap();
    let hold = Hold {
        intent: spoken.id,
        digest: digest(&intent),
        agent: spoken.agent,
        org: spoken.org,
        counts: Tally::native(spoken.transfer.value.0),
        expires_at: spoken.expires_at.millis(),
        from: spoken.from,
        chain_id: spoken.transfer.chain_id,
        replaces: None,
        derived: None,
        daily: Daily::default(),
        record: RecordMark { version: 1, digest: digest(&d.agent.record) },
    };
    let signature = TxSignature { r: B256::ZERO, s: B256::ZERO, odd: false };
    let fees = spoken.transfer.fees;
    let (approval, reached) = (None, Default::default());
    let hash = B256::ZERO;
    let signing = Signing { hold: hold.clone(), nonce: 0, fees, hash, signature, approval, reached };
    d.change(Change::Deactivate).await;
    let ledger = &d.w.signer.ledger;
    assert_eq!(reason(ledger.sign(signing.clone()).await), Reason::RolledBack);
    let another = Hold { intent: IntentId::new(), ..hold };
    assert_eq!(reason(ledger.hold(another.clone()).await), Reason::RolledBack);
    // With the record as it is now, the ledger has nothing against either: its keepers have asked the rest.
    let record = RecordMark { version: 2, digest: digest(&d.agent.record) };
    ledger.hold(Hold { record, ..another }).await.unwrap();
    ledger.sign(Signing { hold: Hold { record, ..signing.hold.clone() }, ..signing }).await.unwrap();
}

/// What is pruned is what no longer counts, and nothing else.
#[tokio::test]
async fn pruning_forgets_only_what_has_expired() {
    let mut d = Desk::new(daily("100")).await;
    let old = d.submit(pay("1")).await.unwrap();
    d.sign(&old, 0).await.unwrap();
    d.w.wait(23 * 3600);
    d.agent = d.w.actor(d.agent.record.clone(), d.agent.credential.clone()).await;
    let recent = d.submit(pay("2")).await.unwrap();
    d.sign(&recent, 1).await.unwrap();
    d.w.wait(2 * 3600);
    d.agent = d.w.actor(d.agent.record.clone(), d.agent.credential.clone()).await;
    let held = d.submit(pay("4")).await.unwrap();
    assert_eq!(d.spent().await, "6");
    d.w = d.w.restarted();
    assert_eq!(d.spent().await, "6");
    d.sign(&held, 2).await.unwrap();
    assert_eq!(d.w.signer.ledger.spent(d.agent.agent_id()).await.unwrap(), ether("6"));
    assert_eq!(reason(d.sign(&d.submit(pay("1")).await.unwrap(), 0).await), Reason::NonceUsed);
}

/// A ledger of format 2 has no seats, no second factors, and no time of its list of keys: it goes on as it is.
#[tokio::test]
async fn a_ledger_of_format_2_is_brought_up_to_date() {
    let w = World::new();
    let owner = w.owner().await;
    let vault = w.vault(&owner).await;
    let World { signer, clock, keys, folder } = w;
    drop(signer);
    let db = redb::Database::open(folder.path().join(ledger::FILE)).unwrap();
    let tx = db.begin_write().unwrap();
    let newer =
        ["ended", "suspended", "seats", "invitations", "device_grants", "totp_steps", "recovery_codes"];
    for table in newer.into_iter().chain(["guesses", "forgotten_factors", "forgotten_audit_heads"]) {
        let handle = tx.list_tables().unwrap().find(|found| redb::TableHandle::name(found) == table).unwrap();
        assert!(tx.delete_table(handle).unwrap());
    }
    let meta = redb::TableDefinition::<&str, u64>::new("meta");
    tx.open_table(meta).unwrap().insert("format", 2).unwrap();
    tx.commit().unwrap();
    drop(db);
    let w = World::over(folder, keys, clock);
    let label = vault.label("api/token", domain::SecretType::ApiKey);
    w.seal(&owner, &vault, label, "hunter2").await.unwrap();
    // An owner from before invites, and is followed from then on.
    w.person(&owner, domain::Role::Owner).await;
    drop(w.signer);
    let db = redb::Database::open(w.folder.path().join(ledger::FILE)).unwrap();
    let meta = redb::ReadableDatabase::begin_read(&db).unwrap().open_table(meta).unwrap();
    assert_eq!(redb::ReadableTable::get(&meta, "format").unwrap().unwrap().value(), ledger::NEWEST);
    assert!(redb::ReadableTable::get(&meta, "vault_keys_since").unwrap().is_none(), "it has all keys");
}

/// What was spent before tokens, fees and transactions were counted is still spent, and each was one transaction.
#[tokio::test]
async fn what_a_ledger_of_format_4_has_counted_goes_on_counting() {
    let limits = Guardrails { daily_count: Some(3), ..daily("3") };
    let d = Desk::new(limits).await;
    d.sign(&d.submit(pay("1")).await.unwrap(), 7).await.unwrap();
    let held = d.submit(pay("0.5")).await.unwrap();
    let Desk { w: World { signer, clock, keys, folder }, owner, agent, vault, key } = d;
    drop(signer);
    let db = redb::Database::open(folder.path().join(ledger::FILE)).unwrap();
    let tx = db.begin_write().unwrap();
    let spent = redb::TableDefinition::<[u8; 60], &[u8]>::new("spent");
    let (at, _) = tx
        .open_table(spent)
        .unwrap()
        .first()
        .unwrap()
        .map(|(at, all)| (at.value(), all.value().len()))
        .unwrap();
    tx.delete_table(spent).unwrap();
    let spends = redb::TableDefinition::<[u8; 60], [u8; 32]>::new("spends");
    tx.open_table(spends).unwrap().insert(at, ether("1").0.to_be_bytes::<32>()).unwrap();
    for (table, counted) in [("holds", ether("0.5")), ("nonces", ether("1"))] {
        before_meters(&tx, table, counted);
    }
    tx.open_table(redb::TableDefinition::<&str, u64>::new("meta")).unwrap().insert("format", 4).unwrap();
    tx.commit().unwrap();
    drop(db);
    let mut d = Desk { w: World::over(folder, keys, clock), owner, agent, vault, key };
    assert_eq!(d.spent().await, "1.5");
    d.sign(&held, 8).await.unwrap();
    assert_eq!(reason(d.submit(pay("1.6")).await), guardrail("tx_daily_limit_eth"));
    d.submit(pay("1.5")).await.unwrap();
    assert_eq!(reason(d.submit(pay("0")).await), guardrail("tx_daily_count"));
    d.w = d.w.restarted();
    assert_eq!(d.spent().await, "3");
}

/// Puts the one value that was counted into the entry of a table, as format 4 had it.
fn before_meters(tx: &redb::WriteTransaction, table: &'static str, counted: domain::Wei) {
    let old = |text: &[u8]| {
        let mut entry: serde_json::Value = serde_json::from_slice(text).unwrap();
        entry["counted"] = serde_json::to_value(counted).unwrap();
        serde_json::to_vec(&entry).unwrap()
    };
    if table == "holds" {
        let mut table = tx.open_table(redb::TableDefinition::<[u8; 16], &[u8]>::new(table)).unwrap();
        let (key, entry) =
            table.first().unwrap().map(|(key, entry)| (key.value(), old(entry.value()))).unwrap();
        table.insert(key, entry.as_slice()).unwrap();
    } else {
        let mut table = tx.open_table(redb::TableDefinition::<[u8; 36], &[u8]>::new(table)).unwrap();
        let (key, entry) =
            table.first().unwrap().map(|(key, entry)| (key.value(), old(entry.value()))).unwrap();
        table.insert(key, entry.as_slice()).unwrap();
    }
}
