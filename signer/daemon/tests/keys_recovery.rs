//! An HSM that goes away and comes back. A process of its own: it ends the module under the keystore.

#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "keys/softhsm.rs"]
mod softhsm;

use std::time::Duration;

use cryptoki::types::AuthPin;
use signer::keys::pkcs11::{Pkcs11, init, open};
use signer::keys::{Key, KeyError, Keystore};

/// A little more than a failed attempt to connect is remembered.
const AWHILE: Duration = Duration::from_millis(1100);

#[track_caller]
fn unavailable(keystore: &Pkcs11) -> String {
    match keystore.health() {
        Err(error @ KeyError::Unavailable(_)) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

fn pull_the_plug() {
    softhsm::module().finalize().unwrap();
}

/// One test, since all of it is about the process's one module.
#[test]
fn an_hsm_that_goes_away_and_comes_back() {
    let config = softhsm::token();
    init(&config).unwrap();
    let keystore = open(config.clone()).unwrap();
    let vault = keystore.new_vault_key().unwrap();
    let data_key = Key::new([7; 32]);
    let wrapped = keystore.wrap_data_key(&vault, b"", &data_key).unwrap();
    let key = keystore.import_signing_key(&Key::new([1; 32])).unwrap();
    keystore.sign_digest(&key, &[1; 32]).unwrap();

    // The module forgets every session: the call that notices fails, the next one works, cached keys too.
    pull_the_plug();
    unavailable(&keystore);
    assert_eq!(keystore.unwrap_data_key(&vault, b"", &wrapped).unwrap(), data_key);
    keystore.sign_digest(&key, &[1; 32]).unwrap();

    // From many threads at once, each call answers, and soon all of them well.
    pull_the_plug();
    std::thread::scope(|threads| {
        for _ in 0..8 {
            threads.spawn(|| {
                for _ in 0..50 {
                    if let Err(KeyError::Rejected(cause)) = keystore.sign_digest(&key, &[1; 32]) {
                        panic!("a key was blamed for the HSM: {cause}");
                    }
                }
            });
        }
    });
    std::thread::sleep(AWHILE);
    keystore.sign_digest(&key, &[1; 32]).unwrap();

    // The token is gone: each call says so, at once, and without a panic.
    let (tokens, away) = (softhsm::folder().join("tokens"), softhsm::folder().join("away"));
    pull_the_plug();
    std::fs::rename(&tokens, &away).unwrap();
    std::fs::create_dir(&tokens).unwrap();
    unavailable(&keystore);
    for _ in 0..3 {
        assert!(unavailable(&keystore).contains("shows no token with the label"));
        std::thread::sleep(AWHILE);
    }
    // It is back: so is the keystore.
    std::fs::remove_dir_all(&tokens).unwrap();
    std::fs::rename(&away, &tokens).unwrap();
    std::thread::sleep(AWHILE);
    keystore.health().unwrap();
    assert_eq!(keystore.unwrap_data_key(&vault, b"", &wrapped).unwrap(), data_key);

    // The PIN was changed meanwhile: it is tried once and never again, since tries are counted.
    let (old, new) = (AuthPin::from(softhsm::PIN.to_owned()), AuthPin::from("another-pin-4321".to_owned()));
    let session = softhsm::session(&config);
    session.set_pin(&old, &new).unwrap();
    pull_the_plug();
    unavailable(&keystore);
    let cause = unavailable(&keystore);
    assert!(cause.contains("is wrong") && !cause.contains(softhsm::PIN), "{cause}");
    assert!(open(config).is_err());
    std::thread::sleep(AWHILE);
    assert_eq!(unavailable(&keystore), cause);
}
