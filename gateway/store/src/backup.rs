//! The whole database, read at one moment for a backup.
//!
//! Generic over the tables: what there is to read is asked of the database itself, so that no migration can add a table that
//! backups forget. Names in these statements come from its own schema, never from a caller or a file.
//!
//! The moment is one at which no record of the signer's is being stored, so that the signer's ledger, copied before writers
//! go on, is never newer than what these tables hold (ADR 14).

use std::time::Duration;

use domain::{Error, Result};
use futures::TryStreamExt as _;
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Executor as _, Row as _};

use crate::dialect::Dialect;
use crate::failed;
use crate::row::Columns as _;

/// The types that our columns have on both databases (`migrations/README.md`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Type {
    Text,
    Number,
    Bytes,
}

/// A table: its name, and its columns in their order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Table {
    pub name: String,
    pub columns: Vec<(String, Type)>,
}

/// What a row holds in a column.
#[derive(Clone, PartialEq, Debug)]
pub enum Cell {
    Text(Option<String>),
    Number(Option<i64>),
    Bytes(Option<Vec<u8>>),
}

/// Tries to hold PostgreSQL's writers, each shorter than a deadlock takes to be noticed: no writer is ever the victim.
const TRIES: u32 = 100;
const HOLD: &str = "SET LOCAL lock_timeout = '200ms'";
const BETWEEN: Duration = Duration::from_millis(50);

/// Writers wait while this lives, and the moment is held fast.
pub struct Still {
    held: AnyConnection,
    snapshot: Snapshot,
}

/// The database as it was at that moment.
pub struct Snapshot {
    connection: AnyConnection,
    tables: Vec<Table>,
}

impl Still {
    /// Waits until no writer is at work on what the signer attests, and keeps them waiting.
    ///
    /// # Errors
    /// `Unavailable`: not reachable, or never still.
    pub async fn begin(url: &str) -> Result<Self> {
        sqlx::any::install_default_drivers();
        let dialect = Dialect::of(url)?;
        let mut held = dialect.try_connect(url).await?;
        let mut connection = dialect.try_connect(url).await?;
        let tables = tables(&mut connection, dialect).await?;
        hold(&mut held, dialect, &tables).await?;
        connection.execute(dialect.begin_snapshot()).await.map_err(failed)?;
        // The first statement that reads is the moment.
        version(&mut connection).await?;
        Ok(Self { held, snapshot: Snapshot { connection, tables } })
    }

    /// Lets writers go on.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn release(mut self) -> Result<Snapshot> {
        self.held.execute("ROLLBACK").await.map_err(failed)?;
        self.held.close().await.map_err(failed)?;
        Ok(self.snapshot)
    }
}

impl Snapshot {
    /// Parents before those that refer to them.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// The last migration.
    pub async fn version(&mut self) -> Result<i64> {
        version(&mut self.connection).await
    }

    /// Hands on each row of a table, one after the other.
    ///
    /// # Errors
    /// `Unavailable`, or what `each` says.
    pub async fn rows(&mut self, table: &Table, mut each: impl FnMut(Vec<Cell>) -> Result<()>) -> Result<()> {
        let names: Vec<String> = table.columns.iter().map(|(name, _)| quoted(name)).collect();
        let text = format!("SELECT {} FROM {}", names.join(", "), quoted(&table.name));
        let mut rows = sqlx::query(AssertSqlSafe(text)).fetch(&mut self.connection);
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            let cells = table.columns.iter().enumerate().map(|(at, (_, kind))| match kind {
                Type::Text => row.try_get(at).map(Cell::Text),
                Type::Number => row.try_get(at).map(Cell::Number),
                Type::Bytes => row.try_get(at).map(Cell::Bytes),
            });
            each(cells.collect::<Result<_, _>>().map_err(failed)?)?;
        }
        Ok(())
    }
}

async fn hold(connection: &mut AnyConnection, dialect: Dialect, tables: &[Table]) -> Result<()> {
    if dialect == Dialect::Sqlite {
        return connection.execute("BEGIN IMMEDIATE").await.map(drop).map_err(failed);
    }
    // Those with records of the signer's, and the heads of the audit chains, which each transaction touches last.
    let recorded = |table: &&Table| table.columns.iter().any(|(name, _)| name == "record");
    let last = tables.iter().filter(|table| table.name == "audit_heads");
    let names: Vec<String> = tables.iter().filter(recorded).chain(last).map(|t| quoted(&t.name)).collect();
    let lock = format!("LOCK TABLE {} IN SHARE MODE", names.join(", "));
    for _ in 0..TRIES {
        connection.execute("BEGIN").await.map_err(failed)?;
        connection.execute(HOLD).await.map_err(failed)?;
        match connection.execute(AssertSqlSafe(lock.clone())).await {
            Ok(_) => return Ok(()),
            Err(_) => connection.execute("ROLLBACK").await.map(drop).map_err(failed)?,
        }
        tokio::time::sleep(BETWEEN).await;
    }
    Err(Error::unavailable(
        "The database is never still for a moment: take the backup when there is less to do.",
    ))
}

pub(crate) async fn version(connection: &mut AnyConnection) -> Result<i64> {
    const LAST: &str = "SELECT MAX(version) AS version FROM _sqlx_migrations";
    let found = sqlx::query(LAST).fetch_one(connection).await.map_err(failed)?;
    found.number("version")
}

/// All tables of ours, parents first.
pub(crate) async fn tables(connection: &mut AnyConnection, dialect: Dialect) -> Result<Vec<Table>> {
    let columns = sqlx::query(dialect.list_columns()).fetch_all(&mut *connection).await.map_err(failed)?;
    let mut found: Vec<Table> = Vec::new();
    for row in columns {
        let (name, column, kind) = (row.text("t")?, row.text("c")?, row.text("k")?);
        let kind = match kind.to_ascii_uppercase().as_str() {
            "TEXT" => Type::Text,
            "BIGINT" => Type::Number,
            "BYTEA" => Type::Bytes,
            other => return Err(Error::internal(format!("{name}.{column} has the type {other}"))),
        };
        match found.last_mut().filter(|table| table.name == name) {
            Some(table) => table.columns.push((column, kind)),
            None => found.push(Table { name, columns: vec![(column, kind)] }),
        }
    }
    let references = sqlx::query(dialect.list_references()).fetch_all(connection).await.map_err(failed)?;
    let references =
        references.iter().map(|row| Ok((row.text("t")?, row.text("r")?))).collect::<Result<Vec<_>>>()?;
    parents_first(found, &references)
}

fn parents_first(mut left: Vec<Table>, references: &[(String, String)]) -> Result<Vec<Table>> {
    let mut sorted: Vec<Table> = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let waits = |table: &Table| {
            references.iter().any(|(child, parent)| {
                *child == table.name && parent != child && left.iter().any(|other| other.name == *parent)
            })
        };
        let (later, now): (Vec<_>, Vec<_>) = left.iter().cloned().partition(waits);
        if now.is_empty() {
            return Err(Error::internal("tables refer to each other in a circle"));
        }
        sorted.extend(now);
        left = later;
    }
    Ok(sorted)
}

/// An identifier of SQL's.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_come_after_their_parents() {
        let table = |name: &str| Table { name: name.to_owned(), columns: Vec::new() };
        let pair = |child: &str, parent: &str| (child.to_owned(), parent.to_owned());
        let all = vec![table("c"), table("b"), table("a")];
        let sorted = parents_first(all.clone(), &[pair("c", "b"), pair("b", "a"), pair("a", "a")]).unwrap();
        assert_eq!(sorted.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert!(parents_first(all, &[pair("a", "b"), pair("b", "a")]).is_err());
    }
}
