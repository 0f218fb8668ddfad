//! The root key is rotated: everything stays what it was, whoever dies meanwhile, and what was deleted before can't be had back.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use harness::{
    ADDRESSES, Agent, Authenticator, Database, PASSWORD, Person, Receiver, Value, World, both, json,
};

fn run(w: &World, words: &[&str]) -> (bool, String) {
    let Output { status, stdout, stderr } = w.command(words).output().unwrap();
    let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    assert!(!said.contains("panicked"), "{said}");
    (status.success(), said)
}

fn succeeds(w: &World, words: &[&str]) -> String {
    let (good, said) = tokio::task::block_in_place(|| run(w, words));
    assert!(good, "{words:?}: {said}");
    said
}

/// A command of the signer's on this world's folder.
fn signer(w: &World, words: &[&str]) -> (bool, String) {
    let data = w.data().join("signer").display().to_string();
    let all = [&["signer"], words, &["--data", &data]].concat();
    tokio::task::block_in_place(|| run(w, &all))
}

fn rotate(w: &World) {
    assert_eq!(w.end(), Some(0));
    let (good, said) = signer(w, &["rotate-root"]);
    assert!(good && said.contains("wraps from now on"), "{said}");
}

fn keystore(w: &World) -> PathBuf {
    w.data().join("signer/keystore.bin")
}

/// Waits until nothing is left under the older root.
async fn finished(w: &World) -> Value {
    let operator = w.operator().await;
    for _ in 0..2400 {
        if let Some(reply) = operator.get("/v1/admin/root").try_reply().await
            && reply.status == 200
            && !reply.body["finished_at"].is_null()
        {
            return reply.body;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("something is left under the older root:\n{}", w.said());
}

/// Somebody with something of everything that a root wraps.
struct Household<'w> {
    ada: &'w Person<'w>,
    vault: String,
    bot: Agent<'w>,
    reader: Agent<'w>,
    identities: String,
    app: Authenticator,
    hook: String,
    to: Receiver,
}

impl<'w> Household<'w> {
    async fn new(w: &'w World, ada: &'w Person<'w>) -> Self {
        let vault = ada.vault("main").await;
        vault.put("a", "generic", "value-of-old").await;
        vault.put_key("keys/local-signer", 0).await;
        let bot = ada.agent("bot").intents().reads(&vault, "keys/**").make().await;
        let reader = ada.agent("reader").reads(&vault, "a").make().await;
        let setup = ada.post("/v1/auth/mfa/setup", &json!({})).expect(200, "secret").await;
        let app = Authenticator::new(setup["secret"].as_str().unwrap());
        let code = json!({"code": app.code(-1).await});
        ada.post("/v1/auth/mfa/verify-setup", &code).expect(200, "recovery_codes").await;
        let to = Receiver::start().await;
        let hook = json!({"url": to.url, "events": ["secret.write"]});
        let hook = ada.post("/v1/webhooks", &hook).expect(201, "whsec_").await["secret"]
            .as_str()
            .unwrap()
            .to_owned();
        let identities = sqlx::query_scalar("SELECT id FROM vaults WHERE purpose = 'agent_keys'");
        let identities = identities.fetch_one(&w.database().await).await.unwrap();
        Self { ada, vault: vault.id.clone(), bot, reader, identities, app, hook, to }
    }

    fn path(&self, secret: &str) -> String {
        format!("/v1/vaults/{}/secrets/{secret}", self.vault)
    }

    /// Reads, writes, signs, logs in and is told as ever.
    async fn lives(&self, w: &World) {
        self.reader.get(&self.path("a")).expect(200, "value-of-old").await;
        let half =
            format!("/v1/vaults/{}/secrets/agents/{}/ssh/private_key", self.identities, self.reader.id);
        self.reader.get(&half).expect(200, "ssh_key").await;
        let before = self.to.seen().len();
        self.ada.put(&self.path("b"), &json!({"type": "generic", "value": "new"})).expect(201, "").await;
        self.ada.get(&self.path("b")).expect(200, "new").await;
        assert!(self.to.until(before + 1).await.iter().all(|delivery| delivery.is_signed_by(&self.hook)));
        let sent = self.bot.send(ADDRESSES[1], "0.01").expect(201, "").await;
        assert!(sent["from"].as_str().unwrap().eq_ignore_ascii_case(ADDRESSES[0]), "{sent}");
        self.bot.until(sent["id"].as_str().unwrap(), "confirmed").await;
        let login = json!({"email": self.ada.email, "password": PASSWORD});
        let half = w.post("/v1/auth/token", &login).expect(200, "mfa_token").await;
        let shown = json!({"mfa_token": half["mfa_token"], "code": self.app.code(0).await});
        w.post("/v1/auth/mfa/verify", &shown).expect(200, "access_token").await;
    }
}

/// A new machine with this backup, and with the keystore if it is a file.
async fn restored(w: &World, backup: &str, kept: Option<&Path>) {
    emptied(w, kept).await;
    succeeds(w, &["restore", backup]);
    w.restart().await;
}

/// A new machine with the keystore, if it is a file.
async fn emptied(w: &World, kept: Option<&Path>) {
    w.emptied().await;
    if let Some(kept) = kept {
        for folder in [w.data(), w.data().join("signer")] {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        }
        std::fs::copy(kept, keystore(w)).unwrap();
    }
}

async fn is_rotated(w: World) {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (old, new) = (at("old"), at("new"));
    let file = keystore(&w).exists();
    let keep = |name: &str| {
        file.then(|| {
            std::fs::copy(keystore(&w), folder.path().join(name)).unwrap();
            folder.path().join(name)
        })
    };
    let ada = w.owner("ada").await;
    let home = Household::new(&w, &ada).await;
    let doomed = ada.vault("doomed").await;
    doomed.put("d", "generic", "must-not-come-back").await;
    succeeds(&w, &["backup", &old]);
    ada.delete(&format!("/v1/vaults/{}", doomed.id)).expect(204, "").await;
    w.operator().await.get("/v1/admin/root").expect(200, "\"root\":1").await;
    let (good, said) = signer(&w, &["rotate-root"]);
    assert!(!good && said.contains("another signer runs"), "{said}");

    rotate(&w);
    let (good, said) = signer(&w, &["retire-root"]);
    assert!(!good && said.contains("has not said"), "{said}");
    let both_roots = keep("both");
    w.restart().await;
    home.lives(&w).await;
    let done = finished(&w).await;
    assert_eq!((&done["root"], &done["older"]), (&json!(2), &json!(1)), "{done}");
    // The operator's own installation has none; the deleted one is not among them.
    assert_eq!(done["wrapped"]["vault_keys"], 2, "{done}");
    assert_eq!(done["wrapped"]["second_factors"], 1, "{done}");
    assert_eq!(
        (&done["wrapped"]["webhook_keys"], &done["wrapped"]["signing_keys"]),
        (&json!(1), &json!(1)),
        "{done}"
    );
    let url = w.base.clone();
    let said = {
        let mut command = w.command(&["admin", "root", "--url", &url]);
        command.env("TALON_TOKEN", w.operator().await.token);
        let output = tokio::task::block_in_place(|| command.output().unwrap());
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(said.contains("Nothing is left under root 1"), "{said}");
    let events: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM audit_events WHERE action = 'root.rewrapped'")
        .fetch_one(&w.database().await)
        .await
        .unwrap();
    assert_eq!(events, 1);

    assert_eq!(w.end(), Some(0));
    succeeds(&w, &["backup", &new]);
    let (good, said) = signer(&w, &["retire-root"]);
    assert!(good && said.contains("Root 1 is destroyed"), "{said}");
    let one_root = keep("one");
    w.restart().await;
    home.lives(&w).await;
    w.operator().await.get("/v1/admin/root").expect(200, "\"root\":2").await;

    let secret = |vault: &str, path: &str| format!("/v1/vaults/{vault}/secrets/{path}");
    if let Some(both_roots) = &both_roots {
        // As long as the old root is there, whoever has the old backup has what was deleted.
        restored(&w, &old, Some(both_roots)).await;
        ada.get(&secret(&doomed.id, "d")).expect(200, "must-not-come-back").await;
    }
    // Without it nobody opens that backup, and nothing of it is stored.
    emptied(&w, one_root.as_deref()).await;
    let (good, said) = tokio::task::block_in_place(|| run(&w, &["restore", &old]));
    assert!(!good && said.contains("is wrapped by root 1, and the keystore has root 2"), "{said}");
    restored(&w, &new, one_root.as_deref()).await;
    ada.get(&home.path("a")).expect(200, "value-of-old").await;
    ada.get(&secret(&doomed.id, "d")).expect(404, "").await;
}

fn world(database: Database) -> harness::WorldDraft {
    World::on(database).chain().with("TALON_EGRESS_ALLOW", "127.0.0.0/8")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_deleted_is_gone_from_older_backups_and_all_else_lives_on_sqlite() {
    is_rotated(world(Database::Sqlite).start().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_deleted_is_gone_from_older_backups_and_all_else_lives_on_postgresql() {
    is_rotated(world(Database::Postgres).start().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_deleted_is_gone_from_older_backups_and_all_else_lives_with_an_hsm() {
    is_rotated(world(Database::Sqlite).hsm().start().await).await;
}

/// Some milliseconds, at random: from where the standard library has its own.
fn some(most: u64) -> Duration {
    let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), most);
    Duration::from_millis(random % most)
}

async fn statements(w: &World) -> Vec<(String, Vec<u8>)> {
    sqlx::query_as("SELECT id, key FROM vaults WHERE deleted_at IS NULL ORDER BY id")
        .fetch_all(&w.database().await)
        .await
        .unwrap()
}

both! {
    async fn killed_at_any_moment_a_rotation_goes_on_and_loses_nothing(w: World) {
        let ada = w.owner("ada").await;
        let mut vaults = Vec::new();
        for some in (0..100).collect::<Vec<usize>>().chunks(5) {
            let made = some.iter().map(async |n| {
                let vault = ada.vault(&format!("v{n}")).await;
                vault.put("s", "generic", &format!("value-{n}")).await;
                vault.put_key("k", n % 4).await;
                vault.id.clone()
            });
            vaults.extend(futures::future::join_all(made).await);
        }
        let before = statements(&w).await;
        rotate(&w);
        w.restart().await;
        let beside = w.beside().await;
        let going = AtomicBool::new(true);
        let writers = futures::future::join_all((0..3).map(|writer| {
            let (ada, vaults, going) = (&ada, &vaults, &going);
            async move {
                let mut stored = Vec::new();
                for n in 0.. {
                    if !going.load(Ordering::Relaxed) {
                        break;
                    }
                    let path = format!("/v1/vaults/{}/secrets/w{writer}-{n}", vaults[(n * 7 + writer) % vaults.len()]);
                    let put = ada.put(&path, &json!({"type": "private_key", "value": "46".repeat(32)}));
                    if put.try_reply().await.is_some_and(|reply| reply.status == 201) {
                        stored.push(path);
                    }
                    let made = ada.post("/v1/vaults", &json!({"name": format!("new-{writer}-{n}")}));
                    if let Some(made) = made.try_reply().await.filter(|reply| reply.status == 201) {
                        let path = format!("/v1/vaults/{}/secrets/own", made.body["id"].as_str().unwrap());
                        let put = ada.put(&path, &json!({"type": "generic", "value": "own"}));
                        if put.try_reply().await.is_some_and(|reply| reply.status == 201) {
                            stored.push(path);
                        }
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                stored
            }
        }));
        let killer = async {
            for round in 0..16 {
                tokio::time::sleep(some(400)).await;
                // Whoever is just being started again is not there to be killed.
                let _gone = if round % 2 == 0 { w.kill_worker() } else { w.kill_signer() };
            }
            going.store(false, Ordering::Relaxed);
        };
        let (stored, ()) = tokio::join!(writers, killer);
        finished(&w).await;
        drop(beside);
        let all_opens = async || {
            for (n, vault) in vaults.iter().enumerate() {
                ada.get(&format!("/v1/vaults/{vault}/secrets/s")).expect(200, &format!("value-{n}")).await;
            }
            for path in stored.iter().flatten() {
                ada.get(path).expect(200, "value").await;
            }
        };
        all_opens().await;
        let after = statements(&w).await;
        for (id, key) in &before {
            assert!(after.iter().any(|(other, new)| other == id && new != key), "{id} is under the old root");
        }

        // What somebody puts back from before is found at the next start, and wrapped anew as well.
        let pool = w.database().await;
        for (id, key) in &before[..10] {
            let back = sqlx::query("UPDATE vaults SET key = $2 WHERE id = $1").bind(id.clone()).bind(key.clone());
            back.execute(&pool).await.unwrap();
        }
        w.restart().await;
        for _ in 0..600 {
            let now = statements(&w).await;
            if before.iter().all(|old| !now.contains(old)) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        finished(&w).await;
        assert_eq!(w.end(), Some(0));
        // Vaults whose making was cut short by a kill have a key in the ledger, and no row.
        let (good, said) = signer(&w, &["retire-root", "--accept-missing", "200"]);
        assert!(good && said.contains("Root 1 is destroyed"), "{said}");
        w.restart().await;
        all_opens().await;
    }
}

both! {
    async fn beside_a_ledger_that_is_kept_an_older_backup_is_wrapped_anew_before_its_root_is_retired(w: World) {
        let folder = tempfile::tempdir().unwrap();
        let old = folder.path().join("old").display().to_string();
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put("a", "generic", "value-of-old").await;
        succeeds(&w, &["backup", &old]);
        rotate(&w);
        w.restart().await;
        finished(&w).await;

        // The database is lost, keystore and ledger are not.
        let ledger = || w.data().join("signer/ledger.redb");
        let lose_the_database = async || {
            assert_eq!(w.end(), Some(0));
            let (keys, kept) = (folder.path().join("keystore"), folder.path().join("ledger"));
            std::fs::copy(keystore(&w), &keys).unwrap();
            std::fs::copy(ledger(), &kept).unwrap();
            emptied(&w, Some(&keys)).await;
            std::fs::copy(&kept, ledger()).unwrap();
        };
        lose_the_database().await;
        succeeds(&w, &["restore", "--keep-ledger", &old]);
        let (good, said) = signer(&w, &["retire-root"]);
        assert!(!good && said.contains("has not said"), "{said}");
        w.restart().await;
        finished(&w).await;
        assert_eq!(w.end(), Some(0));
        let (good, said) = signer(&w, &["retire-root"]);
        assert!(good && said.contains("Root 1 is destroyed"), "{said}");
        w.restart().await;
        ada.get(&vault.path("a")).expect(200, "value-of-old").await;

        // Now that its root is gone, nothing is stored, and no ledger is said to be replaced.
        lose_the_database().await;
        for flag in ["--keep-ledger", "--accept-older-ledger"] {
            let (good, said) = tokio::task::block_in_place(|| run(&w, &["restore", flag, &old]));
            assert!(!good && said.contains("is wrapped by root 1, and the keystore has root 2"), "{said}");
            assert!(!said.contains("replaced") && !said.contains("is kept"), "{said}");
        }
        let users: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM users").fetch_one(&w.database().await).await.unwrap();
        assert_eq!(users, 0, "nothing of it was stored");
    }
}
