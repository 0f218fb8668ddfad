//! An agent's key, or what proves it otherwise, exchanged for a token.

use std::net::IpAddr;

use domain::audit::Event;
use domain::{AgentId, Error, EventId, Kind, PathGlob, PrincipalId, Result, SecretText};
use http::Method;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Map;
use signer_protocol::record::{Assertion, Credential, CredentialKind, Principal};
use signer_protocol::token::{IssueToken, IssuedToken};
use signer_protocol::wire::Secret;
use signer_protocol::{Attested, Refusal};
use store::agents::{self, Agent};

use super::{TokenResponse, asserted};
use crate::access::Public;
use crate::cx::Cx;
use crate::decode::{self, NothingElse};
use crate::gateway::Gateway;
use crate::notes::{Asked, Tried};
use crate::operation::{Operation, Reply, Route};
use crate::throttle::{self, Target};
use crate::{gate, refusal};

/// Of the scopes that are written into a token for information, in bytes.
const MAX_DERIVED: usize = 4096;
/// Of a key, kept for look-up and display.
pub const PREFIX: usize = 12;

#[derive(Deserialize, JsonSchema)]
pub struct AgentTokenRequest {
    /// Found by the key when it is left out.
    #[serde(default)]
    agent_id: Option<AgentId>,
    /// The agent's key, or the token of its issuer and client. An agent that has shown its certificate needs none.
    #[serde(default)]
    api_key: Option<SecretText>,
    #[serde(flatten)]
    _nothing_else: NothingElse,
}

/// Exchanges for a token what an agent logs in with.
pub struct AgentToken;

pub const WRONG: &str = "Wrong agent or key, or the agent is deactivated, suspended or expired. Ask whoever registered the agent.";

const NOTHING: &str = "must be the agent's key (ocv_…), or its issuer's token; an agent with a certificate sends its \
                       agent_id alone, over a connection on which it has shown the certificate";

impl Operation for AgentToken {
    const ROUTE: Route = Route::new(
        "agentToken",
        Method::POST,
        "/v1/auth/agent-token",
        200,
        "Exchanges an agent's key for a token, with the agent's id or by the key alone; for agents without a key, the token \
         of its issuer's client, or the TLS certificate that it shows.",
    );
    type Path = ();
    type Params = decode::From<AgentTokenRequest>;
    type Output = TokenResponse;
    type Access = Public;

    async fn run(cx: &Cx, (): (), (): (), decode::From(given): Self::Params) -> Result<Reply<TokenResponse>> {
        let (gateway, address) = (&cx.gateway, cx.address);
        let key = given.api_key.filter(|key| !key.expose().is_empty());
        let target = given.agent_id.map_or(Target::Anyones, Target::Agent);
        let issued = match (given.agent_id, key, &cx.certificate) {
            (id, Some(key), _) => {
                throttle::guard(gateway, target, address, exchange(gateway, id, &key, address)).await?
            }
            (Some(id), None, Some(shown)) => {
                let work = asserted::by_certificate(gateway, id, shown, address);
                throttle::guard(gateway, target, address, work).await?
            }
            _ => return Err(Error::invalid("api_key", NOTHING)),
        };
        Ok(Reply::of(TokenResponse::new(&issued)?))
    }
}

pub async fn exchange(
    gateway: &Gateway,
    id: Option<AgentId>,
    key: &SecretText,
    address: Option<IpAddr>,
) -> Result<IssuedToken> {
    match id {
        Some(id) => by_id(gateway, id, key, address).await,
        None => by_key(gateway, key, address).await,
    }
}

/// What it costs, it costs for an id that no agent has as well: whether an enrolment has made an agent tells whether the
/// address that it named is known.
async fn by_id(
    gateway: &Gateway,
    id: AgentId,
    key: &SecretText,
    address: Option<IpAddr>,
) -> Result<IssuedToken> {
    let found = agents::facts(&gateway.store, id).await?;
    if let Some(agent) = &found
        && let Some(Assertion::Client { issuer, client_id }) = asserted::pinned(agent)?
    {
        return asserted::by_token(gateway, agent, (issuer, client_id), key, address).await;
    }
    let record = found.as_ref().map(|agent| agent.record.clone());
    let issued = issue(gateway, id, record, key).await;
    let Some(agent) = found else {
        gateway.notes.stranger(Tried::AgentKey, address, gateway.clock.now());
        return Err(Error::unauthenticated(WRONG).because("unknown agent"));
    };
    match issued {
        Ok(issued) => {
            gate::pass(gateway, PrincipalId::Agent(id), agent.org, address).await?;
            succeeded(gateway, &agent, "api_key", address).await?;
            Ok(issued)
        }
        Err(error) if error.kind() == Kind::Unauthenticated => {
            gateway.notes.failed(event(gateway, &agent, "auth.failure", "api_key", address));
            Err(Error::unauthenticated(WRONG).because(error))
        }
        Err(error) => Err(refused(gateway, &agent, error, address)),
    }
}

async fn by_key(gateway: &Gateway, key: &SecretText, address: Option<IpAddr>) -> Result<IssuedToken> {
    // The first characters are no secret, and a key that is shorter is none at all.
    let candidates = match key.expose().get(..PREFIX) {
        Some(prefix) => agents::facts_by_key_prefix(&gateway.store, prefix).await?,
        None => Vec::new(),
    };
    for agent in &candidates {
        match issue(gateway, agent.id, Some(agent.record.clone()), key).await {
            Ok(issued) => {
                gate::pass(gateway, PrincipalId::Agent(agent.id), agent.org, address).await?;
                succeeded(gateway, agent, "api_key", address).await?;
                return Ok(issued);
            }
            // Whoever has so much of its key is taken for the agent.
            Err(error) if error.kind() == Kind::Unauthenticated => {
                gateway.notes.failed(event(gateway, agent, "auth.failure", "api_key", address));
            }
            Err(error) => return Err(refused(gateway, agent, error, address)),
        }
    }
    if candidates.is_empty() {
        gateway.notes.stranger(Tried::AgentKey, address, gateway.clock.now());
    }
    Err(Error::unauthenticated(WRONG))
}

async fn issue(
    gateway: &Gateway,
    agent: AgentId,
    record: Option<Attested<Principal>>,
    key: &SecretText,
) -> Result<IssuedToken> {
    let derived_scopes = derived_scopes(gateway, agent).await?;
    let newest = || async {
        match record {
            Some(_) => Ok(agents::facts(&gateway.store, agent).await?.map(|agent| Some(agent.record))),
            None => Ok(Some(None)),
        }
    };
    let ask = |record| ask(gateway, record, &derived_scopes, key);
    refusal::with_newest(record.clone(), ask, newest).await?.map_err(refusal::error)
}

async fn ask(
    gateway: &Gateway,
    record: Option<Attested<Principal>>,
    derived_scopes: &[PathGlob],
    key: &SecretText,
) -> Result<IssuedToken, Refusal> {
    let proof = Credential { kind: CredentialKind::AgentKey, secret: Secret::from(key) };
    let request = IssueToken { record, proof, derived_scopes: derived_scopes.to_vec() };
    gateway.signer.call(async |signer, cx| signer.issue_token(cx, request).await).await
}

/// What an agent's policies come to, for its token to say.
pub async fn derived_scopes(gateway: &Gateway, agent: AgentId) -> Result<Vec<PathGlob>> {
    let policies = gateway.known.policies(&gateway.store, PrincipalId::Agent(agent)).await?;
    let mut scopes: Vec<_> = policies.iter().map(|p| p.pattern.clone()).collect();
    scopes.dedup();
    // They are for information, and whoever writes policies must not make a token too long to be sent.
    if scopes.iter().map(|scope| scope.as_str().len()).sum::<usize>() > MAX_DERIVED {
        scopes.clear();
    }
    Ok(scopes)
}

pub async fn succeeded(
    gateway: &Gateway,
    agent: &Agent,
    method: &'static str,
    address: Option<IpAddr>,
) -> Result<()> {
    let mut tx = gateway.store.begin().await?;
    agents::seen(&mut tx, agent.id, gateway.clock.now()).await?;
    tx.record(event(gateway, agent, "auth.success", method, address));
    tx.commit().await
}

/// The signer gave no token, and not for what was shown: its rule is told where the agent's owners look, and nowhere else.
pub fn refused(gateway: &Gateway, agent: &Agent, error: Error, from: Option<IpAddr>) -> Error {
    let what = ("operation", AgentToken::ROUTE.id);
    let (by, at) = (Some(PrincipalId::Agent(agent.id)), gateway.clock.now());
    if error.refused().is_some() && gateway.notes.is_news(agent.id, error.refused()) {
        gateway.notes.refused(&error, Asked { org: agent.org, by, what, from, at });
    }
    error.told()
}

pub fn event(
    gateway: &Gateway,
    agent: &Agent,
    action: &'static str,
    method: &'static str,
    address: Option<IpAddr>,
) -> Event {
    Event {
        id: EventId::new(),
        org: agent.org,
        action,
        actor: Some(PrincipalId::Agent(agent.id)),
        resource: ("agent", agent.id.to_string()),
        details: Map::from_iter([("method".to_owned(), method.into())]),
        address: address.map(|a| a.to_string()),
        at: gateway.clock.now(),
    }
}
