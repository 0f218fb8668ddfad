//! Backups: the signer's part of one, and the file that holds all.
//!
//! The file is a row of frames, so that it is written and read in one pass, with bounded memory: what it is, the signer's
//! ledger in parts, what the signer says of the ledger, then the database's tables, and at the end the SHA-256 over all
//! before it. It holds no key: the ledger has none, and what the database has is wrapped by the keystore's root.

use std::io::{self, Read, Write};

use domain::Time;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::attested::{Attested, Statement};
use crate::wire::Blob;

/// Asks for a copy of the ledger, as it is at one moment. One is made at a time: a new one ends the one before.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum CopyLedger {
    /// Holds the moment fast. The answer names the copy and has no bytes yet.
    Begin,
    /// The next part. A copy that nobody asks on for a minute is given up.
    Next { copy: u64 },
}

/// A part of a copy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LedgerPart {
    pub copy: u64,
    /// About 1 MiB at most.
    pub bytes: Blob,
    /// With the last part, which has no bytes.
    pub end: Option<Attested<LedgerCopy>>,
}

/// What the signer says of a copy that it made: it restores no other.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LedgerCopy {
    /// The ledger's format.
    pub format: u64,
    /// Which history it is a part of: a ledger that was restored, and used since, begins another.
    pub line: u64,
    /// How many changes there were on this line.
    pub sequence: u64,
    pub entries: u64,
    pub taken_at: Time,
    /// Of all parts, one after the other: 32 bytes.
    pub sha256: Blob,
}

impl Statement for LedgerCopy {
    const DOMAIN: &'static str = "talon/ledger-copy/1";
}

/// How a file of this format begins.
const MAGIC: [u8; 8] = *b"TALONBK1";
/// What all formats begin with.
const FAMILY: &[u8] = b"TALONBK";

/// A frame holds one row at least, and a row one value of 1 MiB, as JSON or sealed.
const MAX_FRAME: usize = 64 << 20;

/// What a frame holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// [`Header`] as JSON: the first one.
    Header,
    /// A part of the ledger.
    Ledger,
    /// The [`Attested`] [`LedgerCopy`].
    LedgerEnd,
    /// A table's name and columns as JSON; its rows follow.
    Table,
    Rows,
    /// The last one: how many rows there are in all (64 bits, big-endian).
    End,
}

impl Kind {
    const ALL: [(u8, Self); 6] = [
        (b'H', Self::Header),
        (b'L', Self::Ledger),
        (b'A', Self::LedgerEnd),
        (b'T', Self::Table),
        (b'R', Self::Rows),
        (b'E', Self::End),
    ];

    fn code(self) -> u8 {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or(0, |(code, _)| *code)
    }

    fn of(code: u8) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == code).map(|(_, kind)| *kind)
    }
}

/// What a backup says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Header {
    /// The Talon that wrote it.
    pub version: String,
    /// The database's last migration.
    pub schema: i64,
    pub created_at: Time,
}

/// Why a file can't be used: one sentence, without a full stop.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("it can't be read or written ({0})")]
    Io(#[from] io::Error),
    #[error("it is no backup of Talon's")]
    Foreign,
    #[error("a newer version of Talon wrote it: restore it with that version")]
    Newer,
    #[error("it is damaged or cut short: take another backup")]
    Damaged,
}

/// Writes frames, and the digest at the end.
pub struct Writer<W: Write> {
    out: W,
    hash: Sha256,
}

impl<W: Write> Writer<W> {
    /// # Errors
    /// If the file can't be written.
    pub fn begin(out: W, header: &Header) -> Result<Self, FileError> {
        let mut writer = Self { out, hash: Sha256::new() };
        writer.put(&MAGIC)?;
        writer.frame(Kind::Header, &serde_json::to_vec(header).map_err(io::Error::other)?)?;
        Ok(writer)
    }

    /// # Errors
    /// If the file can't be written, or the frame is larger than a reader takes.
    pub fn frame(&mut self, kind: Kind, payload: &[u8]) -> Result<(), FileError> {
        let too_large = || io::Error::other("a row is too large");
        if payload.len() > MAX_FRAME {
            return Err(too_large().into());
        }
        let length = u32::try_from(payload.len()).map_err(|_| too_large())?;
        self.put(&[kind.code()])?;
        self.put(&length.to_be_bytes())?;
        self.put(payload)
    }

    /// Ends the file, and gives it back.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn finish(mut self, rows: u64) -> Result<W, FileError> {
        self.frame(Kind::End, &rows.to_be_bytes())?;
        let digest: [u8; 32] = self.hash.finalize().into();
        self.out.write_all(&digest)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.hash.update(bytes);
        Ok(self.out.write_all(bytes)?)
    }
}

/// Reads frames. What it gives out may still turn out to be damaged: only when [`Reader::read`] has answered with
/// `None` was the whole file what was written.
pub struct Reader<R: Read> {
    input: R,
    hash: Sha256,
    rows: Option<u64>,
}

impl<R: Read> Reader<R> {
    /// # Errors
    /// [`FileError`].
    pub fn begin(input: R) -> Result<(Self, Header), FileError> {
        let mut reader = Self { input, hash: Sha256::new(), rows: None };
        let mut magic = [0; MAGIC.len()];
        reader.take(&mut magic).map_err(|error| match error {
            FileError::Damaged => FileError::Foreign,
            error => error,
        })?;
        match magic {
            MAGIC => {}
            other if other.starts_with(FAMILY) => return Err(FileError::Newer),
            _ => return Err(FileError::Foreign),
        }
        let (Kind::Header, payload) = reader.read()?.ok_or(FileError::Damaged)? else {
            return Err(FileError::Damaged);
        };
        let header = serde_json::from_slice(&payload).map_err(|_| FileError::Damaged)?;
        Ok((reader, header))
    }

    /// The next frame; `None` after the last, once the digest was found to be right and nothing follows it.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn read(&mut self) -> Result<Option<(Kind, Vec<u8>)>, FileError> {
        let (mut code, mut length) = ([0], [0; 4]);
        self.take(&mut code)?;
        self.take(&mut length)?;
        let kind = Kind::of(code[0]).ok_or(FileError::Damaged)?;
        let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| FileError::Damaged)?;
        if length > MAX_FRAME {
            return Err(FileError::Damaged);
        }
        let mut payload = vec![0; length];
        self.take(&mut payload)?;
        if kind != Kind::End {
            return Ok(Some((kind, payload)));
        }
        let expected: [u8; 32] = self.hash.clone().finalize().into();
        let mut found = [0; 32];
        self.take(&mut found)?;
        if found != expected || self.input.read(&mut [0])? != 0 {
            return Err(FileError::Damaged);
        }
        self.rows = Some(u64::from_be_bytes(payload.try_into().map_err(|_| FileError::Damaged)?));
        Ok(None)
    }

    /// How many rows the writer counted. `None` before the end.
    pub fn rows(&self) -> Option<u64> {
        self.rows
    }

    fn take(&mut self, bytes: &mut [u8]) -> Result<(), FileError> {
        self.input.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => FileError::Damaged,
            _ => FileError::Io(error),
        })?;
        self.hash.update(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header { version: "0".into(), schema: 7, created_at: Time::from_millis(1) }
    }

    fn file() -> Vec<u8> {
        let mut writer = Writer::begin(Vec::new(), &header()).unwrap();
        writer.frame(Kind::Ledger, b"spent").unwrap();
        writer.frame(Kind::Rows, &[7; 100]).unwrap();
        writer.finish(3).unwrap()
    }

    fn read(bytes: &[u8]) -> Result<usize, FileError> {
        let (mut reader, header) = Reader::begin(bytes)?;
        assert_eq!(header.schema, 7);
        let mut frames = 0;
        while reader.read()?.is_some() {
            frames += 1;
        }
        assert_eq!(reader.rows(), Some(3));
        Ok(frames)
    }

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(read(&file()).unwrap(), 2);
    }

    #[test]
    fn every_cut_and_every_changed_byte_shows() {
        let whole = file();
        for end in 0..whole.len() {
            assert!(read(&whole[..end]).is_err(), "cut at {end}");
        }
        for at in 0..whole.len() {
            let mut edited = whole.clone();
            edited[at] ^= 1;
            let caught = std::panic::catch_unwind(|| read(&edited).is_err());
            // An edited header may parse, and then says another schema; the digest comes later.
            assert!(caught.unwrap_or(true), "edited at {at}");
        }
        assert!(read(&[whole, vec![0]].concat()).is_err());
    }

    #[test]
    fn other_files_are_told_apart() {
        assert!(matches!(read(b"SQLite format 3"), Err(FileError::Foreign)));
        assert!(matches!(read(b""), Err(FileError::Foreign)));
        assert!(matches!(read(b"TALONBK2........"), Err(FileError::Newer)));
    }
}
