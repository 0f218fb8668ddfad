//! A signer on a host of its own.

use std::time::{Duration, Instant};

use harness::{ADDRESSES, Database, Process, RemoteSigner, World, json};

async fn world(database: Database, signer: &RemoteSigner) -> World {
    let draft = World::on(database).chain();
    signer.settings().iter().fold(draft, |draft, (key, value)| draft.with(key, value)).start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_everything_works_sqlite() {
    over_tls_everything_works(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_everything_works_postgres() {
    over_tls_everything_works(Database::Postgres).await;
}

async fn over_tls_everything_works(database: Database) {
    let mut signer = RemoteSigner::start().await;
    let w = world(database, &signer).await;
    let processes = w.processes();
    assert!(
        processes.len() == 1 && processes[0].1.contains("--worker"),
        "no signer of its own: {processes:?}"
    );
    assert!(!w.data().join("signer").exists());
    let ada = w.owner("ada").await;
    let vault = ada.vault("main").await;
    vault.put("a", "generic", "far away").await;
    ada.get(&vault.path("a")).expect(200, "far away").await;
    // The largest value there is crosses in one frame.
    let large = "x".repeat(1024 * 1024);
    ada.put(&vault.path("large"), &json!({"value": large})).expect(201, "").await;
    let read = ada.get(&vault.path("large")).expect(200, "xxx").await;
    assert_eq!(read["value"].as_str().map(str::len), Some(large.len()));
    vault.put_key("keys/local-signer", 0).await;
    let bot = ada.agent("bot").intents().reads(&vault, "keys/**").make().await;
    let sent = bot.send(ADDRESSES[1], "1").expect(201, "signed_tx").await;
    bot.until(sent["id"].as_str().unwrap(), "confirmed").await;

    signer.kill();
    let begun = Instant::now();
    ada.get(&vault.path("a")).expect(503, "signer").await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    ada.get("/v1/vaults").expect(200, "main").await;
    signer.restart().await;
    ada.get(&vault.path("a")).expect(200, "far away").await;
    let sent = bot.send(ADDRESSES[1], "1").expect(201, "signed_tx").await;
    assert_eq!(sent["nonce"], 1);
    bot.until(sent["id"].as_str().unwrap(), "confirmed").await;
    // The gateway is killed, and finds its signer again.
    w.restart().await;
    ada.get(&vault.path("a")).expect(200, "far away").await;
}

/// Starts a gateway that must not start. What it said, on lines of its own.
fn refused(settings: &[(&str, String)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut command = harness::talon();
    let listen = format!("127.0.0.1:{}", harness::free_port());
    command
        .current_dir(folder.path())
        .env("TALON_LISTEN", listen)
        .env("TALON_DATA", folder.path().join("data"));
    command.envs(settings.iter().map(|(key, value)| (key, value)));
    let mut process = Process::start(&mut command);
    let status = process.wait(Duration::from_secs(20));
    // The pipes are read by threads of their own.
    std::thread::sleep(Duration::from_millis(100));
    let said = process.said();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    said.lines().filter(|line| line.starts_with("talon: ")).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_without_the_right_certificates_does_not_start_and_says_why() {
    let signer = RemoteSigner::start().await;
    let others = signer.other_certificates();
    let other = |name: &str| others.join(name).display().to_string();
    let with = |changes: &[(&'static str, String)]| {
        let mut settings = signer.settings().to_vec();
        for (key, value) in changes {
            settings.retain(|(known, _)| known != key);
            settings.push((*key, value.clone()));
        }
        refused(&settings)
    };
    let own = |name: &str| signer.certificate(name).display().to_string();
    let (ca, cert, key) = ("TALON_SIGNER_CA", "TALON_SIGNER_CERT", "TALON_SIGNER_KEY");

    let said = with(&[(cert, "/nowhere/gateway.pem".into())]);
    assert!(said.contains("/nowhere/gateway.pem can't be read"), "{said}");
    let said = with(&[(cert, own("signer.pem")), (key, own("signer-key.pem"))]);
    assert!(said.contains("signer.pem is no certificate of a gateway"), "{said}");
    let said = with(&[(cert, other("gateway.pem")), (key, other("gateway-key.pem"))]);
    assert!(said.contains("is not of the CA in"), "{said}");
    // A whole set, and another signer's: the two believe each other in nothing.
    let set = [(ca, other("ca.pem")), (cert, other("gateway.pem")), (key, other("gateway-key.pem"))];
    let said = with(&set);
    assert!(said.contains("the signer at tls:localhost:") && said.contains("UnknownIssuer"), "{said}");
    // It believes the signer, and is not believed.
    let both = others.join("both.pem");
    let pem = |path: String| std::fs::read_to_string(path).unwrap();
    std::fs::write(&both, pem(own("ca.pem")) + &pem(other("ca.pem"))).unwrap();
    let said = with(&[(ca, both.display().to_string()), set[1].clone(), set[2].clone()]);
    assert!(said.contains("does not answer (received fatal alert: UnknownCA)"), "{said}");
    assert!(signer.said().contains("a peer was turned away"), "{}", signer.said());
    let said = with(&[("TALON_SIGNER", "tls:localhost:1".into())]);
    assert!(said.contains("Connection refused"), "{said}");
    let said = with(&[("TALON_SIGNER", "spawn".into())]);
    assert!(said.contains("are for signer = tls:HOST:PORT alone"), "{said}");
}
