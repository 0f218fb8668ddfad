//! Reads of values: counted and audited before the value leaves, many in one commit.
//!
//! A value may be read thousands of times a second, and each read must be on disk before it is answered. One task
//! gathers the reads that wait and commits them together, so that the cost of an fsync is shared by all of them.

use domain::audit::Event;
use domain::{ApprovalId, Error, Result, SecretId};
use tokio::sync::{mpsc, oneshot};

use crate::failed;
use crate::tx::Writer;

/// Reads that one commit may hold.
const BATCH: usize = 512;
/// Reads that may wait; more wait for a place.
const QUEUE: usize = 4096;

/// One version's count rises by one, unless it is used up.
const COUNT: &str = "UPDATE secret_versions SET access_count = access_count + 1 \
                     WHERE secret_id = $1 AND version = $2 AND deleted_at IS NULL AND disabled_at IS NULL \
                     AND access_count < max_access_count";

/// An approval lets a read through: once, or as often as it is used within its time. The time is the event's.
const USE: &str = "UPDATE approvals SET uses = uses + 1, \
                   runs_out_at = CASE WHEN good_once = 1 THEN NULL ELSE runs_out_at END WHERE id = $1 AND org_id = $2 \
                   AND status = 'approved' AND expires_at > $3 AND (good_once = 0 OR uses = 0)";
/// The version's own count refused the read after all.
const GIVE_BACK: &str = "UPDATE approvals SET uses = uses - 1, runs_out_at = expires_at WHERE id = $1";

/// A read of a value that is about to happen.
pub struct Read {
    pub event: Event,
    /// The version whose reads are limited, if they are.
    pub limited: Option<(SecretId, u64)>,
    /// The approval that lets it through, if it takes one.
    pub approval: Option<ApprovalId>,
}

struct Waiting {
    read: Read,
    answer: oneshot::Sender<Result<bool>>,
}

#[derive(Clone)]
pub struct Journal {
    queue: mpsc::Sender<Waiting>,
}

impl Journal {
    pub(crate) fn start(writer: Writer) -> Self {
        let (queue, mut waiting) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            let mut batch = Vec::with_capacity(BATCH);
            while waiting.recv_many(&mut batch, BATCH).await > 0 {
                write(&writer, std::mem::take(&mut batch)).await;
            }
        });
        Self { queue }
    }

    /// Counts and records a read; durable when it answers.
    ///
    /// Answers `false`, with nothing recorded, when the version's reads are used up, or the approval is.
    ///
    /// # Errors
    /// Whatever keeps it from being recorded. The value must not leave then.
    pub async fn record(&self, read: Read) -> Result<bool> {
        let closed = |_| Error::unavailable("The gateway is shutting down; try again in a moment.");
        let (answer, answered) = oneshot::channel();
        self.queue.send(Waiting { read, answer }).await.map_err(|_| closed(()))?;
        answered.await.map_err(|_| closed(()))?
    }
}

async fn write(writer: &Writer, batch: Vec<Waiting>) {
    let (reads, answers): (Vec<_>, Vec<_>) = batch.into_iter().map(|w| (w.read, w.answer)).unzip();
    match commit(writer, reads).await {
        Ok(counted) => answers.into_iter().zip(counted).for_each(|(answer, counted)| {
            let _gone = answer.send(Ok(counted));
        }),
        Err(error) => {
            tracing::error!(%error, reads = answers.len(), "reads could not be recorded; their values are not given out");
            for answer in answers {
                let _gone = answer.send(Err(error.clone()));
            }
        }
    }
}

async fn commit(writer: &Writer, reads: Vec<Read>) -> Result<Vec<bool>> {
    let mut tx = writer.begin().await?;
    let mut counted = vec![true; reads.len()];
    // Each kind of row in one order, approvals first, so that two gateways never wait for each other's rows in a circle.
    let mut approved: Vec<_> =
        reads.iter().enumerate().filter_map(|(at, read)| Some((read.approval?, at))).collect();
    approved.sort();
    for (approval, at) in approved {
        let Event { org, at: now, .. } = &reads[at].event;
        let used = sqlx::query(USE).bind(approval.to_string()).bind(org.to_string()).bind(now.millis());
        counted[at] = used.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1;
    }
    let mut limited: Vec<_> =
        reads.iter().enumerate().filter_map(|(at, read)| Some((read.limited?, at))).collect();
    limited.retain(|(_, at)| counted[*at]);
    limited.sort();
    for ((secret, version), at) in limited {
        let version = i64::try_from(version).map_err(Error::internal)?;
        let count = sqlx::query(COUNT).bind(secret.to_string()).bind(version);
        counted[at] = count.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1;
        if let (false, Some(approval)) = (counted[at], reads[at].approval) {
            let back = sqlx::query(GIVE_BACK).bind(approval.to_string());
            back.execute(tx.connection()).await.map_err(failed)?;
        }
    }
    for (read, _) in reads.into_iter().zip(&counted).filter(|(_, counted)| **counted) {
        tx.record(read.event);
    }
    tx.commit().await?;
    Ok(counted)
}
