//! What the parts that sign can do when nothing is around them. Signatures a second.

use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::Attribute;
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use k256::ecdsa::SigningKey;

/// OBJECT IDENTIFIER 1.3.132.0.10 (SEC 2, secp256k1), in DER.
const SECP256K1: [u8; 7] = [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a];

/// The argument that tells this executable that it is the process in which SoftHSM2 is measured.
pub const OTHER_PROCESS: &str = "softhsm-alone";

/// In memory, on one thread.
pub fn k256(duration: Duration) -> f64 {
    let key = SigningKey::from_slice(&[7; 32]).unwrap();
    count(duration, |digest| {
        let signature = key.sign_prehash_recoverable(digest).unwrap();
        std::hint::black_box(signature);
    })
}

/// On a SoftHSM2 token of its own, with one session for each thread. `None`: not installed.
pub fn softhsm(threads: usize, duration: Duration) -> Option<f64> {
    let module = harness::find_softhsm()?;
    let folder = tempfile::tempdir().unwrap();
    // The module reads its configuration from this process's environment, which is set before it starts: so the
    // measurement runs in a process of its own.
    let conf = harness::softhsm_token(folder.path());
    let own = std::env::current_exe().unwrap();
    let output = std::process::Command::new(own)
        .args([OTHER_PROCESS, &threads.to_string(), &duration.as_millis().to_string()])
        .arg(module)
        .env("SOFTHSM2_CONF", conf)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8(output.stdout).unwrap().trim().parse().unwrap())
}

/// What the other process does.
pub fn softhsm_here(threads: usize, duration: Duration, module: &str) -> f64 {
    let pkcs11 = Pkcs11::new(module).unwrap();
    pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    let slot = pkcs11.get_slots_with_token().unwrap().remove(0);
    let pin = AuthPin::from(harness::HSM_PIN.to_owned());
    std::thread::scope(|scope| {
        let first = pkcs11.open_rw_session(slot).unwrap();
        first.login(UserType::User, Some(&pin)).unwrap();
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                let session = pkcs11.open_rw_session(slot).unwrap();
                scope.spawn(move || sign_on(&session, duration))
            })
            .collect();
        workers.into_iter().map(|w| w.join().unwrap()).sum()
    })
}

fn sign_on(session: &Session, duration: Duration) -> f64 {
    let public = [Attribute::EcParams(SECP256K1.to_vec()), Attribute::Token(false), Attribute::Verify(true)];
    let private = [Attribute::Token(false), Attribute::Sensitive(true), Attribute::Sign(true)];
    let (_, key) = session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private).unwrap();
    count(duration, |digest| {
        session.sign(&Mechanism::Ecdsa, key, digest).unwrap();
    })
}

fn count(duration: Duration, mut sign: impl FnMut(&[u8; 32])) -> f64 {
    let begun = Instant::now();
    let mut signed = 0_u64;
    let mut digest = [0; 32];
    while begun.elapsed() < duration {
        digest[..8].copy_from_slice(&signed.to_be_bytes());
        sign(&digest);
        signed += 1;
    }
    signed as f64 / begun.elapsed().as_secs_f64()
}
