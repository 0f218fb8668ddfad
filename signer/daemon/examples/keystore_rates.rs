//! Prints how fast both keystores are, beside what they are made of: k256 alone, and a bare SoftHSM session.
//!
//! `cargo run --release -p signer --example keystore_rates`

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "it prints, and stops when something fails")]

#[path = "../tests/keys/softhsm.rs"]
mod softhsm;

use std::time::{Duration, Instant};

use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, KeyType, ObjectClass};
use k256::ecdsa::signature::hazmat::PrehashSigner;
use k256::ecdsa::{Signature, SigningKey};
use signer::keys::pkcs11::Config;
use signer::keys::{CacheSizes, Key, Keystore, pkcs11, software};

const TIME: Duration = Duration::from_secs(2);
const DIGEST: [u8; 32] = [0x5a; 32];
const NONE: CacheSizes = CacheSizes { vault_keys: 0, signing_keys: 0 };
const SCALAR: [u8; 32] = [0x11; 32];

/// Calls a second, on that many threads.
fn rate<T>(threads: usize, work: impl Fn() -> T + Sync) -> f64 {
    work();
    let start = Instant::now();
    let calls: u64 = std::thread::scope(|scope| {
        let one = || {
            let mut calls = 0;
            while start.elapsed() < TIME {
                work();
                calls += 1;
            }
            calls
        };
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        all.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    calls as f64 / start.elapsed().as_secs_f64()
}

/// With its share of the bare rate, where there is one.
fn row(name: &str, rate: f64, bare: Option<f64>) {
    let share = bare.map_or(String::new(), |bare| format!("{:>4.0} %", 100.0 * rate / bare));
    println!("  {name:<30} {rate:>10.0}/s  {:>7.1} µs  {share}", 1e6 / rate);
}

/// `cold` holds no key ready.
fn measure(name: &str, keystore: &dyn Keystore, cold: &dyn Keystore, bare_sign: f64, bare_open: Option<f64>) {
    let vault = keystore.new_vault_key().unwrap();
    let wrapped = keystore.wrap_data_key(&vault, b"aad", &Key::new([7; 32])).unwrap();
    let key = keystore.import_signing_key(&Key::new(SCALAR)).unwrap();
    for threads in [1, 2] {
        println!("{name}, {threads} thread(s), beside the bare one on one thread");
        let sign = rate(threads, || keystore.sign_digest(&key, &DIGEST).unwrap());
        row("sign_digest", sign, Some(bare_sign));
        let open = rate(threads, || keystore.unwrap_data_key(&vault, b"aad", &wrapped).unwrap());
        row("unwrap_data_key", open, bare_open);
        row("mac (200 bytes)", rate(threads, || keystore.mac(&[1; 200]).unwrap()), None);
        row("sign_token", rate(threads, || keystore.sign_token(&[1; 300]).unwrap()), None);
    }
    row("sign_digest, key not ready", rate(1, || cold.sign_digest(&key, &DIGEST).unwrap()), None);
    let open = || cold.unwrap_data_key(&vault, b"aad", &wrapped).unwrap();
    row("unwrap_data_key, key not ready", rate(1, open), None);
    row("new_vault_key", rate(1, || keystore.new_vault_key().unwrap()), None);
    let import = || keystore.import_signing_key(&Key::new(SCALAR)).unwrap();
    row("import_signing_key", rate(1, import), None);
}

fn main() {
    let signing = SigningKey::from_bytes((&SCALAR).into()).unwrap();
    let bare = rate(1, || -> Signature { signing.sign_prehash(&DIGEST).unwrap() });
    println!("k256 alone, 1 thread");
    row("sign", bare, None);

    let config = Config { sessions: 4, ..softhsm::token() };
    pkcs11::init(&config).unwrap();
    // The bare session first: its objects must not slow down the keystore's.
    let (hsm_sign, hsm_open) = bare_session(&config);

    let folder = tempfile::tempdir().unwrap();
    software::create(folder.path(), None).unwrap();
    let open = || software::open(folder.path(), None).unwrap();
    measure("software", &open(), &open().with_caches(NONE), bare, None);
    let cold = pkcs11::open(Config { caches: NONE, ..config.clone() }).unwrap();
    measure("pkcs11 (SoftHSM2)", &pkcs11::open(config).unwrap(), &cold, hsm_sign, Some(hsm_open));
}

/// One session, its own session objects, no pool, no cache.
fn bare_session(config: &Config) -> (f64, f64) {
    let session = std::sync::Mutex::new(softhsm::session(config));
    let locked = session.lock().unwrap();
    let signing_key = locked
        .create_object(&[
            Attribute::Class(ObjectClass::PRIVATE_KEY),
            Attribute::KeyType(KeyType::EC),
            Attribute::EcParams(vec![0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a]),
            Attribute::Value(SCALAR.to_vec()),
            Attribute::Token(false),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
        ])
        .unwrap();
    let vault_key = locked
        .generate_key(
            &Mechanism::AesKeyGen,
            &[
                Attribute::Token(false),
                Attribute::Sensitive(true),
                Attribute::Extractable(false),
                Attribute::ValueLen(32.into()),
                Attribute::Encrypt(true),
                Attribute::Decrypt(true),
            ],
        )
        .unwrap();
    let body = locked.encrypt(&gcm(&mut [1; 12]), vault_key, &[7; 32]).unwrap();
    drop(locked);
    let sign = rate(1, || session.lock().unwrap().sign(&Mechanism::Ecdsa, signing_key, &DIGEST).unwrap());
    let open = rate(1, || session.lock().unwrap().decrypt(&gcm(&mut [1; 12]), vault_key, &body).unwrap());
    println!("SoftHSM2 alone, 1 session");
    row("sign", sign, None);
    row("AES-GCM decrypt of a key", open, None);
    (sign, open)
}

fn gcm(iv: &mut [u8; 12]) -> Mechanism<'_> {
    Mechanism::AesGcm(GcmParams::new(iv, b"aad", 128.into()).unwrap())
}
