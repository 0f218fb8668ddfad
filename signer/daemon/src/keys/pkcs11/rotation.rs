//! The roots of a token: found, one more made, the older one destroyed.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use cryptoki::session::Session;

use super::Config;
use super::connection::refuse_readable;
use super::module::{failed, find_token, load, log_in};
use super::objects::{self, ROOT_LABEL, root_label, root_number};
use crate::keys::OpenError;
use crate::keys::roots::Roots;

/// The roots inside the token, by number.
#[derive(Clone, Copy)]
pub struct RootHandles {
    pub newest: (u32, ObjectHandle),
    pub older: Option<(u32, ObjectHandle)>,
}

impl RootHandles {
    pub fn numbers(&self) -> Roots {
        Roots { newest: self.newest.0, older: self.older.map(|(number, _)| number) }
    }

    pub fn handle(&self, number: u32) -> Option<ObjectHandle> {
        std::iter::once(self.newest).chain(self.older).find(|(known, _)| *known == number).map(|(_, key)| key)
    }

    /// One root, or two of which none can be read out.
    pub fn find(session: &Session, config: &Config) -> Result<Self, OpenError> {
        let token = || config.token.clone();
        let mut found: Vec<(u32, ObjectHandle)> = Vec::new();
        for key in session.find_objects(&objects::kept_secret_keys()).map_err(failed(config))? {
            let label = session.get_attributes(key, &[AttributeType::Label]).map_err(failed(config))?;
            let [Attribute::Label(label)] = &*label else { continue };
            if let Some(number) = std::str::from_utf8(label).ok().and_then(root_number) {
                found.push((number, key));
            }
        }
        found.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));
        for (number, key) in &found {
            let count = found.iter().filter(|(other, _)| other == number).count();
            if count > 1 {
                return Err(OpenError::ManyKeys { token: token(), label: root_label(*number), count });
            }
            refuse_readable(session, config, *key, &root_label(*number))?;
        }
        match *found {
            [] => Err(OpenError::NoKey { token: token(), label: ROOT_LABEL }),
            [newest] => Ok(Self { newest, older: None }),
            [newest, older] => Ok(Self { newest, older: Some(older) }),
            _ => Err(OpenError::ManyRoots { token: token(), count: found.len() }),
        }
    }
}

/// Makes a new root inside the token, which wraps from the next opening on; the one that there was unwraps what it has wrapped.
///
/// # Errors
/// If a rotation is under way, or the token can't be used.
pub fn rotate(config: &Config) -> Result<Roots, OpenError> {
    let (session, found) = written_to(config)?;
    if let Some((older, _)) = found.older {
        return Err(OpenError::Rotating(older));
    }
    let (older, _) = found.newest;
    let newest = older.checked_add(1).ok_or(OpenError::NoMoreRoots)?;
    session.generate_key(&Mechanism::AesKeyGen, &objects::new_root(newest)).map_err(failed(config))?;
    RootHandles::find(&session, config).map(|roots| roots.numbers())
}

/// Destroys the older root for good: what is still under it can't be opened any more.
///
/// # Errors
/// If there is none, or the token can't be used.
pub fn retire(config: &Config) -> Result<Roots, OpenError> {
    let (session, found) = written_to(config)?;
    let (_, older) = found.older.ok_or(OpenError::OneRoot)?;
    session.destroy_object(older).map_err(failed(config))?;
    RootHandles::find(&session, config).map(|roots| roots.numbers())
}

fn written_to(config: &Config) -> Result<(Session, RootHandles), OpenError> {
    let module = load(&config.module)?;
    let slot = find_token(&module, config)?;
    let session = module.open_rw_session(slot).map_err(failed(config))?;
    log_in(&session, config)?;
    let found = RootHandles::find(&session, config)?;
    Ok((session, found))
}
