//! Mail: over SMTP to a real server, and into the outbox without one.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use harness::{Database, PASSWORD, Process, Value, World, both, json};

/// aiosmtpd, in a process of its own.
fn server(port: u16, file: &Path) -> Process {
    let mut command = Command::new(harness::python("aiosmtpd"));
    Process::start(command.arg(harness::client_script("smtp_server.py")).arg(port.to_string()).arg(file))
}

fn taken(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn until(what: &str, w: &World, done: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !done().await {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}:\n{}", w.said());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn waiting(w: &World) -> i64 {
    let count: (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM mails").fetch_one(&w.database().await).await.unwrap();
    count.0
}

/// Queues letters, each to an address of its own.
async fn queue(w: &World, letters: usize, letter: &str, gives_up_at: i64) {
    let row = |n: usize| {
        format!(
            "('01890000-0000-7000-8000-{n:012}', 'n{n}@example.org', '{{\"letter\":\"{letter}\"}}', 0, 0, {gives_up_at}, 0)"
        )
    };
    let rows: Vec<String> = (0..letters).map(row).collect();
    let columns = "(id, recipient, letter, attempts, due_at, gives_up_at, created_at)";
    w.sql(&format!("INSERT INTO mails {columns} VALUES {}", rows.join(", "))).await;
}

/// In milliseconds since 1970: so late that nothing is given up.
const NEVER: i64 = 4_102_444_800_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_smtp_sqlite() {
    over_smtp(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_smtp_postgres() {
    over_smtp(Database::Postgres).await;
}

/// A server that is down is waited for; each mail arrives once, and nothing of it stays. What the server refuses for good is
/// given up.
async fn over_smtp(database: Database) {
    let (folder, port) = (tempfile::tempdir().unwrap(), harness::free_port());
    let file = folder.path().join("taken");
    let url = format!("smtp://127.0.0.1:{port}");
    let draft = World::on(database).with("TALON_SMTP_URL", &url);
    let w = draft.with("TALON_MAIL_FROM", "Talon <talon@example.org>").start().await;
    // No request waits for mail.
    let begun = Instant::now();
    w.owner("ada").await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    until("nobody has tried", &w, async || w.said().contains("can't be reached")).await;
    assert_eq!(waiting(&w).await, 1);
    let _server = server(port, &file);
    until("no mail", &w, async || !taken(&file).is_empty()).await;
    until("the mail stays in the queue", &w, async || waiting(&w).await == 0).await;
    w.owner("nobody").await;
    until("a refused mail is not given up", &w, async || w.said().contains("given up")).await;
    let first = taken(&file);
    assert_eq!(first.len(), 1, "{first:?}");
    assert_eq!(
        (&first[0]["from"], &first[0]["to"], &first[0]["subject"]),
        (&json!("talon@example.org"), &json!(["ada@example.org"]), &json!("Welcome to Talon"))
    );
    // Refused for the moment alone, it is sent again.
    w.owner("later").await;
    until("a mail that was put off is not sent", &w, async || taken(&file).len() == 2).await;
    assert!(w.said().contains("the server answers 451"), "{}", w.said());
    // Of two gateways one sends each.
    let beside = w.beside().await;
    queue(&w, 30, "welcome", NEVER).await;
    until("mails stay in the queue", &w, async || waiting(&w).await == 0).await;
    let mut to: Vec<String> = taken(&file)[2..].iter().map(|mail| mail["to"].to_string()).collect();
    to.sort();
    let mut expected: Vec<String> = (0..30).map(|n| format!("[\"n{n}@example.org\"]")).collect();
    expected.sort();
    assert_eq!(to, expected);
    assert!(!w.data().join("outbox").exists());
    for said in [w.said(), beside.said()] {
        assert!(
            !["ada@", "later@", "n0@"].iter().any(|to| said.contains(to)),
            "an address is in the log:\n{said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_a_silent_server_sqlite() {
    nobody_waits_for_a_silent_server(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_a_silent_server_postgres() {
    nobody_waits_for_a_silent_server(Database::Postgres).await;
}

/// One that takes connections and says nothing, for which the job has patience for half a minute.
async fn nobody_waits_for_a_silent_server(database: Database) {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let draft = World::on(database).with("TALON_SMTP_URL", &url);
    let w = draft.with("TALON_MAIL_FROM", "Talon <talon@example.org>").start().await;
    w.owner("ada").await;
    let tried = tokio::time::timeout(Duration::from_secs(20), listener.accept()).await;
    let _held = tried.unwrap().unwrap();
    let begun = Instant::now();
    w.owner("bob").await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(waiting(&w).await, 2);
}

both! {
    /// Until then a newer gateway beside this one may send it.
    async fn a_letter_that_is_not_known_is_given_up_in_its_time(w: World) {
        queue(&w, 1, "unheard_of", NEVER).await;
        until("the letter was not looked at", &w, async || w.said().contains("knows no such letter")).await;
        assert_eq!(waiting(&w).await, 1);
        w.sql("UPDATE mails SET gives_up_at = 1, due_at = 0").await;
        until("the letter stays in the queue", &w, async || waiting(&w).await == 0).await;
        assert!(w.said().contains("a mail is given up"), "{}", w.said());
    }
}

both! {
    async fn without_a_server_mail_is_in_the_outbox_and_the_log_says_so(w: World) {
        w.owner("ada").await;
        until("no mail", &w, async || w.has_mail("ada@example.org", "Welcome to Talon")).await;
        assert!(w.said().contains("no SMTP server is configured"), "{}", w.said());
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let outbox = w.data().join("outbox");
        assert_eq!(mode(&outbox), 0o700);
        for entry in std::fs::read_dir(&outbox).unwrap() {
            assert_eq!(mode(&entry.unwrap().path()), 0o600);
        }
    }
}

both! {
    /// One in a minute, and no more than twenty in an hour: beyond that the answer is the same, and there is no mail.
    async fn nobody_is_flooded_with_links(w: World) {
        let root = w.operator().await;
        root.put("/v1/admin/settings/auth.email_verification", &json!({"value": "true"})).expect(200, "").await;
        let sign_up = json!({"email": "bob@example.org", "password": PASSWORD});
        for (path, body, status, subject, most) in [
            ("/v1/auth/forgot-password", json!({"email": root.email}), 202, "A new password", 3),
            ("/v1/auth/signup", sign_up, 200, "Confirm your address", 20),
        ] {
            let to = body["email"].as_str().unwrap();
            w.post(path, &body).expect(status, "").await;
            w.mail(to, subject).await;
            for (earlier, is_sent) in [(most, false), (most - 1, true)] {
                let ten_minutes_ago = domain::Clock::default().now().millis() - 600_000;
                let taken = vec![ten_minutes_ago.to_string(); earlier].join(",");
                w.sql(&format!("UPDATE limits SET taken = '{taken}'")).await;
                w.post(path, &body).expect(status, "").await;
                if is_sent {
                    w.mail(to, subject).await;
                } else {
                    assert_eq!(waiting(&w).await, 0, "{path}");
                    assert!(!w.has_mail(to, subject), "{path}");
                }
            }
        }
    }
}

/// Not even in pages that were freed: the link is made when its mail is sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_holds_no_link() {
    let w = World::on(Database::Sqlite).start().await;
    let ada = w.owner("ada").await;
    w.post("/v1/auth/forgot-password", &json!({"email": ada.email})).expect(202, "").await;
    let ticket = w.ticket(&ada.email, "A new password").await;
    let pool = w.database().await;
    let stored: Vec<(Vec<u8>,)> = sqlx::query_as("SELECT hash FROM tickets").fetch_all(&pool).await.unwrap();
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].0.len(), 32);
    for file in ["talon.db", "talon.db-wal"] {
        let bytes = std::fs::read(w.data().join("gateway").join(file)).unwrap_or_default();
        let found = bytes.windows(ticket.len()).any(|window| window == ticket.as_bytes());
        assert!(!found, "{file} holds the ticket");
    }
    assert!(!w.said().contains(&ticket), "the log holds the ticket");
}
