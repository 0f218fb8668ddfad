//! What is true inside the HSM, and what is said when it can't be used.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeInfo, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use signer::keys::pkcs11::{Config, MAC_LABEL, ROOT_LABEL, TOKEN_LABEL, init, open, retire, rotate};
use signer::keys::{CacheSizes, Keystore, OpenError};

use crate::softhsm::{self, PIN};
use crate::{random_key, secret};

fn ready() -> Config {
    let config = softhsm::token();
    init(&config).unwrap();
    config
}

fn refused(config: &Config) -> (OpenError, String) {
    let error = open(config.clone()).err().expect("opened");
    let sentence = error.to_string();
    assert!(!sentence.contains(PIN), "{sentence}");
    (error, sentence)
}

fn named(session: &Session, class: ObjectClass, label: &str) -> ObjectHandle {
    let found = session.find_objects(&[Attribute::Class(class), Attribute::Label(label.into())]).unwrap();
    assert_eq!(found.len(), 1);
    found[0]
}

/// The MAC key's and the token key's copies, there from the start.
const COPIES: usize = 2;

fn session_objects(session: &Session) -> Vec<ObjectHandle> {
    session.find_objects(&[Attribute::Token(false)]).unwrap()
}

#[track_caller]
fn assert_stays_inside(session: &Session, key: ObjectHandle, root: ObjectHandle) {
    let wanted = [AttributeType::Sensitive, AttributeType::Extractable, AttributeType::Private];
    let attributes = session.get_attributes(key, &wanted).unwrap();
    let expected = [Attribute::Sensitive(true), Attribute::Extractable(false), Attribute::Private(true)];
    assert_eq!(attributes, expected);
    let value = session.get_attribute_info(key, &[AttributeType::Value]).unwrap();
    assert!(matches!(value[0], AttributeInfo::Sensitive), "{value:?}");
    assert!(session.get_attributes(key, &[AttributeType::Value]).unwrap().is_empty());
    for mechanism in [Mechanism::AesKeyWrap, Mechanism::AesKeyWrapPad] {
        session.wrap_key(&mechanism, root, key).unwrap_err();
    }
    // And no way to loosen it afterwards.
    session.update_attributes(key, &[Attribute::Extractable(true)]).unwrap_err();
    session.update_attributes(key, &[Attribute::Sensitive(false)]).unwrap_err();
}

#[test]
fn root_mac_and_token_keys_never_leave() {
    let config = ready();
    let session = softhsm::session(&config);
    let root = named(&session, ObjectClass::SECRET_KEY, ROOT_LABEL);
    let mac = named(&session, ObjectClass::SECRET_KEY, MAC_LABEL);
    let token = named(&session, ObjectClass::PRIVATE_KEY, TOKEN_LABEL);
    for key in [root, mac, token] {
        assert_stays_inside(&session, key, root);
        let born_there =
            [AttributeType::NeverExtractable, AttributeType::AlwaysSensitive, AttributeType::Local];
        let attributes = session.get_attributes(key, &born_there).unwrap();
        let expected =
            [Attribute::NeverExtractable(true), Attribute::AlwaysSensitive(true), Attribute::Local(true)];
        assert_eq!(attributes, expected);
    }
    // The root wraps and does nothing else: decrypting with it would unwrap keys into the open.
    session.decrypt(&Mechanism::AesEcb, root, &[0; 16]).unwrap_err();
    session.encrypt(&Mechanism::AesEcb, root, &[0; 16]).unwrap_err();
}

#[test]
fn keys_in_use_never_leave() {
    let config = ready();
    let keystore = open(config.clone()).unwrap();
    let vault = keystore.new_vault_key().unwrap();
    let key = keystore.import_signing_key(&random_key()).unwrap();
    let session = softhsm::session(&config);
    assert_eq!(session_objects(&session).len(), COPIES, "the extractable ones are destroyed once wrapped");

    keystore.wrap_data_key(&vault, b"", &random_key()).unwrap();
    keystore.sign_digest(&key, &[1; 32]).unwrap();
    let root = named(&session, ObjectClass::SECRET_KEY, ROOT_LABEL);
    let in_use = session_objects(&session);
    assert_eq!(in_use.len(), COPIES + 2);
    for key in in_use {
        assert_stays_inside(&session, key, root);
    }
}

#[test]
fn keys_beyond_the_cache_are_destroyed() {
    let config = Config { caches: CacheSizes { vault_keys: 5, signing_keys: 3 }, ..ready() };
    let keystore = open(config.clone()).unwrap();
    let session = softhsm::session(&config);
    let vaults: Vec<_> = (0..20).map(|_| keystore.new_vault_key().unwrap()).collect();
    let keys: Vec<_> = (0..20).map(|_| keystore.import_signing_key(&random_key()).unwrap()).collect();
    for (vault, key) in vaults.iter().zip(&keys) {
        keystore.wrap_data_key(vault, b"", &random_key()).unwrap();
        keystore.sign_digest(key, &[1; 32]).unwrap();
        assert!(session_objects(&session).len() <= COPIES + 8);
    }
    assert_eq!(session_objects(&session).len(), COPIES + 8);
    drop(keystore);
    assert!(session_objects(&session).is_empty(), "all end with the keystore");
}

#[test]
fn a_cached_key_is_unwrapped_once() {
    let config = ready();
    let keystore = open(config.clone()).unwrap();
    let key = keystore.import_signing_key(&random_key()).unwrap();
    let session = softhsm::session(&config);
    keystore.sign_digest(&key, &[1; 32]).unwrap();
    let first = session_objects(&session);
    for _ in 0..10 {
        keystore.sign_digest(&key, &[1; 32]).unwrap();
    }
    assert_eq!(session_objects(&session), first);
}

#[test]
fn init_makes_the_keys_once() {
    let config = ready();
    let error = init(&config).unwrap_err();
    assert!(matches!(error, OpenError::KeyExists { label: ROOT_LABEL, .. }), "{error}");

    // One of them is enough to refuse, whichever it is.
    let config = softhsm::token();
    let session = softhsm::session(&config);
    let template =
        [Attribute::Token(true), Attribute::Label(TOKEN_LABEL.into()), Attribute::ValueLen(32.into())];
    session.generate_key(&Mechanism::AesKeyGen, &template).unwrap();
    let error = init(&config).unwrap_err();
    assert!(matches!(error, OpenError::KeyExists { label: TOKEN_LABEL, .. }), "{error}");
    assert_eq!(session.find_objects(&[]).unwrap().len(), 1, "nothing half-done");
}

#[test]
fn no_module() {
    let config = Config { module: "/nowhere/libnothing.so".into(), ..softhsm::token() };
    let (error, sentence) = refused(&config);
    assert!(matches!(error, OpenError::NoModule(_)), "{sentence}");
    assert_eq!(sentence, "there is no PKCS#11 module at /nowhere/libnothing.so");
}

#[test]
fn not_a_module() {
    let folder = tempfile::tempdir().unwrap();
    let module = folder.path().join("libtext.so");
    std::fs::write(&module, "text").unwrap();
    let (error, sentence) = refused(&Config { module, ..softhsm::token() });
    assert!(matches!(error, OpenError::NotAModule { .. }), "{sentence}");
    assert!(sentence.contains("libtext.so can't be loaded as a PKCS#11 module"), "{sentence}");
}

#[test]
fn no_token() {
    let (error, sentence) = refused(&Config { token: "elsewhere".into(), ..softhsm::token() });
    assert!(matches!(error, OpenError::NoToken(_)), "{sentence}");
    assert_eq!(sentence, r#"the PKCS#11 module shows no token with the label "elsewhere""#);
}

#[test]
fn two_tokens_under_one_label() {
    let config = softhsm::token_labelled("twin");
    init(&config).unwrap();
    softhsm::token_labelled("twin");
    let (error, sentence) = refused(&config);
    assert!(matches!(error, OpenError::ManyTokens { count: 2, .. }), "{sentence}");
}

#[test]
fn wrong_pin() {
    let config = ready();
    for pin in ["wrong-pin-9999", ""] {
        let (error, sentence) = refused(&Config { pin: secret(pin), ..config.clone() });
        assert!(matches!(error, OpenError::WrongPin(_)), "{sentence}");
        assert_eq!(sentence, format!("the PIN of the token {:?} is wrong", config.token));
    }
    let error = init(&Config { pin: secret("wrong-pin-9999"), ..softhsm::token() }).unwrap_err();
    assert!(matches!(error, OpenError::WrongPin(_)), "{error}");
    open(config).unwrap();
}

#[test]
fn no_keys() {
    let (error, sentence) = refused(&softhsm::token());
    assert!(matches!(error, OpenError::NoKey { label: ROOT_LABEL, .. }), "{sentence}");
    assert!(sentence.contains("run `talon-signer init`"), "{sentence}");
}

#[test]
fn each_key_is_missed() {
    let classes = [
        (ObjectClass::SECRET_KEY, ROOT_LABEL),
        (ObjectClass::SECRET_KEY, MAC_LABEL),
        (ObjectClass::PRIVATE_KEY, TOKEN_LABEL),
        (ObjectClass::PUBLIC_KEY, TOKEN_LABEL),
    ];
    for (class, missing) in classes {
        let config = ready();
        let session = softhsm::session(&config);
        session.destroy_object(named(&session, class, missing)).unwrap();
        let (error, sentence) = refused(&config);
        assert!(matches!(error, OpenError::NoKey { label, .. } if label == missing), "{sentence}");
    }
}

#[test]
fn two_keys_under_one_label() {
    for twice in [ROOT_LABEL, MAC_LABEL] {
        let config = ready();
        let session = softhsm::session(&config);
        let template =
            [Attribute::Token(true), Attribute::Label(twice.into()), Attribute::ValueLen(32.into())];
        session.generate_key(&Mechanism::AesKeyGen, &template).unwrap();
        let (error, sentence) = refused(&config);
        assert!(matches!(error, OpenError::ManyKeys { label, count: 2, .. } if label == twice), "{sentence}");
    }
}

#[test]
fn a_root_that_could_be_read_is_refused() {
    for (sensitive, extractable) in [(true, true), (false, true), (false, false)] {
        let config = ready();
        let session = softhsm::session(&config);
        session.destroy_object(named(&session, ObjectClass::SECRET_KEY, ROOT_LABEL)).unwrap();
        let template = [
            Attribute::Token(true),
            Attribute::Label(ROOT_LABEL.into()),
            Attribute::ValueLen(32.into()),
            Attribute::Sensitive(sensitive),
            Attribute::Extractable(extractable),
        ];
        session.generate_key(&Mechanism::AesKeyGen, &template).unwrap();
        let (error, sentence) = refused(&config);
        assert!(matches!(error, OpenError::Extractable { label, .. } if label == ROOT_LABEL), "{sentence}");
    }
}

#[test]
fn another_public_key_beside_the_token_key_is_refused() {
    let config = ready();
    let other = softhsm::session(&ready());
    let point = other
        .get_attributes(named(&other, ObjectClass::PUBLIC_KEY, TOKEN_LABEL), &[AttributeType::EcPoint])
        .unwrap()
        .remove(0);
    let session = softhsm::session(&config);
    session.destroy_object(named(&session, ObjectClass::PUBLIC_KEY, TOKEN_LABEL)).unwrap();
    let template = [
        Attribute::Class(ObjectClass::PUBLIC_KEY),
        Attribute::KeyType(KeyType::EC_EDWARDS),
        Attribute::Token(true),
        Attribute::Label(TOKEN_LABEL.into()),
        Attribute::EcParams(vec![0x06, 0x03, 0x2b, 0x65, 0x70]),
        point,
    ];
    session.create_object(&template).unwrap();
    let (error, sentence) = refused(&config);
    assert!(matches!(error, OpenError::Mismatch { .. }), "{sentence}");
}

#[test]
fn a_rotation_makes_a_root_that_never_leaves_and_destroys_the_one_before() {
    let config = ready();
    let keystore = open(config.clone()).unwrap();
    let (vault, key) =
        (keystore.new_vault_key().unwrap(), keystore.import_signing_key(&random_key()).unwrap());
    drop(keystore);
    rotate(&config).unwrap();
    let session = softhsm::session(&config);
    let (old, new) = (
        named(&session, ObjectClass::SECRET_KEY, ROOT_LABEL),
        named(&session, ObjectClass::SECRET_KEY, "talon-root-2"),
    );
    assert_stays_inside(&session, new, old);
    session.decrypt(&Mechanism::AesEcb, new, &[0; 16]).unwrap_err();

    // What passes from one to the other is destroyed when it has.
    let keystore = open(config.clone()).unwrap();
    let rewrapped = keystore.rewrap_vault_key(&vault).unwrap().unwrap();
    keystore.rewrap_signing_key(&key).unwrap().unwrap();
    assert_eq!(session_objects(&session).len(), COPIES);
    keystore.wrap_data_key(&rewrapped, b"", &random_key()).unwrap();
    for in_use in session_objects(&session) {
        assert_stays_inside(&session, in_use, new);
    }
    drop(keystore);

    retire(&config).unwrap();
    let left = session.find_objects(&[Attribute::Token(true), Attribute::Class(ObjectClass::SECRET_KEY)]);
    assert_eq!(left.unwrap().len(), 2, "the new root and the MAC key");
    let named = [Attribute::Token(true), Attribute::Label(ROOT_LABEL.into())];
    assert!(session.find_objects(&named).unwrap().is_empty());
}

#[test]
fn a_token_with_too_many_roots_or_two_of_one_number_is_refused() {
    let config = ready();
    rotate(&config).unwrap();
    let session = softhsm::session(&config);
    let copy = |from: &str, to: &str| {
        let from = named(&session, ObjectClass::SECRET_KEY, from);
        session.copy_object(from, &[Attribute::Token(true), Attribute::Label(to.into())]).unwrap()
    };
    let twin = copy("talon-root-2", "talon-root-2");
    let (error, sentence) = refused(&config);
    assert!(
        matches!(error, OpenError::ManyKeys { label, count: 2, .. } if label == "talon-root-2"),
        "{sentence}"
    );
    session.destroy_object(twin).unwrap();
    let third = copy("talon-root-2", "talon-root-3");
    let (error, sentence) = refused(&config);
    assert!(matches!(error, OpenError::ManyRoots { count: 3, .. }), "{sentence}");
    session.destroy_object(third).unwrap();
    // Somebody else's keys are nobody's business.
    copy("talon-root-2", "talon-root-2-backup");
    open(config).unwrap();
}
