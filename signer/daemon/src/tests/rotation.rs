//! `rotate-root` and `retire-root`, on a folder with keystore and ledger.

use std::os::unix::fs::PermissionsExt as _;

use domain::{Clock, OrgId, UserId, VaultId};
use signer_protocol::people::Login;
use signer_protocol::record::FoundOrganisation;
use signer_protocol::root::{Count, FinishRotation, Rewrapped, Wrapped};
use signer_protocol::sealing::MakeVaultKey;
use signer_protocol::token::{Caller, IssueToken};
use tempfile::TempDir;

use super::{address, password};
use crate::authority::Authority;
use crate::config::{Config, KeystoreConfig};
use crate::keys::software;
use crate::ledger::{self, SETTLED};
use crate::start::{StartError, open};

fn place(clock: &Clock) -> (TempDir, Config) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let data = folder.path().to_owned();
    let keystore = KeystoreConfig::Software { passphrase: None };
    let config = Config { clock: clock.clone(), ..Config::new(data.join("signer.sock"), data, keystore) };
    (folder, config)
}

/// The commands have a runtime of their own, and a process.
fn rotate(config: &Config) -> Result<String, StartError> {
    std::thread::scope(|threads| threads.spawn(|| crate::rotation::rotate(config)).join().unwrap())
}

fn retire(config: &Config, accept_missing: u64, force: bool) -> Result<String, StartError> {
    std::thread::scope(|threads| {
        threads.spawn(|| crate::rotation::retire(config, accept_missing, force)).join().unwrap()
    })
}

/// Somebody who makes vaults.
async fn owner(signer: &Authority) -> Caller {
    let login = Login::Proof(password(1));
    let request = FoundOrganisation { org: OrgId::new(), owner: UserId::new(), email: address(), login };
    let record = signer.found_organisation(request).await.unwrap();
    let request = IssueToken { record: Some(record.clone()), proof: password(1), derived_scopes: Vec::new() };
    Caller { token: signer.issue_token(request).await.unwrap().jwt, record }
}

#[tokio::test]
async fn a_root_is_retired_when_nothing_is_left_under_it() {
    let clock = Clock::default();
    let (_folder, config) = place(&clock);
    assert!(rotate(&config).unwrap_err().to_string().contains("name the signer's folder"));
    let signer = open(&config).unwrap();
    let by = owner(&signer).await;
    let old = signer.make_vault_key(MakeVaultKey { by: by.clone(), vault: VaultId::new() }).await.unwrap();
    signer.make_vault_key(MakeVaultKey { by, vault: VaultId::new() }).await.unwrap();
    for refused in [rotate(&config), retire(&config, 0, true)] {
        assert!(refused.unwrap_err().to_string().contains("another signer runs"));
    }
    drop(signer);
    assert!(retire(&config, 0, true).unwrap_err().to_string().contains("nothing to retire"));
    assert!(rotate(&config).unwrap().contains("Root 2 wraps from now on"));
    assert!(rotate(&config).unwrap_err().to_string().contains("root 1 must be retired first"));
    // Not even asked yet.
    assert!(retire(&config, 9, false).unwrap_err().to_string().contains("has not said"));

    let signer = open(&config).unwrap();
    assert_eq!(signer.root_state().await.unwrap().older, Some(1));
    assert!(matches!(
        *signer.rewrap(vec![Wrapped::VaultKey(old.clone())]).await.unwrap(),
        [Rewrapped::Anew(_)]
    ));
    clock.advance(SETTLED);
    let count = Count { vault_keys: 41, signing_keys: 42, second_factors: 43, webhook_keys: 44 };
    assert!(signer.finish_rotation(FinishRotation { root: 2, count }).await.unwrap());
    drop(signer);
    // The other vault's key was made and never stored, or was taken out of the database.
    let sentence = retire(&config, 0, false).unwrap_err().to_string();
    assert!(sentence.contains("of 1 vaults") && sentence.contains("--accept-missing 1"), "{sentence}");
    let said = retire(&config, 1, false).unwrap();
    assert!(
        said.contains("Root 1 is destroyed") && said.contains("41 keys of vaults, 42 keys that sign"),
        "{said}"
    );
    let signer = open(&config).unwrap();
    let state = signer.root_state().await.unwrap();
    assert_eq!((state.newest, state.older), (2, None));
    assert!(matches!(*signer.rewrap(vec![Wrapped::VaultKey(old)]).await.unwrap(), [Rewrapped::Refused(_)]));
}

#[tokio::test]
async fn by_force_a_root_is_retired_with_what_is_left_under_it() {
    let (_folder, config) = place(&Clock::default());
    let signer = open(&config).unwrap();
    let by = owner(&signer).await;
    signer.make_vault_key(MakeVaultKey { by, vault: VaultId::new() }).await.unwrap();
    drop(signer);
    rotate(&config).unwrap();
    assert!(retire(&config, 1, false).is_err());
    retire(&config, 0, true).unwrap();
    open(&config).unwrap();
}

#[tokio::test]
async fn an_older_copy_of_the_keystore_is_refused_beside_its_ledger() {
    let (folder, config) = place(&Clock::default());
    drop(open(&config).unwrap());
    let (file, copy) = (config.data.join(software::FILE), folder.path().join("copy"));
    std::fs::copy(&file, &copy).unwrap();
    rotate(&config).unwrap();
    open(&config).unwrap().root_state().await.unwrap();
    std::fs::rename(&copy, &file).unwrap();
    let sentence = open(&config).err().unwrap().to_string();
    assert!(sentence.contains("has root 1, and root 2 was in use"), "{sentence}");
}

#[tokio::test]
async fn with_a_restored_ledger_nothing_is_finished() {
    let clock = Clock::default();
    let (_folder, config) = place(&clock);
    drop(open(&config).unwrap());
    rotate(&config).unwrap();
    let signer = open(&config).unwrap();
    signer.root_state().await.unwrap();
    clock.advance(SETTLED);
    signer.finish_rotation(FinishRotation { root: 2, count: Count::default() }).await.unwrap();
    drop(signer);
    // As restore-ledger leaves it.
    let db = redb::Database::open(config.data.join(ledger::FILE)).unwrap();
    let tx = db.begin_write().unwrap();
    tx.open_table(redb::TableDefinition::<&str, u64>::new("meta")).unwrap().insert("restored", 1).unwrap();
    tx.commit().unwrap();
    drop(db);
    assert!(retire(&config, 0, false).unwrap_err().to_string().contains("has not said"));
    assert_eq!(open(&config).unwrap().root_state().await.unwrap().finished, None);
}

#[tokio::test]
async fn from_the_rotation_on_an_older_copy_of_the_keystore_is_known_for_one() {
    let (_folder, config) = place(&Clock::default());
    drop(open(&config).unwrap());
    let file = config.data.join(software::FILE);
    let old = std::fs::read(&file).unwrap();
    rotate(&config).unwrap();
    let new = std::fs::read(&file).unwrap();
    // Nothing was started in between.
    std::fs::write(&file, old).unwrap();
    let sentence = open(&config).err().unwrap().to_string();
    assert!(sentence.contains("it has root 1, and root 2 was in use"), "{sentence}");
    std::fs::write(&file, new).unwrap();
    assert_eq!(open(&config).unwrap().root_state().await.unwrap().newest, 2);
}
