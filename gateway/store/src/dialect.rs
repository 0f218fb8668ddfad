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
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Write-ahead log, an fsync for each commit, no failure while another process holds the lock, and zeros over what is deleted.
const PRAGMAS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 10000; \
                       PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA secure_delete = ON;";

/// For lists in the order of bytes, which a database's own locale need not be. Of gateways that start together one makes it.
const INDEX: &str = "SELECT pg_advisory_xact_lock(4127391); \
                     CREATE INDEX IF NOT EXISTS secrets_in_order ON secrets (vault_id, path COLLATE \"C\");";

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

    /// Reads an enabled chain so that nobody changes it before the transaction ends, and others may do the same. On
    /// SQLite a writing transaction is alone anyway.
    pub fn hold_chain(self) -> &'static str {
        match self {
            Self::Sqlite => "SELECT id FROM chains WHERE chain_id = $1 AND is_enabled = 1",
            Self::Postgres => "SELECT id FROM chains WHERE chain_id = $1 AND is_enabled = 1 FOR SHARE",
        }
    }

    /// Makes the index that only PostgreSQL needs: SQLite compares bytes anyway.
    pub async fn index(self, connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
        if self == Self::Postgres {
            connection.execute(INDEX).await?;
        }
        Ok(())
    }

    /// Reads which key of a customer's is in force for a vault, so that nobody changes it before the transaction ends.
    pub fn hold_vault(self) -> &'static str {
        match self {
            Self::Sqlite => "SELECT cmek_fingerprint FROM vaults WHERE id = $1 AND deleted_at IS NULL",
            Self::Postgres => {
                "SELECT cmek_fingerprint FROM vaults WHERE id = $1 AND deleted_at IS NULL FOR SHARE"
            }
        }
    }

    /// A transaction that sees one moment, and writes nothing.
    pub fn begin_snapshot(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN",
            Self::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        }
    }

    /// A transaction into which nobody else writes.
    pub fn begin_alone(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE; PRAGMA defer_foreign_keys = ON",
            Self::Postgres => "BEGIN",
        }
    }

    /// Tables (t), their columns (c) and types (k), in order; not the list of migrations.
    pub fn list_columns(self) -> &'static str {
        match self {
            Self::Sqlite => {
                "SELECT m.name AS t, p.name AS c, p.type AS k FROM sqlite_master AS m, pragma_table_info(m.name) AS p \
                 WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND m.name <> '_sqlx_migrations' \
                 ORDER BY m.name, p.cid"
            }
            Self::Postgres => {
                "SELECT CAST(c.table_name AS TEXT) AS t, CAST(c.column_name AS TEXT) AS c, \
                 CAST(c.data_type AS TEXT) AS k FROM information_schema.columns AS c \
                 JOIN information_schema.tables AS t USING (table_schema, table_name) \
                 WHERE c.table_schema = CURRENT_SCHEMA() AND t.table_type = 'BASE TABLE' \
                 AND c.table_name <> '_sqlx_migrations' ORDER BY c.table_name, c.ordinal_position"
            }
        }
    }

    /// Tables (t), and the tables that they refer to (r).
    pub fn list_references(self) -> &'static str {
        match self {
            Self::Sqlite => {
                "SELECT m.name AS t, p.\"table\" AS r FROM sqlite_master AS m, pragma_foreign_key_list(m.name) AS p \
                 WHERE m.type = 'table'"
            }
            Self::Postgres => {
                "SELECT CAST(c.relname AS TEXT) AS t, CAST(r.relname AS TEXT) AS r FROM pg_constraint AS k \
                 JOIN pg_class AS c ON c.oid = k.conrelid JOIN pg_class AS r ON r.oid = k.confrelid \
                 JOIN pg_namespace AS n ON n.oid = k.connamespace \
                 WHERE k.contype = 'f' AND n.nspname = CURRENT_SCHEMA()"
            }
        }
    }

    /// One connection, ready for use.
    pub async fn connect(self, url: &str) -> Result<AnyConnection, sqlx::Error> {
        let mut connection = AnyConnection::connect(&self.address(url)).await?;
        self.prepare(&mut connection).await?;
        Ok(connection)
    }

    /// The first connection: a pool tries again and again, and knows in the end only that it took too long. One
    /// connection knows why.
    pub async fn try_connect(self, url: &str) -> Result<AnyConnection> {
        let connected = tokio::time::timeout(PATIENCE, self.connect(url)).await;
        connected.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(|error| self.closed(&error))
    }

    /// PostgreSQL's connections. A ping before each use costs a round trip, and a broken one is never handed out.
    pub async fn pool(self, url: &str) -> Result<AnyPool> {
        AnyPoolOptions::new()
            .max_connections(16)
            .acquire_timeout(PATIENCE)
            .connect(&self.address(url))
            .await
            .map_err(|error| self.closed(&error))
    }

    async fn prepare(self, connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
        if self == Self::Sqlite {
            connection.execute(PRAGMAS).await?;
        }
        Ok(())
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
