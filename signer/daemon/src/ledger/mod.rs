//! What the signer must never forget, in a store of its own: the newest version of each record, ended tokens,
//! ended organisations and stopped agents, vaults' keys and which are destroyed, what a later root has wrapped anew, what was spent, which nonces, codes and
//! invitations were used. Whoever writes to the gateway's database, or rolls it
//! back, can't reach it.
//!
//! One file, one writer thread: it answers a request only when the change is on the disk, and puts all requests
//! that wait into one commit.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use domain::{Clock, Time, TokenId};
use redb::backends::FileBackend;
use redb::{Database, DatabaseError, ReadableDatabase as _, StorageBackend};
use signer_protocol::{Reason, Refusal};
use tokio::sync::{mpsc, oneshot};

use crate::refuse::{Result, unavailable};

mod approvals;
mod copy;
mod factors;
#[cfg(test)]
mod failing;
mod heads;
mod organisations;
mod passkeys;
mod people;
mod records;
mod roots;
mod shares;
mod spending;
mod tables;
mod vaults;
mod window;
mod writer;

pub use approvals::{Decision, Yes};
pub use copy::{Given, Moment, NEWEST, OldLedger, Written, write_copy};
pub use factors::{Factor, Guessed, wrong_code};
pub use heads::Head;
pub use organisations::{over, stopped};
pub use people::Taken;
pub use records::Seen;
pub use roots::{Again, SETTLED};
pub use spending::{Hold, RecordMark, Signing, StoredSignature, expired};
pub use tables::rank;
use tables::{FORMAT, META, REVOKED};
pub use vaults::{KeyMark, gone};
use writer::{Book, Job, Stop};

/// The file's name in the data folder.
pub const FILE: &str = "ledger.redb";

/// Changes that may wait for the writer.
const QUEUE: usize = 4096;

const CACHE_BYTES: usize = 64 << 20;

/// Why the ledger can't be opened: one sentence, for whoever started the signer.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the ledger {0} is in use: another signer runs on this data folder")]
    InUse(String),
    #[error("the ledger {file} is of format {found}, newer than this signer knows: run the newer version")]
    Newer { file: String, found: u64 },
    #[error("the ledger {file} can't be opened ({cause}): restore it from the newest backup")]
    Damaged { file: String, cause: String },
}

/// The open ledger.
pub struct Ledger {
    db: Arc<Database>,
    jobs: Option<mpsc::Sender<Job>>,
    writer: Option<std::thread::JoinHandle<()>>,
    journal: Arc<Journal>,
}

/// What the writer has to tell about itself.
#[derive(Default)]
struct Journal {
    commits: AtomicU64,
    /// The last commit failed: most likely, so will the next.
    failing: AtomicBool,
}

impl Ledger {
    /// Opens the ledger, making an empty one where there is none.
    ///
    /// # Errors
    /// When another signer has it open, when it is of a newer format, or damaged.
    pub fn open(file: &Path, clock: Clock) -> Result<Self, OpenError> {
        let name = file.display().to_string();
        let damaged = |cause: String| OpenError::Damaged { file: name.clone(), cause };
        let backend = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(file)
            .map_err(|error| damaged(error.to_string()))?;
        let backend = FileBackend::new(backend).map_err(|error| unopened(error, &name))?;
        Self::over(backend, &name, clock)
    }

    /// On any storage: tests have one that fails.
    fn over(storage: impl StorageBackend, name: &str, clock: Clock) -> Result<Self, OpenError> {
        let damaged = |cause: String| OpenError::Damaged { file: name.to_owned(), cause };
        let db = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(storage)
            .map_err(|error| unopened(error, name))?;
        if let Some(found) = tables::create(&db, clock.now()).map_err(|error| damaged(error.to_string()))?
            && found > FORMAT
        {
            return Err(OpenError::Newer { file: name.to_owned(), found });
        }
        let db = Arc::new(db);
        let journal = Arc::new(Journal::default());
        let (jobs, queue) = mpsc::channel(QUEUE);
        let window = window::Window::load(&db).map_err(|error| damaged(error.to_string()))?;
        let writer = writer::start(db.clone(), queue, window, clock, journal.clone())
            .map_err(|error| damaged(error.to_string()))?;
        Ok(Self { db, jobs: Some(jobs), writer: Some(writer), journal })
    }

    /// How often the ledger was forced to the disk.
    pub fn commits(&self) -> u64 {
        self.journal.commits.load(Ordering::Relaxed)
    }

    /// Whether the ledger can be read and written.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn health(&self) -> Result<()> {
        let ended = self.jobs.as_ref().is_none_or(mpsc::Sender::is_closed);
        if ended || self.journal.failing.load(Ordering::Relaxed) {
            return Err(no_ledger());
        }
        self.read(|tx| Ok(tx.open_table(META)?.get("format")?.map(|_| ()))).map(|_| ())
    }

    /// Whether a token was ended before its time.
    pub fn revoked(&self, token: TokenId) -> Result<bool> {
        self.read(|tx| Ok(tx.open_table(REVOKED)?.get(token.as_bytes())?.is_some()))
    }

    /// Remembers an ended token until it would have expired.
    pub async fn revoke(&self, token: TokenId, expires_at: Time) -> Result<()> {
        self.write(move |book| {
            book.change(REVOKED)?.insert(token.as_bytes(), expires_at.millis())?;
            Ok(())
        })
        .await
    }

    /// Reads what is on the disk: never what still waits for a commit.
    fn read<T>(&self, look: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error>) -> Result<T> {
        self.db
            .begin_read()
            .map_err(redb::Error::from)
            .and_then(|tx| look(&tx))
            .map_err(|error| broken(&error))
    }

    /// Has the writer do `change`, and answers once it is on the disk. A change that refuses must have written
    /// nothing.
    async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Book<'_>) -> Result<T, Stop> + Send + 'static,
    ) -> Result<T> {
        let (tell, answer) = oneshot::channel();
        let job: Job = Box::new(move |book| {
            let outcome = change(book).map_err(|stop| book.stopped(stop));
            // An asker who has gone away needs no answer: what it asked for is done all the same.
            Box::new(move |durable| {
                let _ = tell.send(if durable { outcome } else { Err(no_ledger()) });
            })
        });
        let jobs = self.jobs.as_ref().ok_or_else(no_ledger)?;
        jobs.send(job).await.map_err(|_| no_ledger())?;
        answer.await.map_err(|_| no_ledger())?
    }
}

impl Drop for Ledger {
    /// Lets the writer finish what it has, and gives the file free.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

fn unopened(error: DatabaseError, name: &str) -> OpenError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::InUse(name.to_owned()),
        error => OpenError::Damaged { file: name.to_owned(), cause: error.to_string() },
    }
}

fn rolled_back() -> Refusal {
    Refusal::new(Reason::RolledBack, "The record is older than one that the signer has seen.")
}

fn no_ledger() -> Refusal {
    unavailable("The signer's ledger is not available.")
}

fn broken(error: &redb::Error) -> Refusal {
    tracing::error!(%error, "the ledger failed");
    no_ledger()
}
