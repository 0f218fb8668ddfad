//! Agents for whom somebody else vouches: an issuer by a token, or the TLS handshake by a certificate. The record pins
//! whom the gateway must have recognised; the signer compares.

use std::net::IpAddr;

use domain::{AgentId, Error, Kind, PathGlob, PrincipalId, Result, SecretText};
use signer_protocol::record::{Assertion, Principal};
use signer_protocol::token::{IssueAsserted, IssuedToken};
use signer_protocol::wire::Blob;
use signer_protocol::{Attested, Refusal};
use store::agents::{self, Agent};

use super::agent_token::{WRONG, derived_scopes, event, refused, succeeded};
use crate::certificate::Fingerprint;
use crate::gateway::Gateway;
use crate::notes::Tried;
use crate::openid::Refused;
use crate::{gate, refusal};

/// The token of the issuer and client that the agent's record pins.
///
/// # Errors
/// `Unauthenticated`, whatever is wrong with it, the issuer being away included; the log says what.
pub async fn by_token(
    gateway: &Gateway,
    agent: &Agent,
    (issuer, client_id): (String, String),
    token: &SecretText,
    address: Option<IpAddr>,
) -> Result<IssuedToken> {
    let pinned = (agent.org, issuer.as_str(), client_id.as_str());
    let audience = &gateway.settings.public_url;
    let checked = gateway.openid.client(&gateway.egress, &gateway.clock, pinned, audience, token).await;
    let seen = match checked {
        Ok(()) => Ok(Assertion::Client { issuer, client_id }),
        Err(Refused::Token(why)) => Err(format!("the issuer's token: {why}")),
        Err(Refused::NoKeys(why)) => Err(format!("the issuer's keys: {why}")),
    };
    issue(gateway, agent, seen, "oidc_client_credentials", address).await
}

/// The certificate that the agent's record pins.
///
/// # Errors
/// `Unauthenticated`, whatever is wrong; the log says what.
pub async fn by_certificate(
    gateway: &Gateway,
    id: AgentId,
    shown: &Fingerprint,
    address: Option<IpAddr>,
) -> Result<IssuedToken> {
    let agent = agents::facts(&gateway.store, id).await?;
    let Some(agent) = agent else {
        gateway.notes.stranger(Tried::Certificate, address, gateway.clock.now());
        return Err(Error::unauthenticated(WRONG).because("unknown agent"));
    };
    let seen = match pinned(&agent)? {
        Some(Assertion::Certificate { sha256 }) if shown.is(&sha256.0) => {
            Ok(Assertion::Certificate { sha256: Blob(shown.as_bytes().to_vec()) })
        }
        Some(Assertion::Certificate { .. }) => Err("another certificate".to_owned()),
        _ => Err("the agent is deactivated, or logs in with no certificate".to_owned()),
    };
    issue(gateway, &agent, seen, "mtls", address).await
}

/// Whom the record of an agent that is active names. Whether the record is genuine, the signer will tell.
///
/// # Errors
/// `Internal` if the record can't be read.
pub fn pinned(agent: &Agent) -> Result<Option<Assertion>> {
    let record = agent.record.peek();
    record
        .map(|principal| principal.asserted.filter(|_| principal.active))
        .map_err(|e| Error::internal(format!("agent {}'s record is damaged: {e}", agent.id)))
}

async fn issue(
    gateway: &Gateway,
    agent: &Agent,
    seen: Result<Assertion, String>,
    method: &'static str,
    address: Option<IpAddr>,
) -> Result<IssuedToken> {
    let issued = match seen {
        Ok(seen) => {
            let derived_scopes = derived_scopes(gateway, agent.id).await?;
            let newest =
                || async { Ok(agents::facts(&gateway.store, agent.id).await?.map(|agent| agent.record)) };
            let ask = |record| ask(gateway, record, &seen, &derived_scopes);
            let issued = refusal::with_newest(agent.record.clone(), ask, newest).await?;
            issued.map_err(refusal::error)
        }
        Err(why) => Err(Error::unauthenticated(WRONG).because(why)),
    };
    match issued {
        Ok(issued) => {
            gate::pass(gateway, PrincipalId::Agent(agent.id), agent.org, address).await?;
            succeeded(gateway, agent, method, address).await?;
            Ok(issued)
        }
        Err(error) if error.kind() == Kind::Unauthenticated => {
            gateway.notes.failed(event(gateway, agent, "auth.failure", method, address));
            Err(Error::unauthenticated(WRONG).because(error))
        }
        Err(error) => Err(refused(gateway, agent, error, address)),
    }
}

async fn ask(
    gateway: &Gateway,
    record: Attested<Principal>,
    seen: &Assertion,
    derived_scopes: &[PathGlob],
) -> Result<IssuedToken, Refusal> {
    let derived_scopes = derived_scopes.to_vec();
    let request = IssueAsserted { record, seen: seen.clone(), derived_scopes };
    gateway.signer.call(async |signer, cx| signer.issue_asserted(cx, request).await).await
}
