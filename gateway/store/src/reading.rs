//! Connections to read with.
//!
//! PostgreSQL's come from a pool that looks whether one still lives before it is used, and after. In SQLite's case that would
//! double the work of a read for nothing: its connections don't break, so there they are simply taken and put back.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use domain::{Error, Result};
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, AnyPool};
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use crate::dialect::{Dialect, PATIENCE};
use crate::failed;

/// Readers of SQLite at once; each has a thread of its own.
const READERS: usize = 4;

#[derive(Clone)]
pub enum Readers {
    Own(Own),
    Pool(AnyPool),
}

/// As many connections as permits.
#[derive(Clone)]
pub struct Own {
    connections: Arc<[Arc<Mutex<AnyConnection>>]>,
    free: Arc<Semaphore>,
}

/// A connection, until it is dropped.
pub enum Reader {
    // Put back before its permit is.
    Own { connection: OwnedMutexGuard<AnyConnection>, _permit: OwnedSemaphorePermit },
    Pool(PoolConnection<Any>),
}

impl Readers {
    /// # Errors
    /// `Unavailable`: not reachable.
    pub async fn open(dialect: Dialect, url: &str) -> Result<Self> {
        if dialect == Dialect::Postgres {
            return Ok(Self::Pool(dialect.pool(url).await?));
        }
        let mut connections = Vec::with_capacity(READERS);
        for _ in 0..READERS {
            connections.push(Arc::new(Mutex::new(dialect.try_connect(url).await?)));
        }
        Ok(Self::Own(Own { connections: connections.into(), free: Arc::new(Semaphore::new(READERS)) }))
    }

    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Own(_) => Dialect::Sqlite,
            Self::Pool(_) => Dialect::Postgres,
        }
    }

    /// Waits for a connection.
    ///
    /// # Errors
    /// `Unavailable` if none is free in time.
    pub async fn one(&self) -> Result<Reader> {
        match self {
            Self::Own(own) => own.one().await,
            Self::Pool(pool) => Ok(Reader::Pool(pool.acquire().await.map_err(failed)?)),
        }
    }
}

impl Own {
    async fn one(&self) -> Result<Reader> {
        let busy = || Error::unavailable("The database is too busy; try again in a moment.");
        let permit = tokio::time::timeout(PATIENCE, self.free.clone().acquire_owned()).await;
        let permit = permit.map_err(|_| busy())?.map_err(Error::internal)?;
        let free = self.connections.iter().find_map(|connection| connection.clone().try_lock_owned().ok());
        Ok(Reader::Own { connection: free.ok_or_else(busy)?, _permit: permit })
    }
}

impl Deref for Reader {
    type Target = AnyConnection;
    fn deref(&self) -> &AnyConnection {
        match self {
            Self::Own { connection, .. } => connection,
            Self::Pool(connection) => connection,
        }
    }
}

impl DerefMut for Reader {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        match self {
            Self::Own { connection, .. } => connection,
            Self::Pool(connection) => connection,
        }
    }
}
