//! Kill -9 of the gateway, the signer and the node at random moments, while agents submit and repeat what was not
//! answered. Afterwards the chain must hold every accepted transaction, once, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use harness::{ADDRESSES, Agent, Database, Value, World, json, number};

/// What each transaction moves, as the API and as the chain write it.
const ETHER: &str = "0.01";
const WEI: u128 = 10_000_000_000_000_000;
/// Two of the agents have a daily limit, which lets this many through.
const LIMITED_TO: usize = 20;
/// What anvil gives its accounts.
const FUNDS: u128 = 10_000 * 1_000_000_000_000_000_000;
const KEY_PATHS: [&str; 2] = ["keys/one", "keys/two"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite() {
    nothing_is_lost_or_doubled(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    nothing_is_lost_or_doubled(Database::Postgres).await;
}

async fn nothing_is_lost_or_doubled(database: Database) {
    let w = World::on(database).durable_chain().start().await;
    let ada = w.owner("ada").await;
    let vault = ada.vault("main").await;
    for (which, path) in KEY_PATHS.iter().enumerate() {
        vault.put_key(path, which).await;
    }
    let mut agents = Vec::new();
    for n in 0..4 {
        let draft = ada.agent(&format!("bot-{n}")).intents().reads(&vault, "keys/**");
        // 0.01 ether twenty times.
        let draft = if n % 2 == 0 { draft.set("tx_daily_limit_eth", "0.2") } else { draft };
        agents.push(draft.make().await);
    }

    let stop = AtomicBool::new(false);
    let work = futures::future::join_all(agents.iter().enumerate().map(|(n, agent)| work(agent, n, &stop)));
    let (accepted, ()) = tokio::join!(work, async {
        kill_at_random(&w).await;
        stop.store(true, Ordering::Relaxed);
    });

    let mut settled: BTreeMap<usize, Vec<Value>> = BTreeMap::new();
    for ((n, agent), ids) in agents.iter().enumerate().zip(&accepted) {
        settled.insert(n, w.while_blocks_come(confirmed(&w, agent, ids)).await);
    }
    let total: usize = accepted.iter().map(Vec::len).sum();
    let ids: BTreeSet<&String> = accepted.iter().flatten().collect();
    assert_eq!(ids.len(), total, "two submissions have one transaction");
    for n in [0, 2] {
        assert!(accepted[n].len() <= LIMITED_TO, "agent {n} overspent: {} times {ETHER}", accepted[n].len());
    }
    assert!(accepted.iter().all(|ids| !ids.is_empty()), "an agent got nothing through: {accepted:?}");
    let kept: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM transactions WHERE status <> 'failed'")
        .fetch_one(&w.database().await)
        .await
        .unwrap();
    assert_eq!(usize::try_from(kept).unwrap(), total, "transactions that no agent knows of");
    check_chain(&w, &settled).await;
}

/// Which key an agent uses: each is shared by two agents, one limited and one not.
fn key_of(agent: usize) -> usize {
    agent / 2
}

fn recipient(agent: usize) -> String {
    format!("0x{:040x}", 0xc0de_0000_u32 + u32::try_from(agent).unwrap())
}

/// Submits one transaction after the other. The ids of those that were accepted.
async fn work(agent: &Agent<'_>, n: usize, stop: &AtomicBool) -> Vec<String> {
    let body = json!({"to": recipient(n), "value": ETHER, "chain": "local", "signing_key_path": KEY_PATHS[key_of(n)]});
    let mut accepted = Vec::new();
    let mut attempt = 0;
    while !stop.load(Ordering::Relaxed) {
        attempt += 1;
        match insist(agent, &body, &format!("chaos-{attempt}")).await {
            Some(id) => accepted.push(id),
            None => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    accepted
}

/// Repeats a submission until it is answered for good. `None`: the daily limit refuses it.
async fn insist(agent: &Agent<'_>, body: &Value, key: &str) -> Option<String> {
    let begun = Instant::now();
    loop {
        let reply = agent.submit(body).header("idempotency-key", key).try_reply().await;
        if let Some(reply) = reply {
            match reply.status {
                200 | 201 => return Some(reply.body["id"].as_str().unwrap().to_owned()),
                403 => {
                    reply.expect(403, "tx_daily_limit_eth");
                    return None;
                }
                // Still worked on, or a part is away: again, with the same key.
                409 | 503 => {}
                _ => panic!("{key}: {} {}\n{}", reply.status, reply.text, agent.world.said()),
            }
        }
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "{key} is never answered\n{}",
            agent.world.said()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[derive(Clone, Copy, Debug)]
enum Victim {
    Supervisor,
    Worker,
    Signer,
    Node,
}

/// Each of gateway, signer and node as often as `TALON_CHAOS_ROUNDS` says, in random order.
async fn kill_at_random(w: &World) {
    let rounds = std::env::vars().find(|(key, _)| key == "TALON_CHAOS_ROUNDS");
    let rounds: usize = rounds.map_or(5, |(_, text)| text.parse().unwrap());
    let mut victims: Vec<Victim> = (0..rounds)
        .flat_map(|n| {
            [if n % 2 == 0 { Victim::Worker } else { Victim::Supervisor }, Victim::Signer, Victim::Node]
        })
        .collect();
    for n in (1..victims.len()).rev() {
        victims.swap(n, random(n + 1));
    }
    for victim in victims {
        pause(600).await;
        eprintln!("kill -9 {victim:?}");
        match victim {
            Victim::Supervisor => {
                w.kill();
                pause(300).await;
                w.restart().await;
            }
            // These come back by themselves; so soon after the last time they may not be there yet.
            Victim::Worker => drop(w.kill_worker()),
            Victim::Signer => drop(w.kill_signer()),
            Victim::Node => {
                let mut node = w.anvil().await;
                node.crash().await;
                pause(500).await;
                node.restart().await;
            }
        }
    }
    pause(600).await;
}

async fn pause(at_most_millis: usize) {
    tokio::time::sleep(Duration::from_millis(u64::try_from(random(at_most_millis)).unwrap())).await;
}

/// Below `bound`.
fn random(bound: usize) -> usize {
    usize::try_from(RandomState::new().hash_one(bound)).unwrap() % bound
}

/// Waits until all of an agent's transactions are in blocks.
async fn confirmed(w: &World, agent: &Agent<'_>, ids: &[String]) -> Vec<Value> {
    let deadline = Instant::now() + Duration::from_secs(90);
    let mut done = Vec::new();
    for id in ids {
        let path = format!("{}/{id}", agent.transactions());
        loop {
            let tx = agent.get(&path).expect(200, id).await;
            if tx["status"] == "confirmed" {
                done.push(tx);
                break;
            }
            assert!(Instant::now() < deadline, "not confirmed: {tx}\n{}", w.said());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    done
}

/// The chain has these transactions, each once, no others, and every wei is where it should be.
async fn check_chain(w: &World, settled: &BTreeMap<usize, Vec<Value>>) {
    let chain = w.anvil().await;
    for (key, from) in ADDRESSES.iter().enumerate().take(KEY_PATHS.len()) {
        let own = || settled.iter().filter(|(agent, _)| key_of(**agent) == key).flat_map(|(_, txs)| txs);
        let expected: BTreeSet<&str> = own().map(|tx| tx["tx_hash"].as_str().unwrap()).collect();
        assert_eq!(expected.len(), own().count(), "two transactions have one hash");
        let sent = chain.sent_by(from).await;
        let found: BTreeSet<&str> = sent.iter().map(|tx| tx["hash"].as_str().unwrap()).collect();
        assert_eq!(found, expected, "the chain and the gateway disagree");
        let mut nonces: Vec<u128> = sent.iter().map(|tx| number(&tx["nonce"])).collect();
        nonces.sort_unstable();
        assert_eq!(nonces, (0..sent.len() as u128).collect::<Vec<_>>(), "a nonce is missing or doubled");
        let mut spent = 0;
        for tx in &sent {
            let receipt = chain.receipt(tx["hash"].as_str().unwrap()).await;
            assert_eq!((&receipt["status"], number(&tx["value"])), (&json!("0x1"), WEI), "{tx}");
            spent += WEI + number(&receipt["gasUsed"]) * number(&receipt["effectiveGasPrice"]);
        }
        assert_eq!(chain.balance(from).await, FUNDS - spent, "{from}");
    }
    for (agent, txs) in settled {
        assert_eq!(
            chain.balance(&recipient(*agent)).await,
            txs.len() as u128 * WEI,
            "agent {agent}'s recipient"
        );
    }
}
