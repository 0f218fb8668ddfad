//! First starts, later ones, and those that must not happen.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::config::{Config, KeystoreConfig};
use crate::keys::software;
use crate::ledger;
use crate::start::{init, open};

fn config(folder: &Path) -> Config {
    let data = folder.join("data");
    Config::new(data.join("signer.sock"), data, KeystoreConfig::Software { passphrase: None })
}

fn refused(config: &Config) -> String {
    open(config).err().unwrap().to_string()
}

#[test]
fn the_first_start_makes_keys_and_ledger_and_the_next_finds_them() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let key_id = open(&config).unwrap().tokens.key_id().to_owned();
    assert_eq!(open(&config).unwrap().tokens.key_id(), key_id);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&config.data), 0o700);
    for file in std::fs::read_dir(&config.data).unwrap() {
        let file = file.unwrap().path();
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    assert!(init(&config).unwrap_err().to_string().contains("set up before"));
}

#[test]
fn init_comes_before_the_first_start_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    init(&config).unwrap();
    open(&config).unwrap();
}

#[test]
fn keys_without_a_ledger_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    open(&config).unwrap();
    std::fs::remove_file(config.data.join(ledger::FILE)).unwrap();
    let sentence = refused(&config);
    assert!(sentence.contains("restore the ledger from the newest backup"), "{sentence}");
    assert!(!config.data.join(ledger::FILE).exists());
    assert!(init(&config).is_err());
}

#[test]
fn a_ledger_without_keys_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    open(&config).unwrap();
    std::fs::remove_file(config.data.join(software::FILE)).unwrap();
    let sentence = refused(&config);
    assert!(sentence.contains("restore it from a backup"), "{sentence}");
    assert!(!config.data.join(software::FILE).exists());
}

/// Killed between making the keys and making the ledger: nothing was done with them, so the start goes on.
#[test]
fn an_interrupted_first_start_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    open(&config).unwrap();
    for lost in [ledger::FILE, software::FILE] {
        std::fs::write(config.data.join("first-start"), "").unwrap();
        std::fs::remove_file(config.data.join(lost)).unwrap();
        open(&config).unwrap();
        assert!(!config.data.join("first-start").exists());
    }
}

#[test]
fn two_signers_on_one_folder_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let first = open(&config).unwrap();
    let sentence = refused(&config);
    assert!(sentence.contains("another signer runs on this data folder"), "{sentence}");
    drop(first);
    open(&config).unwrap();
}

#[test]
fn a_wrong_passphrase_or_an_open_folder_is_refused_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let with = |text: &str| Config {
        keystore: KeystoreConfig::Software { passphrase: Some(text.as_bytes().to_vec().into()) },
        ..config(folder.path())
    };
    open(&with("correct horse")).unwrap();
    let sentence = refused(&with("battery staple"));
    assert!(sentence.contains("passphrase") && sentence.contains("wrong"), "{sentence}");
    assert!(!sentence.contains("battery"), "{sentence}");

    let config = with("correct horse");
    std::fs::set_permissions(&config.data, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(refused(&config).contains("chmod 700"));
}
