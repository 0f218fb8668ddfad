//! From a configuration to a logged-in session.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::RawAuthPin;

use super::Config;
use crate::keys::OpenError;

type Result<T> = std::result::Result<T, OpenError>;

/// Modules stay loaded for the life of the process: several crash when they are unloaded.
static LOADED: Mutex<Vec<(PathBuf, Pkcs11)>> = Mutex::new(Vec::new());

/// The module, loaded and initialised.
pub fn load(path: &Path) -> Result<Pkcs11> {
    let not_a_module = |error: Error| OpenError::NotAModule { path: path.into(), cause: error.to_string() };
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    let module = match loaded.iter().find(|(at, _)| at == path) {
        Some((_, module)) => module.clone(),
        None if !path.exists() => return Err(OpenError::NoModule(path.into())),
        None => {
            let module = Pkcs11::new(path).map_err(not_a_module)?;
            loaded.push((path.into(), module.clone()));
            module
        }
    };
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(module),
        Err(error) => Err(not_a_module(error)),
    }
}

/// Ends the module's state, and with it every session: a module sees a token that came back only when it is
/// initialised anew.
pub fn end(path: &Path) {
    let loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, module)) = loaded.iter().find(|(at, _)| at == path)
        && let Err(error) = module.clone().finalize()
    {
        // It had ended by itself, or will say again what is wrong with it when it is initialised.
        tracing::debug!(%error, "the PKCS#11 module did not end");
    }
}

/// The one token with the configured label.
pub fn find_token(module: &Pkcs11, config: &Config) -> Result<Slot> {
    let mut found = Vec::new();
    for slot in module.get_slots_with_initialized_token().map_err(failed(config))? {
        let token = module.get_token_info(slot).map_err(failed(config))?;
        if token.label() == config.token {
            found.push(slot);
        }
    }
    match *found {
        [] => Err(OpenError::NoToken(config.token.clone())),
        [slot] => Ok(slot),
        _ => Err(OpenError::ManyTokens { label: config.token.clone(), count: found.len() }),
    }
}

/// Logs the process in: one session's login is every session's (PKCS#11 2.40, §5.6). Tried once, since wrong PINs
/// are counted.
pub fn log_in(session: &Session, config: &Config) -> Result<()> {
    let pin = RawAuthPin::new(Box::new(config.pin.expose().to_vec()));
    match session.login_with_raw(UserType::User, &pin) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _)) => {
            Err(OpenError::WrongPin(config.token.clone()))
        }
        Err(Error::Pkcs11(RvError::PinLocked | RvError::PinExpired | RvError::UserPinNotInitialized, _)) => {
            Err(OpenError::PinLocked(config.token.clone()))
        }
        Err(error) => Err(failed(config)(error)),
    }
}

pub fn failed(config: &Config) -> impl Fn(Error) -> OpenError {
    move |error| OpenError::Token { token: config.token.clone(), cause: error.to_string() }
}
