//! The root keys' file.
//!
//! ```text
//! magic, 8 | format, u16 | sealed by, u8 | what the sealing needs | keys, 96 (+ tag, 16) | SHA-256 of all before
//! ```
//! Big-endian. Sealed by 0: nothing. 1: Argon2id: memory in KiB, passes, lanes (u32 each), salt, 16, nonce, 12; the
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

use crate::keys::{Key, NONCE, OpenError, TAG};

/// The file's name in the signer's folder.
pub const FILE: &str = "keystore.bin";

const MAGIC: &[u8; 8] = b"TALONKEY";
const FORMAT: u16 = 1;
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

/// The three root keys, one after the other.
pub struct RootKeys(Zeroizing<[u8; 96]>);

impl RootKeys {
    /// AES-256: wraps vault keys and signing keys.
    pub fn wrapping(&self) -> &[u8; 32] {
        self.part::<0>()
    }

    /// HMAC-SHA-256.
    pub fn mac(&self) -> &[u8; 32] {
        self.part::<1>()
    }

    /// Ed25519's seed.
    pub fn token(&self) -> &[u8; 32] {
        self.part::<2>()
    }

    fn part<const N: usize>(&self) -> &[u8; 32] {
        let (parts, _) = self.0.as_chunks::<32>();
        &parts[N]
    }
}

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
    let mut keys = RootKeys(Zeroizing::new([0; 96]));
    fill(&mut *keys.0)?;
    let bytes = encode(&keys, passphrase)?;
    write(folder, &path, &bytes)
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
    let mut bytes = Zeroizing::new(Vec::with_capacity(256));
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&FORMAT.to_be_bytes());
    match passphrase {
        None => {
            bytes.push(UNSEALED);
            bytes.extend_from_slice(&*keys.0);
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
            let mut body = keys.0.clone();
            let tag = Aes256Gcm::new((&*key).into())
                .encrypt_inout_detached(&Nonce::from(nonce), &bytes, (&mut body[..]).into())
                .map_err(|error| OpenError::Sealing(error.to_string()))?;
            bytes.extend_from_slice(&*body);
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
    if format > FORMAT {
        return Err(OpenError::Newer { path: path.to_owned(), found: format, known: FORMAT });
    }
    let (content, checksum) = bytes.split_last_chunk::<CHECKSUM>().ok_or_else(damaged)?;
    if format != FORMAT || Sha256::digest(content)[..] != checksum[..] {
        return Err(damaged());
    }
    let mut rest = rest.strip_suffix(checksum).ok_or_else(damaged)?;
    let [sealed_by] = take(&mut rest).ok_or_else(damaged)?;
    match (sealed_by, passphrase) {
        (UNSEALED, None) => {
            let keys: &[u8; 96] = rest.try_into().map_err(|_| damaged())?;
            Ok(RootKeys(Zeroizing::new(*keys)))
        }
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
            let (body, tag) = rest.split_first_chunk::<96>().ok_or_else(damaged)?;
            let tag: &[u8; TAG] = tag.try_into().map_err(|_| damaged())?;
            let key = cost.derive(passphrase, &salt)?;
            let mut keys = Zeroizing::new(*body);
            Aes256Gcm::new((&*key).into())
                .decrypt_inout_detached(&Nonce::from(nonce), header, (&mut keys[..]).into(), tag.into())
                .map_err(|_| OpenError::WrongPassphrase(path.to_owned()))?;
            Ok(RootKeys(keys))
        }
        _ => Err(damaged()),
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*first)
}

/// Whole or not at all, durable when it returns, and never over another one.
fn write(folder: &Path, path: &Path, bytes: &[u8]) -> Result<()> {
    let mut suffix = [0; 8];
    fill(&mut suffix)?;
    let draft = folder.join(format!(".{FILE}.{}", hex::encode(suffix)));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        renameat_with(CWD, &draft, CWD, path, RenameFlags::NOREPLACE)?;
        File::open(folder)?.sync_all()
    })();
    written.map_err(|error| {
        // The error that is told is the first one; a draft that stays holds keys of no use to anybody.
        let _ = std::fs::remove_file(&draft);
        match error.kind() {
            ErrorKind::AlreadyExists => OpenError::FileExists(path.to_owned()),
            _ => at(path)(error),
        }
    })
}

fn fill(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(OpenError::NoRandomness)
}

fn at(path: &Path) -> impl Fn(std::io::Error) -> OpenError {
    let path = path.to_owned();
    move |error| OpenError::Io { path: path.clone(), error }
}
