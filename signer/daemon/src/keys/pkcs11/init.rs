//! The keys of a token, made once.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::Session;

use super::Config;
use super::module::{failed, find_token, load, log_in};
use super::objects::{self, MAC_LABEL, ROOT_LABEL, TOKEN_LABEL};
use crate::keys::OpenError;
use crate::keys::roots::FIRST;

/// Makes root, MAC and token key inside the token: sensitive, and never extractable.
///
/// # Errors
/// If the token holds any of the three already, or can't be used.
pub fn init(config: &Config) -> Result<(), OpenError> {
    let module = load(&config.module)?;
    let slot = find_token(&module, config)?;
    let session = module.open_rw_session(slot).map_err(failed(config))?;
    log_in(&session, config)?;

    for label in [ROOT_LABEL, MAC_LABEL, TOKEN_LABEL] {
        let same = [Attribute::Token(true), Attribute::Label(label.into())];
        if !session.find_objects(&same).map_err(failed(config))?.is_empty() {
            return Err(OpenError::KeyExists { token: config.token.clone(), label });
        }
    }
    let mut made = Vec::with_capacity(4);
    make(&session, &mut made).map_err(|error| {
        // Half a set would be refused by the next attempt.
        for key in made {
            if let Err(error) = session.destroy_object(key) {
                tracing::error!(%error, "a key of an init that failed is still in the token");
            }
        }
        failed(config)(error)
    })
}

fn make(session: &Session, made: &mut Vec<ObjectHandle>) -> cryptoki::error::Result<()> {
    made.push(session.generate_key(&Mechanism::AesKeyGen, &objects::new_root(FIRST))?);
    made.push(session.generate_key(&Mechanism::GenericSecretKeyGen, &objects::new_mac())?);
    let (public, private) = session.generate_key_pair(
        &Mechanism::EccEdwardsKeyPairGen,
        &objects::new_token_public(),
        &objects::new_token_private(),
    )?;
    made.extend([public, private]);
    Ok(())
}
