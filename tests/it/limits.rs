//! Rates: of an address, a principal, an organisation, of all together; and floods.

use std::time::{Duration, Instant};

use futures::future::join_all;
use harness::{Database, PASSWORD, Reply, World, both, json};
use reqwest::Method;

const PROXIES: (&str, &str) = ("TALON_TRUSTED_PROXIES", "127.0.0.1");

async fn health(w: &World, from: &str) -> Reply {
    w.get("/v1/health").header("x-forwarded-for", from).reply().await
}

fn refused(reply: Reply, what: &str) {
    let seconds: u64 = reply.headers["retry-after"].parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    reply.expect(429, what);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_has_its_rate_before_anything_is_looked_at() {
    let w = World::on(Database::Sqlite)
        .with(PROXIES.0, PROXIES.1)
        .with("TALON_LIMIT_ADDRESS", "3/m")
        .start()
        .await;
    for _ in 0..3 {
        assert_eq!(health(&w, "203.0.113.1").await.status, 200);
    }
    refused(health(&w, "203.0.113.1").await, "Too many requests from your address. Try again in");
    // Whatever it sends, and through whichever door; a bad token is not even looked at.
    for (method, path) in
        [(Method::GET, "/v1/auth/me"), (Method::POST, "/v1/auth/token"), (Method::POST, "/mcp")]
    {
        let call =
            w.call(method, path, Some("x.y.z")).header("x-forwarded-for", "203.0.113.1").json(&json!({}));
        refused(call.reply().await, "from your address");
    }
    assert_eq!(health(&w, "203.0.113.2").await.status, 200);
    // What is said of an address before the last proxy is not believed.
    refused(health(&w, "198.51.100.7, 203.0.113.1").await, "from your address");
    // Nor is loopback limited, from where this machine speaks.
    for _ in 0..10 {
        w.get("/v1/health").expect(200, "").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_principal_has_its_rate_and_an_organisation_too() {
    let w = World::on(Database::Sqlite).with("TALON_LIMIT_PRINCIPAL", "10/m").start().await;
    let (ada, eve) = (w.owner("ada").await, w.owner("eve").await);
    let replies = join_all((0..30).map(|_| ada.get("/v1/vaults").reply())).await;
    let through = replies.iter().filter(|reply| reply.status == 200).count();
    assert!((10..=11).contains(&through), "{through}");
    refused(ada.get("/v1/vaults").reply().await, "Too many requests by you.");
    eve.get("/v1/vaults").expect(200, "").await;
    // Public routes know nobody.
    w.get("/v1/health").expect(200, "").await;

    let w = World::on(Database::Sqlite).with("TALON_LIMIT_ORGANISATION", "10/m").start().await;
    let (ada, eve) = (w.owner("ada").await, w.owner("eve").await);
    let bot = ada.agent("bot").make().await;
    while ada.get("/v1/vaults").reply().await.status == 200 {}
    refused(bot.get("/v1/agents/me").reply().await, "by your organisation");
    eve.get("/v1/vaults").expect(200, "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_together_have_a_rate() {
    let w = World::on(Database::Sqlite).with("TALON_LIMIT_TOTAL", "200/m:40").start().await;
    let replies = join_all((0..80).map(|_| w.get("/v1/health").reply())).await;
    let through = replies.iter().filter(|reply| reply.status == 200).count();
    assert!((20..=42).contains(&through), "{through}");
    let over = replies.into_iter().find(|reply| reply.status == 429).unwrap();
    refused(over, "Too many requests at this gateway.");
}

/// A tool's call is one request, not one at the door and one more behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tools_call_counts_once() {
    let w = World::on(Database::Sqlite).with("TALON_LIMIT_PRINCIPAL", "10/m").start().await;
    let ada = w.owner("ada").await;
    let bot = ada.agent("bot").make().await;
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "whoami", "arguments": {}}});
    for n in 1..=10 {
        let call = bot.post("/mcp", &message).header("accept", "application/json, text/event-stream");
        let reply = call.reply().await;
        assert!(reply.status == 200 && reply.text.contains(&bot.id), "{n}: {} {}", reply.status, reply.text);
    }
    let call = bot.post("/mcp", &message).header("accept", "application/json, text/event-stream");
    refused(call.reply().await, "Too many requests by you.");
}

both! {
    /// At two gateways.
    async fn sign_ups_from_an_address_are_counted_exactly(w: World) {
        // As if it had signed up 195 people in the last hour.
        w.owner("ada").await;
        let (taken, end): (String, i64) = sqlx::query_as("SELECT taken, forget_at FROM limits").fetch_one(&w.database().await).await.unwrap();
        let earlier = vec![taken.as_str(); 195].join(",");
        w.sql(&format!("UPDATE limits SET taken = '{earlier}'")).await;
        let beside = w.beside().await;
        let sign_up = |n: usize| {
            let body = json!({"email": format!("n{n}@example.org"), "password": PASSWORD});
            if n.is_multiple_of(2) { w.post("/v1/auth/signup", &body).reply() } else { beside.post("/v1/auth/signup", &body).reply() }
        };
        let replies = join_all((0..20).map(sign_up)).await;
        assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 5);
        for reply in replies.into_iter().filter(|reply| reply.status != 200) {
            reply.expect(429, "Try again in");
        }
        // An hour later.
        let hour_ago = taken.parse::<i64>().unwrap() - 3_600_000;
        w.sql(&format!("UPDATE limits SET taken = '{}', forget_at = {end}", vec![hour_ago.to_string(); 200].join(","))).await;
        assert_eq!(sign_up(99).await.status, 200);
    }
}

both! {
    /// Log-ins wait for each other, and beyond a number are refused; reads go on meanwhile.
    async fn a_flood_of_logins_leaves_reads_answering(w: World) {
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put("api/a", "generic", "v").await;
        let path = vault.path("api/a");
        let flood = join_all((0..400).map(|n| {
            let body = json!({"email": format!("n{n}@example.org"), "password": PASSWORD});
            w.post("/v1/auth/token", &body).reply()
        }));
        let reads = async {
            let mut took = Vec::new();
            for _ in 0..40 {
                let begun = Instant::now();
                ada.get(&path).expect(200, "v").await;
                took.push(begun.elapsed());
            }
            took.sort();
            took
        };
        let (replies, took) = tokio::join!(flood, reads);
        // Generous: two cores hold the flood, both its ends, and other tests.
        let (median, slowest) = (took[took.len() / 2], took[took.len() - 1]);
        assert!(median < Duration::from_secs(2) && slowest < Duration::from_secs(10), "{median:?}, {slowest:?}");
        let count = |status| replies.iter().filter(|reply| reply.status == status).count();
        assert!(count(401) >= 100 && count(429) >= 100, "{} were looked at, {} refused", count(401), count(429));
        assert_eq!(count(401) + count(429), 400);
        let refused = replies.into_iter().find(|reply| reply.status == 429).unwrap();
        refused.expect(429, "Too many log-ins or sign-ups from your address at once. Try again in");
    }
}

both! {
    async fn a_long_address_keeps_nobody_waiting(w: World) {
        let ada = w.owner("ada").await;
        // Each of these becomes eighteen letters when it is compared.
        let body = json!({"email": format!("{}@example.org", "\u{fdfa}".repeat(300_000)), "password": PASSWORD});
        let flood = join_all((0..8).map(|_| w.post("/v1/auth/token", &body).reply()));
        let read = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let begun = Instant::now();
            ada.get("/v1/vaults").expect(200, "").await;
            begun.elapsed()
        };
        let (replies, took) = tokio::join!(flood, read);
        assert!(took < Duration::from_secs(2), "{took:?}");
        for reply in replies {
            assert!([401, 429].contains(&reply.status), "{} {}", reply.status, reply.text);
        }
    }
}

both! {
    async fn who_hangs_up_is_hashed_no_more(w: World) {
        let ada = w.owner("ada").await;
        let log_in = |email: &str| w.post("/v1/auth/token", &json!({"email": email, "password": PASSWORD})).reply();
        let begun = Instant::now();
        assert_eq!(log_in(&ada.email).await.status, 200);
        let alone = begun.elapsed();
        let emails: Vec<_> = (0..120).map(|n| format!("n{n}@example.org")).collect();
        let gone = emails.iter().map(|email| tokio::time::timeout(Duration::from_millis(300), log_in(email)));
        let answered = join_all(gone).await.iter().filter(|reply| reply.is_ok()).count();
        let begun = Instant::now();
        assert_eq!(log_in(&ada.email).await.status, 200);
        let took = begun.elapsed();
        assert!(took < alone * 20, "{took:?} and not {alone:?}; {answered} were answered");
    }
}
