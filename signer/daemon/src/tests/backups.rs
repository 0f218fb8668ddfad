//! The ledger's copies: whole, of one moment, and restored by the keystore's own signer alone.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use domain::{Clock, Time, TokenId};
use signer_protocol::Reason;
use signer_protocol::backup::{CopyLedger, Header, Kind, LedgerPart, Writer};
use signer_protocol::root::{Count, FinishRotation};
use tempfile::TempDir;

use super::reason;
use crate::authority::Authority;
use crate::config::{Config, KeystoreConfig};
use crate::keys::software;
use crate::ledger::{self, SETTLED};
use crate::restore::{keep, restore};
use crate::start::{StartError, open};

fn config(folder: &Path) -> Config {
    Config::new(folder.join("signer.sock"), folder.to_owned(), KeystoreConfig::Software { passphrase: None })
}

async fn begin(signer: &Authority) -> u64 {
    signer.copy_ledger(CopyLedger::Begin).await.unwrap().copy
}

async fn rest(signer: &Authority, copy: u64) -> Vec<LedgerPart> {
    let mut parts = Vec::new();
    loop {
        parts.push(signer.copy_ledger(CopyLedger::Next { copy }).await.unwrap());
        if parts.last().unwrap().end.is_some() {
            return parts;
        }
    }
}

/// A backup's file, with the ledger alone. `edit` changes its parts.
fn file(folder: &TempDir, parts: &[LedgerPart], edit: impl Fn(&mut Vec<u8>)) -> PathBuf {
    let path = folder.path().join("backup");
    let header = Header { version: "0".into(), schema: 1, created_at: Time::from_millis(0) };
    let mut out = Writer::begin(Vec::new(), &header).unwrap();
    for part in parts {
        match &part.end {
            Some(end) => out.frame(Kind::LedgerEnd, end.as_bytes()).unwrap(),
            None => {
                let mut bytes = part.bytes.0.clone();
                edit(&mut bytes);
                out.frame(Kind::Ledger, &bytes).unwrap();
            }
        }
    }
    std::fs::write(&path, out.finish(0).unwrap()).unwrap();
    path
}

/// Another machine, to which the keystore was carried.
fn elsewhere(keystore_of: &Config) -> (TempDir, Config) {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    std::fs::copy(keystore_of.data.join(software::FILE), config.data.join(software::FILE)).unwrap();
    (folder, config)
}

fn private() -> (TempDir, Config) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let config = config(folder.path());
    (folder, config)
}

fn later() -> Time {
    Time::from_millis(Clock::default().now().millis() + 3_600_000)
}

#[tokio::test]
async fn a_copy_is_of_the_moment_at_which_it_began() {
    let (_folder, config) = private();
    let signer = open(&config).unwrap();
    // More than a part holds.
    let before: Vec<TokenId> = (0..40_000).map(|_| TokenId::new()).collect();
    for some in before.chunks(2_000) {
        futures::future::join_all(some.iter().map(|id| signer.ledger.revoke(*id, later()))).await;
    }
    let copy = begin(&signer).await;
    let after = TokenId::new();
    signer.ledger.revoke(after, later()).await.unwrap();
    let parts = rest(&signer, copy).await;
    assert!(parts.len() > 2, "{} parts", parts.len());
    assert!(parts.iter().all(|part| part.bytes.0.len() < 2 << 20));

    let spare = tempfile::tempdir().unwrap();
    let (_elsewhere, other) = elsewhere(&config);
    restore(&other, &file(&spare, &parts, |_| {}), false).unwrap();
    let mode = std::fs::metadata(other.data.join(ledger::FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let restored = open(&other).unwrap();
    assert!(before.iter().all(|id| restored.ledger.revoked(*id).unwrap()));
    assert!(!restored.ledger.revoked(after).unwrap());
    // All tables are there, with all that they had.
    let again = begin(&restored).await;
    let entries = |parts: &[LedgerPart]| parts.last().unwrap().end.as_ref().unwrap().peek().unwrap().entries;
    assert_eq!(entries(&rest(&restored, again).await), entries(&parts));
}

#[tokio::test]
async fn one_copy_is_taken_at_a_time() {
    let (_folder, config) = private();
    let signer = open(&config).unwrap();
    let first = begin(&signer).await;
    let second = begin(&signer).await;
    assert_eq!(reason(signer.copy_ledger(CopyLedger::Next { copy: first }).await), Reason::Conflict);
    rest(&signer, second).await;
    assert_eq!(reason(signer.copy_ledger(CopyLedger::Next { copy: second }).await), Reason::Conflict);
}

#[tokio::test]
async fn a_copy_is_restored_by_its_own_keystore_alone() {
    let (_folder, config) = private();
    let signer = open(&config).unwrap();
    signer.ledger.revoke(TokenId::new(), later()).await.unwrap();
    let copy = begin(&signer).await;
    let parts = rest(&signer, copy).await;
    let spare = tempfile::tempdir().unwrap();

    let (_bare, bare) = private();
    let genuine = file(&spare, &parts, |_| {});
    assert!(restore(&bare, &genuine, false).unwrap_err().to_string().contains("a backup holds no key"));
    let (_other, other) = private();
    drop(open(&other).unwrap());
    let sentence = restore(&other, &genuine, true).unwrap_err().to_string();
    assert!(sentence.contains("was not written by a signer with this keystore"), "{sentence}");

    let (_same, same) = elsewhere(&config);
    let edited = file(&spare, &parts, |bytes| *bytes.last_mut().unwrap() ^= 1);
    assert!(restore(&same, &edited, true).unwrap_err().to_string().contains("damaged"));
    assert!(!same.data.join(ledger::FILE).exists());
    // A signer runs on the folder.
    let genuine = file(&spare, &parts, |_| {});
    assert!(restore(&config, &genuine, true).unwrap_err().to_string().contains("another signer runs"));
}

#[tokio::test]
async fn a_restored_ledger_begins_a_history_of_its_own() {
    let (_folder, config) = private();
    let signer = open(&config).unwrap();
    let (old, new) = (TokenId::new(), TokenId::new());
    signer.ledger.revoke(old, later()).await.unwrap();
    let copy = begin(&signer).await;
    let parts = rest(&signer, copy).await;
    let spare = tempfile::tempdir().unwrap();
    let backup = file(&spare, &parts, |_| {});
    // The same once more, as after a restore that was cut short.
    let (_elsewhere, other) = elsewhere(&config);
    restore(&other, &backup, false).unwrap();
    restore(&other, &backup, false).unwrap();
    // It was used: whether it is older or newer can't be told any more.
    drop(open(&other).unwrap());
    assert!(restore(&other, &backup, false).unwrap_err().to_string().contains("--accept-older-ledger"));

    signer.ledger.revoke(new, later()).await.unwrap();
    drop(signer);
    assert!(restore(&config, &backup, false).unwrap_err().to_string().contains("--accept-older-ledger"));
    assert!(open(&config).unwrap().ledger.revoked(new).unwrap());
    restore(&config, &backup, true).unwrap();
    let signer = open(&config).unwrap();
    assert!(signer.ledger.revoked(old).unwrap() && !signer.ledger.revoked(new).unwrap());
}

#[tokio::test]
async fn a_copy_is_not_restored_where_its_root_is_missing() {
    let (_folder, config) = private();
    let spare = tempfile::tempdir().unwrap();
    let command = |work: &(dyn Fn() -> Result<String, StartError> + Sync)| {
        std::thread::scope(|threads| threads.spawn(work).join().unwrap()).unwrap()
    };
    let backup = async || {
        let signer = open(&config).unwrap();
        signer.root_state().await.unwrap();
        let copy = begin(&signer).await;
        rest(&signer, copy).await
    };
    let first = backup().await;
    let (_one, one) = elsewhere(&config);
    command(&|| crate::rotation::rotate(&config));
    let second = backup().await;
    let (_both, both) = elsewhere(&config);
    command(&|| crate::rotation::retire(&config, 0, true));
    let (_two, two) = elsewhere(&config);
    for (parts, keystore, root, there) in [(&second, &one, 2, 1), (&first, &two, 1, 2)] {
        let sentence = restore(keystore, &file(&spare, parts, |_| {}), false).unwrap_err().to_string();
        assert!(sentence.contains(&format!("root {root}, and the keystore has root {there}")), "{sentence}");
        let left = std::fs::read_dir(&keystore.data).unwrap().count();
        assert_eq!(left, 1, "the keystore alone");
    }
    for (parts, keystore) in [(&first, &one), (&first, &both), (&second, &two)] {
        restore(keystore, &file(&spare, parts, |_| {}), false).unwrap();
    }
}

#[tokio::test]
async fn a_ledger_is_kept_beside_its_own_keystore_alone() {
    let (_folder, config) = private();
    let signer = open(&config).unwrap();
    let copy = begin(&signer).await;
    let parts = rest(&signer, copy).await;
    let (spare, damaged) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let backup = file(&spare, &parts, |_| {});
    let refused = |config: &Config, file: &Path, why: &str| {
        let files = || std::fs::read_dir(&config.data).unwrap().count();
        let before = files();
        let sentence = keep(config, file).unwrap_err().to_string();
        assert!(sentence.contains(why), "{sentence}");
        assert_eq!(files(), before, "nothing was written");
    };
    refused(&config, &backup, "another signer runs");
    drop(signer);

    let (_bare, bare) = private();
    refused(&bare, &backup, "a backup holds no key");
    let (_alone, alone) = elsewhere(&config);
    refused(&alone, &backup, "is missing, so it can't be kept");
    let (_other, other) = private();
    drop(open(&other).unwrap());
    refused(&other, &backup, "was not written by a signer with this keystore");
    let edited = file(&damaged, &parts, |bytes| *bytes.last_mut().unwrap() ^= 1);
    refused(&config, &edited, "damaged");
    keep(&config, &backup).unwrap();
    assert!(!config.data.join("ledger.restoring").exists());
    open(&config).unwrap();
}

#[tokio::test]
async fn beside_a_ledger_that_was_kept_a_root_is_not_retired_before_all_was_looked_at() {
    let clock = Clock::default();
    let (_folder, place) = private();
    let config = Config { clock: clock.clone(), ..place };
    let command = |work: &(dyn Fn() -> Result<String, StartError> + Sync)| {
        std::thread::scope(|threads| threads.spawn(work).join().unwrap())
    };
    let retire = || command(&|| crate::rotation::retire(&config, 0, false));
    let signer = open(&config).unwrap();
    let copy = begin(&signer).await;
    let parts = rest(&signer, copy).await;
    drop(signer);
    let (spare, damaged) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let backup = file(&spare, &parts, |_| {});
    let (_old, old) = elsewhere(&config);
    command(&|| crate::rotation::rotate(&config)).unwrap();
    let finish = async || {
        let signer = open(&config).unwrap();
        let before = signer.root_state().await.unwrap().finished;
        clock.advance(SETTLED);
        let request = FinishRotation { root: 2, count: Count::default() };
        signer.finish_rotation(request).await.unwrap();
        before
    };
    assert_eq!(finish().await, None);
    // Who is refused has changed nothing.
    let edited = file(&damaged, &parts, |bytes| *bytes.last_mut().unwrap() ^= 1);
    keep(&config, &edited).unwrap_err();
    assert!(finish().await.is_some());

    keep(&config, &backup).unwrap();
    assert!(retire().unwrap_err().to_string().contains("has not said"));
    assert_eq!(finish().await, None);
    assert!(retire().unwrap().contains("Root 1 is destroyed"));
    let sentence = keep(&config, &backup).unwrap_err().to_string();
    assert!(sentence.contains("root 1, and the keystore has root 2"), "{sentence}");
    // A keystore from before the rotation, beside the ledger from after it.
    std::fs::copy(config.data.join(ledger::FILE), old.data.join(ledger::FILE)).unwrap();
    let sentence = keep(&old, &backup).unwrap_err().to_string();
    assert!(sentence.contains("has root 1, and root 2 was in use"), "{sentence}");
}
