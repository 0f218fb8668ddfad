//! Changes of an agent's record: proposed to the signer, stored, confirmed.

use domain::access::{self, Permit};
use domain::{AgentId, Error, OrgId, PathGlob, Result, SecretText, Time, VaultId};
use signer_protocol::Attested;
use signer_protocol::identity::Maker;
use signer_protocol::record::{AgentSettings, Change, Credential, CredentialKind, Guardrails, Principal};
use signer_protocol::wire::Secret;
use store::agents::{self, Agent};

use super::login::LoginMethod;
use super::trail::{changed, seen};
use super::{identity, principal};
use crate::cx::Cx;
use crate::ops::auth::agent_token::PREFIX;
use crate::password::random;

const DEFAULT_TTL: u32 = 3600;
/// The vault of identities is made once and stays: a second try finds it.
const TRIES: usize = 3;

pub fn default_settings() -> AgentSettings {
    AgentSettings {
        intents: false,
        scopes: Vec::new(),
        vault_ids: Vec::new(),
        token_ttl_seconds: DEFAULT_TTL,
        guardrails: Guardrails::default(),
        active: true,
        expires_at: None,
    }
}

/// An agent's settings as they are.
pub fn settings_of(agent: &Agent) -> Result<AgentSettings> {
    let now = principal(agent)?;
    Ok(AgentSettings {
        intents: now.intents,
        scopes: now.scopes,
        vault_ids: now.vault_ids,
        token_ttl_seconds: now.token_ttl_seconds,
        guardrails: now.guardrails,
        active: now.active,
        expires_at: now.expires_at,
    })
}

/// A fresh `ocv_` key, and the credential that the signer keeps a verifier of.
pub fn new_key() -> Result<(SecretText, Credential)> {
    let key = domain::secret::api_key("ocv_", &random::<32>()?);
    let credential = Credential { kind: CredentialKind::AgentKey, secret: Secret::from(&key) };
    Ok((key, credential))
}

pub fn prefix(key: &SecretText) -> String {
    key.expose().chars().take(PREFIX).collect()
}

/// What changes in the agent's row beside its record.
pub enum Row {
    Keep,
    /// The prefix of a new key.
    Key(String),
    Texts {
        name: String,
        description: Option<String>,
    },
}

pub async fn register(
    cx: &Cx,
    may: &Permit<access::CreateAgent, OrgId>,
    texts: (String, Option<String>),
    method: &LoginMethod,
    settings: AgentSettings,
) -> Result<(Agent, Option<SecretText>)> {
    // Somebody may make the organisation's first agent at the same moment, and so the vault for both.
    for _ in 0..TRIES {
        if let Some(registered) = try_register(cx, may, &texts, method, &settings).await? {
            return Ok(registered);
        }
    }
    Err(Error::conflict("Many agents are being made at once; try again in a moment."))
}

/// `None`: the vault for the agent's identity was made by somebody else in the meantime.
async fn try_register(
    cx: &Cx,
    may: &Permit<access::CreateAgent, OrgId>,
    (name, description): &(String, Option<String>),
    method: &LoginMethod,
    settings: &AgentSettings,
) -> Result<Option<(Agent, Option<SecretText>)>> {
    let (login, key) = method.make()?;
    let id = AgentId::new();
    let born = identity::make(cx, may, Maker::Caller(cx.for_signer()?), id).await?;
    let change = Change::CreateAgent {
        id,
        login,
        identity: Some(born.made.identity.clone()),
        settings: settings.clone(),
    };
    let record = cx.propose(None, change).await?;
    let agent = Agent {
        id,
        org: may.org(),
        name: name.clone(),
        description: description.clone(),
        auth_method: method.name().to_owned(),
        key_prefix: key.as_ref().map(prefix),
        record,
        version: 1,
        created_at: cx.now(),
        last_active_at: None,
    };
    let begins_with = seen(cx, &agent).await?;
    let mut act = cx.begin().await?;
    if !born.store(cx, &mut act, may, id, !settings.intents).await? {
        return Ok(None);
    }
    agents::insert(&mut act, may, &agent).await?;
    for (field, value) in begins_with {
        act.note(&field, value);
    }
    act.commit(id).await?;
    cx.gateway.confirm(&agent.record).await?;
    Ok(Some((agent, key)))
}

/// To whoever lets an agent go on that logs in with nothing any more.
pub fn ended(agent: &Agent) -> Error {
    Error::conflict(if agent.auth_method == "api_key" {
        "This agent has ended, and its key with it. Give it a new one (rotate-key), then set is_active to true."
    } else {
        "This agent has ended, and what it logged in with: register another agent."
    })
}

/// Changes the record, then the row, then tells the signer that it is stored. From the answer on, the record
/// before it is refused.
pub async fn change(
    cx: &Cx,
    may: &Permit<access::ChangeAgent, AgentId>,
    mut agent: Agent,
    change: Change,
    row: Row,
) -> Result<Agent> {
    let (from_version, before) = (agent.version, seen(cx, &agent).await?);
    let was = principal(&agent)?;
    agent.record = cx.propose(Some(agent.record), change).await?;
    // The signer would let it, since it still logs in with nothing; but it would look as if it did.
    if !was.active && principal(&agent)?.active && !was.has_login() {
        return Err(ended(&agent));
    }
    agent.version = principal_version(&agent.record)?;
    match row {
        Row::Keep => {}
        Row::Key(prefix) => agent.key_prefix = Some(prefix),
        Row::Texts { name, description } => (agent.name, agent.description) = (name, description),
    }
    let changed = changed(&before, seen(cx, &agent).await?);
    let mut act = cx.begin().await?;
    let write = agents::Change {
        from_version,
        name: &agent.name,
        description: agent.description.as_deref(),
        key_prefix: agent.key_prefix.as_deref(),
        record: &agent.record,
    };
    agents::change(&mut act, may, write).await?;
    act.note("version", agent.version);
    act.note("changed", changed);
    act.commit(agent.id).await?;
    cx.gateway.known.exchanged.invalidate_all();
    cx.gateway.confirm(&agent.record).await?;
    Ok(agent)
}

pub fn principal_version(record: &Attested<Principal>) -> Result<u64> {
    record.peek().map(|p| p.version).map_err(Error::internal)
}

/// Of explicit scopes together, in bytes, and of vaults: both are in every token.
const MAX_SCOPES: usize = 8192;
const MAX_VAULTS: usize = 100;

pub fn scopes(given: &[String]) -> Result<Vec<PathGlob>> {
    if given.iter().map(String::len).sum::<usize>() > MAX_SCOPES {
        return Err(Error::invalid("scopes", "must have at most 8,192 characters together"));
    }
    given.iter().map(|text| PathGlob::parse("scopes", text)).collect()
}

/// Vaults of the caller's own organisation.
pub async fn vaults(cx: &Cx, given: Vec<VaultId>) -> Result<Vec<VaultId>> {
    let org = cx.subject()?.org;
    if given.len() > MAX_VAULTS {
        return Err(Error::invalid("vault_ids", "must be at most 100"));
    }
    for id in &given {
        if cx.vault(*id).await?.is_none_or(|v| v.org != org) {
            return Err(Error::invalid("vault_ids", "must be vaults of your organisation"));
        }
    }
    Ok(given)
}

pub fn token_ttl(given: Option<u32>) -> Result<u32> {
    match given {
        None => Ok(DEFAULT_TTL),
        Some(seconds @ 60..=86_400) => Ok(seconds),
        Some(_) => Err(Error::invalid("token_ttl_seconds", "must be from 60 to 86400")),
    }
}

pub fn end(cx: &Cx, at: Option<Time>) -> Result<Option<Time>> {
    match at {
        Some(at) if at <= cx.now() => Err(Error::invalid("expires_at", "must be in the future")),
        at => Ok(at),
    }
}
