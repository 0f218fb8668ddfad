//! What was begun and has waited is asked again: the policies, the scopes and the key's own state may have changed since. The
//! signer asks its own rules; what only the database says is asked here.

use domain::access::{self, ReadSecret};
use domain::{Error, Result};
use signer_protocol::Attested;
use signer_protocol::key::SigningKey;
use signer_protocol::replace::Derived;
use store::transactions::Accepted;
use store::{policies, vaults};

use crate::gateway::Gateway;
use crate::known::KnownPrincipal;

/// The key to sign an accepted intent with, if its agent may use it still. From the database, not from what was known a moment
/// ago: it is about money.
///
/// # Errors
/// `Gone` for a key that is erased or out of use, `Forbidden` if nothing lets the agent use it any more.
pub async fn key(
    gateway: &Gateway,
    accepted: &Accepted,
    agent: &KnownPrincipal,
) -> Result<Attested<SigningKey>> {
    let intent = accepted.intent.peek().map_err(Error::internal)?;
    let path = intent.key_path;
    let Some(found) = &accepted.key else {
        return Err(Error::gone(format!("The key at {path} was erased: nothing is signed with it.")));
    };
    // What moves nothing ends what was begun, or clears the way for others who share the key.
    if intent.derived.as_ref().is_some_and(Derived::is_idle) {
        return Ok(found.key.clone());
    }
    let now = gateway.clock.now();
    if !found.of.signs(now) {
        let (version, state) = (found.of.version, found.of.state(now).as_str());
        return Err(Error::gone(format!(
            "The key at {path} (version {version}) is {state}: nothing is signed with it."
        )));
    }
    let Some(vault) = vaults::facts(&gateway.store, intent.vault).await? else {
        return Err(Error::gone(format!("The vault of the key at {path} was deleted, and the key with it.")));
    };
    if vault.cmek.is_some() {
        return Err(Error::gone(format!(
            "The key at {path} is in a CMEK vault now: Talon signs with no key there."
        )));
    }
    let policies = policies::for_principal(&gateway.store, agent.principal.id).await?;
    if access::still::<ReadSecret>(&agent.absent(now), &vault.facts(), &policies, path.clone()) {
        return Ok(found.key.clone());
    }
    Err(Error::forbidden(format!(
        "The agent may not use the key at {path} any more: its policies, scopes or vaults do not let it."
    )))
}
