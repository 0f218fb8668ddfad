//! Starting, ending, dying: what an operator sees.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use harness::{Database, Process, World, both, json};

/// Starts Talon where it must not start. What it said; its exit code is not 0.
fn refused(folder: &Path, environment: &[(&str, &str)]) -> String {
    let mut command = harness::talon();
    let listen = format!("127.0.0.1:{}", harness::free_port());
    command.current_dir(folder).env("TALON_LISTEN", listen).env("TALON_DATA", folder.join("data"));
    command.envs(environment.iter().copied());
    let mut process = Process::start(&mut command);
    let status = process.wait(Duration::from_secs(20));
    // The pipes are read by threads of their own.
    std::thread::sleep(Duration::from_millis(100));
    let said = process.said();
    assert!(status.code().is_some_and(|code| code != 0), "{status}: {said}");
    assert!(!said.contains("panicked") && !said.contains("RUST_BACKTRACE"), "{said}");
    said
}

/// One sentence that names the trouble.
#[track_caller]
fn explains(said: &str, named: &str) {
    let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("talon")).collect();
    assert!(lines.iter().any(|line| line.contains(named)), "nothing about {named:?} in:\n{said}");
}

#[test]
fn a_configuration_that_can_not_work_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    explains(&refused(folder.path(), &[("TALON_LISTN", "x")]), "TALON_LISTN");
    explains(&refused(folder.path(), &[("TALON_LISTEN", "0.0.0.0:9")]), "TLS");
    explains(&refused(folder.path(), &[("TALON_LISTEN", "hunter2")]), "TALON_");
    explains(&refused(folder.path(), &[("TALON_SIGNER", "tcp:1")]), "signer");
    explains(&refused(folder.path(), &[("TALON_DATA", "/proc/nowhere")]), "/proc/nowhere");
    let said = refused(folder.path(), &[("TALON_DATABASE_URL", "postgres://nobody:hunter2@127.0.0.1:1/x")]);
    explains(&said, "PostgreSQL");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn a_port_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    explains(&refused(folder.path(), &[("TALON_LISTEN", &address)]), &address);
}

#[test]
fn a_data_folder_of_a_newer_version_and_a_broken_database() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir_all(data.join("gateway")).unwrap();
    std::fs::write(data.join("version"), "99\n").unwrap();
    explains(&refused(folder.path(), &[]), "newer version");
    std::fs::write(data.join("version"), "1\n").unwrap();
    std::fs::write(data.join("gateway/talon.db"), "no database at all, but quite long text ".repeat(200))
        .unwrap();
    explains(&refused(folder.path(), &[]), "database");
}

fn hsm(conf: &str, module: &str, label: &str, pin: &str) -> [(&'static str, String); 5] {
    [
        ("SOFTHSM2_CONF", conf.to_owned()),
        ("TALON_KEYSTORE", "pkcs11".to_owned()),
        ("TALON_PKCS11_MODULE", module.to_owned()),
        ("TALON_PKCS11_TOKEN", label.to_owned()),
        ("TALON_PKCS11_PIN", pin.to_owned()),
    ]
}

#[test]
fn an_hsm_that_can_not_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let conf = harness::softhsm_token(folder.path()).display().to_string();
    let module = harness::softhsm().display().to_string();
    let with = |module: &str, label: &str, pin: &str| {
        let environment = hsm(&conf, module, label, pin);
        refused(folder.path(), &environment.each_ref().map(|(key, value)| (*key, value.as_str())))
    };
    explains(&with("/nowhere/module.so", "talon", harness::HSM_PIN), "/nowhere/module.so");
    explains(&with(&module, "unknown", harness::HSM_PIN), "unknown");
    let said = with(&module, "talon", "hunter2");
    explains(&said, "PIN");
    assert!(!said.contains("hunter2"), "{said}");
    // A second token of the same label: which one is meant?
    let twin = ["--init-token", "--free", "--label", "talon", "--so-pin", "5678", "--pin", harness::HSM_PIN];
    let made = Command::new("softhsm2-util").args(twin).env("SOFTHSM2_CONF", &conf).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    explains(&with(&module, "talon", harness::HSM_PIN), "talon");
}

/// Keys without the ledger would have forgotten what was spent and who was ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_that_is_lost_is_not_made_anew() {
    for draft in [World::on(Database::Sqlite), World::on(Database::Sqlite).hsm()] {
        let w = draft.start().await;
        assert_eq!(w.end(), Some(0));
        let ledger = w.data().join("signer/ledger.redb");
        let kept = std::fs::read(&ledger).unwrap();
        std::fs::remove_file(&ledger).unwrap();
        explains(&w.refuses_to_start(), "ledger");
        std::fs::write(&ledger, kept).unwrap();
        w.restart().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_on_one_data_folder() {
    let w = World::on(Database::Sqlite).start().await;
    let folder = w.data();
    explains(&refused(folder.parent().unwrap(), &[]), "another Talon");
    w.get("/v1/health").expect(200, "healthy").await;
}

both! {
    async fn sigterm_ends_everything_and_a_new_start_has_it_all(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put("a", "generic", "kept").await;
        let bot = ada.agent("bot").reads(&vault, "a").make().await;
        let processes = w.processes();
        assert_eq!(processes.len(), 2, "{processes:?}");
        assert_eq!(w.end(), Some(0));
        assert!(processes.iter().all(|(pid, _)| is_gone(*pid)), "{processes:?}");
        w.restart().await;
        bot.get(&vault.path("a")).expect(200, "kept").await;
        w.owner("eve").await;
    }
}

both! {
    async fn nothing_outlives_a_killed_talon(w: World) {
        let processes = w.processes();
        assert_eq!(processes.len(), 2, "{processes:?}");
        w.kill();
        let begun = Instant::now();
        while !processes.iter().all(|(pid, _)| is_gone(*pid)) {
            assert!(begun.elapsed() < Duration::from_secs(15), "still there: {processes:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Gone, or waiting to be buried by whoever adopted it.
fn is_gone(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']))
}

both! {
    async fn the_first_start_prints_a_link_that_works_once(_w: World) {
        let w = World::on(_w.database).without_operator().start().await;
        let said = w.said();
        let (_, rest) = said.split_once("/setup#").unwrap();
        let token = rest.split_whitespace().next().unwrap();
        let body = |token: &str| json!({"token": token, "email": "root@example.org", "password": harness::PASSWORD});
        w.post("/v1/setup", &body("setup_wrong")).expect(403, "link").await;
        let weak = json!({"token": token, "email": "root@example.org", "password": "weak"});
        w.post("/v1/setup", &weak).expect(400, "password").await;
        let answer = w.post("/v1/setup", &body(token)).expect(200, "access_token").await;
        let access = answer["access_token"].as_str().unwrap();
        w.call(reqwest::Method::GET, "/v1/auth/me", Some(access)).expect(200, "root@example.org").await;
        w.post("/v1/setup", &body(token)).expect(403, "").await;
        w.restart().await;
        assert!(!w.said().contains("/setup#"), "{}", w.said());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_signer_keeps_is_for_its_user_alone() {
    let w = World::on(Database::Sqlite).start().await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let signer = w.data().join("signer");
    assert_eq!((mode(&w.data()), mode(&signer)), (0o700, 0o700));
    let mut files = 0;
    for entry in std::fs::read_dir(&signer).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        files += 1;
    }
    assert!(files >= 2, "a keystore and a ledger");
    assert_eq!(mode(&w.data().join("run/signer.sock")), 0o600);
    let (pid, _) = w.processes().into_iter().find(|(_, line)| line.contains("signer")).unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let cores = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(cores.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{cores}");
    let open = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
    let open: Vec<_> = open.map(|target| target.display().to_string()).collect();
    assert!(
        !open.iter().any(|target| target.contains("talon.db")),
        "the signer has the database open: {open:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noise_on_the_signers_socket_harms_nobody() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let w = World::on(Database::Sqlite).start().await;
    for noise in
        [vec![0xff; 64], vec![0; 64], vec![0x7f, 0xff, 0xff, 0xff], b"GET / HTTP/1.1\r\n\r\n".to_vec()]
    {
        let mut stream = tokio::net::UnixStream::connect(w.data().join("run/signer.sock")).await.unwrap();
        // It may hang up before all is written.
        let _hung_up = stream.write_all(&noise).await;
        let _hung_up = stream.shutdown().await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "the signer keeps a connection that sent {noise:?}");
    }
    let ada = w.owner("ada").await;
    ada.vault("main").await.put("a", "generic", "v").await;
}

both! {
    async fn while_the_signer_is_dead_the_answer_is_503_at_once(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put("a", "generic", "v").await;
        w.freeze_supervisor(true);
        w.kill_signer().unwrap();
        for _ in 0..3 {
            let begun = Instant::now();
            ada.get(&vault.path("a")).expect(503, "signer").await;
            ada.put(&vault.path("a"), &json!({"value": "w"})).expect(503, "signer").await;
            assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        }
        // Anyone may ask, so the signer is asked once a second at most.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        w.get("/v1/health/hsm").expect(200, "unavailable").await;
        // What needs no signer goes on.
        ada.get("/v1/vaults").expect(200, "main").await;
        w.freeze_supervisor(false);
        let begun = Instant::now();
        while ada.get(&vault.path("a")).reply().await.status != 200 {
            assert!(begun.elapsed() < Duration::from_secs(20), "it does not come back:\n{}", w.said());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let read = ada.get(&vault.path("a")).expect(200, "v").await;
        assert_eq!(read["version"], 1, "the refused write was half done");
    }
}

/// The account of the configuration is made once, from a file too; what is configured later changes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_start_makes_the_operator_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, format!("{}\n", harness::PASSWORD)).unwrap();
    let with_file = |database| {
        let draft = World::on(database).without_operator().with("TALON_OPERATOR_EMAIL", "Root@Example.org");
        draft.with("TALON_OPERATOR_PASSWORD_FILE", &file.display().to_string())
    };
    for database in [Database::Sqlite, Database::Postgres] {
        let w = with_file(database).start().await;
        assert!(!w.said().contains("/setup#"), "{}", w.said());
        let login = json!({"email": "root@example.org", "password": harness::PASSWORD});
        let token = w.post("/v1/auth/token", &login).expect(200, "access_token").await;
        let token = token["access_token"].as_str().unwrap();
        let call = |path| w.call(reqwest::Method::GET, path, Some(token));
        assert_eq!(call("/v1/auth/me").expect(200, "").await["role"], "owner");
        call("/v1/admin/settings").expect(200, "").await;
        let other = json!({"token": "setup_x", "email": "eve@example.org", "password": harness::PASSWORD});
        w.post("/v1/setup", &other).expect(403, "used up").await;
        std::fs::write(&file, "Another-Horse-42!x").unwrap();
        w.restart().await;
        w.post("/v1/auth/token", &login).expect(200, "access_token").await;
        std::fs::write(&file, harness::PASSWORD).unwrap();
    }
    let said = refused(
        folder.path(),
        &[("TALON_OPERATOR_EMAIL", "root@example.org"), ("TALON_OPERATOR_PASSWORD", "hunter2")],
    );
    explains(&said, "password: needs at least 12 characters");
    assert!(!said.contains("hunter2"), "{said}");
    explains(&refused(folder.path(), &[("TALON_OPERATOR_EMAIL", "root@example.org")]), "go together");
}

/// Whoever signed up with the operator's email before there was an operator does not become it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_email_with_an_account_is_not_made_the_operator() {
    let w = World::on(Database::Sqlite).without_operator().start().await;
    w.owner("ada").await;
    assert_eq!(w.end(), Some(0));
    let data = w.data();
    let operator =
        [("TALON_OPERATOR_EMAIL", "Ada@example.org"), ("TALON_OPERATOR_PASSWORD", harness::PASSWORD)];
    let said = refused(data.parent().unwrap(), &operator);
    explains(&said, "TALON_OPERATOR_EMAIL names an email that has an account already");
    explains(&said, "set another email");
    assert!(!said.contains(harness::PASSWORD), "{said}");
    w.restart().await;
    assert!(w.said().contains("/setup#"), "{}", w.said());
}
