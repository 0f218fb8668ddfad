//! Every SQL statement, one file for each thing. The same text runs on SQLite and PostgreSQL; what really differs
//! is in `dialect`. Functions that touch a tenant's data take a [`domain::access::Permit`] and use its ids; the
//! few that gather the facts to decide on (`facts`, `for_principal`) say so in their name.

mod dialect;
mod reading;
mod row;
mod turns;
mod tx;

pub mod agents;
pub mod api_keys;
pub mod approvals;
pub mod audit;
pub mod awaiting;
pub mod backup;
pub mod chains;
pub mod checkpoints;
pub mod cmek;
pub mod devices;
pub mod enrolments;
pub mod events;
pub mod idempotency;
pub mod identities;
pub mod invitations;
pub mod ip_rules;
pub mod journal;
pub mod limits;
pub mod mail;
pub mod members;
pub mod nonces;
pub mod organisations;
pub mod outside_logins;
pub mod passkeys;
pub mod policies;
pub mod replacements;
pub mod restore;
pub mod roots;
pub mod second_factors;
pub mod secrets;
pub mod settings;
pub mod settling;
pub mod shares;
pub mod signups;
pub mod tickets;
pub mod tokens;
pub mod transactions;
pub mod users;
pub mod vaults;
pub mod webhooks;

use domain::{Error, Result};
use sqlx::migrate::MigrateError;

use dialect::Dialect;
pub use journal::{Journal, Read};
use reading::{Reader, Readers};
use turns::Turns;
pub use tx::Tx;
use tx::Writer;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations");

/// The database: connections to read with, and where writing transactions begin.
#[derive(Clone)]
pub struct Store {
    read: Readers,
    write: Writer,
    journal: Journal,
}

impl Store {
    /// Opens `sqlite://FILE` (made if it is not there) or `postgres://…`, brings the schema up to date and starts
    /// the journal.
    ///
    /// # Errors
    /// `Unavailable` with one sentence for an operator: not reachable, damaged, or written by a newer version.
    pub async fn open(url: &str) -> Result<Self> {
        sqlx::any::install_default_drivers();
        let dialect = Dialect::of(url)?;
        let mut first = dialect.try_connect(url).await?;
        MIGRATIONS.run(&mut first).await.map_err(refused)?;
        dialect.index(&mut first).await.map_err(failed)?;
        let write = match dialect {
            Dialect::Sqlite => Writer::Turns(Turns::over(url, first)),
            Dialect::Postgres => Writer::Pool(dialect.pool(url).await?),
        };
        let read = Readers::open(dialect, url).await?;
        let journal = Journal::start(write.clone());
        Ok(Self { read, write, journal })
    }

    /// Begins a writing transaction.
    pub async fn begin(&self) -> Result<Tx> {
        self.write.begin().await
    }

    /// Where reads of values are recorded before the value leaves.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<()> {
        sqlx::query("SELECT 1").execute(&mut *self.read().await?).await.map_err(failed).map(drop)
    }

    fn dialect(&self) -> Dialect {
        self.read.dialect()
    }

    /// A connection to read with; what is being written by others is not seen.
    async fn read(&self) -> Result<Reader> {
        self.read.one().await
    }
}

fn refused(error: MigrateError) -> Error {
    match error {
        MigrateError::VersionMissing(_) | MigrateError::VersionTooNew(..) => {
            Error::unavailable("The database was written by a newer version of Talon; start that version.")
        }
        MigrateError::VersionMismatch(version) => Error::unavailable(format!(
            "The database's schema (migration {version}) is not the one that this version of Talon made."
        )),
        error => Error::unavailable(format!("The database can't be used: {error}.")),
    }
}

/// A failed statement: the database is away, or we have a bug.
fn failed(error: sqlx::Error) -> Error {
    match error {
        sqlx::Error::PoolTimedOut
        | sqlx::Error::Io(_)
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => {
            Error::unavailable("The database is not reachable; try again in a moment.").because(error)
        }
        sqlx::Error::Database(database) if is_passing(database.code().as_deref().unwrap_or_default()) => {
            Error::unavailable("The database is not ready; try again in a moment.").because(database)
        }
        error => Error::internal(error),
    }
}

/// Trouble that passes: PostgreSQL's connection, shutdown, resource and conflict classes; SQLite's busy, locked,
/// I/O error and full.
fn is_passing(code: &str) -> bool {
    const POSTGRES: [&str; 5] = ["08", "40", "53", "57P", "58"];
    let sqlite = code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 10 | 13));
    (code.len() == 5 && POSTGRES.iter().any(|class| code.starts_with(class))) || (code.len() < 5 && sqlite)
}

/// Whether a statement failed because the row is there already.
fn is_duplicate(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|e| e.is_unique_violation())
}
