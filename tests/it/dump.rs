//! Somebody has the database and the gateway's files, and not the signer's root key: they open nothing.

use std::path::Path;

use harness::{ADDRESSES, Database, KEYS, PASSWORD, World, json};

const VALUE: &str = "mArKeD-iN-a-dUmP-4Kx8q";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite() {
    opens_nothing(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    opens_nothing(Database::Postgres).await;
}

async fn opens_nothing(database: Database) {
    let victim = World::on(database).chain().start().await;
    let ada = victim.owner("ada").await;
    let vault = ada.vault("main").await;
    vault.put("a", "generic", VALUE).await;
    vault.put_key("keys/local-signer", 0).await;
    let bot = ada.agent("bot").intents().reads(&vault, "**").make().await;
    let (_, personal) = ada.api_key(&json!({"name": "k"})).await;
    let rpc = victim.anvil().await.url();
    victim.end();

    // A Talon of the thief's own, with keys of its own, over what was stolen.
    let thief = match database {
        Database::Sqlite => {
            let thief = World::on(Database::Sqlite).with("TALON_RPC_LOCAL", &rpc).start().await;
            thief.end();
            let (from, to) = (victim.data().join("gateway"), thief.data().join("gateway"));
            std::fs::remove_dir_all(&to).unwrap();
            copy(&from, &to);
            thief.restart().await;
            thief
        }
        Database::Postgres => {
            let stolen = victim.database_url().to_owned();
            World::on(Database::Sqlite)
                .with("TALON_RPC_LOCAL", &rpc)
                .with("TALON_DATABASE_URL", &stolen)
                .start()
                .await
        }
    };
    let plain = match database {
        Database::Sqlite => std::fs::read(thief.data().join("gateway/talon.db")).unwrap(),
        Database::Postgres => Vec::new(),
    };
    for secret in [VALUE, KEYS[0], PASSWORD, &bot.key, &personal] {
        assert!(
            !plain.windows(secret.len()).any(|window| window == secret.as_bytes()),
            "the database holds a secret"
        );
    }

    // Not with the right credentials even: the records are not this signer's.
    let refused = async |path: &str, body: harness::Value| {
        let reply = thief.post(path, &body).reply().await;
        assert!([401, 403].contains(&reply.status), "{path}: {} {}", reply.status, reply.text);
        assert!(!reply.text.contains("access_token"), "{path}: {}", reply.text);
    };
    refused("/v1/auth/token", json!({"email": ada.email, "password": PASSWORD})).await;
    refused("/v1/auth/agent-token", json!({"agent_id": bot.id, "api_key": bot.key})).await;
    refused("/v1/auth/api-key-token", json!({"api_key": personal})).await;
    for credential in [&ada.token, &bot.token, &bot.key, &personal] {
        let reply = thief.call(reqwest::Method::GET, &vault.path("a"), Some(credential)).reply().await;
        assert!([401, 403].contains(&reply.status), "{} {}", reply.status, reply.text);
    }

    // Nor does the thief's own Talon mail the thief a link to a new password: its signer did not make the record.
    thief.post("/v1/auth/forgot-password", &json!({"email": ada.email})).expect(202, "").await;
    let begun = std::time::Instant::now();
    while !thief.said().contains("refused request=\"make_link\" rule=\"tampered\"") {
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{}", thief.said());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(!thief.has_mail(&ada.email, "A new password"));

    // An organisation of the thief's own, which the rows say the vault belongs to.
    let eve = thief.owner("eve").await;
    let org = "(SELECT org_id FROM users WHERE email = 'eve@example.org')";
    let id = eve.id().await;
    let rows = if database == Database::Sqlite { &thief } else { &victim };
    rows.sql(&format!(
        "UPDATE vaults SET org_id = {org}, creator_type = 'user', creator_id = '{id}' WHERE id = '{}'",
        vault.id
    ))
    .await;
    tokio::time::sleep(std::time::Duration::from_millis(1300)).await;
    for path in ["a", "keys/local-signer"] {
        let reply = eve.get(&vault.path(path)).reply().await;
        assert_eq!(reply.status, 403, "{}", reply.text);
        assert!(!reply.text.contains(VALUE) && !reply.text.contains(KEYS[0]), "{}", reply.text);
    }
    eve.put(&vault.path("b"), &json!({"value": "mine"})).expect(403, "signer").await;
    let own = eve.agent("own").intents().make().await;
    let policy = json!({"secret_path_pattern": "**", "principal_type": "agent", "principal_id": own.id, "permissions": ["read"]});
    eve.post(&format!("/v1/vaults/{}/policies", vault.id), &policy).expect(201, "id").await;
    let body = json!({"to": ADDRESSES[1], "value": "0.1", "chain": "local"});
    let sent = own.submit(&body).header("x-vault-id", &vault.id).reply().await;
    assert_eq!(sent.status, 403, "{}", sent.text);
    assert_eq!(victim.anvil().await.nonce(ADDRESSES[0]).await, 0);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => copy(&from, &to),
            kind if kind.is_file() => drop(std::fs::copy(&from, &to).unwrap()),
            _ => {}
        }
    }
}
