//! What really differs between SQLite and PostgreSQL.

use std::time::Duration;

use domain::{Error, Result};
use sqlx::any::AnyPoolOptions;
use sqlx::{AnyConnection, AnyPool, Connection as _, Executor as _};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    Sqlite,
    Postgres,
}

/// A writer waits this long for the database before it gives up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Write-ahead log, an fsync for each commit, and no failure while another process holds the lock.
const PRAGMAS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 10000; \
                       PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;";

impl Dialect {
    pub fn of(url: &str) -> Result<Self> {
        if url.starts_with("sqlite:") {
            Ok(Self::Sqlite)
        } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            Ok(Self::Postgres)
        } else {
            Err(Error::unavailable("The database's address must start with sqlite:// or postgres://."))
        }
    }

    /// Takes the write lock at once on SQLite, so that a transaction which has read never fails to write.
    pub fn begin(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN",
        }
    }

    /// Reads an enabled chain so that nobody changes it before the transaction ends, and others may do the same. On
    /// SQLite a writing transaction is alone anyway.
    pub fn hold_chain(self) -> &'static str {
        match self {
            Self::Sqlite => "SELECT id FROM chains WHERE chain_id = $1 AND is_enabled = 1",
            Self::Postgres => "SELECT id FROM chains WHERE chain_id = $1 AND is_enabled = 1 FOR SHARE",
        }
    }

    pub async fn writers(self, url: &str) -> Result<AnyPool> {
        let connections = match self {
            Self::Sqlite => 1,
            Self::Postgres => 16,
        };
        self.try_once(url).await.map_err(|error| self.closed(&error))?;
        self.pool(url, connections).await
    }

    /// A pool tries again and again, and knows in the end only that it took too long. One connection knows why.
    async fn try_once(self, url: &str) -> Result<(), sqlx::Error> {
        let connect = AnyConnection::connect(&self.address(url));
        let mut connection =
            tokio::time::timeout(PATIENCE, connect).await.map_err(|_| sqlx::Error::PoolTimedOut)??;
        if self == Self::Sqlite {
            connection.execute(PRAGMAS).await?;
        }
        connection.close().await
    }

    pub async fn readers(self, url: &str) -> Result<AnyPool> {
        let connections = match self {
            Self::Sqlite => 4,
            Self::Postgres => 16,
        };
        self.pool(url, connections).await
    }

    async fn pool(self, url: &str, connections: u32) -> Result<AnyPool> {
        AnyPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(PATIENCE)
            // A ping before each use would cost a round trip; a broken connection shows itself.
            .test_before_acquire(self == Self::Postgres)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if self == Self::Sqlite {
                        connection.execute(PRAGMAS).await?;
                    }
                    Ok(())
                })
            })
            .connect(&self.address(url))
            .await
            .map_err(|error| self.closed(&error))
    }

    /// SQLite's file is made if it is not there.
    fn address(self, url: &str) -> String {
        match self {
            Self::Sqlite if !url.contains('?') => format!("{url}?mode=rwc"),
            _ => url.to_owned(),
        }
    }

    fn closed(self, error: &sqlx::Error) -> Error {
        let reason = reason(error);
        match self {
            Self::Sqlite => Error::unavailable(format!("The database file can't be opened: {reason}.")),
            Self::Postgres => Error::unavailable(format!("PostgreSQL can't be reached: {reason}.")),
        }
    }
}

/// What went wrong, without the address, which may hold a password.
fn reason(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(database) => database.message().to_owned(),
        sqlx::Error::Io(io) => io.to_string(),
        sqlx::Error::PoolTimedOut => "no connection in time".to_owned(),
        sqlx::Error::Configuration(_) => "the address is not understood".to_owned(),
        other => other.to_string(),
    }
}
