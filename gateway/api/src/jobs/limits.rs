//! Forgets counts that are over.

use std::sync::Arc;
use std::time::Duration;

use domain::Result;
use store::limits;

use crate::gateway::Gateway;

const EVERY: Duration = Duration::from_secs(10 * 60);

/// Sweeps until the gateway stops.
pub async fn sweep(gateway: Arc<Gateway>) {
    let mut stopping = gateway.stopping();
    loop {
        tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        if let Err(error) = once(&gateway).await {
            tracing::warn!(%error, "old counts could not be swept");
        }
    }
}

async fn once(gateway: &Gateway) -> Result<()> {
    let mut tx = gateway.store.begin().await?;
    limits::sweep(&mut tx, gateway.clock.now()).await?;
    tx.commit().await
}
