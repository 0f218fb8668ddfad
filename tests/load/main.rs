//! How fast it is, beside what the parts can do alone: on this machine, in this run, client and server together.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a measurement that can't be made ends"
)]

mod alone;
mod bare;
mod wire;

use std::time::Duration;

use harness::{Database, KEYS, PASSWORD, World, json};
use wire::{Measured, Request, measure};

const DURATION: Duration = Duration::from_secs(8);
const CONNECTIONS: [usize; 2] = [1, 16];

#[tokio::main]
async fn main() {
    if let [_, mode, threads, millis, module] = std::env::args().collect::<Vec<_>>().as_slice()
        && mode == alone::OTHER_PROCESS
    {
        let duration = Duration::from_millis(millis.parse().unwrap());
        println!("{}", alone::softhsm_here(threads.parse().unwrap(), duration, module));
        return;
    }
    println!("{:<44} {:>5} {:>10} {:>9} {:>9} {:>9}", "", "conns", "a second", "p50", "p99", "p99.9");
    reading().await;
    flooded().await;
    doors().await;
    signing().await;
}

fn print(what: &str, connections: usize, measured: &Measured) {
    println!(
        "{what:<44} {connections:>5} {:>10.0} {:>9} {:>9} {:>9}",
        measured.rate(),
        millis(measured.percentile(0.5)),
        millis(measured.percentile(0.99)),
        millis(measured.percentile(0.999)),
    );
}

fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}

/// A secret of 1 KiB, audited, beside a route that answers 1 KiB and does nothing else.
async fn reading() {
    let bare = bare::kibibyte().await;
    let mut rates = [0.0; CONNECTIONS.len()];
    for (n, connections) in CONNECTIONS.into_iter().enumerate() {
        let measured = measure(bare, connections, DURATION, |_| Request::get("/", "")).await;
        rates[n] = measured.rate();
        print("bare axum route, 1 KiB", connections, &measured);
    }
    for database in [Database::Sqlite, Database::Postgres] {
        if database == Database::Postgres && !harness::has_postgres() {
            println!("reading on PostgreSQL: left out, TALON_TEST_POSTGRES is not set");
            continue;
        }
        let w = World::on(database).with("TALON_LOG", "warn").start().await;
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put("api/token", "generic", &"x".repeat(1024)).await;
        let bot = ada.agent("bot").reads(&vault, "api/**").make().await;
        let path = vault.path("api/token");
        for (n, connections) in CONNECTIONS.into_iter().enumerate() {
            let measured =
                measure(w.address(), connections, DURATION, |_| Request::get(&path, &bot.token)).await;
            print(&format!("read a secret of 1 KiB, {database:?}"), connections, &measured);
            println!("{:>49} {:>8.1} % of the bare route", "", 100.0 * measured.rate() / rates[n]);
        }
    }
}

/// Reads by themselves, and beside more log-ins than are looked at, from 300 addresses and with the limits that are the
/// default: what a flood costs those who are in.
async fn flooded() {
    for database in [Database::Sqlite, Database::Postgres] {
        if database == Database::Postgres && !harness::has_postgres() {
            continue;
        }
        let draft = World::on(database).with("TALON_LOG", "warn").with("TALON_TRUSTED_PROXIES", "127.0.0.1");
        let draft = draft.with("TALON_LOGIN_TRIES_ADDRESS", "50").with("TALON_LOGIN_PLACES_ADDRESS", "16");
        let w = draft.start().await;
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put("api/token", "generic", "v").await;
        let path = vault.path("api/token");
        let reads = async || measure(w.address(), 4, DURATION, |_| Request::get(&path, &ada.token)).await;
        let alone = reads().await;
        let flood = async {
            let guess = async |n: usize| {
                let address = format!("192.0.{}.{}", 2 + n / 200, n % 200);
                for round in 0.. {
                    let body = json!({"email": format!("n{n}.{round}@example.org"), "password": PASSWORD});
                    let login = w.post("/v1/auth/token", &body).header("x-forwarded-for", &address);
                    let refused = login.reply().await.status == 429;
                    // Whoever floods doesn't wait as long as they are told; but this is to be no test of the client.
                    tokio::time::sleep(Duration::from_millis(if refused { 50 } else { 0 })).await;
                }
            };
            futures::future::join_all((0..300).map(guess)).await;
        };
        let beside = tokio::select! {
            measured = reads() => measured,
            _ = flood => unreachable!("it goes on for ever"),
        };
        print(&format!("read a secret, {database:?}"), 4, &alone);
        print("the same under a flood of log-ins", 4, &beside);
        let ratio = beside.percentile(0.99).as_secs_f64() / alone.percentile(0.99).as_secs_f64();
        println!("{:>49} {ratio:>8.1} times the p99 alone", "");
    }
}

/// The same call over REST and over MCP; and the two ways in.
async fn doors() {
    let w = World::on(Database::Sqlite).with("TALON_LOG", "warn").start().await;
    let ada = w.owner("ada").await;
    let vault = ada.vault("main").await;
    vault.put("api/token", "generic", &"x".repeat(1024)).await;
    let bot = ada.agent("bot").reads(&vault, "api/**").make().await;
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "get_secret", "arguments": {"path": "api/token"}}});
    let login = json!({"email": ada.email, "password": PASSWORD});
    let exchange = json!({"agent_id": bot.id, "api_key": bot.key});
    let path = vault.path("api/token");
    for connections in CONNECTIONS {
        for (what, request) in [
            ("get_secret over REST", Request::get(&path, &bot.token)),
            ("get_secret over MCP", Request::post("/mcp", &bot.token, &message)),
            ("agent token", Request::post("/v1/auth/agent-token", "", &exchange)),
            ("login (Argon2id)", Request::post("/v1/auth/token", "", &login)),
        ] {
            let measured = measure(w.address(), connections, DURATION, |_| request.clone()).await;
            print(what, connections, &measured);
        }
    }
}

/// A transaction accepted, signed, stored and handed to a node that does nothing, beside signing alone.
async fn signing() {
    let k256 = alone::k256(DURATION / 4);
    println!("{:<44} {:>5} {k256:>10.0}", "k256 alone, threads", 1);
    let softhsm = [1, 2].map(|threads| alone::softhsm(threads, DURATION / 4));
    for (threads, rate) in [1, 2].into_iter().zip(&softhsm) {
        match rate {
            Some(rate) => println!("{:<44} {threads:>5} {rate:>10.0}", "SoftHSM2 alone, sessions"),
            None => println!("SoftHSM2: left out, it is not installed"),
        }
    }
    let node = bare::node().await;
    for hsm in [false, true] {
        if hsm && softhsm[0].is_none() {
            continue;
        }
        let url = format!("http://{node}");
        let draft = World::on(Database::Sqlite).with("TALON_RPC_LOCAL", &url).with("TALON_LOG", "warn");
        let w = if hsm { draft.hsm().start().await } else { draft.start().await };
        let ada = w.owner("ada").await;
        let vault = ada.vault("main").await;
        vault.put("keys/local-signer", "private_key", KEYS[0]).await;
        let bot = ada.agent("bot").intents().reads(&vault, "keys/**").make().await;
        let body = json!({"to": "0x00000000000000000000000000000000000c0de0", "value": "0.000001", "chain": "local",
            "gas_limit": 21000, "max_fee_per_gas": "2000000000", "max_priority_fee_per_gas": "1000000000"});
        let path = bot.transactions();
        for connections in CONNECTIONS {
            let request = |_| Request::post(&path, &bot.token, &body);
            let measured = measure(w.address(), connections, DURATION, request).await;
            print(
                &format!("sign and store, {}", if hsm { "SoftHSM2" } else { "software" }),
                connections,
                &measured,
            );
        }
    }
}
