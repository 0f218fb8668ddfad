//! Agents that submit one transaction after the other, and a person who approves.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use harness::{Agent, Person, Value, Vault, json};

/// What each transaction moves, as the API and as the chain write it.
pub const ETHER: &str = "0.01";
pub const WEI: u128 = 10_000_000_000_000_000;
pub const KEY_PATHS: [&str; 2] = ["keys/one", "keys/two"];
/// Limited agents have a daily limit, which lets this many through.
const LIMITED_TO: usize = 20;
/// Until it is answered, whatever dies meanwhile.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Free,
    /// 0.2 ether a day.
    Limited,
    /// A person approves each.
    Approved,
    /// Speeds up each.
    Hasty,
}

const MANNERS: [Manner; 6] =
    [Manner::Limited, Manner::Free, Manner::Limited, Manner::Free, Manner::Approved, Manner::Hasty];

/// A transaction that was accepted.
pub struct Sent {
    pub id: String,
    /// The one that is to take its place.
    pub hastened: Option<String>,
}

pub struct Crew<'a> {
    ada: &'a Person<'a>,
    pub agents: Vec<Agent<'a>>,
}

/// Which key an agent uses: each is shared by three of them.
pub fn key_of(agent: usize) -> usize {
    agent % 2
}

pub fn recipient(agent: usize) -> String {
    format!("0x{:040x}", 0xc0de_0000_u32 + u32::try_from(agent).unwrap())
}

impl<'a> Crew<'a> {
    pub async fn hire(ada: &'a Person<'a>, vault: &Vault<'_>) -> Self {
        let mut agents = Vec::new();
        for (n, manner) in MANNERS.iter().enumerate() {
            let draft = ada.agent(&format!("bot-{n}")).intents().reads(vault, "keys/**");
            let draft = match manner {
                Manner::Free | Manner::Hasty => draft,
                Manner::Limited => draft.set("tx_daily_limit_eth", "0.2"),
                Manner::Approved => draft.set("tx_approval_policy", json!({"always": true})),
            };
            agents.push(draft.make().await);
        }
        Self { ada, agents }
    }

    /// What each of them got through until `stop`.
    pub async fn work(&self, stop: &AtomicBool) -> Vec<Vec<Sent>> {
        let each = self.agents.iter().enumerate().map(|(n, agent)| work(agent, n, stop));
        futures::future::join_all(each).await
    }

    /// Approves whatever waits, until `done`. How many that were.
    pub async fn approve(&self, done: &AtomicBool) -> usize {
        let mut approved = 0;
        while !done.load(Ordering::Relaxed) {
            let waiting = self.ada.get("/v1/approvals?status=pending").try_reply().await;
            let waiting = waiting.filter(|reply| reply.status == 200).map(|reply| reply.body);
            for one in waiting.iter().flat_map(|body| body["approvals"].as_array().unwrap()) {
                let path = format!("/v1/approvals/{}/approve", one["id"].as_str().unwrap());
                match self.ada.post(&path, &json!({})).try_reply().await {
                    Some(reply) if reply.status == 200 => approved += 1,
                    // Approved before the answer was lost, or a part is away.
                    Some(reply) => {
                        assert!([409, 503].contains(&reply.status), "{} {}", reply.status, reply.text)
                    }
                    None => {}
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        approved
    }

    pub fn nobody_overspent(&self, sent: &[Vec<Sent>]) {
        for (n, (manner, sent)) in MANNERS.iter().zip(sent).enumerate() {
            let within = *manner != Manner::Limited || sent.len() <= LIMITED_TO;
            assert!(within, "agent {n} overspent: {} times {ETHER}", sent.len());
        }
    }
}

/// Submits one transaction after the other.
async fn work(agent: &Agent<'_>, n: usize, stop: &AtomicBool) -> Vec<Sent> {
    let body = json!({"to": recipient(n), "value": ETHER, "chain": "local", "signing_key_path": KEY_PATHS[key_of(n)]});
    let mut sent = Vec::new();
    let mut attempt = 0;
    while !stop.load(Ordering::Relaxed) {
        attempt += 1;
        let Some(id) = submit(agent, &body, &format!("chaos-{attempt}")).await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let hastened = match MANNERS[n] {
            Manner::Hasty => hasten(agent, &id).await,
            // People are asked sixty times an hour, at most.
            Manner::Approved => {
                tokio::time::sleep(Duration::from_secs(2)).await;
                None
            }
            _ => None,
        };
        sent.push(Sent { id, hastened });
    }
    sent
}

/// `None`: the daily limit refuses it, or that of what people are asked in an hour.
async fn submit(agent: &Agent<'_>, body: &Value, key: &str) -> Option<String> {
    let reply = insist(agent, &agent.transactions(), body, key, &[200, 201, 202, 403, 429]).await;
    if reply["status"] == 429 {
        return None;
    }
    if reply["status"] == 403 {
        assert!(reply.to_string().contains("tx_daily_limit_eth"), "{reply}");
        return None;
    }
    Some(reply["id"].as_str().unwrap().to_owned())
}

/// `None`: it is in a block already, or not signed yet.
async fn hasten(agent: &Agent<'_>, id: &str) -> Option<String> {
    let path = format!("{}/{id}/speed-up", agent.transactions());
    let reply = insist(agent, &path, &json!({}), &format!("hasten-{id}"), &[200, 201, 409]).await;
    (reply["status"] != 409).then(|| reply["id"].as_str().unwrap().to_owned())
}

/// Repeats a request until it is answered for good.
async fn insist(agent: &Agent<'_>, path: &str, body: &Value, key: &str, good: &[u16]) -> Value {
    let begun = Instant::now();
    loop {
        if let Some(reply) = agent.post(path, body).header("idempotency-key", key).try_reply().await {
            // Still worked on: again, with the same key.
            let busy = reply.status == 503 || (reply.status == 409 && reply.text.contains("being worked on"));
            if good.contains(&reply.status) && !busy {
                return reply.body;
            }
            assert!(busy, "{key}: {} {}\n{}", reply.status, reply.text, agent.world.said());
        }
        let late = begun.elapsed() > PATIENCE;
        assert!(!late, "{key} is never answered\n{}", agent.world.said());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
