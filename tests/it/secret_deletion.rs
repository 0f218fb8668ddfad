//! Deleted, restored, erased for good: secrets and vaults.

use std::time::Duration;

use harness::{Database, Vault, World, both, json};

fn at(vault: &Vault<'_>, what: &str, path: &str) -> String {
    format!("/v1/vaults/{}/{what}/{path}", vault.id)
}

pub async fn count(w: &World, text: &'static str) -> i64 {
    sqlx::query_scalar(text).fetch_one(&w.database().await).await.unwrap()
}

/// Waits until the job has done it.
pub async fn until_none(w: &World, text: &'static str) {
    for _ in 0..150 {
        if count(w, text).await == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("not erased: {text}\n{}", w.said());
}

const SEALED: &str = "SELECT COUNT(*) FROM secret_versions WHERE sealed IS NOT NULL OR signing_key IS NOT NULL \
                      OR metadata IS NOT NULL OR rotation_policy IS NOT NULL";

both! {
    async fn a_restore_brings_back_what_one_deletion_took(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let (path, restore) = (vault.path("a/b"), at(&vault, "secret-restore", "a/b"));
        ada.post(&restore, &json!({})).expect(404, "secret").await;
        for value in ["one", "two", "three"] {
            vault.put("a/b", "generic", value).await;
        }
        ada.post(&restore, &json!({})).expect(410, "nothing was deleted").await;
        ada.post(&at(&vault, "secret-version-disable", "a/b/3"), &json!({})).expect(200, "").await;
        ada.delete(&path).expect(204, "").await;
        let list = format!("/v1/vaults/{}/secrets", vault.id);
        ada.get(&format!("{list}?deleted=true")).expect(200, "a/b").await;
        // What is disabled stays so.
        let back = ada.post(&restore, &json!({})).expect(200, "").await;
        assert_eq!((&back["path"], &back["version"]), (&json!("a/b"), &json!(2)));
        ada.get(&path).expect(200, "two").await;
        ada.get(&at(&vault, "secret-version", "a/b/3")).expect(410, "disabled").await;
        ada.get(&at(&vault, "secret-version", "a/b/1")).expect(200, "one").await;
        assert!(!ada.get(&format!("{list}?deleted=true")).expect(200, "").await.to_string().contains("a/b"));
        // Of two deletions the last.
        ada.delete(&path).expect(204, "").await;
        vault.put("a/b", "generic", "four").await;
        ada.delete(&path).expect(204, "").await;
        ada.post(&restore, &json!({})).expect(200, "\"version\":4").await;
        ada.get(&at(&vault, "secret-version", "a/b/2")).expect(410, "deleted").await;
        ada.get(&path).expect(200, "four").await;
        assert_eq!(count(&w, "SELECT COUNT(*) FROM audit_events WHERE action = 'secret.restore'").await, 2);
    }
}

both! {
    async fn what_was_deleted_is_erased_when_its_time_is_over(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let secret = json!({"value": "v", "metadata": {"a": 1}, "rotation_policy": {"b": 1}});
        ada.put(&vault.path("old"), &secret).expect(201, "").await;
        vault.put_key("old", 0).await;
        ada.put(&vault.path("late"), &secret).expect(201, "").await;
        vault.put("kept", "generic", "here to stay").await;
        ada.delete(&vault.path("old")).expect(204, "").await;
        ada.delete(&vault.path("late")).expect(204, "").await;
        // 30 days and a second ago, and a minute less than 30 days.
        let days = 30 * 24 * 60 * 60 * 1000_i64;
        let ago = |millis: i64, path: &str| format!(
            "UPDATE secret_versions SET deleted_at = deleted_at - {millis} WHERE secret_id = (SELECT id FROM secrets WHERE path = '{path}')");
        w.sql(&ago(days - 60_000, "late")).await;
        w.sql(&ago(days + 1000, "old")).await;
        ada.post(&at(&vault, "secret-restore", "old"), &json!({})).expect(410, "retention time").await;
        until_none(&w, "SELECT COUNT(*) FROM secret_versions WHERE purged_at IS NULL AND secret_id = (SELECT id FROM secrets WHERE path = 'old')").await;
        assert_eq!(count(&w, SEALED).await, 2, "late and kept");
        let versions = ada.get(&at(&vault, "secret-versions", "old")).expect(200, "").await;
        assert!(versions["versions"].as_array().unwrap().iter().all(|v| v["state"] == "purged"), "{versions}");
        ada.get(&vault.path("old")).expect(410, "deleted").await;
        ada.get(&at(&vault, "secret-version", "old/1")).expect(410, "deleted").await;
        // A number, and so what a value is bound to, does not come again.
        assert_eq!(vault.put("old", "generic", "anew").await["version"], 3);
        ada.get(&vault.path("old")).expect(200, "anew").await;
        ada.post(&at(&vault, "secret-restore", "late"), &json!({})).expect(200, "\"version\":1").await;
        ada.get(&vault.path("late")).expect(200, "\"v\"").await;
        ada.get(&vault.path("kept")).expect(200, "here to stay").await;
        assert_eq!(count(&w, "SELECT COUNT(*) FROM audit_events WHERE action = 'secret.purge'").await, 1);
    }
}

both! {
    async fn a_deleted_vault_is_emptied_and_its_parts_put_back_open_nothing(w: World) {
        let ada = w.owner("ada").await;
        let (doomed, kept) = (ada.vault("doomed").await, ada.vault("kept").await);
        for n in 0..205 {
            doomed.put(&format!("many/{n}"), "generic", "gone for good").await;
        }
        ada.put(&doomed.path("noted"), &json!({"value": "gone for good", "metadata": {"a": 1}})).expect(201, "").await;
        doomed.put_key("keys/eth", 0).await;
        kept.put("a", "generic", "here to stay").await;
        let bot = ada.agent("bot").reads(&doomed, "**").reads(&kept, "**").make().await;
        let pool = w.database().await;
        let key: Vec<u8> = sqlx::query_scalar("SELECT key FROM vaults WHERE id = $1").bind(doomed.id.clone()).fetch_one(&pool).await.unwrap();
        let blobs: Vec<(String, Vec<u8>)> = sqlx::query_as(
            "SELECT v.secret_id, v.sealed FROM secret_versions v JOIN secrets s ON s.id = v.secret_id WHERE s.vault_id = $1 AND s.path LIKE 'many/%'")
            .bind(doomed.id.clone()).fetch_all(&pool).await.unwrap();
        assert_eq!(blobs.len(), 205);

        ada.delete(&format!("/v1/vaults/{}", doomed.id)).expect(204, "").await;
        let emptied: Vec<u8> = sqlx::query_scalar("SELECT key FROM vaults WHERE id = $1").bind(doomed.id.clone()).fetch_one(&pool).await.unwrap();
        assert!(emptied.is_empty());
        until_none(&w, "SELECT COUNT(*) FROM vaults WHERE deleted_at IS NOT NULL AND emptied_at IS NULL").await;
        assert_eq!(count(&w, SEALED).await - identities(&w).await, 1, "what is kept");
        assert_eq!(count(&w, "SELECT COUNT(*) FROM policies p JOIN vaults v ON v.id = p.vault_id WHERE v.deleted_at IS NOT NULL").await, 0);
        bot.get(&doomed.path("many/1")).expect(404, "vault").await;
        bot.get(&kept.path("a")).expect(200, "here to stay").await;

        // As a backup holds them: the statement about its key, and what it had sealed.
        let undelete = sqlx::query("UPDATE vaults SET key = $2, deleted_at = NULL, emptied_at = NULL WHERE id = $1");
        undelete.bind(doomed.id.clone()).bind(key).execute(&pool).await.unwrap();
        for (secret, sealed) in &blobs {
            let back = sqlx::query("UPDATE secret_versions SET sealed = $2, purged_at = NULL WHERE secret_id = $1");
            back.bind(secret.clone()).bind(sealed.clone()).execute(&pool).await.unwrap();
        }
        w.restart().await;
        let reply = ada.get(&doomed.path("many/1")).reply().await;
        assert!(reply.status >= 400 && !reply.text.contains("gone for good"), "{} {}", reply.status, reply.text);
        let reply = ada.put(&doomed.path("new"), &json!({"value": "v"})).reply().await;
        assert!(reply.status >= 400, "{}", reply.text);
    }
}

/// Versions in Talon's own vaults.
async fn identities(w: &World) -> i64 {
    count(w, "SELECT COUNT(*) FROM secret_versions v JOIN secrets s ON s.id = v.secret_id JOIN vaults w ON w.id = s.vault_id \
              WHERE w.purpose IS NOT NULL").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn erased_pages_of_the_database_hold_nothing() {
    let w = World::on(Database::Sqlite).with("TALON_SECRET_RETENTION_DAYS", "0").start().await;
    let ada = w.owner("ada").await;
    let vault = ada.vault("main").await;
    let note = "a-marked-note-that-must-not-stay";
    ada.put(&vault.path("a"), &json!({"value": "v", "metadata": {"note": note}})).expect(201, note).await;
    let holds = |mark: &[u8]| {
        let bytes = std::fs::read(w.data().join("gateway/talon.db")).unwrap();
        bytes.windows(mark.len()).any(|window| window == mark)
    };
    w.sql("PRAGMA wal_checkpoint(TRUNCATE)").await;
    assert!(holds(note.as_bytes()));
    ada.delete(&vault.path("a")).expect(204, "").await;
    until_none(&w, "SELECT COUNT(*) FROM secret_versions WHERE deleted_at IS NOT NULL AND purged_at IS NULL")
        .await;
    w.sql("PRAGMA wal_checkpoint(TRUNCATE)").await;
    assert!(!holds(note.as_bytes()), "the database's file holds what was erased");
}
