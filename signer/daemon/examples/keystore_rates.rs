//! Prints how fast both keystores are, beside what they are made of: k256 alone, and a bare SoftHSM session.
//!
//! `cargo run --release -p signer --example keystore_rates`

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "it prints, and stops when something fails")]

#[path = "../tests/keys/softhsm.rs"]
mod softhsm;

use std::hint::black_box;
use std::rc::Rc;
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

fn row(name: &str, rate: f64, note: &str) {
    println!("  {name:<30} {rate:>10.0}/s  {:>7.1} µs  {note}", 1e6 / rate);
}

/// The two by turns, on one thread, so that a busy machine slows down both alike.
fn beside(name: &str, ours: &dyn Fn(), bare: &dyn Fn()) {
    let (mut spent, mut calls) = ([Duration::ZERO; 2], [0u32; 2]);
    for turn in 0..200 {
        let start = Instant::now();
        while start.elapsed() < TIME / 100 {
            [ours, bare][turn % 2]();
            calls[turn % 2] += 1;
        }
        spent[turn % 2] += start.elapsed();
    }
    let [ours, bare] = [0, 1].map(|n| f64::from(calls[n]) / spent[n].as_secs_f64());
    row(name, ours, &format!("{:.0} % of the bare {bare:.0}/s", 100.0 * ours / bare));
}

/// What a keystore is made of, without it.
struct Bare {
    sign: Box<dyn Fn()>,
    open: Option<Box<dyn Fn()>>,
}

/// `cold` holds no key ready.
fn measure(name: &str, keystore: &dyn Keystore, cold: &dyn Keystore, bare: &Bare) {
    let vault = keystore.new_vault_key().unwrap();
    let wrapped = keystore.wrap_data_key(&vault, b"aad", &Key::new([7; 32])).unwrap();
    let key = keystore.import_signing_key(&Key::new(SCALAR)).unwrap();
    let sign = || {
        black_box(keystore.sign_digest(&key, &DIGEST).unwrap());
    };
    let open = || drop(black_box(keystore.unwrap_data_key(&vault, b"aad", &wrapped).unwrap()));
    println!("{name}");
    beside("sign_digest", &sign, &bare.sign);
    if let Some(bare_open) = &bare.open {
        beside("unwrap_data_key", &open, bare_open);
    }
    for threads in [1, 2, 4] {
        let note = format!("{threads} thread(s)");
        row("sign_digest", rate(threads, sign), &note);
        row("unwrap_data_key", rate(threads, open), &note);
        row("mac (200 bytes)", rate(threads, || keystore.mac(&[1; 200]).unwrap()), &note);
        row("sign_token", rate(threads, || keystore.sign_token(&[1; 300]).unwrap()), &note);
    }
    row("sign_digest, key not ready", rate(1, || cold.sign_digest(&key, &DIGEST).unwrap()), "");
    let open = || cold.unwrap_data_key(&vault, b"aad", &wrapped).unwrap();
    row("unwrap_data_key, key not ready", rate(1, open), "");
    row("new_vault_key", rate(1, || keystore.new_vault_key().unwrap()), "");
    let import = || keystore.import_signing_key(&Key::new(SCALAR)).unwrap();
    row("import_signing_key", rate(1, import), "");
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    software::create(folder.path(), None).unwrap();
    let open = || software::open(folder.path(), None).unwrap();
    let signing = SigningKey::from_bytes((&SCALAR).into()).unwrap();
    let sign = move || {
        let _: Signature = black_box(signing.sign_prehash(&DIGEST).unwrap());
    };
    let bare = Bare { sign: Box::new(sign), open: None };
    measure("software, beside k256", &open(), &open().with_caches(NONE), &bare);

    let config = Config { sessions: 4, ..softhsm::token() };
    pkcs11::init(&config).unwrap();
    let bare = bare_session(&config);
    let cold = pkcs11::open(Config { caches: NONE, ..config.clone() }).unwrap();
    measure("pkcs11, beside one bare SoftHSM2 session", &pkcs11::open(config).unwrap(), &cold, &bare);
}

/// One session, its own session objects, no pool, no cache.
fn bare_session(config: &Config) -> Bare {
    let session = Rc::new(softhsm::session(config));
    let signing_key = session
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
    let vault_key = session
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
    let body = session.encrypt(&gcm(&mut [1; 12]), vault_key, &[7; 32]).unwrap();
    let for_open = session.clone();
    let sign = move || drop(session.sign(&Mechanism::Ecdsa, signing_key, &DIGEST).unwrap());
    let open = move || drop(for_open.decrypt(&gcm(&mut [1; 12]), vault_key, &body).unwrap());
    Bare { sign: Box::new(sign), open: Some(Box::new(open)) }
}

fn gcm(iv: &mut [u8; 12]) -> Mechanism<'_> {
    Mechanism::AesGcm(GcmParams::new(iv, b"aad", 128.into()).unwrap())
}
