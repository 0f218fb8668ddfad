//! SQLite has one writer. Its transactions take turns on one connection, and those that wait for each other share a
//! commit: an fsync costs far more than the statements before it.
//!
//! A transaction that is done goes to the end of the line, so that everyone who waits has a turn first and joins its
//! group; the first of the group who comes round again commits for all. Nobody is told "committed" before the disk
//! has it, and a group is kept or lost as a whole. Within a group each is a savepoint, so that one that gives up
//! takes back its own changes and no other's.

use std::sync::Arc;

use domain::{Error, Result};
use sqlx::AnyConnection;
use tokio::sync::{Mutex, OwnedMutexGuard, watch};

use crate::dialect::Dialect;
use crate::failed;

const BEGIN: &str = "BEGIN IMMEDIATE";
const COMMIT: &str = "COMMIT";
const ROLLBACK: &str = "ROLLBACK";
const JOIN: &str = "SAVEPOINT turn";
const DONE: &str = "RELEASE turn";
const UNDO: &str = "ROLLBACK TO turn";

/// The line for the one writing connection.
#[derive(Clone)]
pub struct Turns {
    // Fair: who asks first comes first.
    line: Arc<Mutex<Line>>,
}

struct Line {
    url: String,
    connection: AnyConnection,
    /// Who is in the transaction that is open.
    group: Option<Group>,
    /// The last turn ended without a commit, and its changes are still there.
    given_up: bool,
    /// A statement that opens or closes something failed, or was not seen to end: nobody knows where the connection
    /// stands.
    unsure: bool,
}

/// Those who share a commit, and what they wait for.
struct Group {
    outcome: watch::Sender<Outcome>,
    members: usize,
}

type Outcome = Option<Result<()>>;

/// A turn: the connection is ours until it ends. Dropped without [`Turn::commit`], nothing of it happened.
pub struct Turn {
    turns: Turns,
    line: OwnedMutexGuard<Line>,
    ended: bool,
}

impl Turns {
    /// Over a connection to the address, which is opened anew if it breaks.
    pub fn over(url: &str, connection: AnyConnection) -> Self {
        let line = Line { url: url.to_owned(), connection, group: None, given_up: false, unsure: false };
        Self { line: Arc::new(Mutex::new(line)) }
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// If the database can't be locked.
    pub async fn begin(&self) -> Result<Turn> {
        let mut line = self.line.clone().lock_owned().await;
        line.join().await?;
        Ok(Turn { turns: self.clone(), line, ended: false })
    }

    /// Goes to the end of the line, and does there what is left to do. A task of its own: it is done even if nobody
    /// waits for it.
    fn at_the_end(&self, commit: Option<watch::Receiver<Outcome>>) {
        let line = self.line.clone();
        // Without a runtime the process is ending, and the connection's end takes back what is open.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { line.lock().await.finish(commit.as_ref()).await });
        }
    }
}

impl Line {
    /// Opens a transaction, or joins the one that is open.
    async fn join(&mut self) -> Result<()> {
        self.settle().await?;
        if let Some(group) = &mut self.group {
            group.members += 1;
            return self.control(JOIN).await;
        }
        self.control(BEGIN).await?;
        self.group = Some(Group { outcome: watch::Sender::new(None), members: 1 });
        Ok(())
    }

    /// Commits for the whole group `commit`, unless another member has.
    async fn finish(&mut self, commit: Option<&watch::Receiver<Outcome>>) {
        let settled = self.settle().await;
        let of = |group: &Group| commit.is_some_and(|commit| group.outcome.subscribe().same_channel(commit));
        if settled.is_ok() && self.group.as_ref().is_some_and(of) && self.control(COMMIT).await.is_ok() {
            self.tell(Ok(()));
        }
    }

    /// What the last turn left behind.
    async fn settle(&mut self) -> Result<()> {
        if self.unsure {
            // SQLite takes back what a connection that ends has not committed.
            self.tell(Err(not_written()));
            self.connection = Dialect::Sqlite.connect(&self.url).await.map_err(failed)?;
            (self.unsure, self.given_up) = (false, false);
        }
        if !self.given_up {
            return Ok(());
        }
        match &mut self.group {
            Some(group) if group.members > 1 => {
                group.members -= 1;
                self.control(UNDO).await?;
                self.control(DONE).await?;
            }
            // Alone, it is the transaction.
            _ => {
                self.control(ROLLBACK).await?;
                self.group = None;
            }
        }
        self.given_up = false;
        Ok(())
    }

    /// Opens or closes something. Where that fails, the group has failed.
    async fn control(&mut self, statement: &'static str) -> Result<()> {
        self.unsure = true;
        let done = sqlx::query(statement).execute(&mut self.connection).await;
        match &done {
            Ok(_) => self.unsure = false,
            Err(error) => {
                tracing::error!(%error, statement, "the database could not be written to");
                self.tell(Err(not_written().because(error)));
            }
        }
        done.map(drop).map_err(failed)
    }

    /// Ends the group.
    fn tell(&mut self, outcome: Result<()>) {
        if let Some(group) = self.group.take() {
            group.outcome.send_replace(Some(outcome));
        }
    }
}

impl Turn {
    pub fn connection(&mut self) -> &mut AnyConnection {
        &mut self.line.connection
    }

    /// Ends the turn; answers once the group is on the disk.
    ///
    /// # Errors
    /// If it was not written: then nothing of the group was.
    pub async fn commit(mut self) -> Result<()> {
        self.ended = true;
        let group = self.line.group.as_ref().ok_or_else(not_written)?;
        let mut outcome = group.outcome.subscribe();
        if group.members > 1 {
            self.line.control(DONE).await?;
        }
        let turns = self.turns.clone();
        drop(self);
        // Free at once: nobody waits, so there is nobody to wait for.
        match turns.line.try_lock() {
            Ok(mut line) => line.finish(Some(&outcome)).await,
            Err(_) => turns.at_the_end(Some(outcome.clone())),
        }
        let known = outcome.wait_for(Option::is_some).await.map_err(|_| not_written())?;
        known.clone().unwrap_or_else(|| Err(not_written()))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.ended {
            self.line.given_up = true;
            self.turns.at_the_end(None);
        }
    }
}

fn not_written() -> Error {
    Error::unavailable("The database could not be written to; try again in a moment.")
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;
    use sqlx::{Executor as _, Row as _};

    use super::*;

    async fn table() -> (tempfile::TempDir, Turns, AnyConnection) {
        sqlx::any::install_default_drivers();
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("t.db").display());
        let mut other = Dialect::Sqlite.connect(&url).await.unwrap();
        other.execute("CREATE TABLE t (n BIGINT NOT NULL UNIQUE)").await.unwrap();
        let ours = Dialect::Sqlite.connect(&url).await.unwrap();
        (folder, Turns::over(&url, ours), other)
    }

    async fn insert(turn: &mut Turn, n: i64) -> Result<(), sqlx::Error> {
        let insert = sqlx::query("INSERT INTO t (n) VALUES ($1)").bind(n);
        insert.execute(turn.connection()).await.map(drop)
    }

    async fn all(other: &mut AnyConnection) -> Vec<i64> {
        let rows = other.fetch_all("SELECT n FROM t ORDER BY n").await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn who_commits_is_kept_and_who_does_not_is_not() {
        let (_folder, turns, mut other) = table().await;
        let work = (0..200).map(|n| {
            let turns = turns.clone();
            tokio::spawn(async move {
                let mut turn = turns.begin().await.unwrap();
                insert(&mut turn, n).await.unwrap();
                match n % 4 {
                    // Given up, in the first place or the middle of a group.
                    0 => drop(turn),
                    // A statement that fails takes nothing else along.
                    1 => {
                        insert(&mut turn, n).await.unwrap_err();
                        turn.commit().await.unwrap();
                    }
                    _ => turn.commit().await.unwrap(),
                }
            })
        });
        for done in join_all(work).await {
            done.unwrap();
        }
        let kept: Vec<i64> = (0..200).filter(|n| n % 4 != 0).collect();
        assert_eq!(all(&mut other).await, kept);
    }

    #[tokio::test]
    async fn those_who_wait_share_a_commit_and_nobody_is_told_before_it() {
        let (_folder, turns, mut other) = table().await;
        let mut first = turns.begin().await.unwrap();
        insert(&mut first, 1).await.unwrap();
        let second = tokio::spawn({
            let turns = turns.clone();
            async move {
                let mut turn = turns.begin().await.unwrap();
                insert(&mut turn, 2).await.unwrap();
                turn
            }
        });
        tokio::task::yield_now().await;
        let first = tokio::spawn(first.commit());
        let second = second.await.unwrap();
        // The second has its turn, so the first is not through, and nothing of either is to be seen.
        assert!(!first.is_finished());
        assert_eq!(all(&mut other).await, Vec::<i64>::new());
        second.commit().await.unwrap();
        first.await.unwrap().unwrap();
        assert_eq!(all(&mut other).await, [1, 2]);
    }

    #[tokio::test]
    async fn a_broken_connection_fails_the_whole_group_and_the_next_one_works() {
        let (_folder, turns, mut other) = table().await;
        let mut first = turns.begin().await.unwrap();
        insert(&mut first, 1).await.unwrap();
        let second = tokio::spawn({
            let turns = turns.clone();
            async move { turns.begin().await.unwrap() }
        });
        tokio::task::yield_now().await;
        let first = tokio::spawn(first.commit());
        let mut second = second.await.unwrap();
        // As SQLite does by itself when the disk is full.
        second.connection().execute("ROLLBACK").await.unwrap();
        drop(second);
        first.await.unwrap().unwrap_err();
        let mut third = turns.begin().await.unwrap();
        insert(&mut third, 3).await.unwrap();
        third.commit().await.unwrap();
        assert_eq!(all(&mut other).await, [3]);
    }

    #[tokio::test]
    async fn a_commit_that_nobody_waits_for_is_made_all_the_same() {
        let (_folder, turns, mut other) = table().await;
        let mut turn = turns.begin().await.unwrap();
        insert(&mut turn, 1).await.unwrap();
        let mut commit = Box::pin(turn.commit());
        assert!(futures::poll!(commit.as_mut()).is_pending());
        drop(commit);
        let next = turns.begin().await.unwrap();
        next.commit().await.unwrap();
        assert_eq!(all(&mut other).await, [1]);
    }
}
