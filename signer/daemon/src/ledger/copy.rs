//! The ledger for a backup: all tables as they are at one moment, and an empty file filled from that.
//!
//! An entry is the table's name, the key and the value, each with its length in front.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use domain::Time;
use redb::backends::FileBackend;
use redb::{Database, DatabaseError, Key, ReadTransaction, ReadableDatabase as _, ReadableTable as _};
use redb::{TableDefinition, Value, WriteTransaction};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::tables::{Each, FORMAT, LINE, META, RESTORED, ROOT, ROOT_FINISHED, SEQUENCE, each};
use super::{Ledger, OpenError, broken, no_ledger};
use crate::refuse::{Result, conflict};

/// Bytes of a part; one entry may be longer.
const PART: usize = 1 << 20;
/// A copy that nobody asks on for so long is given up: as long as it is open, the file can't reuse its pages.
const IDLE: Duration = Duration::from_secs(60);

/// Which state of which history a ledger is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    pub format: u64,
    pub line: u64,
    pub sequence: u64,
}

impl Mark {
    fn read(tx: &ReadTransaction) -> Result<Self, redb::Error> {
        let meta = tx.open_table(META)?;
        let number = |key| Ok::<_, redb::Error>(meta.get(key)?.map_or(0, |found| found.value()));
        Ok(Self { format: number("format")?, line: number(LINE)?, sequence: number(SEQUENCE)? })
    }
}

/// What a copy gives next.
pub enum Given {
    Part(Vec<u8>),
    /// All entries were given: so many.
    End(u64),
}

/// A copy that is being taken, of the moment when it began.
pub struct Moment {
    pub mark: Mark,
    parts: mpsc::Receiver<Result<Given, redb::Error>>,
}

impl Moment {
    /// # Errors
    /// `Unavailable`; `Conflict` if nobody asked for too long.
    pub async fn next(&mut self) -> Result<Given> {
        match self.parts.recv().await {
            Some(given) => given.map_err(|error| broken(&error)),
            None => Err(conflict("The copy of the ledger was given up, since nobody asked on; begin again.")),
        }
    }
}

impl Ledger {
    /// Begins a copy of what is on the disk now.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn copy(&self) -> Result<Moment> {
        let tx = self.db.begin_read().map_err(|error| broken(&error.into()))?;
        let mark = Mark::read(&tx).map_err(|error| broken(&error))?;
        let (tell, parts) = mpsc::channel(1);
        let mut walk = Walk { tx, part: Vec::new(), entries: 0, tell, runtime: Handle::current() };
        let named = std::thread::Builder::new().name("ledger-copy".to_owned());
        named
            .spawn(move || {
                let outcome = each(&mut walk).and_then(|()| walk.give()).map(|()| Given::End(walk.entries));
                match outcome {
                    Ok(end) => drop(walk.send(Ok(end))),
                    Err(Ended::Broken(error)) => drop(walk.send(Err(error))),
                    Err(Ended::Unheard) => tracing::warn!("a copy of the ledger was given up"),
                }
            })
            .map_err(|error| {
                tracing::error!(%error, "no thread for a copy of the ledger");
                no_ledger()
            })?;
        Ok(Moment { mark, parts })
    }
}

struct Walk {
    tx: ReadTransaction,
    part: Vec<u8>,
    entries: u64,
    tell: mpsc::Sender<Result<Given, redb::Error>>,
    runtime: Handle,
}

enum Ended {
    Broken(redb::Error),
    /// Who asked has gone, or waits too long.
    Unheard,
}

impl<E: Into<redb::Error>> From<E> for Ended {
    fn from(error: E) -> Self {
        Self::Broken(error.into())
    }
}

impl Walk {
    fn give(&mut self) -> Result<(), Ended> {
        if self.part.is_empty() {
            return Ok(());
        }
        let part = std::mem::take(&mut self.part);
        self.send(Ok(Given::Part(part)))
    }

    fn send(&self, given: Result<Given, redb::Error>) -> Result<(), Ended> {
        let sent = self.runtime.block_on(async { tokio::time::timeout(IDLE, self.tell.send(given)).await });
        sent.map_err(|_| Ended::Unheard)?.map_err(|_| Ended::Unheard)
    }
}

impl Each for Walk {
    type Error = Ended;

    fn table<K: Key + 'static, V: Value + 'static>(
        &mut self,
        table: TableDefinition<'static, K, V>,
    ) -> Result<(), Ended> {
        let name = redb::TableHandle::name(&table).to_owned();
        for entry in self.tx.open_table(table)?.iter()? {
            let (key, value) = entry?;
            put(&mut self.part, name.as_bytes())?;
            put(&mut self.part, K::as_bytes(&key.value()).as_ref())?;
            put(&mut self.part, V::as_bytes(&value.value()).as_ref())?;
            self.entries += 1;
            if self.part.len() >= PART {
                self.give()?;
            }
        }
        Ok(())
    }
}

fn put(part: &mut Vec<u8>, bytes: &[u8]) -> Result<(), redb::Error> {
    let length = u32::try_from(bytes.len()).map_err(|_| redb::Error::ValueTooLarge(bytes.len()))?;
    part.extend_from_slice(&length.to_be_bytes());
    part.extend_from_slice(bytes);
    Ok(())
}

/// The next piece of an entry; `None` if it is cut short.
fn take<'p>(part: &mut &'p [u8]) -> Option<&'p [u8]> {
    let (length, rest) = part.split_first_chunk::<4>()?;
    let (piece, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    *part = rest;
    Some(piece)
}

/// A ledger that lies where a copy is to go, or that is kept in its stead, held so that no signer starts on it.
pub struct OldLedger {
    pub mark: Mark,
    /// The newest root that was in use with it; 0 if it was never asked about.
    pub root: u64,
    db: Database,
}

impl OldLedger {
    /// # Errors
    /// When a signer has it open, or it is damaged.
    pub fn open(file: &Path) -> Result<Self, OpenError> {
        let name = file.display().to_string();
        let damaged =
            |cause: redb::Error| OpenError::Damaged { file: name.clone(), cause: cause.to_string() };
        let db = Database::open(file).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => OpenError::InUse(name.clone()),
            error => damaged(error.into()),
        })?;
        let read = || {
            let tx = db.begin_read()?;
            let root = tx.open_table(META)?.get(ROOT)?.map_or(0, |root| root.value());
            Ok::<_, redb::Error>((Mark::read(&tx)?, root))
        };
        let (mark, root) = read().map_err(damaged)?;
        Ok(Self { mark, root, db })
    }

    /// Forgets that nothing was left under the older root: the database beside it is to be another one.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn unfinish(&self) -> Result<(), String> {
        let removed = || {
            let tx = self.db.begin_write()?;
            tx.open_table(META)?.remove(ROOT_FINISHED)?;
            tx.commit()?;
            Ok::<_, redb::Error>(())
        };
        removed().map_err(|error| error.to_string())
    }
}

/// What was written.
pub struct Written {
    pub entries: u64,
    /// The newest root that was in use with it; 0 if it was never asked about.
    pub root: u64,
}

/// Makes a ledger of the parts of a copy, in a file that is not there yet. Nobody but the signer may have made the
/// parts: that is for the caller to know.
///
/// # Errors
/// If the file can't be written, or an entry is of a table that this signer does not know.
pub fn write_copy(
    file: &Path,
    parts: impl Iterator<Item = Result<Vec<u8>, String>>,
    now: Time,
) -> Result<Written, String> {
    let made = std::fs::OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(file);
    let backend =
        FileBackend::new(made.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
    let db = Database::builder().create_with_backend(backend).map_err(|error| error.to_string())?;
    let tx = db.begin_write().map_err(|error| error.to_string())?;
    each(&mut &tx).map_err(|error| error.to_string())?;
    let mut entries = 0;
    for part in parts {
        let part = part?;
        let mut rest = part.as_slice();
        while !rest.is_empty() {
            let mut piece = || take(&mut rest).ok_or("an entry is cut short");
            let (table, key, value) = (piece()?, piece()?, piece()?);
            let mut entry = Entry { tx: &tx, table, key, value, found: false };
            each(&mut entry).map_err(|error| error.to_string())?;
            if !entry.found {
                return Err("it has a table that this signer does not know".to_owned());
            }
            entries += 1;
        }
    }
    let restored = |tx: &WriteTransaction| {
        let at = u64::try_from(now.millis()).unwrap_or_default();
        let mut meta = tx.open_table(META)?;
        meta.insert(RESTORED, at)?;
        Ok::<_, redb::Error>(meta.get(ROOT)?.map_or(0, |root| root.value()))
    };
    let root = restored(&tx).map_err(|error| error.to_string())?;
    tx.commit().map_err(|error| error.to_string())?;
    Ok(Written { entries, root })
}

/// The newest format that can be put back.
pub const NEWEST: u64 = FORMAT;

struct Entry<'e> {
    tx: &'e WriteTransaction,
    table: &'e [u8],
    key: &'e [u8],
    value: &'e [u8],
    found: bool,
}

impl Each for Entry<'_> {
    type Error = redb::Error;

    fn table<K: Key + 'static, V: Value + 'static>(
        &mut self,
        table: TableDefinition<'static, K, V>,
    ) -> Result<(), redb::Error> {
        if redb::TableHandle::name(&table).as_bytes() != self.table {
            return Ok(());
        }
        let fits = |width: Option<usize>, bytes: &[u8]| width.is_none_or(|width| width == bytes.len());
        if !fits(K::fixed_width(), self.key) || !fits(V::fixed_width(), self.value) {
            return Err(redb::Error::Corrupted("an entry has another width than its table".to_owned()));
        }
        self.tx.open_table(table)?.insert(K::from_bytes(self.key), V::from_bytes(self.value))?;
        self.found = true;
        Ok(())
    }
}
