//! Kill -9 of the gateway, the signer and the node at random moments of every state, while agents submit, people approve,
//! slow transactions are sped up, and whatever was not answered is repeated. Afterwards the chain must hold every accepted
//! transaction, once, and nothing else.

mod agents;
mod check;
mod kills;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use agents::{Crew, KEY_PATHS, Sent};
use harness::{Database, World};

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
    let crew = Crew::hire(&ada, &vault).await;

    let (stop, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let approving = crew.approve(&done);
    let work = async {
        let (sent, kills) = tokio::join!(crew.work(&stop), async {
            let kills = kills::at_random(&w).await;
            stop.store(true, Ordering::Relaxed);
            kills
        });
        let settled = w.while_blocks_come(check::settled(&w, &crew, &sent)).await;
        done.store(true, Ordering::Relaxed);
        (sent, kills, settled)
    };
    let (approved, (sent, kills, settled)) = tokio::join!(approving, work);

    let all: Vec<&Sent> = sent.iter().flatten().collect();
    let ids: BTreeSet<&String> = all.iter().map(|sent| &sent.id).collect();
    assert_eq!(ids.len(), all.len(), "two submissions have one transaction");
    assert!(sent.iter().all(|sent| !sent.is_empty()), "an agent got nothing through");
    crew.nobody_overspent(&sent);
    check::nothing_else_is_known(&w, &all).await;
    check::the_chain(&w, &settled).await;
    let hastened = all.iter().filter(|sent| sent.hastened.is_some()).count();
    eprintln!(
        "{database:?}: {kills}; {} transactions, {approved} approved, {hastened} sped up: all there once",
        all.len()
    );
}
