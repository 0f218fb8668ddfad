//! An empty database, filled from a backup in one transaction: all of it is there afterwards, or nothing.

use domain::{Error, Result, Time};
use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, AssertSqlSafe, Executor as _};

use crate::backup::{Cell, Table, quoted, tables};
use crate::dialect::Dialect;
use crate::row::Columns as _;
use crate::{MIGRATIONS, failed, refused};

/// Rows of one statement.
const ROWS: usize = 50;

/// The one table into which migrations put a row. A backup brings its own.
const SEEDED: &str = "event_head";
const UNSEED: &str = "DELETE FROM event_head WHERE sequence = 0";
/// What was accepted and not signed when the backup was made may have gone out since, at another nonce than it would
/// get now: it is never sent again.
const NOT_SENT: &str = "UPDATE transactions SET status = 'failed', nonce = NULL, updated_at = $1, error_message = \
                        'Restored from a backup; it is not known whether this was sent since. If not, submit it again.' \
                        WHERE status IN ('pending', 'awaiting_approval')";
/// Its nonces are free again, but for those at which something was signed.
const FREE: &str = "INSERT INTO free_nonces (chain_id, address, nonce) \
                    SELECT DISTINCT chain_id, from_address, nonce FROM transactions AS t \
                    WHERE status = 'pending' AND nonce IS NOT NULL AND NOT EXISTS (SELECT 1 FROM transactions AS o \
                    WHERE o.chain_id = t.chain_id AND o.from_address = t.from_address AND o.nonce = t.nonce \
                    AND o.signed_tx IS NOT NULL) ON CONFLICT DO NOTHING";

/// A restore that has begun. Dropped without [`Restoring::commit`], the database stays empty.
pub struct Restoring {
    connection: AnyConnection,
    tables: Vec<Table>,
    rows: u64,
}

impl Restoring {
    /// Makes the schema as it was when the backup was made.
    ///
    /// # Errors
    /// `Conflict` if there is anything in the database, `Unavailable` if the backup is of a newer version.
    pub async fn begin(url: &str, schema: i64) -> Result<Self> {
        sqlx::any::install_default_drivers();
        if !MIGRATIONS.version_exists(schema) {
            return Err(Error::unavailable(
                "A newer version of Talon wrote the backup: restore it with that version.",
            ));
        }
        let dialect = Dialect::of(url)?;
        let mut connection = dialect.try_connect(url).await?;
        MIGRATIONS.run_to(schema, &mut connection).await.map_err(refused)?;
        let tables = tables(&mut connection, dialect).await?;
        connection.execute(dialect.begin_alone()).await.map_err(failed)?;
        if dialect == Dialect::Postgres {
            let names: Vec<String> = tables.iter().map(|table| quoted(&table.name)).collect();
            let lock = format!("LOCK TABLE {} IN EXCLUSIVE MODE", names.join(", "));
            connection.execute(AssertSqlSafe(lock)).await.map_err(failed)?;
        }
        if tables.iter().any(|table| table.name == SEEDED) {
            connection.execute(UNSEED).await.map_err(failed)?;
        }
        let mut any = Vec::with_capacity(tables.len());
        for table in &tables {
            any.push(format!("EXISTS (SELECT 1 FROM {})", quoted(&table.name)));
        }
        let empty = format!("SELECT CASE WHEN {} THEN 1 ELSE 0 END AS filled", any.join(" OR "));
        let found = sqlx::query(AssertSqlSafe(empty)).fetch_one(&mut connection).await.map_err(failed)?;
        if found.flag("filled")? {
            return Err(Error::conflict("The database is not empty: restore into a new one."));
        }
        Ok(Self { connection, tables, rows: 0 })
    }

    /// Puts rows into a table.
    ///
    /// # Errors
    /// `Unavailable` if the backup and the schema don't fit, or the database fails.
    pub async fn insert(&mut self, table: &Table, rows: &[Vec<Cell>]) -> Result<()> {
        let known = self.tables.iter().find(|known| *known == table).ok_or_else(|| {
            Error::unavailable(format!("The backup's table {} is not one of this version's.", table.name))
        })?;
        for some in rows.chunks(ROWS) {
            let mut query = sqlx::query(AssertSqlSafe(statement(known, some.len())));
            for cell in some.iter().flatten() {
                query = bound(query, cell);
            }
            query.execute(&mut self.connection).await.map_err(failed)?;
        }
        self.rows += u64::try_from(rows.len()).unwrap_or_default();
        Ok(())
    }

    /// How many rows were put in.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Ends it. What was not signed when the backup was made is not sent any more.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn commit(mut self, now: Time) -> Result<()> {
        sqlx::query(FREE).execute(&mut self.connection).await.map_err(failed)?;
        sqlx::query(NOT_SENT).bind(now.millis()).execute(&mut self.connection).await.map_err(failed)?;
        self.connection.execute("COMMIT").await.map(drop).map_err(failed)
    }
}

fn statement(table: &Table, rows: usize) -> String {
    let names: Vec<String> = table.columns.iter().map(|(name, _)| quoted(name)).collect();
    let width = table.columns.len();
    let row = |at: usize| {
        let places: Vec<String> = (1..=width).map(|column| format!("${}", at * width + column)).collect();
        format!("({})", places.join(", "))
    };
    let values: Vec<String> = (0..rows).map(row).collect();
    format!("INSERT INTO {} ({}) VALUES {}", quoted(&table.name), names.join(", "), values.join(", "))
}

type Statement<'q> = Query<'q, Any, AnyArguments>;

fn bound<'q>(query: Statement<'q>, cell: &Cell) -> Statement<'q> {
    match cell {
        Cell::Text(text) => query.bind(text.clone()),
        Cell::Number(number) => query.bind(*number),
        Cell::Bytes(bytes) => query.bind(bytes.clone()),
    }
}
