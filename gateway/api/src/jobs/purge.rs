//! Erases what was deleted: secrets when their retention time is over, vaults at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::audit::Event;
use domain::{EventId, Result, SecretId};
use serde_json::Map;
use store::secrets::deletion::{self, Purged};

use super::rounds;
use crate::gateway::Gateway;

const TICK: Duration = Duration::from_secs(5);
/// Versions that one transaction erases: others wait for it on SQLite.
const BATCH: u16 = 200;

pub async fn purge(gateway: Arc<Gateway>) {
    rounds(gateway, TICK, "what was deleted", round).await;
}

/// One batch of each kind. Whether there may be more.
async fn round(gateway: Arc<Gateway>) -> Result<bool> {
    let emptied = empty(&gateway).await?;
    Ok(erase(&gateway).await? || emptied)
}

/// A vault's key is destroyed already; what it had sealed goes after it.
async fn empty(gateway: &Gateway) -> Result<bool> {
    let Some(vault) = deletion::full(&gateway.store).await? else { return Ok(false) };
    let mut tx = gateway.store.begin().await?;
    deletion::empty(&mut tx, vault, gateway.clock.now(), BATCH.into()).await?;
    tx.commit().await?;
    Ok(true)
}

async fn erase(gateway: &Gateway) -> Result<bool> {
    let now = gateway.clock.now();
    let until = gateway.restorable_since(now);
    if !deletion::is_due(&gateway.store, until).await? {
        return Ok(false);
    }
    let mut tx = gateway.store.begin().await?;
    let purged = deletion::purge(&mut tx, until, now, BATCH.into()).await?;
    let more = purged.len() == usize::from(BATCH);
    let mut by_secret: BTreeMap<SecretId, Vec<Purged>> = BTreeMap::new();
    for version in purged {
        by_secret.entry(version.secret).or_default().push(version);
    }
    for (secret, versions) in by_secret {
        let Some(first) = versions.first() else { continue };
        let numbers: Vec<u64> = versions.iter().map(|version| version.version).collect();
        tx.record(Event {
            id: EventId::new(),
            org: first.org,
            action: "secret.purge",
            actor: None,
            resource: ("secret", secret.to_string()),
            details: Map::from_iter([
                ("path".to_owned(), first.path.as_str().into()),
                ("versions".to_owned(), numbers.into()),
                ("vault_id".to_owned(), first.vault.to_string().into()),
            ]),
            address: None,
            at: now,
        });
    }
    tx.commit().await?;
    Ok(more)
}
