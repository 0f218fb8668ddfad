//! What must be so afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use harness::{ADDRESSES, Agent, Value, World, json, number};

use super::agents::{Crew, KEY_PATHS, Sent, WEI, key_of, recipient};

/// What anvil gives its accounts.
const FUNDS: u128 = 10_000 * 1_000_000_000_000_000_000;

/// Of each agent's transactions, what is in a block in the end: each itself, or what took its place.
pub async fn settled(w: &World, crew: &Crew<'_>, sent: &[Vec<Sent>]) -> BTreeMap<usize, Vec<Value>> {
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut all = BTreeMap::new();
    for ((n, agent), sent) in crew.agents.iter().enumerate().zip(sent) {
        let mut settled = Vec::new();
        for one in sent {
            settled.push(winner(w, agent, one, deadline).await);
        }
        all.insert(n, settled);
    }
    all
}

async fn winner(w: &World, agent: &Agent<'_>, sent: &Sent, deadline: Instant) -> Value {
    loop {
        let mut there = vec![look(agent, &sent.id).await];
        if let Some(hastened) = &sent.hastened {
            there.push(look(agent, hastened).await);
        }
        let is = |status: &str| there.iter().filter(|tx| tx["status"] == status).count();
        if is("confirmed") == 1 && is("replaced") == there.len() - 1 {
            return there.into_iter().find(|tx| tx["status"] == "confirmed").unwrap();
        }
        let wrong = is("confirmed") > 1 || Instant::now() > deadline;
        assert!(!wrong, "not settled: {there:?}\n{}", w.said());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn look(agent: &Agent<'_>, id: &str) -> Value {
    agent.get(&format!("{}/{id}", agent.transactions())).expect(200, id).await
}

/// No transactions that no agent knows of.
pub async fn nothing_else_is_known(w: &World, all: &[&Sent]) {
    let expected = all.len() + all.iter().filter(|sent| sent.hastened.is_some()).count();
    let kept: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM transactions WHERE status <> 'failed'")
        .fetch_one(&w.database().await)
        .await
        .unwrap();
    assert_eq!(usize::try_from(kept).unwrap(), expected, "transactions that no agent knows of");
}

/// The chain has these transactions, each once, no others, no gap, and every wei is where it should be.
pub async fn the_chain(w: &World, settled: &BTreeMap<usize, Vec<Value>>) {
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
        let got = chain.balance(&recipient(*agent)).await;
        assert_eq!(got, txs.len() as u128 * WEI, "agent {agent}'s recipient");
    }
}
