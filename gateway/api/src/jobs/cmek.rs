//! Changes a vault's values over to another key of a customer's. The keys are here, in memory, and nowhere else: should
//! this gateway die, whoever has them sends them again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::audit::Event;
use domain::{EventId, PrincipalId, Result};
use serde_json::Map;
use signer_protocol::cmek::{Rotate, RotationGrant};
use signer_protocol::sealing::{Label, VaultKey};
use signer_protocol::{Attested, Reason, Refusal};
use store::cmek::{self, Cursor, Job, Old};

use crate::gateway::Gateway;
use crate::ops::cmek::Keys;
use crate::refusal;

/// Versions of one step, and their bytes as sealed.
const BATCH: usize = 100;
const BYTES: u64 = 1 << 20;
/// A gateway that was not heard of for so long is dead.
pub const LEASE: Duration = Duration::from_secs(60);
/// How long a signer or a database that is away is waited for, and between two tries.
const PATIENCE: Duration = Duration::from_secs(40);
const PAUSE: Duration = Duration::from_millis(500);
/// Values that are named when a job ends with some that are not of the old key.
const NAMED: usize = 3;

const STOPPED: &str = "The gateway was stopped. Nothing is lost: send the keys again to resume.";

/// A job, and what it takes to do it.
pub struct Rotation {
    pub job: Job,
    /// Who sent the keys.
    pub by: PrincipalId,
    pub keys: Keys,
    pub grant: Attested<RotationGrant>,
    pub vault_key: Attested<VaultKey>,
}

/// What came of a step.
enum Step {
    /// So far.
    Done(Cursor),
    /// This version is not of the old key.
    Refused(Cursor, String),
    /// One of several isn't.
    Mixed,
    /// There is nothing left.
    End,
    /// Somebody else has the job.
    Lost,
}

impl Rotation {
    /// Does it in the background.
    pub fn start(self, gateway: &Arc<Gateway>) {
        let gateway = gateway.clone();
        tokio::spawn(async move {
            let Some(outcome) = self.all(&gateway).await else {
                tracing::info!(job = %self.job.id, "a CMEK rotation was taken over");
                return;
            };
            if let Err(error) = self.end(&gateway, outcome.err().as_deref()).await {
                tracing::warn!(job = %self.job.id, %error, "the end of a CMEK rotation could not be recorded");
            }
        });
    }

    /// Everything there is to do, or why it stopped. `None`: somebody else has the job.
    async fn all(&self, gateway: &Gateway) -> Option<Result<(), String>> {
        let (mut after, mut most) = (None, BATCH);
        let mut refused: Vec<String> = Vec::new();
        let mut trouble: Option<Instant> = None;
        while !*gateway.stopping().borrow() {
            match self.step(gateway, after, most).await {
                Ok(Step::End) => return Some(all_changed(&refused)),
                Ok(Step::Lost) => return None,
                Ok(Step::Done(last)) => (after, most) = (last, BATCH.min(most * 2)),
                Ok(Step::Refused(last, what)) => {
                    refused.push(what);
                    after = last;
                }
                Ok(Step::Mixed) => most = (most / 2).max(1),
                // Smaller steps take an HSM that is slow less time.
                Err(error) if passes(&error) && within_patience(&mut trouble) => {
                    most = (most / 2).max(1);
                    tracing::warn!(job = %self.job.id, %error, "a CMEK rotation waits");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                Err(error) => return Some(Err(format!("{} Then send the keys again.", error.detail()))),
            }
            trouble = None;
        }
        Some(Err(STOPPED.to_owned()))
    }

    /// Some versions, in one transaction.
    async fn step(&self, gateway: &Gateway, after: Cursor, most: usize) -> Result<Step> {
        let old = cmek::next(&gateway.store, &self.job, after, most, BYTES).await?;
        let Some(last) = old.last() else { return Ok(Step::End) };
        let (cursor, count) = (Some((last.secret, last.version)), old.len());
        let request = Rotate {
            grant: self.grant.clone(),
            vault_key: self.vault_key.clone(),
            old_key: self.keys.old.to_secret(),
            new_key: self.keys.new.to_secret(),
            values: old.iter().map(|value| (self.label(value), value.sealed.clone())).collect(),
        };
        let answer = gateway.signer.call(async |signer, cx| signer.rotate(cx, request).await).await;
        let changed = match answer {
            Ok(changed) => changed.values,
            Err(Refusal { reason: Reason::Invalid, .. }) if count > 1 => return Ok(Step::Mixed),
            Err(Refusal { reason: Reason::Invalid, .. }) => {
                return Ok(Step::Refused(cursor, format!("{} version {}", last.path, last.version)));
            }
            Err(refused) => return Err(refusal::error(refused)),
        };
        let lease = gateway.clock.now().plus(LEASE);
        let values: Vec<_> = old.into_iter().zip(changed).collect();
        let mut tx = gateway.store.begin().await?;
        if !cmek::change_over(&mut tx, &self.job, &values, lease).await? {
            return Ok(Step::Lost);
        }
        tx.commit().await?;
        Ok(Step::Done(cursor))
    }

    fn label(&self, value: &Old) -> Label {
        let Job { org, vault, .. } = self.job;
        Label { org, vault, path: value.path.clone(), version: value.version, kind: value.kind }
    }

    async fn end(&self, gateway: &Gateway, error: Option<&str>) -> Result<()> {
        let job = &self.job;
        let now = gateway.clock.now();
        let mut details = Map::from_iter([("job".to_owned(), job.id.to_string().into())]);
        if let Some(error) = error {
            details.insert("error".to_owned(), error.into());
        }
        let event = Event {
            id: EventId::new(),
            org: job.org,
            action: if error.is_none() { "cmek.rotated" } else { "cmek.rotation_failed" },
            actor: Some(self.by),
            resource: ("vault", job.vault.to_string()),
            details,
            address: None,
            at: now,
        };
        let mut tx = gateway.store.begin().await?;
        cmek::end(&mut tx, job, error, event, now).await?;
        tx.commit().await
    }
}

/// Whether the same may do better in a moment.
fn passes(error: &domain::Error) -> bool {
    error.kind() == domain::Kind::Unavailable
}

fn within_patience(trouble: &mut Option<Instant>) -> bool {
    trouble.get_or_insert_with(Instant::now).elapsed() < PATIENCE
}

fn all_changed(refused: &[String]) -> Result<(), String> {
    if refused.is_empty() {
        return Ok(());
    }
    let named = refused.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    let more = refused.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    Err(format!(
        "Not encrypted with the old key, though marked as if: {named}{more}. They stay as they are; everything else is \
         changed over."
    ))
}
