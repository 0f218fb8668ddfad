//! SoftHSM2 with tokens of the tests' own.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use domain::SecretBytes;
use signer::keys::CacheSizes;
use signer::keys::pkcs11::Config;

pub const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
pub const PIN: &str = "correct-horse-1234";

/// The folder with this process's tokens.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        assert!(
            Path::new(MODULE).exists(),
            "{MODULE} is missing: apt-get install -y --no-install-recommends softhsm2"
        );
        const PREFIX: &str = "talon-softhsm-";
        let all = std::env::temp_dir();
        // The folder must outlive the module, which ends with the process: the next run removes it.
        for entry in std::fs::read_dir(&all).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap_or_default();
            if name.strip_prefix(PREFIX).is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        let folder = all.join(format!("{PREFIX}{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(folder.join("tokens")).unwrap();
        let conf = folder.join("softhsm2.conf");
        let tokens = folder.join("tokens");
        let text = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            tokens.display()
        );
        std::fs::write(&conf, text).unwrap();
        #[expect(unsafe_code, reason = "the module reads its configuration from the environment")]
        // SAFETY: once in the process, before the module is loaded; the tests' other threads read no environment.
        unsafe {
            std::env::set_var("SOFTHSM2_CONF", &conf);
        }
        folder
    })
}

/// The module, for what the keystore itself never does.
pub fn module() -> Pkcs11 {
    static MODULE_: OnceLock<Pkcs11> = OnceLock::new();
    folder();
    let module = MODULE_.get_or_init(|| Pkcs11::new(MODULE).unwrap()).clone();
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => module,
        Err(error) => panic!("{error}"),
    }
}

/// A fresh, empty token.
pub fn token() -> Config {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    token_labelled(&format!("talon-{}", COUNT.fetch_add(1, Ordering::Relaxed)))
}

pub fn token_labelled(label: &str) -> Config {
    static ONE_BY_ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _guard = ONE_BY_ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let module = module();
    let empty = |slot: &cryptoki::slot::Slot| !module.get_token_info(*slot).unwrap().token_initialized();
    let slot = module.get_slots_with_token().unwrap().into_iter().find(empty).unwrap();
    let so_pin = AuthPin::from("so-pin-5678".to_owned());
    module.init_token(slot, &so_pin, label).unwrap();
    let session = module.open_rw_session(slot).unwrap();
    session.login(UserType::So, Some(&so_pin)).unwrap();
    session.init_pin(&AuthPin::from(PIN.to_owned())).unwrap();
    session.logout().unwrap();
    Config {
        module: MODULE.into(),
        token: label.to_owned(),
        pin: SecretBytes::from(PIN.as_bytes().to_vec()),
        sessions: 3,
        caches: CacheSizes::default(),
    }
}

/// A session of our own on that token, logged in, read and write.
pub fn session(config: &Config) -> Session {
    let module = module();
    let labelled =
        |slot: &cryptoki::slot::Slot| module.get_token_info(*slot).unwrap().label() == config.token;
    let slot = module.get_slots_with_initialized_token().unwrap().into_iter().find(labelled).unwrap();
    let session = module.open_rw_session(slot).unwrap();
    match session.login(UserType::User, Some(&AuthPin::from(PIN.to_owned()))) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => session,
        Err(error) => panic!("{error}"),
    }
}
