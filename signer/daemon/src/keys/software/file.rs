//! The root keys' file.
//!
//! ```text
//! magic, 8 | format, u16 | sealed by, u8 | what the sealing needs | keys (+ tag, 16) | SHA-256 of all before
//! ```
//! Big-endian. What the keys' bytes are, the format says ([`RootKeys`]). Sealed by 0: nothing. 1: Argon2id: memory in KiB, passes, lanes (u32 each), salt, 16, nonce, 12; the
//! keys are then under AES-256-GCM, with everything before them as additional data. The checksum tells a damaged
//! file from a wrong passphrase.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};
use argon2::{Algorithm, Argon2, Params, Version};
use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::root_keys::{NUMBERED, ONE_ROOT, RootKeys};
use crate::keys::{Key, NONCE, OpenError, TAG};

/// The file's name in the signer's folder.
pub const FILE: &str = "keystore.bin";

const MAGIC: &[u8; 8] = b"TALONKEY";
const UNSEALED: u8 = 0;
const ARGON2ID: u8 = 1;
const SALT: usize = 16;
const CHECKSUM: usize = 32;
/// Longer than any format's file, so that a wrong file isn't read whole.
const LONGEST: u64 = 4096;

/// RFC 9106 §4, second recommended option, on one lane (the signer waits for nothing else meanwhile).
const COST: Cost = Cost { memory_kib: 64 * 1024, passes: 3, lanes: 1 };
/// What a file may ask for: a forged one must not exhaust the machine before its tag is checked.
const DEAREST: Cost = Cost { memory_kib: 1024 * 1024, passes: 16, lanes: 16 };

type Result<T> = std::result::Result<T, OpenError>;

#[derive(Clone, Copy)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Cost {
    fn within(self, most: Self) -> bool {
        self.memory_kib <= most.memory_kib && self.passes <= most.passes && self.lanes <= most.lanes
    }

    fn derive(self, passphrase: &[u8], salt: &[u8; SALT]) -> Result<Key> {
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32));
        let mut key = Key::default();
        params
            .and_then(|params| {
                Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                    .hash_password_into(passphrase, salt, &mut *key)
            })
            .map_err(|error| OpenError::Sealing(error.to_string()))?;
        Ok(key)
    }
}

pub fn create(folder: &Path, passphrase: Option<&[u8]>) -> Result<()> {
    let path = folder.join(FILE);
    if path.try_exists().map_err(at(&path))? {
        return Err(OpenError::FileExists(path));
    }
    let bytes = encode(&RootKeys::fresh()?, passphrase)?;
    write(folder, &path, &bytes, RenameFlags::NOREPLACE)
}

/// Puts other keys into the place of those that are there, and destroys the bytes of the file that had those: on a file system
/// that writes in place, they are gone from the disk.
pub fn replace(folder: &Path, passphrase: Option<&[u8]>, keys: &RootKeys) -> Result<()> {
    let path = folder.join(FILE);
    remove_drafts(folder)?;
    let mut before = OpenOptions::new().write(true).open(&path).map_err(at(&path))?;
    let length =
        usize::try_from(before.metadata().map_err(at(&path))?.len().min(LONGEST)).unwrap_or_default();
    let bytes = encode(keys, passphrase)?;
    write(folder, &path, &bytes, RenameFlags::empty())?;
    before.write_all(&vec![0; length]).and_then(|()| before.sync_all()).map_err(at(&path))
}

/// What a command that was cut short has left holds keys.
fn remove_drafts(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder).map_err(at(folder))? {
        let entry = entry.map_err(at(folder))?;
        if entry.file_name().to_string_lossy().starts_with(&format!(".{FILE}.")) {
            let path = entry.path();
            let length = entry.metadata().map_err(at(&path))?.len().min(LONGEST);
            let zeros = vec![0; usize::try_from(length).unwrap_or_default()];
            let overwritten = OpenOptions::new().write(true).open(&path).and_then(|mut file| {
                file.write_all(&zeros)?;
                file.sync_all()
            });
            overwritten.and_then(|()| std::fs::remove_file(&path)).map_err(at(&path))?;
        }
    }
    Ok(())
}

pub fn read(folder: &Path, passphrase: Option<&[u8]>) -> Result<RootKeys> {
    let path = folder.join(FILE);
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(&path)
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => OpenError::NoFile(path.clone()),
            _ => at(&path)(error),
        })?;
    let metadata = file.metadata().map_err(at(&path))?;
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(OpenError::Exposed(path));
    }
    // Room for all of it: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST as usize));
    file.take(LONGEST).read_to_end(&mut bytes).map_err(at(&path))?;
    decode(&path, &bytes, passphrase)
}

fn encode(keys: &RootKeys, passphrase: Option<&[u8]>) -> Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(512));
    let (format, mut body) = keys.to_bytes();
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&format.to_be_bytes());
    match passphrase {
        None => {
            bytes.push(UNSEALED);
            bytes.extend_from_slice(&body);
        }
        Some([]) => return Err(OpenError::EmptyPassphrase),
        Some(passphrase) => {
            let (mut salt, mut nonce) = ([0; SALT], [0; NONCE]);
            fill(&mut salt)?;
            fill(&mut nonce)?;
            bytes.push(ARGON2ID);
            for part in [COST.memory_kib, COST.passes, COST.lanes] {
                bytes.extend_from_slice(&part.to_be_bytes());
            }
            bytes.extend_from_slice(&salt);
            bytes.extend_from_slice(&nonce);
            let key = COST.derive(passphrase, &salt)?;
            let tag = Aes256Gcm::new((&*key).into())
                .encrypt_inout_detached(&Nonce::from(nonce), &bytes, (&mut body[..]).into())
                .map_err(|error| OpenError::Sealing(error.to_string()))?;
            bytes.extend_from_slice(&body);
            bytes.extend_from_slice(&tag);
        }
    }
    let checksum = Sha256::digest(&*bytes);
    bytes.extend_from_slice(&checksum);
    Ok(bytes)
}

fn decode(path: &Path, bytes: &[u8], passphrase: Option<&[u8]>) -> Result<RootKeys> {
    let damaged = || OpenError::Damaged(path.to_owned());
    let mut rest = bytes.strip_prefix(MAGIC).ok_or_else(damaged)?;
    let format = u16::from_be_bytes(take(&mut rest).ok_or_else(damaged)?);
    if format > NUMBERED {
        return Err(OpenError::Newer { path: path.to_owned(), found: format, known: NUMBERED });
    }
    let (content, checksum) = bytes.split_last_chunk::<CHECKSUM>().ok_or_else(damaged)?;
    if format < ONE_ROOT || Sha256::digest(content)[..] != checksum[..] {
        return Err(damaged());
    }
    let mut rest = rest.strip_suffix(checksum).ok_or_else(damaged)?;
    let [sealed_by] = take(&mut rest).ok_or_else(damaged)?;
    match (sealed_by, passphrase) {
        (UNSEALED, None) => RootKeys::from_bytes(format, rest).ok_or_else(damaged),
        (UNSEALED, Some(_)) => Err(OpenError::NotSealed(path.to_owned())),
        (ARGON2ID, None) => Err(OpenError::PassphraseNeeded(path.to_owned())),
        (ARGON2ID, Some(passphrase)) => {
            let mut number = || take(&mut rest).map(u32::from_be_bytes).ok_or_else(damaged);
            let cost = Cost { memory_kib: number()?, passes: number()?, lanes: number()? };
            if !cost.within(DEAREST) {
                return Err(damaged());
            }
            let salt = take::<SALT>(&mut rest).ok_or_else(damaged)?;
            let nonce = take::<NONCE>(&mut rest).ok_or_else(damaged)?;
            let header = content.strip_suffix(rest).ok_or_else(damaged)?;
            let (body, tag) = rest.split_last_chunk::<TAG>().ok_or_else(damaged)?;
            let key = cost.derive(passphrase, &salt)?;
            let mut keys = Zeroizing::new(body.to_vec());
            Aes256Gcm::new((&*key).into())
                .decrypt_inout_detached(&Nonce::from(nonce), header, (&mut keys[..]).into(), tag.into())
                .map_err(|_| OpenError::WrongPassphrase(path.to_owned()))?;
            RootKeys::from_bytes(format, &keys).ok_or_else(damaged)
        }
        _ => Err(damaged()),
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*first)
}

/// Whole or not at all, and durable when it returns.
fn write(folder: &Path, path: &Path, bytes: &[u8], over: RenameFlags) -> Result<()> {
    let mut suffix = [0; 8];
    fill(&mut suffix)?;
    let draft = folder.join(format!(".{FILE}.{}", hex::encode(suffix)));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        renameat_with(CWD, &draft, CWD, path, over)?;
        File::open(folder)?.sync_all()
    })();
    written.map_err(|error| {
        // The error that is told is the first one; a draft that stays is removed by the next rotation.
        let _ = std::fs::remove_file(&draft);
        match error.kind() {
            ErrorKind::AlreadyExists => OpenError::FileExists(path.to_owned()),
            _ => at(path)(error),
        }
    })
}

pub fn fill(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(OpenError::NoRandomness)
}

fn at(path: &Path) -> impl Fn(std::io::Error) -> OpenError {
    let path = path.to_owned();
    move |error| OpenError::Io { path: path.clone(), error }
}
