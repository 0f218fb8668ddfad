//! What is true of either keystore.

use alloy_primitives::Address;
use ed25519_dalek::{Signature as TokenSignature, VerifyingKey as TokenKey};
use k256::ecdsa::{RecoveryId, Signature, SigningKey, VerifyingKey};
use signer::keys::{CacheSizes, Key, Keystore, OpenError, Roots};

use crate::{Made, assert_rejected, random_key};

macro_rules! on_both {
    ($($test:ident),* $(,)?) => {
        mod software { $(#[test] fn $test() { super::$test(&crate::software); })* }
        mod pkcs11 { $(#[test] fn $test() { super::$test(&crate::pkcs11); })* }
    };
}

on_both! {
    every_signature_recovers_to_the_address,
    signatures_verify_for_the_smallest_and_the_largest_key,
    numbers_that_are_no_key_are_refused,
    data_keys_come_back,
    data_keys_open_nowhere_else,
    an_altered_data_key_is_rejected,
    an_altered_vault_key_is_rejected,
    an_altered_signing_key_is_rejected,
    blobs_of_another_kind_or_keystore_are_rejected,
    codes_depend_on_message_and_keystore,
    tokens_verify,
    all_of_it_survives_a_restart,
    eight_threads_share_it,
    more_keys_than_the_cache_holds,
    a_rotation_keeps_every_key_and_retiring_ends_what_was_left,
    what_a_later_root_wraps_is_as_hard_to_forge,
}

type Make<'a> = &'a dyn Fn() -> Made;

fn scalar() -> Key {
    loop {
        let key = random_key();
        if SigningKey::from_bytes((&*key).into()).is_ok() {
            return key;
        }
    }
}

fn address(scalar: &Key) -> Address {
    Address::from_public_key(SigningKey::from_bytes((&**scalar).into()).unwrap().verifying_key())
}

/// As an Ethereum node does it: r and s in range, s low, and the address from one of the two parities.
#[track_caller]
fn assert_signed_by(expected: Address, digest: &[u8; 32], signature: &[u8; 64]) {
    let signature = Signature::from_slice(signature).expect("r and s are from 1 to n - 1");
    let low = signature.normalize_s().unwrap_or(signature);
    assert!(low.normalize_s().is_none());
    let signers = [0, 1].map(|parity| {
        let id = RecoveryId::from_byte(parity).unwrap();
        VerifyingKey::recover_from_prehash(digest, &low, id).map(|key| Address::from_public_key(&key))
    });
    assert!(signers.iter().flatten().any(|signer| *signer == expected), "{signers:?} and not {expected}");
}

fn every_signature_recovers_to_the_address(make: Make) {
    let Made { keystore, .. } = make();
    for _ in 0..5 {
        let scalar = scalar();
        let key = keystore.import_signing_key(&scalar).unwrap();
        let address = address(&scalar);
        for _ in 0..500 {
            let digest = *random_key();
            assert_signed_by(address, &digest, &keystore.sign_digest(&key, &digest).unwrap());
        }
    }
}

/// n - 1, where n is secp256k1's order (SEC 2 §2.4.1).
const LARGEST: [u8; 32] = hex_literal("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364140");

const fn hex_literal(text: &str) -> [u8; 32] {
    match alloy_primitives::hex::const_decode_to_array(text.as_bytes()) {
        Ok(bytes) => bytes,
        Err(_) => panic!("not hex"),
    }
}

fn signatures_verify_for_the_smallest_and_the_largest_key(make: Make) {
    let Made { keystore, .. } = make();
    let mut one = [0; 32];
    one[31] = 1;
    for scalar in [Key::new(one), Key::new(LARGEST)] {
        let key = keystore.import_signing_key(&scalar).unwrap();
        let digest = *random_key();
        assert_signed_by(address(&scalar), &digest, &keystore.sign_digest(&key, &digest).unwrap());
    }
}

fn numbers_that_are_no_key_are_refused(make: Make) {
    let Made { keystore, .. } = make();
    let mut order = LARGEST;
    order[31] += 1;
    for scalar in [[0; 32], order, [0xff; 32]] {
        assert_rejected(keystore.import_signing_key(&Key::new(scalar)));
    }
}

fn data_keys_come_back(make: Make) {
    let Made { keystore, .. } = make();
    let vault = keystore.new_vault_key().unwrap();
    for aad in [&b""[..], b"vault/path", &[7; 100_000]] {
        let data_key = random_key();
        let wrapped = keystore.wrap_data_key(&vault, aad, &data_key).unwrap();
        assert_eq!(wrapped.len(), 60);
        assert_ne!(wrapped, keystore.wrap_data_key(&vault, aad, &data_key).unwrap(), "the nonce is fresh");
        assert_eq!(keystore.unwrap_data_key(&vault, aad, &wrapped).unwrap(), data_key);
    }
    assert_ne!(vault, keystore.new_vault_key().unwrap());
}

fn data_keys_open_nowhere_else(make: Make) {
    let Made { keystore, .. } = make();
    let (vault, other) = (keystore.new_vault_key().unwrap(), keystore.new_vault_key().unwrap());
    let data_key = random_key();
    let wrapped = keystore.wrap_data_key(&vault, b"here", &data_key).unwrap();
    assert_rejected(keystore.unwrap_data_key(&vault, b"there", &wrapped));
    assert_rejected(keystore.unwrap_data_key(&vault, b"", &wrapped));
    assert_rejected(keystore.unwrap_data_key(&other, b"here", &wrapped));
    assert_eq!(keystore.unwrap_data_key(&vault, b"here", &wrapped).unwrap(), data_key);
}

/// Every bit flipped, then cut and lengthened. None of it disturbs the keystore.
fn altered(blob: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let flipped = (0..blob.len() * 8).map(|bit| {
        let mut blob = blob.to_vec();
        blob[bit / 8] ^= 1 << (bit % 8);
        blob
    });
    let cut = [0, 1, 8, 12, 28, blob.len() - 8, blob.len() - 1].map(|length| blob[..length].to_vec());
    let longer = [1, 8, 2000].map(|more| [blob, &vec![0; more]].concat());
    flipped.chain(cut).chain(longer)
}

fn an_altered_data_key_is_rejected(make: Make) {
    let Made { keystore, .. } = make();
    let vault = keystore.new_vault_key().unwrap();
    let data_key = random_key();
    let wrapped = keystore.wrap_data_key(&vault, b"here", &data_key).unwrap();
    for altered in altered(&wrapped) {
        assert_rejected(keystore.unwrap_data_key(&vault, b"here", &altered));
    }
    assert_eq!(keystore.unwrap_data_key(&vault, b"here", &wrapped).unwrap(), data_key);
}

fn an_altered_vault_key_is_rejected(make: Make) {
    let Made { keystore, .. } = make();
    let vault = keystore.new_vault_key().unwrap();
    let wrapped = keystore.wrap_data_key(&vault, b"here", &random_key()).unwrap();
    for altered in altered(&vault) {
        assert_rejected(keystore.unwrap_data_key(&altered, b"here", &wrapped));
        assert_rejected(keystore.wrap_data_key(&altered, b"here", &random_key()));
    }
    keystore.unwrap_data_key(&vault, b"here", &wrapped).unwrap();
}

fn an_altered_signing_key_is_rejected(make: Make) {
    let Made { keystore, .. } = make();
    let key = keystore.import_signing_key(&scalar()).unwrap();
    for altered in altered(&key) {
        assert_rejected(keystore.sign_digest(&altered, &[1; 32]));
    }
    keystore.sign_digest(&key, &[1; 32]).unwrap();
}

fn blobs_of_another_kind_or_keystore_are_rejected(make: Make) {
    let (Made { keystore: ours, .. }, Made { keystore: theirs, .. }) = (make(), make());
    let (our_vault, their_vault) = (ours.new_vault_key().unwrap(), theirs.new_vault_key().unwrap());
    let (our_key, their_key) =
        (ours.import_signing_key(&scalar()).unwrap(), theirs.import_signing_key(&scalar()).unwrap());

    assert_rejected(ours.wrap_data_key(&their_vault, b"", &random_key()));
    assert_rejected(ours.sign_digest(&their_key, &[1; 32]));
    assert_rejected(ours.wrap_data_key(&our_key, b"", &random_key()));
    assert_rejected(ours.sign_digest(&our_vault, &[1; 32]));
    // A data key is under a vault's key, so it passes as no key under the root.
    let data_key = ours.wrap_data_key(&our_vault, b"", &random_key()).unwrap();
    assert_rejected(ours.sign_digest(&data_key, &[1; 32]));
    assert_rejected(ours.wrap_data_key(&data_key, b"", &random_key()));
}

fn codes_depend_on_message_and_keystore(make: Make) {
    let (Made { keystore: ours, .. }, Made { keystore: theirs, .. }) = (make(), make());
    for message in [&b""[..], b"a", b"b", &[0; 100_000]] {
        let code = ours.mac(message).unwrap();
        assert_eq!(code, ours.mac(message).unwrap());
        assert_ne!(code, theirs.mac(message).unwrap());
        assert_ne!(code, ours.mac(&[message, &[0]].concat()).unwrap());
    }
    ours.health().unwrap();
}

fn tokens_verify(make: Make) {
    let (Made { keystore: ours, .. }, Made { keystore: theirs, .. }) = (make(), make());
    let key = TokenKey::from_bytes(&ours.token_public_key()).unwrap();
    for message in [&b"header.claims"[..], b"", &[9; 10_000]] {
        let signature = TokenSignature::from_bytes(&ours.sign_token(message).unwrap());
        key.verify_strict(message, &signature).unwrap();
        key.verify_strict(b"other", &signature).unwrap_err();
        let foreign = TokenSignature::from_bytes(&theirs.sign_token(message).unwrap());
        key.verify_strict(message, &foreign).unwrap_err();
    }
}

fn all_of_it_survives_a_restart(make: Make) {
    let Made { keystore, reopen, .. } = make();
    let vault = keystore.new_vault_key().unwrap();
    let data_key = random_key();
    let wrapped = keystore.wrap_data_key(&vault, b"here", &data_key).unwrap();
    let scalar = scalar();
    let key = keystore.import_signing_key(&scalar).unwrap();
    let (code, token_key) = (keystore.mac(b"m").unwrap(), keystore.token_public_key());
    drop(keystore);

    let keystore = reopen(CacheSizes::default());
    assert_eq!(keystore.unwrap_data_key(&vault, b"here", &wrapped).unwrap(), data_key);
    assert_signed_by(address(&scalar), &[3; 32], &keystore.sign_digest(&key, &[3; 32]).unwrap());
    assert_eq!((keystore.mac(b"m").unwrap(), keystore.token_public_key()), (code, token_key));
}

struct Vault {
    key: Vec<u8>,
    data_key: Key,
    wrapped: Vec<u8>,
    signing_key: Vec<u8>,
    address: Address,
}

fn vaults(keystore: &dyn Keystore, count: usize) -> Vec<Vault> {
    let vault = |_| {
        let key = keystore.new_vault_key().unwrap();
        let (data_key, scalar) = (random_key(), scalar());
        Vault {
            wrapped: keystore.wrap_data_key(&key, b"here", &data_key).unwrap(),
            signing_key: keystore.import_signing_key(&scalar).unwrap(),
            address: address(&scalar),
            key,
            data_key,
        }
    };
    (0..count).map(vault).collect()
}

fn use_all(keystore: &dyn Keystore, vaults: &[Vault], from: usize) {
    for n in 0..vaults.len() {
        let vault = &vaults[(from + n) % vaults.len()];
        assert_eq!(keystore.unwrap_data_key(&vault.key, b"here", &vault.wrapped).unwrap(), vault.data_key);
        let digest = *random_key();
        assert_signed_by(vault.address, &digest, &keystore.sign_digest(&vault.signing_key, &digest).unwrap());
    }
}

fn eight_threads_share_it(make: Make) {
    let Made { keystore, reopen, .. } = make();
    let vaults = vaults(&*keystore, 12);
    drop(keystore);
    // Fewer places than keys: threads use keys that others evict meanwhile.
    let keystore = reopen(CacheSizes { vault_keys: 3, signing_keys: 3 });
    let token_key = TokenKey::from_bytes(&keystore.token_public_key()).unwrap();
    let code = keystore.mac(b"m").unwrap();
    std::thread::scope(|threads| {
        for thread in 0..8usize {
            let (keystore, vaults) = (&*keystore, &vaults);
            threads.spawn(move || {
                for round in 0..4 {
                    use_all(keystore, vaults, thread * 3 + round);
                    let message = [thread as u8; 40];
                    let signature = TokenSignature::from_bytes(&keystore.sign_token(&message).unwrap());
                    token_key.verify_strict(&message, &signature).unwrap();
                    assert_eq!(keystore.mac(b"m").unwrap(), code);
                    assert_rejected(keystore.unwrap_data_key(&vaults[0].key, b"there", &vaults[0].wrapped));
                }
            });
        }
    });
}

fn more_keys_than_the_cache_holds(make: Make) {
    let Made { keystore, reopen, .. } = make();
    let vaults = vaults(&*keystore, 30);
    drop(keystore);
    for size in [0, 1, 7] {
        let keystore = reopen(CacheSizes { vault_keys: size, signing_keys: size });
        use_all(&*keystore, &vaults, 0);
        use_all(&*keystore, &vaults, 5);
    }
}

fn a_rotation_keeps_every_key_and_retiring_ends_what_was_left(make: Make) {
    let Made { keystore, reopen, rotate, retire } = make();
    let mut vaults = vaults(&*keystore, 2);
    let (code, token_key) = (keystore.mac(b"m").unwrap(), keystore.token_public_key());
    assert_eq!(keystore.roots(), Roots { newest: 1, older: None });
    assert_eq!(keystore.rewrap_vault_key(&vaults[0].key).unwrap(), None, "it is there already");
    drop(keystore);
    assert!(matches!(retire(), Err(OpenError::OneRoot)));
    for newest in 2..4 {
        let both = Roots { newest, older: Some(newest - 1) };
        assert_eq!(rotate().unwrap(), both);
        assert!(matches!(rotate(), Err(OpenError::Rotating(older)) if older == newest - 1));
        let keystore = reopen(CacheSizes::default());
        assert_eq!(keystore.roots(), both);
        // What is old and what is new go beside each other.
        use_all(&*keystore, &vaults, 0);
        let fresh = self::vaults(&*keystore, 1);
        use_all(&*keystore, &fresh, 0);
        assert_eq!(keystore.rewrap_vault_key(&fresh[0].key).unwrap(), None);
        assert_eq!(keystore.rewrap_signing_key(&fresh[0].signing_key).unwrap(), None);
        let left: Vec<_> =
            vaults.iter().map(|vault| (vault.key.clone(), vault.signing_key.clone())).collect();
        for vault in &mut vaults {
            vault.key = keystore.rewrap_vault_key(&vault.key).unwrap().unwrap();
            vault.signing_key = keystore.rewrap_signing_key(&vault.signing_key).unwrap().unwrap();
            assert_eq!(keystore.rewrap_vault_key(&vault.key).unwrap(), None);
            assert_eq!(keystore.rewrap_signing_key(&vault.signing_key).unwrap(), None);
        }
        use_all(&*keystore, &vaults, 0);
        drop(keystore);

        assert_eq!(retire().unwrap(), Roots { newest, older: None });
        assert!(matches!(retire(), Err(OpenError::OneRoot)));
        let keystore = reopen(CacheSizes::default());
        use_all(&*keystore, &vaults, 0);
        use_all(&*keystore, &fresh, 0);
        for ((key, signing_key), vault) in left.iter().zip(&vaults) {
            assert_rejected(keystore.unwrap_data_key(key, b"here", &vault.wrapped));
            assert_rejected(keystore.sign_digest(signing_key, &[1; 32]));
            assert_rejected(keystore.rewrap_vault_key(key));
            assert_rejected(keystore.rewrap_signing_key(signing_key));
        }
        assert_eq!((keystore.mac(b"m").unwrap(), keystore.token_public_key()), (code, token_key));
    }
}

fn what_a_later_root_wraps_is_as_hard_to_forge(make: Make) {
    let Made { keystore, reopen, rotate, .. } = make();
    let before = vaults(&*keystore, 1);
    let theirs = make().keystore;
    drop(keystore);
    rotate().unwrap();
    let keystore = reopen(CacheSizes { vault_keys: 0, signing_keys: 0 });
    let vault = &vaults(&*keystore, 1)[0];
    for altered in altered(&vault.key) {
        assert_rejected(keystore.unwrap_data_key(&altered, b"here", &vault.wrapped));
    }
    for altered in altered(&vault.signing_key) {
        assert_rejected(keystore.sign_digest(&altered, &[1; 32]));
    }
    for altered in altered(&before[0].key) {
        assert_rejected(keystore.rewrap_vault_key(&altered));
    }
    for altered in altered(&before[0].signing_key) {
        assert_rejected(keystore.rewrap_signing_key(&altered));
    }
    assert_rejected(keystore.rewrap_vault_key(&theirs.new_vault_key().unwrap()));
    assert_rejected(keystore.rewrap_signing_key(&theirs.import_signing_key(&scalar()).unwrap()));
    // Neither kind passes as the other.
    assert_rejected(keystore.rewrap_vault_key(&before[0].signing_key));
    assert_rejected(keystore.rewrap_signing_key(&before[0].key));
    use_all(&*keystore, &before, 0);
}
