//! The writer: all requests that wait go into one transaction, and are answered when it is on the disk.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use domain::Clock;
use redb::{Database, Key, ReadableTable as _, Table, TableDefinition, Value, WriteTransaction};
use signer_protocol::Refusal;
use tokio::sync::mpsc;

use super::approvals::Said;
use super::spending::Held;
use super::tables::{
    APPROVALS, ENDED_SHARES, FLOORS, GRANTS, HOLDS, META, REVOKED, RecordKey, SEQUENCE, SPENT, spend_parts,
};
use super::window::Window;
use super::{Journal, broken, rolled_back};
use crate::refuse::Result;

/// Does a change, and gives back how to answer: `true` once it is durable.
pub type Job = Box<dyn FnOnce(&mut Book<'_>) -> Answer + Send>;
pub type Answer = Box<dyn FnOnce(bool) + Send>;

/// Changes in one commit, at most.
const BATCH: usize = 1024;

/// How often what has expired is removed, in milliseconds.
const PRUNE_EVERY: i64 = 60 * 60 * 1000;

/// The ledger as a change sees it: what was committed, and what earlier changes of the same commit have done.
pub struct Book<'tx> {
    tx: &'tx WriteTransaction,
    pub window: &'tx mut Window,
    /// Milliseconds; never earlier than in any change before.
    pub now: i64,
    changed: bool,
    broken: bool,
}

/// Why a change did not happen.
pub enum Stop {
    Refused(Refusal),
    /// The store failed: nothing of this commit counts.
    Broken(redb::Error),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<redb::TableError> for Stop {
    fn from(error: redb::TableError) -> Self {
        Self::Broken(error.into())
    }
}

impl From<redb::StorageError> for Stop {
    fn from(error: redb::StorageError) -> Self {
        Self::Broken(error.into())
    }
}

impl<'tx> Book<'tx> {
    /// A table to look into. Each table is open once at a time.
    pub fn table<K: Key + 'static, V: Value + 'static>(
        &self,
        table: TableDefinition<'static, K, V>,
    ) -> Result<Table<'tx, K, V>, redb::TableError> {
        self.tx.open_table(table)
    }

    /// A table to write to.
    pub fn change<K: Key + 'static, V: Value + 'static>(
        &mut self,
        table: TableDefinition<'static, K, V>,
    ) -> Result<Table<'tx, K, V>, redb::TableError> {
        self.changed = true;
        self.tx.open_table(table)
    }

    /// Takes a version as the newest. The same one again is fine; another record of the same version is not.
    pub fn raise(&mut self, key: &RecordKey, version: u64, digest: [u8; 32]) -> Result<(), Stop> {
        let floor = self.table(FLOORS)?.get(key)?.map(|floor| floor.value());
        match floor {
            Some(floor) if floor == (version, digest) => Ok(()),
            Some((newest, _)) if version <= newest => Err(rolled_back().into()),
            _ => {
                self.change(FLOORS)?.insert(key, (version, digest))?;
                Ok(())
            }
        }
    }

    pub fn stopped(&mut self, stop: Stop) -> Refusal {
        match stop {
            Stop::Refused(refusal) => refusal,
            Stop::Broken(error) => {
                self.broken = true;
                broken(&error)
            }
        }
    }

    /// Removes what has expired. Called with the time of the commit: nothing goes that a change in it may need.
    fn prune(&mut self) -> Result<(), redb::Error> {
        let now = self.now;
        // A day longer than the token can live: a clock that is set back revives none.
        self.change(REVOKED)?.retain(|_, expires_at| Window::counts(expires_at, now))?;
        self.change(GRANTS)?.retain(|_, expires_at| Window::counts(expires_at, now))?;
        self.change(ENDED_SHARES)?.retain(|_, expires_at| Window::counts(expires_at, now))?;
        self.change(SPENT)?.retain(|key, _| Window::counts(spend_parts(&key).1, now))?;
        self.change(HOLDS)?.retain(|_, held| Held::read(held).map_or(true, |held| now < held.expires_at))?;
        self.change(APPROVALS)?
            .retain(|_, said| Said::read(said).map_or(true, |said| Window::counts(said.expires_at, now)))?;
        Ok(())
    }
}

pub fn start(
    db: Arc<Database>,
    mut queue: mpsc::Receiver<Job>,
    mut window: Window,
    clock: Clock,
    journal: Arc<Journal>,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name("ledger".to_owned()).spawn(move || {
        let mut pruned = 0;
        while let Some(first) = queue.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH
                && let Ok(job) = queue.try_recv()
            {
                batch.push(job);
            }
            let now = window.now(clock.now().millis());
            let prune = now.saturating_sub(pruned) >= PRUNE_EVERY;
            if prune {
                pruned = now;
            }
            let mut answers = Vec::with_capacity(batch.len());
            let durable = match commit(&db, &mut window, now, prune, batch, &mut answers) {
                Ok(changed) => {
                    journal.commits.fetch_add(u64::from(changed), Ordering::Relaxed);
                    true
                }
                Err(error) => {
                    tracing::error!(%error, "the ledger could not be written");
                    // Memory is ahead of the disk: go back to what the disk says. If it says nothing, end here;
                    // every request is refused from then on.
                    match Window::load(&db) {
                        Ok(loaded) => window = loaded,
                        Err(error) => {
                            tracing::error!(%error, "the ledger can't be read back: restart the signer");
                            return;
                        }
                    }
                    false
                }
            };
            journal.failing.store(!durable, Ordering::Relaxed);
            for answer in answers {
                answer(durable);
            }
        }
    })
}

/// One change more: by this a copy is told from an older one.
fn count(tx: &WriteTransaction) -> Result<(), redb::Error> {
    let mut meta = tx.open_table(META)?;
    let sequence = meta.get(SEQUENCE)?.map_or(0, |found| found.value());
    meta.insert(SEQUENCE, sequence.saturating_add(1))?;
    Ok(())
}

/// Whether something was written.
fn commit(
    db: &Database,
    window: &mut Window,
    now: i64,
    prune: bool,
    batch: Vec<Job>,
    answers: &mut Vec<Answer>,
) -> Result<bool, redb::Error> {
    let tx = db.begin_write()?;
    let mut book = Book { tx: &tx, window, now, changed: false, broken: false };
    if prune {
        book.prune()?;
    }
    answers.extend(batch.into_iter().map(|job| job(&mut book)));
    let Book { changed, broken, .. } = book;
    if broken {
        tx.abort()?;
        return Err(redb::Error::PreviousIo);
    }
    if changed {
        count(&tx)?;
        tx.commit()?
    } else {
        tx.abort()?
    }
    Ok(changed)
}
