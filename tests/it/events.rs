//! The stream of events: who hears what, going on after a break, and when it ends.

use std::time::{Duration, Instant};

use futures::future::join_all;
use harness::{Agent, Person, Vault, World, both, json};
use reqwest::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// A vault, and an agent that may read in it when people approve.
async fn guarded<'p>(ada: &'p Person<'p>, name: &str) -> (Vault<'p>, Agent<'p>) {
    let vault = ada.vault("main").await;
    let bot = ada.agent(name).make().await;
    let body = json!({"secret_path_pattern": "**", "principal_type": "agent", "principal_id": bot.id,
        "permissions": ["read"], "conditions": {"require_approval": true}});
    ada.post(&format!("/v1/vaults/{}/policies", vault.id), &body).expect(201, "").await;
    (vault, bot)
}

/// Makes a secret and asks for it; the request's id.
async fn asks(vault: &Vault<'_>, bot: &Agent<'_>, path: &str) -> String {
    vault.put(path, "generic", "hunter-2").await;
    let refused = bot.get(&vault.path(path)).expect(403, "approval_required").await;
    refused["approval_request_id"].as_str().unwrap().to_owned()
}

async fn approve(by: &Person<'_>, id: &str) {
    by.post(&format!("/v1/approvals/{id}/approve"), &json!({})).expect(200, "approved").await;
}

both! {
    async fn each_hears_what_concerns_them_on_every_gateway(w: World) {
        let (ada, eve) = (w.owner("ada").await, w.owner("eve").await);
        let (vault, bot) = guarded(&ada, "bot").await;
        let (other, beside) = (ada.agent("other").make().await, w.beside().await);
        let (_, scoped) = ada.api_key(&json!({"name": "k", "scopes": ["a/**"]})).await;
        let mut hers = w.listen(&ada.token, None).await;
        let mut there = beside.listen(&ada.token, None).await;
        let mut its = beside.listen(&bot.token, None).await;
        let mut deaf = Vec::new();
        for token in [&eve.token, &other.token, &scoped] {
            deaf.push(w.listen(token, None).await);
        }
        let id = asks(&vault, &bot, "a/b").await;
        approve(&ada, &id).await;
        for stream in [&mut hers, &mut there, &mut its] {
            let first = stream.hears("approval.requested").await;
            assert_eq!(first.data, json!({"id": id, "kind": "secret_read", "status": "pending"}));
            let second = stream.hears("approval.approved").await;
            assert_eq!(second.data["status"], "approved");
            assert!(second.id.parse::<i64>().unwrap() > first.id.parse::<i64>().unwrap());
        }
        for stream in &mut deaf {
            assert!(stream.is_silent(Duration::from_millis(700)).await);
        }
    }
}

both! {
    /// Many are told at once, by two gateways, while a client comes and goes: each event once, in order, none lost.
    async fn a_client_goes_on_after_a_break_and_loses_nothing(w: World) {
        let ada = w.owner("ada").await;
        let (vault, bot) = guarded(&ada, "bot").await;
        let beside = w.beside().await;
        let paths: Vec<String> = (0..24).map(|n| format!("k/{n}")).collect();
        for path in &paths {
            vault.put(path, "generic", "v").await;
        }
        let mut stream = w.listen(&ada.token, None).await;
        let ask = join_all(paths.iter().enumerate().map(|(n, path)| {
            let at = vault.path(path);
            if n % 2 == 0 { bot.get(&at).reply() } else { beside.get(&at, &bot.token).reply() }
        }));
        let listen = async {
            let (mut heard, mut last) = (Vec::new(), None::<String>);
            while heard.len() < paths.len() {
                // Leaves in between, and comes back to either gateway.
                if heard.len() % 5 == 4 {
                    stream = match heard.len() % 2 {
                        0 => w.listen(&ada.token, last.as_deref()).await,
                        _ => beside.listen(&ada.token, last.as_deref()).await,
                    };
                }
                let told = stream.hears("approval.requested").await;
                last = Some(told.id.clone());
                heard.push(told);
            }
            heard
        };
        let (replies, heard) = tokio::join!(ask, listen);
        assert!(replies.iter().all(|reply| reply.status == 403));
        let numbers: Vec<i64> = heard.iter().map(|told| told.id.parse().unwrap()).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        let mut ids: Vec<&str> = heard.iter().map(|told| told.data["id"].as_str().unwrap()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), paths.len());
        // Even over a restart.
        let last = heard.last().unwrap().id.clone();
        let id = asks(&vault, &bot, "k/last").await;
        w.restart().await;
        let mut stream = w.listen(&ada.token, Some(&last)).await;
        assert_eq!(stream.hears("approval.requested").await.data["id"], json!(id));
        approve(&ada, &id).await;
        assert_eq!(stream.hears("approval.approved").await.data["id"], json!(id));
    }
}

both! {
    async fn a_stream_ends_with_what_let_it_in(w: World) {
        let ada = w.owner("ada").await;
        let (vault, bot) = guarded(&ada, "bot").await;
        let soon = domain::Clock::default().now().plus(Duration::from_secs(4));
        let short = ada.agent("short").set("expires_at", soon.to_string()).make().await;
        let mut expires = w.listen(&short.token, None).await;
        let mut suspended = w.listen(&bot.token, None).await;
        let begun = Instant::now();
        ada.post("/v1/agents/suspend-all", &json!({})).expect(200, "").await;
        assert!(suspended.next().await.is_none() && begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
        ada.post("/v1/agents/resume-all", &json!({})).expect(200, "").await;
        assert!(expires.next().await.is_none());
        let mut revoked = w.listen(&bot.token, None).await;
        let mut rotated = w.listen(&bot.key, None).await;
        bot.delete("/v1/auth/token").expect(204, "").await;
        assert!(revoked.next().await.is_none());
        ada.post(&format!("/v1/agents/{}/rotate-key", bot.id), &json!({})).expect(200, "").await;
        assert!(rotated.next().await.is_none());
        // People whom an address rule shuts out.
        let mut hers = w.listen(&ada.token, None).await;
        w.sql(&format!("INSERT INTO ip_rules (id, org_id, effect, cidr, applies_to, created_by, created_at) \
            SELECT id, org_id, 'deny', '127.0.0.0/8', 'all', id, 0 FROM users WHERE email = '{}'", ada.email)).await;
        assert!(hers.next().await.is_none());
        drop(vault);
    }
}

both! {
    async fn what_is_asked_wrongly_is_refused_and_streams_are_bounded(w: World) {
        let ada = w.owner("ada").await;
        let ask = |accept: &str| w.call(Method::GET, "/v1/events", Some(&ada.token)).header("accept", accept);
        ask("application/json").expect(400, "text/event-stream").await;
        ask("*/*").expect(400, "text/event-stream").await;
        ask("text/event-stream").header("last-event-id", "x").expect(400, "Last-Event-ID").await;
        w.call(Method::GET, "/v1/events", None).header("accept", "text/event-stream").expect(401, "token").await;
        let mut open = Vec::new();
        for _ in 0..8 {
            open.push(w.listen(&ada.token, None).await);
        }
        ask("text/event-stream").expect(429, "too many streams").await;
        // A place is free again soon after its client has left; a number from elsewhere makes no stream deaf.
        open.clear();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut stream = w.listen(&ada.token, Some("999999999")).await;
        let (vault, bot) = guarded(&ada, "bot").await;
        let id = asks(&vault, &bot, "a").await;
        assert_eq!(stream.hears("approval.requested").await.data["id"], json!(id));
        // A gateway that ends does not wait for its streams.
        let begun = Instant::now();
        assert_eq!(w.end(), Some(0));
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
        assert!(stream.next().await.is_none());
    }
}

/// A client that takes what comes no faster than it reads, and it reads only when it is told to.
async fn slow(w: &World, token: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(w.address()).await.unwrap();
    let head = format!(
        "GET /v1/events HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nAccept: text/event-stream\r\n\r\n",
        w.address()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut said, mut piece) = (String::new(), [0; 256]);
    while !said.contains(": open") {
        let read = stream.read(&mut piece).await.unwrap();
        assert!(read > 0, "{said}");
        said.push_str(std::str::from_utf8(&piece[..read]).unwrap());
    }
    stream
}

/// Events in one commit, each of 64 KiB, which all of somebody's organisation hears.
async fn shout(w: &World, email: &str, many: usize) {
    let pool = w.database().await;
    let (id, org): (String, String) = sqlx::query_as("SELECT id, org_id FROM users WHERE email = $1")
        .bind(email.to_owned())
        .fetch_one(&pool)
        .await
        .unwrap();
    let mut tx = pool.begin().await.unwrap();
    for number in 0..many {
        sqlx::query("UPDATE event_head SET sequence = sequence + 1").execute(&mut *tx).await.unwrap();
        let insert = sqlx::query(
            "INSERT INTO events (sequence, org_id, concerns_type, concerns_id, event, data, created_at) \
             SELECT sequence, $1, 'user', $2, 'approval.shouted', $3, $4 FROM event_head",
        );
        let data = json!({"number": number, "text": "x".repeat(1 << 16)}).to_string();
        let now = domain::Clock::default().now().millis();
        insert.bind(org.clone()).bind(id.clone()).bind(data).bind(now).execute(&mut *tx).await.unwrap();
    }
    tx.commit().await.unwrap();
}

both! {
    /// Who does not read is given up, with its place; whoever reads misses nothing.
    async fn a_slow_reader_is_given_up_and_others_go_on(w: World) {
        const MANY: usize = 400;
        let ada = w.owner("ada").await;
        let mut stuck = slow(&w, &ada.token).await;
        let mut reads = w.listen(&ada.token, None).await;
        shout(&w, &ada.email, MANY).await;
        for number in 0..MANY {
            assert_eq!(reads.hears("approval.shouted").await.data["number"], json!(number));
        }
        // All her places are taken until the slow one's is given back.
        let mut open = Vec::new();
        for _ in 0..6 {
            open.push(w.listen(&ada.token, None).await);
        }
        let begun = Instant::now();
        let ask = || w.http.get(format!("{}/v1/events", w.base)).bearer_auth(&ada.token).header("accept", "text/event-stream");
        while ask().send().await.unwrap().status() != 200 {
            assert!(begun.elapsed() < Duration::from_secs(60), "the slow reader keeps its place");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let (vault, bot) = guarded(&ada, "bot").await;
        let id = asks(&vault, &bot, "a").await;
        assert_eq!(reads.hears("approval.requested").await.data["id"], json!(id));
        // What it reads at last is what was on the way, and then the end.
        let (mut rest, mut piece) = (Vec::new(), vec![0; 1 << 16]);
        while !rest.ends_with(b"0\r\n\r\n") {
            let read = tokio::time::timeout(Duration::from_secs(30), stuck.read(&mut piece)).await.unwrap().unwrap_or(0);
            if read == 0 {
                break;
            }
            rest.extend_from_slice(&piece[..read]);
        }
        let last = format!("\"number\":{}", MANY - 1);
        assert!(!String::from_utf8_lossy(&rest).contains(&last), "it has heard all");
    }
}
