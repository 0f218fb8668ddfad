//! Customers' keys: what is taken, what is given out, and that a change of keys loses nothing, whoever dies on the way.

use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use harness::{ADDRESSES, CustomerKey, Person, Reply, Value, Vault, World, both, json};

const FIRST: CustomerKey = CustomerKey([1; 32]);
const SECOND: CustomerKey = CustomerKey([2; 32]);
const THIRD: CustomerKey = CustomerKey([3; 32]);

fn cmek(vault: &Vault<'_>) -> String {
    format!("/v1/vaults/{}/cmek", vault.id)
}

fn rotations(vault: &Vault<'_>) -> String {
    format!("{}-rotate", cmek(vault))
}

async fn enable(vault: &Vault<'_>, key: CustomerKey) -> Value {
    vault
        .owner
        .post(&cmek(vault), &json!({"fingerprint": key.fingerprint()}))
        .expect(200, "cmek_enabled")
        .await
}

/// Sends the keys; `None` if nobody answers.
async fn send(who: &Person<'_>, vault: &Vault<'_>, old: CustomerKey, new: CustomerKey) -> Option<Reply> {
    who.post(&rotations(vault), &json!({"new_fingerprint": new.fingerprint()}))
        .header("x-cmek-old-key", &old.header())
        .header("x-cmek-new-key", &new.header())
        .try_reply()
        .await
}

async fn rotate(vault: &Vault<'_>, old: CustomerKey, new: CustomerKey) -> String {
    let job = send(vault.owner, vault, old, new).await.unwrap().expect(202, "running");
    assert_eq!(job["job_id"], job["id"]);
    job["id"].as_str().unwrap().to_owned()
}

/// Waits until a rotation is neither pending nor running.
async fn ended(vault: &Vault<'_>, job: &str) -> Value {
    let path = format!("{}/{job}", rotations(vault));
    let begun = Instant::now();
    loop {
        let now = vault.owner.get(&path).expect(200, job).await;
        if now["status"] != "running" {
            return now;
        }
        assert!(begun.elapsed() < Duration::from_secs(180), "{now}\n{}", vault.owner.world.said());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn read(vault: &Vault<'_>, path: &str) -> String {
    let read = vault.owner.get(&vault.path(path)).expect(200, "cmek_encrypted").await;
    assert_eq!(read["cmek_encrypted"], true, "{read}");
    read["value"].as_str().unwrap().to_owned()
}

both! {
    async fn a_vault_takes_what_is_encrypted_and_gives_it_out_as_it_came(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put("before", "generic", "plain").await;
        ada.delete(&cmek(&vault)).expect(400, "CMEK is not enabled").await;
        for bad in ["", "x", &"0".repeat(63), &"g".repeat(64), &format!("md5:{}", "0".repeat(64))] {
            ada.post(&cmek(&vault), &json!({"fingerprint": bad})).expect(400, "fingerprint: must be").await;
        }
        let on = enable(&vault, FIRST).await;
        assert_eq!((&on["cmek_enabled"], &on["cmek_fingerprint"]), (&json!(true), &json!(FIRST.fingerprint())));
        // Again is the same; another key is not.
        let prefixed = format!("sha256:{}", FIRST.fingerprint().to_uppercase());
        ada.post(&cmek(&vault), &json!({"fingerprint": prefixed})).expect(200, &FIRST.fingerprint()).await;
        ada.post(&cmek(&vault), &json!({"fingerprint": SECOND.fingerprint()})).expect(409, "cmek-rotate").await;
        for bad in ["hunter2", "", "AQ==", &"A".repeat(64), &FIRST.encrypt("x").replace('A', "-"), &format!("{}\n", FIRST.encrypt("x"))] {
            let reply = ada.put(&vault.path("a"), &json!({"value": bad})).reply().await;
            assert!(bad.len() < 5 || !reply.text.contains(bad), "{}", reply.text);
            reply.expect(400, "0x01 | 12-byte IV | ciphertext | 16-byte tag");
        }
        let key = json!({"value": FIRST.encrypt("k"), "type": "private_key", "metadata": {"signing_only": true}});
        ada.put(&vault.path("a"), &key).expect(400, "CMEK").await;
        let value = FIRST.encrypt("hunter2");
        vault.put("a", "generic", &value).await;
        assert_eq!(read(&vault, "a").await, value);
        assert_eq!(FIRST.decrypt(&value).as_deref(), Some("hunter2"));
        // What was there before is as it was.
        let before = ada.get(&vault.path("before")).expect(200, "plain").await;
        assert_eq!(before["cmek_encrypted"], false);
        // Which of a customer's keys a value is encrypted with, its reader needs to know.
        let shown = ada.get(&vault.path("a")).expect(200, "").await["cmek_fingerprint"].clone();
        assert_eq!((shown, before.get("cmek_fingerprint")), (json!(FIRST.fingerprint()), None));
        let versions = ada.get(&format!("/v1/vaults/{}/secret-versions/a", vault.id)).expect(200, "versions").await;
        assert_eq!(versions["versions"][0]["cmek_fingerprint"], json!(FIRST.fingerprint()));
        // Disabling is for new values alone.
        let off = ada.delete(&cmek(&vault)).expect(200, "cmek_enabled").await;
        assert_eq!((&off["cmek_enabled"], off.get("cmek_fingerprint")), (&json!(false), None));
        assert_eq!(read(&vault, "a").await, value);
        vault.put("b", "generic", "plain").await;
        // Enabled with another key, each version keeps its own.
        enable(&vault, SECOND).await;
        vault.put("c", "generic", &SECOND.encrypt("c")).await;
        assert_eq!(FIRST.decrypt(&read(&vault, "a").await).as_deref(), Some("hunter2"));
        let job = rotate(&vault, FIRST, SECOND).await;
        assert_eq!(ended(&vault, &job).await["status"], "completed");
        assert_eq!(SECOND.decrypt(&read(&vault, "a").await).as_deref(), Some("hunter2"));
        assert_eq!(SECOND.decrypt(&read(&vault, "c").await).as_deref(), Some("c"));
    }
}

both! {
    with chain,
    async fn talon_does_nothing_that_needs_the_value(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put_key("keys/local-signer", 0).await;
        let bot = ada.agent("bot").intents().reads(&vault, "**").make().await;
        enable(&vault, FIRST).await;
        tokio::time::sleep(Duration::from_millis(1200)).await;
        bot.send(ADDRESSES[1], "0.1").expect(409, "CMEK").await;
        ada.put(&vault.path("keys/local-signer"), &json!({"value": FIRST.encrypt(harness::KEYS[0]), "type": "private_key"})).expect(201, "version").await;
        bot.send(ADDRESSES[1], "0.1").expect(409, "CMEK").await;
        vault.put("env", "env_bundle", &FIRST.encrypt("A=1")).await;
        ada.get(&format!("/v1/vaults/{}/env/env", vault.id)).expect(409, "CMEK").await;
        // The version stays encrypted when the vault is not any more.
        ada.delete(&cmek(&vault)).expect(200, "").await;
        bot.send(ADDRESSES[1], "0.1").expect(409, "CMEK").await;
        ada.get(&format!("/v1/vaults/{}/env/env", vault.id)).expect(409, "CMEK").await;
        assert_eq!(w.anvil().await.nonce(ADDRESSES[0]).await, 0);
    }
}

both! {
    async fn only_who_rules_the_vault_sets_its_key(w: World) {
        let (ada, eve) = (w.owner("ada").await, w.owner("eve").await);
        let vault = ada.vault("main").await;
        let bot = ada.agent("bot").reads(&vault, "**").make().await;
        let (_, scoped) = ada.api_key(&json!({"name": "k", "scopes": ["a/*"]})).await;
        let scoped = ada.through(&scoped);
        let body = json!({"fingerprint": FIRST.fingerprint()});
        bot.post(&cmek(&vault), &body).expect(403, "Owners, admins and its creator").await;
        scoped.post(&cmek(&vault), &body).expect(403, "Owners, admins and its creator").await;
        eve.post(&cmek(&vault), &body).expect(404, "No such").await;
        enable(&vault, FIRST).await;
        bot.delete(&cmek(&vault)).expect(403, "").await;
        send(&scoped, &vault, FIRST, SECOND).await.unwrap().expect(403, "");
        send(&eve, &vault, FIRST, SECOND).await.unwrap().expect(404, "No such");
        let job = rotate(&vault, FIRST, SECOND).await;
        bot.get(&format!("{}/{job}", rotations(&vault))).expect(403, "").await;
        let other = ada.vault("other").await;
        ada.get(&format!("{}/{job}", rotations(&other))).expect(404, "No such rotation").await;
        // The vault of identities takes none; an agent's own vault does, from the agent.
        let all = ada.get("/v1/vaults").expect(200, "__agent-keys").await;
        let reserved = all["vaults"].as_array().unwrap().iter().find(|v| v["reserved"] == true).unwrap()["id"].as_str().unwrap().to_owned();
        ada.post(&format!("/v1/vaults/{reserved}/cmek"), &body).expect(403, "Talon's own").await;
        let own = bot.post("/v1/vaults", &json!({"name": "own"})).expect(201, "id").await;
        bot.post(&format!("/v1/vaults/{}/cmek", own["id"].as_str().unwrap()), &body).expect(200, "cmek_enabled").await;
        for (action, count) in [("cmek.enable", 2), ("cmek.rotate", 1)] {
            let found: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM audit_events WHERE action = $1").bind(action).fetch_one(&w.database().await).await.unwrap();
            assert_eq!(found, count, "{action}");
        }
    }
}

both! {
    async fn a_rotation_is_refused_before_it_begins(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        send(&ada, &vault, FIRST, SECOND).await.unwrap().expect(400, "cmek_fingerprint");
        enable(&vault, FIRST).await;
        vault.put("a", "generic", &FIRST.encrypt("v")).await;
        let body = json!({"new_fingerprint": SECOND.fingerprint()});
        let good = (FIRST.header(), SECOND.header());
        let call = |old: &str, new: &str| ada.post(&rotations(&vault), &body).header("x-cmek-old-key", old).header("x-cmek-new-key", new);
        ada.post(&rotations(&vault), &body).expect(400, "x-cmek-old-key").await;
        for bad in ["", "hunter2", &good.0[..40], &hex(&good.0), &format!("{}AAAA", good.0)] {
            let reply = call(bad, &good.1).reply().await;
            assert!(bad.is_empty() || !reply.text.contains(bad), "{}", reply.text);
            reply.expect(400, "x-cmek-old-key");
            call(&good.0, bad).expect(400, "x-cmek-new-key").await;
        }
        // Not the old key; not the key of the fingerprint; the same key.
        call(&THIRD.header(), &good.1).expect(400, "x-cmek-old-key").await;
        call(&good.0, &THIRD.header()).expect(400, "new_fingerprint").await;
        send(&ada, &vault, FIRST, FIRST).await.unwrap().expect(400, "x-cmek-new-key");
        // Nothing of it has changed anything.
        assert_eq!(ada.get(&format!("/v1/vaults/{}", vault.id)).expect(200, "").await["cmek_fingerprint"], FIRST.fingerprint());
        assert_eq!(FIRST.decrypt(&read(&vault, "a").await).as_deref(), Some("v"));
    }
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// Versions by the key that the database says they have.
async fn counted(w: &World, key: CustomerKey) -> i64 {
    let count = sqlx::query_scalar("SELECT COUNT(*) FROM secret_versions WHERE cmek_fingerprint = $1");
    count.bind(key.fingerprint()).fetch_one(&w.database().await).await.unwrap()
}

async fn fill(vault: &Vault<'_>, key: CustomerKey, count: usize) {
    let writes = (0..count).map(|n| async move {
        vault.put(&format!("v/{n}"), "generic", &key.encrypt(&format!("value {n}"))).await
    });
    stream::iter(writes).buffer_unordered(8).for_each(|_| async {}).await;
}

both! {
    async fn every_version_changes_and_writers_are_not_lost(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        enable(&vault, FIRST).await;
        fill(&vault, FIRST, 120).await;
        vault.put("v/0", "generic", &FIRST.encrypt("newer")).await;
        // Large ones, of which a step takes few.
        let large = "x".repeat(300_000);
        for n in 0..2 {
            vault.put(&format!("large/{n}"), "generic", &FIRST.encrypt(&large)).await;
        }
        ada.delete(&vault.path("v/1")).expect(204, "").await;
        // One that says it is of the old key, and isn't.
        vault.put("bad", "generic", &THIRD.encrypt("third")).await;
        let job = rotate(&vault, FIRST, SECOND).await;
        // From here on the new key is in force; what comes now is not lost.
        vault.put("v/2", "generic", &SECOND.encrypt("meanwhile")).await;
        ada.delete(&vault.path("v/3")).expect(204, "").await;
        let end = ended(&vault, &job).await;
        assert_eq!((&end["status"], &end["total_secrets"], &end["processed"]), (&json!("failed"), &json!(124), &json!(123)));
        let error = end["error"].as_str().unwrap();
        assert!(error.contains("bad version 1") && !error.contains("third"), "{error}");
        for n in 4..120 {
            assert_eq!(SECOND.decrypt(&read(&vault, &format!("v/{n}")).await), Some(format!("value {n}")), "{n}");
        }
        assert_eq!(SECOND.decrypt(&read(&vault, "v/0").await).as_deref(), Some("newer"));
        assert_eq!(SECOND.decrypt(&read(&vault, "v/2").await).as_deref(), Some("meanwhile"));
        assert_eq!(SECOND.decrypt(&read(&vault, "large/1").await), Some(large));
        for gone in ["v/1", "v/3"] {
            ada.get(&vault.path(gone)).expect(410, "deleted").await;
        }
        // Deleted versions and earlier ones have changed as well; the bad one stays what it is.
        assert_eq!((counted(&w, FIRST).await, counted(&w, SECOND).await), (1, 124));
        assert_eq!(THIRD.decrypt(&read(&vault, "bad").await).as_deref(), Some("third"));
        // The next rotation is not held up by it.
        let job = rotate(&vault, SECOND, THIRD).await;
        assert_eq!(ended(&vault, &job).await["status"], "completed");
        assert_eq!((counted(&w, FIRST).await, counted(&w, SECOND).await, counted(&w, THIRD).await), (1, 0, 124));
    }
}

both! {
    async fn a_deleted_vault_ends_its_rotation(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        enable(&vault, FIRST).await;
        fill(&vault, FIRST, 10).await;
        w.freeze_signer(true);
        let asked = async { send(&ada, &vault, FIRST, SECOND).await };
        let (reply, ()) = tokio::join!(asked, async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            w.freeze_signer(false);
        });
        assert_eq!(reply.unwrap().status, 202);
        ada.delete(&format!("/v1/vaults/{}", vault.id)).expect(204, "").await;
        let job = async || -> String { sqlx::query_scalar("SELECT status FROM cmek_jobs").fetch_one(&w.database().await).await.unwrap() };
        let begun = Instant::now();
        while job().await == "running" {
            assert!(begun.elapsed() < Duration::from_secs(30), "{}", w.said());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        send(&ada, &vault, FIRST, SECOND).await.unwrap().expect(404, "vault");
    }
}

both! {
    /// Kill -9 at random moments, between the steps and inside them.
    async fn a_killed_rotation_loses_nothing_and_goes_on_with_the_keys(w: World) {
        const COUNT: usize = 260;
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        enable(&vault, FIRST).await;
        fill(&vault, FIRST, COUNT).await;
        let mut first = None;
        for round in 0..6_u64 {
            let Some(reply) = send(&ada, &vault, FIRST, SECOND).await else { continue };
            if reply.status == 400 {
                // It came to its end before it was killed.
                break;
            }
            let job = reply.expect(202, "running");
            // The same rotation, whoever asks again.
            assert_eq!(first.get_or_insert_with(|| job["id"].clone()), &job["id"]);
            tokio::time::sleep(Duration::from_millis(round * 35)).await;
            w.kill();
            w.restart().await;
            assert_eq!(counted(&w, FIRST).await + counted(&w, SECOND).await, i64::try_from(COUNT).unwrap());
            each_opens_with_its_key(&w, &vault, COUNT).await;
        }
        // Keys are held by nobody now, and after the lease the job says so.
        w.sql("UPDATE cmek_jobs SET leased_until = 1 WHERE status = 'running'").await;
        let id = first.unwrap().as_str().unwrap().to_owned();
        if counted(&w, FIRST).await > 0 {
            let job = ada.get(&format!("{}/{id}", rotations(&vault))).expect(200, "send the keys again").await;
            assert_eq!(job["status"], "failed");
            assert_eq!(rotate(&vault, FIRST, SECOND).await, id);
        } else if let Some(reply) = send(&ada, &vault, FIRST, SECOND).await {
            assert!([202, 400].contains(&reply.status), "{}", reply.text);
        }
        let end = ended(&vault, &id).await;
        assert_eq!((&end["status"], &end["total_secrets"], &end["processed"]), (&json!("completed"), &json!(COUNT), &json!(COUNT)));
        assert_eq!((counted(&w, FIRST).await, counted(&w, SECOND).await), (0, i64::try_from(COUNT).unwrap()));
        each_opens_with_its_key(&w, &vault, COUNT).await;
        // Neither key is anywhere but in memory.
        assert!(!w.said().contains(&FIRST.header()) && !w.said().contains(&SECOND.header()));
    }
}

async fn each_opens_with_its_key(w: &World, vault: &Vault<'_>, count: usize) {
    let pool = w.database().await;
    let find = "SELECT s.path, v.cmek_fingerprint FROM secret_versions v JOIN secrets s ON s.id = v.secret_id ORDER BY s.path";
    let rows: Vec<(String, String)> = sqlx::query_as(find).fetch_all(&pool).await.unwrap();
    assert_eq!(rows.len(), count);
    let reads = rows.into_iter().map(|(path, print)| async move {
        let key = [FIRST, SECOND].into_iter().find(|key| key.fingerprint() == print).unwrap();
        let expected = path.replace("v/", "value ");
        assert_eq!(key.decrypt(&read(vault, &path).await), Some(expected), "{path}");
    });
    stream::iter(reads).buffer_unordered(8).for_each(|()| async {}).await;
}

both! {
    async fn one_rotation_at_a_time_and_two_gateways_do_it_once(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        enable(&vault, FIRST).await;
        fill(&vault, FIRST, 150).await;
        let beside = w.beside().await;
        let there = |old: CustomerKey, new: CustomerKey| {
            beside.call(reqwest::Method::POST, &rotations(&vault), Some(&ada.token))
                .json(&json!({"new_fingerprint": new.fingerprint()}))
                .header("x-cmek-old-key", &old.header())
                .header("x-cmek-new-key", &new.header())
        };
        let here = rotate(&vault, FIRST, SECOND).await;
        let again = there(FIRST, SECOND).reply().await;
        if again.status == 202 {
            assert_eq!(again.body["id"], here.as_str());
            // Another one waits until this one has ended.
            let other = there(SECOND, THIRD).reply().await;
            assert!([202, 409].contains(&other.status), "{}", other.text);
            if other.status == 202 {
                assert_eq!(ended(&vault, other.body["id"].as_str().unwrap()).await["status"], "completed");
                return;
            }
        } else {
            // The first was done before the second asked.
            again.expect(400, "x-cmek-old-key");
        }
        let end = ended(&vault, &here).await;
        assert_eq!((&end["status"], &end["processed"]), (&json!("completed"), &json!(150)), "{end}");
        assert_eq!((counted(&w, FIRST).await, counted(&w, SECOND).await), (0, 150));
        each_opens_with_its_key(&w, &vault, 150).await;
    }
}
