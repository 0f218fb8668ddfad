//! Backups: taken while everything runs, restored elsewhere, refused when they are not whole or not of this keystore.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use harness::{ADDRESSES, Database, Person, World, both, json};

/// Runs a command to its end; whether it succeeded, and what it said.
fn run(w: &World, words: &[&str]) -> (bool, String) {
    let Output { status, stdout, stderr } = w.command(words).output().unwrap();
    let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    assert!(!said.contains("panicked"), "{said}");
    (status.success(), said)
}

async fn succeeds(w: &World, words: &[&str]) -> String {
    let (good, said) = tokio::task::block_in_place(|| run(w, words));
    assert!(good, "{words:?}: {said}");
    said
}

async fn refused(w: &World, words: &[&str], why: &str) {
    let (good, said) = tokio::task::block_in_place(|| run(w, words));
    assert!(!good && said.contains(why), "{words:?} should say {why:?}: {said}");
}

/// A folder for the backup, and its name there.
fn place() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("talon.backup").display().to_string();
    (folder, file)
}

fn keystore(w: &World) -> PathBuf {
    w.data().join("signer/keystore.bin")
}

/// What a person carries to another machine: the keystore, and nothing else.
fn carry_keystore(kept: &Path, to: &World) {
    let there = keystore(to);
    for folder in [to.data(), to.data().join("signer")] {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    }
    std::fs::copy(kept, there).unwrap();
}

async fn log_in<'w>(w: &'w World, email: &str) -> Person<'w> {
    let body = json!({"email": email, "password": harness::PASSWORD});
    let answer = w.post("/v1/auth/token", &body).expect(200, "access_token").await;
    Person::new(w, email.to_owned(), answer["access_token"].as_str().unwrap().to_owned())
}

async fn moves_with_its_secrets(from: Database, to: Database) {
    let (folder, file) = place();
    let w = World::on(from).start().await;
    let ada = w.owner("ada").await;
    let vault = ada.vault("main").await;
    vault.put("a", "generic", "vault-é-value").await;
    let bot = ada.agent("bot").reads(&vault, "a").make().await;
    let said = succeeds(&w, &["backup", &file]).await;
    assert!(said.contains("holds no key"), "{said}");
    let written = std::fs::read(&file).unwrap();
    let has = |text: &str| written.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(!has("vault-é-value") && !has(&bot.key) && has("ada@example.org"));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    refused(&w, &["backup", &file], "choose another name").await;
    let kept = folder.path().join("keystore.bin");
    std::fs::copy(keystore(&w), &kept).unwrap();
    drop(ada.get("/v1/vaults").expect(200, "main").await);
    w.kill();

    let other = World::on(to).start().await;
    refused(&other, &["restore", &file], "another Talon is using").await;
    other.kill();
    tokio::time::sleep(Duration::from_millis(500)).await;
    refused(&other, &["restore", &file], "not empty").await;
    other.emptied().await;
    carry_keystore(&kept, &other);
    succeeds(&other, &["restore", &file]).await;
    other.restart().await;
    let again = log_in(&other, "ada@example.org").await;
    again.get(&vault.path("a")).expect(200, "vault-é-value").await;
    // A token from before is good as well, and so is the agent's key.
    other.call(reqwest::Method::GET, &vault.path("a"), Some(&bot.token)).expect(200, "vault-é-value").await;
    other.call(reqwest::Method::GET, &vault.path("a"), Some(&bot.key)).expect(200, "vault-é-value").await;
    again.put(&vault.path("b"), &json!({"type": "generic", "value": "new"})).expect(201, "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_moves_from_sqlite_to_postgresql() {
    moves_with_its_secrets(Database::Sqlite, Database::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_moves_from_postgresql_to_sqlite() {
    moves_with_its_secrets(Database::Postgres, Database::Sqlite).await;
}

both! {
    async fn taken_while_others_write_it_restores_to_one_moment(w: World) {
        let (folder, file) = place();
        let (going, rounds) = (AtomicBool::new(true), [const { AtomicBool::new(false) }; 6]);
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let writers = async {
            // People who are new, agents whose records change, secrets and vaults: all that signer and database share.
            futures::future::join_all((0..6).map(|n| {
                let (w, ada, vault, going, rounds) = (&w, &ada, &vault, &going, &rounds);
                async move {
                    let mut round = 0;
                    while going.load(Ordering::Relaxed) {
                        round += 1;
                        let name = format!("w{n}-{round}");
                        let person = w.owner(&name).await;
                        let own = person.vault("own").await;
                        own.put("s", "generic", &name).await;
                        vault.put(&format!("s{n}"), "generic", &name).await;
                        let agent = ada.agent(&name).reads(vault, "**").make().await;
                        let patch = json!({"description": name, "token_ttl_seconds": 60 + round});
                        ada.patch(&format!("/v1/agents/{}", agent.id), &patch).expect(200, "").await;
                        rounds[n].store(true, Ordering::Relaxed);
                    }
                }
            })).await;
        };
        let backup = async {
            while !rounds.iter().all(|done| done.load(Ordering::Relaxed)) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            succeeds(&w, &["backup", &file]).await;
            going.store(false, Ordering::Relaxed);
        };
        tokio::join!(writers, backup);
        let kept = folder.path().join("keystore.bin");
        std::fs::copy(keystore(&w), &kept).unwrap();
        w.emptied().await;
        carry_keystore(&kept, &w);
        succeeds(&w, &["restore", &file]).await;
        w.restart().await;

        let pool = w.database().await;
        let emails: Vec<String> = sqlx::query_scalar("SELECT email FROM users WHERE email LIKE 'w%' ORDER BY email")
            .fetch_all(&pool).await.unwrap();
        assert!(emails.len() >= 6, "{emails:?}");
        for email in &emails {
            let person = log_in(&w, email).await;
            for known in person.get("/v1/vaults").expect(200, "vaults").await["vaults"].as_array().unwrap() {
                let id = known["id"].as_str().unwrap();
                let name = email.strip_suffix("@example.org").unwrap();
                let read = person.get(&format!("/v1/vaults/{id}/secrets/s")).reply().await;
                // Of somebody who was just signing up there may be no secret yet; what there is, opens.
                assert!(read.status == 404 || (read.status == 200 && read.text.contains(name)), "{}", read.text);
            }
        }
        let again = log_in(&w, "ada@example.org").await;
        for n in 0..6 {
            again.get(&vault.path(&format!("s{n}"))).expect(200, &format!("w{n}-")).await;
        }
        for agent in again.get("/v1/agents").expect(200, "agents").await["agents"].as_array().unwrap() {
            let change = json!({"description": "restored"});
            again.patch(&format!("/v1/agents/{}", agent["id"].as_str().unwrap()), &change).expect(200, "").await;
        }
    }
}

both! {
    async fn what_is_not_whole_or_of_another_keystore_is_refused(w: World) {
        let (folder, file) = place();
        let ada = w.owner("ada").await;
        ada.vault("main").await.put("a", "generic", "v").await;
        succeeds(&w, &["backup", &file]).await;
        w.emptied().await;
        let whole = std::fs::read(&file).unwrap();
        let bad = folder.path().join("bad").display().to_string();
        std::fs::write(&bad, &whole[..whole.len() / 2]).unwrap();
        refused(&w, &["restore", &bad], "damaged or cut short").await;
        let mut edited = whole.clone();
        let at = whole.windows(15).position(|part| part == b"ada@example.org").unwrap();
        edited[at] = b'e';
        std::fs::write(&bad, &edited).unwrap();
        refused(&w, &["restore", &bad], "damaged or cut short").await;
        std::fs::write(&bad, "Dear Ada").unwrap();
        refused(&w, &["restore", &bad], "no backup").await;
        refused(&w, &["restore", &file], "keystore").await;
        refused(&w, &["restore", "--keep-ledger", &file], "the keystore in").await;

        // A new keystore, as a first start makes it.
        w.restart().await;
        assert_eq!(w.end(), Some(0));
        let (own, ledger) = (folder.path().join("own.bin"), folder.path().join("own.redb"));
        std::fs::copy(keystore(&w), &own).unwrap();
        std::fs::copy(w.data().join("signer/ledger.redb"), &ledger).unwrap();
        w.emptied().await;
        carry_keystore(&own, &w);
        refused(&w, &["restore", &file], "was not written by a signer with this keystore").await;
        refused(&w, &["restore", "--keep-ledger", &file], "is missing, so it can't be kept").await;
        assert!(!w.data().join("signer/ledger.redb").exists());
        std::fs::copy(&ledger, w.data().join("signer/ledger.redb")).unwrap();
        refused(&w, &["restore", "--keep-ledger", &file], "was not written by a signer with this keystore").await;
        let users: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM users").fetch_one(&w.database().await).await.unwrap();
        assert_eq!(users, 0, "nothing of it was stored");
    }
}

both! { with chain,
    async fn an_older_ledger_needs_the_word(w: World) {
        let (folder, file) = place();
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put_key("keys/local-signer", 0).await;
        let bot = ada.agent("bot").intents().reads(&vault, "**").set("tx_daily_limit_eth", "0.5").make().await;
        succeeds(&w, &["backup", &file]).await;
        let sent = bot.send(ADDRESSES[2], "0.5").expect(201, "tx_hash").await;
        bot.until(sent["id"].as_str().unwrap(), "confirmed").await;
        // The database is lost, keystore and ledger are not.
        let kept = folder.path().join("signer");
        w.kill();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let copied = std::process::Command::new("cp").arg("-a").arg(w.data().join("signer")).arg(&kept).status();
        assert!(copied.unwrap().success());
        w.emptied().await;
        carry_keystore(&kept.join("keystore.bin"), &w);
        std::fs::copy(kept.join("ledger.redb"), w.data().join("signer/ledger.redb")).unwrap();
        refused(&w, &["restore", &file], "--accept-older-ledger").await;
        let users: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM users").fetch_one(&w.database().await).await.unwrap();
        assert_eq!(users, 0, "nothing of it was stored");

        // The ledger that is there still knows what was spent.
        succeeds(&w, &["restore", "--keep-ledger", &file]).await;
        w.restart().await;
        bot.send(ADDRESSES[2], "0.1").expect(403, "tx_daily_limit_eth").await;

        w.emptied().await;
        carry_keystore(&kept.join("keystore.bin"), &w);
        std::fs::copy(kept.join("ledger.redb"), w.data().join("signer/ledger.redb")).unwrap();
        let said = succeeds(&w, &["restore", "--accept-older-ledger", &file]).await;
        assert!(said.contains("WARNING") && said.contains("does not count against limits"), "{said}");
        w.restart().await;
        let sent = bot.send(ADDRESSES[2], "0.1").expect(201, "tx_hash").await;
        bot.until(sent["id"].as_str().unwrap(), "confirmed").await;
    }
}

both! {
    async fn a_trail_goes_on_once_its_signed_head_was_forgotten(w: World) {
        let (folder, file) = place();
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        succeeds(&w, &["backup", &file]).await;
        for n in 0..10 {
            vault.put(&format!("a/{n}"), "generic", "v").await;
        }
        let signed = ada.post("/v1/audit/checkpoints", &json!({})).expect(200, "signature").await;
        let org = signed["org_id"].as_str().unwrap();
        // The database is lost; keystore and ledger, which knows the trail to be longer, are not.
        let kept = folder.path().join("signer");
        w.end();
        let copied = std::process::Command::new("cp").arg("-a").arg(w.data().join("signer")).arg(&kept).status();
        assert!(copied.unwrap().success());
        w.emptied().await;
        carry_keystore(&kept.join("keystore.bin"), &w);
        std::fs::copy(kept.join("ledger.redb"), w.data().join("signer/ledger.redb")).unwrap();
        succeeds(&w, &["restore", "--keep-ledger", &file]).await;
        w.restart().await;
        // Longer than what was signed, and another history.
        for n in 0..15 {
            vault.put(&format!("b/{n}"), "generic", "v").await;
        }
        assert_eq!(ada.get("/v1/audit/verify").expect(200, "first_bad").await["valid"], false);
        ada.post("/v1/audit/checkpoints", &json!({})).expect(409, "forget-head").await;

        let signer = w.data().join("signer").display().to_string();
        let forget = ["signer", "forget-head", org, "--data", &signer];
        refused(&w, &forget, "in use").await;
        assert_eq!(w.end(), Some(0));
        let said = succeeds(&w, &forget).await;
        let (sequence, hash) = (&signed["sequence"], signed["hash"].as_str().unwrap());
        assert!(said.contains(&format!("event {sequence}, hash {hash}")), "{said}");
        refused(&w, &forget, "nothing was signed").await;
        refused(&w, &["signer", "forget-head", "x", "--data", &signer], "x").await;
        refused(&w, &["signer", "forget-head", org, "--data", &file], "is missing").await;
        w.restart().await;
        for _ in 0..2 {
            let verified = ada.get("/v1/audit/verify").expect(200, "valid").await;
            assert!(verified["valid"] == true && verified.get("first_bad").is_none(), "{verified}");
            let [broken] = verified["breaks"].as_array().unwrap().as_slice() else { panic!("{verified}") };
            assert_eq!((&broken["sequence"], &broken["hash"], &broken["signed_at"]), (sequence, &json!(hash), &signed["signed_at"]));
            assert!(broken["forgotten_at"].as_str() > signed["signed_at"].as_str(), "{broken}");
            vault.put("c", "generic", "v").await;
        }
        ada.post("/v1/audit/checkpoints", &json!({})).expect(200, "signature").await;
        // Of others' trails nothing was forgotten.
        let eve = w.owner("eve").await;
        assert!(eve.get("/v1/audit/verify").expect(200, "valid").await.get("breaks").is_none());
    }
}

both! {
    async fn killed_in_the_middle_it_leaves_nothing_half(w: World) {
        let (folder, file) = place();
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        let value = "x".repeat(500_000);
        for n in 0..30 {
            vault.put(&format!("s{n}"), "generic", &value).await;
        }
        for pause in [5, 20, 60, 120] {
            let mut child = w.command(&["backup", &file]).spawn().unwrap();
            tokio::time::sleep(Duration::from_millis(pause)).await;
            child.kill().unwrap();
            child.wait().unwrap();
            if Path::new(&file).exists() {
                break;
            }
        }
        // Under the name there is a whole one, or none.
        if !Path::new(&file).exists() {
            succeeds(&w, &["backup", &file]).await;
        }
        let kept = folder.path().join("keystore.bin");
        std::fs::copy(keystore(&w), &kept).unwrap();
        w.emptied().await;
        carry_keystore(&kept, &w);
        let mut finished = false;
        for pause in [50, 150, 300, 500] {
            let mut child = w.command(&["restore", &file]).spawn().unwrap();
            tokio::time::sleep(Duration::from_millis(pause)).await;
            child.kill().unwrap();
            child.wait().unwrap();
            // What the database does after its client died, it does in a moment.
            tokio::time::sleep(Duration::from_millis(300)).await;
            if killed_before_it_began(&w) {
                continue;
            }
            let pool = w.database().await;
            let count = sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM secret_versions").fetch_one(&pool).await;
            match count {
                Ok(30) => finished = true,
                Ok(stored) => assert_eq!(stored, 0, "killed after {pause} ms"),
                // There is no table yet.
                Err(_) => {}
            }
            if finished {
                break;
            }
        }
        if !finished {
            succeeds(&w, &["restore", &file]).await;
        }
        w.restart().await;
        log_in(&w, "ada@example.org").await.get(&vault.path("s29")).expect(200, "xxxx").await;
    }
}

both! {
    async fn a_gateway_that_does_not_run_is_backed_up_as_well(w: World) {
        let (_folder, file) = place();
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put("a", "generic", "v").await;
        w.end();
        succeeds(&w, &["backup", &file]).await;
        w.restart().await;
        ada.get(&vault.path("a")).expect(200, "v").await;
    }
}

/// SQLite's file is not there yet.
fn killed_before_it_began(w: &World) -> bool {
    w.database == Database::Sqlite && !w.data().join("gateway/talon.db").exists()
}
