//! A login with its sessions and the objects that live in them. It is used while it works and replaced as a whole
//! when any part of it fails: objects die with the session that made them, so no handle outlives its connection.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use ed25519_dalek::{Signature, VerifyingKey};

use super::failure::Failure;
use super::module::{failed, find_token, load, log_in};
use super::objects::{MAC_LABEL, TOKEN_LABEL, labelled};
use super::rotation::RootHandles;
use super::{Config, ed25519};
use crate::keys::OpenError;
use crate::keys::ready::Ready;
use crate::keys::roots::{self, Roots};

/// How long a call waits for a session. More than a backlog on a slow HSM, less than a caller's patience.
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Connection {
    sessions: Mutex<Vec<Session>>,
    returned: Condvar,
    roots: RootHandles,
    mac: ObjectHandle,
    token: ObjectHandle,
    token_public_key: VerifyingKey,
    pub vault_keys: Ready<Unwrapped>,
    pub signing_keys: Ready<Unwrapped>,
    doomed: Arc<Mutex<Vec<ObjectHandle>>>,
    broken: AtomicBool,
    /// The last field to be dropped, after every session is closed.
    in_module: Arc<()>,
}

/// A key unwrapped inside the HSM. Destroyed there once the cache and every user have let go of it.
pub struct Unwrapped {
    handle: ObjectHandle,
    doomed: Arc<Mutex<Vec<ObjectHandle>>>,
}

impl Unwrapped {
    pub fn handle(&self) -> ObjectHandle {
        self.handle
    }
}

impl Drop for Unwrapped {
    fn drop(&mut self) {
        self.doomed.lock().unwrap_or_else(PoisonError::into_inner).push(self.handle);
    }
}

impl Connection {
    pub fn open(config: &Config) -> Result<Self, OpenError> {
        let module = load(&config.module)?;
        let slot = find_token(&module, config)?;
        let first = module.open_ro_session(slot).map_err(failed(config))?;
        log_in(&first, config)?;

        let roots = RootHandles::find(&first, config)?;
        let mac = find(&first, config, ObjectClass::SECRET_KEY, MAC_LABEL)?;
        let token = find(&first, config, ObjectClass::PRIVATE_KEY, TOKEN_LABEL)?;
        for (key, label) in [(mac, MAC_LABEL), (token, TOKEN_LABEL)] {
            refuse_readable(&first, config, key, label)?;
        }
        let token_public_key = token_public_key(&first, config, token)?;
        let mac = at_hand(&first, config, mac, MAC_LABEL)?;
        let token = at_hand(&first, config, token, TOKEN_LABEL)?;

        let mut sessions = vec![first];
        while sessions.len() < config.sessions.max(1) {
            match module.open_ro_session(slot) {
                Ok(session) => sessions.push(session),
                Err(Error::Pkcs11(RvError::SessionCount, _)) => {
                    let (wanted, given) = (config.sessions, sessions.len());
                    tracing::warn!(wanted, given, "the token gives fewer sessions than configured");
                    break;
                }
                Err(error) => return Err(failed(config)(error)),
            }
        }
        Ok(Self {
            sessions: Mutex::new(sessions),
            returned: Condvar::new(),
            roots,
            mac,
            token,
            token_public_key,
            vault_keys: Ready::new(config.caches.vault_keys),
            signing_keys: Ready::new(config.caches.signing_keys),
            doomed: Arc::default(),
            broken: AtomicBool::new(false),
            in_module: Arc::default(),
        })
    }

    pub fn token_public_key(&self) -> [u8; 32] {
        self.token_public_key.to_bytes()
    }

    pub fn roots(&self) -> Roots {
        self.roots.numbers()
    }

    /// Upgrades for as long as anything of this connection may still be inside the module.
    pub fn in_module(&self) -> Weak<()> {
        Arc::downgrade(&self.in_module)
    }

    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// Does `work` in a session that nobody else uses meanwhile.
    pub fn call<T>(&self, work: impl FnOnce(&Self, &Session) -> Result<T, Failure>) -> Result<T, Failure> {
        // If `work` panics its session closes: what it left unfinished in there is unknown.
        let session = self.check_out()?;
        let done = work(self, &session).and_then(|done| {
            self.destroy_doomed(&session)?;
            Ok(done)
        });
        if let Err(Failure::Broken(_)) = done {
            self.broken.store(true, Ordering::Release);
        }
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).push(session);
        self.returned.notify_one();
        done
    }

    fn check_out(&self) -> Result<Session, Failure> {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut sessions, _) = self
            .returned
            .wait_timeout_while(sessions, PATIENCE, |idle| idle.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        sessions
            .pop()
            .ok_or_else(|| Failure::Broken(format!("no session was free for {} s", PATIENCE.as_secs())))
    }

    fn destroy_doomed(&self, session: &Session) -> Result<(), Failure> {
        let doomed = std::mem::take(&mut *self.doomed.lock().unwrap_or_else(PoisonError::into_inner));
        for handle in doomed {
            session.destroy_object(handle)?;
        }
        Ok(())
    }

    pub fn mac(&self, session: &Session, message: &[u8]) -> Result<[u8; 32], Failure> {
        let code = session.sign(&Mechanism::Sha256Hmac, self.mac, message)?;
        code.as_slice().try_into().map_err(|_| Failure::odd("a code", code.len()))
    }

    pub fn sign_token(&self, session: &Session, message: &[u8]) -> Result<[u8; 64], Failure> {
        let signature = session.sign(&ed25519(), self.token, message)?;
        signature.as_slice().try_into().map_err(|_| Failure::odd("a token's signature", signature.len()))
    }

    /// The unwrapped key, a ready one or by `unwrap` under the root that wraps it.
    pub fn unwrapped(
        &self,
        session: &Session,
        ready: &Ready<Unwrapped>,
        wrapped: &[u8],
        unwrap: impl FnOnce(ObjectHandle, &[u8]) -> cryptoki::error::Result<ObjectHandle>,
    ) -> Result<Arc<Unwrapped>, Failure> {
        ready.get(wrapped, || {
            let (number, body) = roots::split(wrapped);
            let root = self.roots.handle(number).ok_or(Failure::Input)?;
            let handle = self.about_input(session, unwrap(root, body))?;
            Ok(Unwrapped { handle, doomed: self.doomed.clone() })
        })
    }

    /// The same key under the newest root. `None`: it is there already.
    pub fn rewrapped(
        &self,
        session: &Session,
        mechanism: &Mechanism<'_>,
        wrapped: &[u8],
        passing: &[Attribute],
    ) -> Result<Option<Vec<u8>>, Failure> {
        if !self.roots().is_older(wrapped).map_err(|_| Failure::Input)? {
            return Ok(None);
        }
        let (number, body) = roots::split(wrapped);
        let root = self.roots.handle(number).ok_or(Failure::Input)?;
        let key = self.about_input(session, session.unwrap_key(mechanism, root, body, passing))?;
        self.wrap_and_destroy(session, mechanism, key).map(Some)
    }

    /// By the newest root.
    pub fn wrap_and_destroy(
        &self,
        session: &Session,
        mechanism: &Mechanism<'_>,
        key: ObjectHandle,
    ) -> Result<Vec<u8>, Failure> {
        let (number, root) = self.roots.newest;
        let wrapped = session.wrap_key(mechanism, root, key);
        session.destroy_object(key)?;
        Ok(roots::mark(number, wrapped?))
    }

    /// The result of a call whose input may be forged. Modules answer a wrong tag with errors that also mean a
    /// broken device (SoftHSM: `CKR_GENERAL_ERROR`), so the device is asked how it is.
    pub fn about_input<T>(
        &self,
        session: &Session,
        result: cryptoki::error::Result<T>,
    ) -> Result<T, Failure> {
        match result {
            Err(Error::Pkcs11(
                RvError::GeneralError | RvError::FunctionFailed | RvError::ArgumentsBad,
                _,
            )) if self.mac(session, b"talon/health/1").is_ok() => Err(Failure::Input),
            result => Ok(result?),
        }
    }
}

/// The one key under a label.
fn find(
    session: &Session,
    config: &Config,
    class: ObjectClass,
    label: &'static str,
) -> Result<ObjectHandle, OpenError> {
    let found = session.find_objects(&labelled(class, label)).map_err(failed(config))?;
    let token = config.token.clone();
    match *found {
        [] => Err(OpenError::NoKey { token, label }),
        [key] => Ok(key),
        _ => Err(OpenError::ManyKeys { token, label: label.to_owned(), count: found.len() }),
    }
}

/// A key that somebody put into the token may have a copy outside.
pub fn refuse_readable(
    session: &Session,
    config: &Config,
    key: ObjectHandle,
    label: &str,
) -> Result<(), OpenError> {
    let attributes = session
        .get_attributes(key, &[AttributeType::Sensitive, AttributeType::Extractable])
        .map_err(failed(config))?;
    match *attributes {
        [Attribute::Sensitive(true), Attribute::Extractable(false)] => Ok(()),
        _ => Err(OpenError::Extractable { token: config.token.clone(), label: label.to_owned() }),
    }
}

/// A copy of the key, inside the HSM, that lives in the session: modules read the token's own anew on every use
/// (SoftHSM's MACs are three times as fast with the copy). A copy is as closed as its original (PKCS#11 2.40, §4.4).
fn at_hand(
    session: &Session,
    config: &Config,
    key: ObjectHandle,
    label: &'static str,
) -> Result<ObjectHandle, OpenError> {
    match session.copy_object(key, &[Attribute::Token(false)]) {
        Ok(copy) => refuse_readable(session, config, copy, label).map(|()| copy),
        Err(error) => {
            tracing::debug!(%error, label, "the module copies no keys; the token's own is used");
            Ok(key)
        }
    }
}

/// Ed25519's public key, proven to be that of the private one.
fn token_public_key(
    session: &Session,
    config: &Config,
    private: ObjectHandle,
) -> Result<VerifyingKey, OpenError> {
    let mismatch = || OpenError::Mismatch { token: config.token.clone(), label: TOKEN_LABEL };
    let public = find(session, config, ObjectClass::PUBLIC_KEY, TOKEN_LABEL)?;
    let point = session.get_attributes(public, &[AttributeType::EcPoint]).map_err(failed(config))?;
    let [Attribute::EcPoint(point)] = &*point else { return Err(mismatch()) };
    // A DER OCTET STRING (PKCS#11 2.40), or the bare key (3.0 allows it).
    let point = point.strip_prefix(&[0x04, 32]).unwrap_or(point);
    let key =
        point.try_into().ok().and_then(|point| VerifyingKey::from_bytes(point).ok()).ok_or_else(mismatch)?;

    let challenge = b"talon/token-key-check/1";
    let signature = session.sign(&ed25519(), private, challenge).map_err(failed(config))?;
    let signature = Signature::from_slice(&signature).map_err(|_| mismatch())?;
    key.verify_strict(challenge, &signature).map_err(|_| mismatch())?;
    Ok(key)
}
