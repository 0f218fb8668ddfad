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

use harness::{Call, Database, KEYS, PASSWORD, World, json};
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

/// How many clients flood, each from an address of its own. Client and server share the machine: what so many requests cost
/// that ask for nothing is measured as well.
const FLOOD: usize = 300;

/// Reads by themselves, beside more log-ins than are looked at, and beside as many requests that are answered at once; with
/// the limits that are the default.
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
        print(&format!("read a secret, {database:?}"), 4, &alone);
        let log_in = |n: usize, round: u64| {
            let body = json!({"email": format!("n{n}.{round}@example.org"), "password": PASSWORD});
            w.post("/v1/auth/token", &body)
        };
        let ask = |_: usize, _: u64| w.get("/nothing");
        for (what, beside) in [
            ("beside requests that ask for nothing", beside(&reads, ask).await),
            ("under a flood of log-ins", beside(&reads, log_in).await),
        ] {
            print(what, 4, &beside);
            let times = beside.percentile(0.99).as_secs_f64() / alone.percentile(0.99).as_secs_f64();
            println!("{:>49} {times:>8.1} times the p99 alone", "");
        }
    }
}

/// What is measured while the clients ask on and on. Whoever is refused waits 50 ms: not as long as they are told; but this is
/// to be no test of the client.
async fn beside(reads: impl AsyncFn() -> Measured, asked: impl Fn(usize, u64) -> Call) -> Measured {
    let client = async |n: usize| {
        let address = format!("192.0.{}.{}", 2 + n / 200, n % 200);
        for round in 0.. {
            let reply = asked(n, round).header("x-forwarded-for", &address).reply().await;
            let at_once = reply.status == 401;
            tokio::time::sleep(Duration::from_millis(if at_once { 0 } else { 50 })).await;
        }
    };
    let flood = futures::future::join_all((0..FLOOD).map(client));
    tokio::select! {
        measured = reads() => measured,
        _ = flood => unreachable!("it goes on for ever"),
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
