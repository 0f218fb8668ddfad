//! Has the signer sign where the audit chains stand, each once in an interval while it grows.

use std::sync::Arc;

use domain::{Error, OrgId, Result};
use signer_protocol::audit::{Heads, SignHead, SignedHead};
use signer_protocol::{Reason, Refusal};
use store::audit::trail;
use store::checkpoints;

use crate::gateway::Gateway;
use crate::refusal;

/// Tries, where others take checkpoints of the same chain at the same time.
const TRIES: usize = 5;

pub async fn keep(gateway: Arc<Gateway>) {
    let mut stopping = gateway.stopping();
    while !*stopping.borrow() {
        if let Err(error) = round(&gateway).await {
            tracing::warn!(%error, "checkpoints of the audit trails could not be taken; it is tried again");
        }
        tokio::select! {
            _ = stopping.changed() => {}
            () = tokio::time::sleep(gateway.settings.checkpoint_interval) => {}
        }
    }
}

async fn round(gateway: &Gateway) -> Result<()> {
    let mut after = String::new();
    loop {
        let moved = checkpoints::moved(&gateway.store, &after).await?;
        let Some(last) = moved.last() else { return Ok(()) };
        after = last.to_string();
        for org in moved {
            match take(gateway, org).await {
                // Was logged, and is in no other chain's way.
                Err(error) if error.kind() == domain::Kind::Conflict => {}
                taken => drop(taken?),
            }
        }
    }
}

/// What the signer has signed last of the chain. The database has a list of checkpoints, too; but whoever wrote the chain
/// anew would write that list anew as well.
pub async fn last(gateway: &Gateway, org: OrgId) -> Result<Heads> {
    gateway.signer.call(async |signer, c| signer.last_head(c, org).await).await.map_err(refusal::error)
}

/// Whether the chain still goes through what was signed of it.
///
/// # Errors
/// `Conflict`: it does not.
async fn goes_on(gateway: &Gateway, org: OrgId) -> Result<()> {
    let Some(last) = last(gateway, org).await?.last else { return Ok(()) };
    let sequence = i64::try_from(last.sequence).map_err(Error::internal)?;
    let there = trail::onwards(&gateway.store, org, sequence - 1, sequence, 1).await?.pop();
    if there.is_some_and(|line| line.integrity_hash == hex::encode(last.hash)) {
        return Ok(());
    }
    tracing::error!(%org, sequence, "an audit chain is not the one that was signed: its database was put back or changed");
    Err(Error::conflict(
        "The audit trail is not the one that the signer has signed: its database was put back or changed. An operator must \
         look into it; if a backup was put back, talon-signer forget-head lets the trail go on.",
    ))
}

/// Takes a checkpoint of where the chain stands now. `None`: it has no event.
///
/// # Errors
/// `Conflict`: the signer knows this chain to be another one, or longer.
pub async fn take(gateway: &Gateway, org: OrgId) -> Result<Option<SignedHead>> {
    goes_on(gateway, org).await?;
    sign(gateway, org).await
}

/// As [`take`], of a chain that was just seen to go through what was signed of it.
///
/// # Errors
/// As [`take`].
pub async fn sign(gateway: &Gateway, org: OrgId) -> Result<Option<SignedHead>> {
    let mut head = trail::head(&gateway.store, org).await?;
    for _ in 0..TRIES {
        if head.sequence == 0 {
            return Ok(None);
        }
        let sequence = u64::try_from(head.sequence).map_err(Error::internal)?;
        let request = SignHead { org, sequence, hash: head.hash };
        match gateway.signer.call(async |signer, c| signer.sign_head(c, request).await).await {
            Ok(signed) => {
                let mut tx = gateway.store.begin().await?;
                checkpoints::insert(&mut tx, &signed).await?;
                tx.commit().await?;
                return Ok(Some(signed));
            }
            Err(Refusal { reason: Reason::Conflict, detail }) => {
                let now = trail::head(&gateway.store, org).await?;
                if now.sequence <= head.sequence {
                    tracing::error!(%org, sequence, detail, "the signer refuses an audit chain: its database was put back or changed");
                    return Err(Error::conflict(detail));
                }
                // Somebody has taken a later one meanwhile.
                head = now;
            }
            Err(refused) => return Err(refusal::error(refused)),
        }
    }
    Err(Error::unavailable("The audit trail grows too fast for a checkpoint; try again in a moment."))
}
