//! Agents: registered, changed, ended. What decides is in the record that the signer attests; every change of it
//! is the signer's, on the word of a person's token.

mod approval;
mod create;
pub mod enrolment;
mod guardrails;
mod identity;
mod login;
mod record;
mod show;
mod suspension;
mod tokens;
mod trail;

use domain::access::{self, Permit};
use domain::{AgentId, Error, OrMissing as _, OrgId, Result, Revealed, Time, VaultId};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use signer_protocol::record::Change;
use store::agents::{self, Agent};

use super::{OfAgent, described, name};
use crate::access::{Agents, InOrg, OnAgent};
use crate::cx::Cx;
use crate::decode::{self, Nothing, NothingElse, Patch};
use crate::operation::{Operation, Reply, Route};
use crate::tool::{Effect, Tool};
use approval::ApprovalPolicyEntry;
pub use create::CreateAgent;
pub use enrolment::{EnrollAgent, EnrollmentCredentials};
use guardrails::GuardrailPatches;
pub use guardrails::address;
use record::{Row, change, settings_of, token_ttl};
pub(super) use record::{end, prefix, scopes};
pub use show::{AgentResponse, AgentSelfResponse};
pub use suspension::{ResumeAgent, ResumeAllAgents, SuspendAgent, SuspendAllAgents};
use tokens::{AllowedCallsEntry, TokenLimitEntry};

#[derive(Serialize, JsonSchema)]
pub struct AgentListResponse {
    agents: Vec<AgentResponse>,
    /// Whether the whole organisation's agents are suspended, be they active or not.
    agents_suspended: bool,
}

/// The organisation's agents.
pub struct ListAgents;

impl Operation for ListAgents {
    const ROUTE: Route = Route::new(
        "listAgents",
        Method::GET,
        "/v1/agents",
        200,
        "Your organisation's agents; to an agent, itself alone.",
    );
    type Path = ();
    type Params = ();
    type Output = AgentListResponse;
    type Access = InOrg<access::ListAgents>;

    async fn run(
        cx: &Cx,
        may: Permit<access::ListAgents, OrgId>,
        (): (),
        (): (),
    ) -> Result<Reply<AgentListResponse>> {
        let mut all = Vec::new();
        let agents = agents::list(cx.store(), &may).await?;
        show::vouched(cx, &agents).await?;
        for agent in &agents {
            all.push(AgentResponse::new(cx, agent).await?);
        }
        let gate = cx.gateway.known.gate(cx.store(), may.org()).await?;
        Ok(Reply::of(AgentListResponse { agents: all, agents_suspended: gate.agents_suspended }))
    }
}

/// The agent that asks.
pub struct GetAgentSelf;

impl Operation for GetAgentSelf {
    const ROUTE: Route = Route::new(
        "getAgentSelf",
        Method::GET,
        "/v1/agents/me",
        200,
        "The agent that asks: who am I, what may I, how much of the daily limit is left?",
    )
    .tool(
        Tool::new(
            "whoami",
            Effect::Reads,
            "Tells who you are to Talon and what binds you: scopes, vaults, whether you may send transactions \
             (intents_api_enabled), to whom, on which chains, how much, how often, which tokens and calls, when people must approve first, and what is left \
             of the daily limit (tx_…; ether, and a token's smallest units; an empty list or a limit left out bounds nothing). Use it before you send a transaction, and when something is \
             refused.",
        ),
    );
    type Path = ();
    type Params = ();
    type Output = AgentSelfResponse;
    type Access = Agents;

    async fn run(cx: &Cx, id: AgentId, (): (), (): ()) -> Result<Reply<AgentSelfResponse>> {
        let agent = agents::facts(cx.store(), id).await?.or_missing("agent")?;
        show::vouched(cx, std::slice::from_ref(&agent)).await?;
        Ok(Reply::of(AgentSelfResponse::new(cx, &agent).await?))
    }
}

/// One agent.
pub struct GetAgent;

impl Operation for GetAgent {
    const ROUTE: Route = Route::new("getAgent", Method::GET, "/v1/agents/{agent_id}", 200, "One agent.");
    type Path = OfAgent;
    type Params = ();
    type Output = AgentResponse;
    type Access = OnAgent<access::SeeAgent>;

    async fn run(
        cx: &Cx,
        may: Permit<access::SeeAgent, AgentId>,
        _: OfAgent,
        (): (),
    ) -> Result<Reply<AgentResponse>> {
        let agent = agents::find(cx.store(), &may).await?.or_missing("agent")?;
        show::vouched(cx, std::slice::from_ref(&agent)).await?;
        Ok(Reply::of(AgentResponse::new(cx, &agent).await?))
    }
}

#[derive(Deserialize, JsonSchema)]
pub struct UpdateAgentRequest {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    description: Patch<String>,
    #[serde(default)]
    scopes: Patch<Vec<String>>,
    #[serde(default)]
    is_active: Option<bool>,
    #[serde(default, alias = "api_key_expires_at")]
    expires_at: Patch<Time>,
    #[serde(default)]
    intents_api_enabled: Option<bool>,
    #[serde(default)]
    token_ttl_seconds: Patch<u32>,
    #[serde(default)]
    vault_ids: Patch<Vec<VaultId>>,
    #[serde(default)]
    tx_to_allowlist: Patch<Vec<String>>,
    #[serde(default)]
    tx_max_value_eth: Patch<String>,
    #[serde(default)]
    tx_daily_limit_eth: Patch<String>,
    #[serde(default)]
    tx_max_fee_eth: Patch<String>,
    #[serde(default)]
    tx_allowed_chains: Patch<Vec<String>>,
    #[serde(default)]
    tx_daily_count: Patch<u32>,
    #[serde(default)]
    tx_recipient_daily_limit_eth: Patch<String>,
    #[serde(default)]
    tx_daily_gas_eth: Patch<String>,
    #[serde(default)]
    tx_tokens: Patch<Vec<TokenLimitEntry>>,
    #[serde(default)]
    tx_calls_allowlist: Patch<Vec<AllowedCallsEntry>>,
    #[serde(default)]
    tx_unlimited_approvals: Patch<bool>,
    #[serde(default)]
    tx_approval_policy: Patch<ApprovalPolicyEntry>,
    #[serde(default)]
    tx_auto_bump: Patch<bool>,
    #[serde(default)]
    tx_contract_creation: Patch<bool>,
    #[serde(flatten)]
    _nothing_else: NothingElse,
}

/// Changes an agent.
pub struct UpdateAgent;

impl Operation for UpdateAgent {
    const ROUTE: Route = Route::new(
        "updateAgent",
        Method::PATCH,
        "/v1/agents/{agent_id}",
        200,
        "Changes an agent; what is left out stays, null clears.",
    )
    .audited("agent.update", "agent");
    type Path = OfAgent;
    type Params = decode::From<UpdateAgentRequest>;
    type Output = AgentResponse;
    type Access = OnAgent<access::ChangeAgent>;

    async fn run(
        cx: &Cx,
        may: Permit<access::ChangeAgent, AgentId>,
        path: OfAgent,
        decode::From(patch): Self::Params,
    ) -> Result<Reply<AgentResponse>> {
        let agent = agents::facts(cx.store(), path.agent_id).await?.or_missing("agent")?;
        let mut settings = settings_of(&agent)?;
        let texts = Row::Texts {
            name: patch.name.map_or_else(|| Ok(agent.name.clone()), |new| name("name", &new))?,
            description: patch.description.try_map(described)?.over(agent.description.clone()),
        };
        settings.active = patch.is_active.unwrap_or(settings.active);
        settings.intents = patch.intents_api_enabled.unwrap_or(settings.intents);
        settings.scopes = match patch.scopes.try_map(|s| record::scopes(&s))? {
            Patch::Keep => settings.scopes,
            other => other.over(None).unwrap_or_default(),
        };
        settings.vault_ids = match patch.vault_ids {
            Patch::Keep => settings.vault_ids,
            other => record::vaults(cx, other.over(None).unwrap_or_default()).await?,
        };
        settings.token_ttl_seconds = match patch.token_ttl_seconds {
            Patch::Keep => settings.token_ttl_seconds,
            other => token_ttl(other.over(None))?,
        };
        settings.expires_at = match patch.expires_at {
            Patch::Keep => settings.expires_at,
            other => record::end(cx, other.over(None))?,
        };
        let guardrails = GuardrailPatches {
            allowed_chains: patch.tx_allowed_chains,
            to_allowlist: patch.tx_to_allowlist,
            max_value: patch.tx_max_value_eth,
            daily_limit: patch.tx_daily_limit_eth,
            max_fee: patch.tx_max_fee_eth,
            daily_count: patch.tx_daily_count,
            recipient_daily_limit: patch.tx_recipient_daily_limit_eth,
            daily_gas: patch.tx_daily_gas_eth,
            tokens: patch.tx_tokens,
            calls: patch.tx_calls_allowlist,
            unlimited_approvals: patch.tx_unlimited_approvals,
            approval: patch.tx_approval_policy,
            auto_bump: patch.tx_auto_bump,
            contract_creation: patch.tx_contract_creation,
        };
        settings.guardrails = guardrails.apply(cx, settings.guardrails).await?;
        let agent = change(cx, &may, agent, Change::Update(settings), texts).await?;
        Ok(Reply::of(AgentResponse::changed(cx, &agent).await?))
    }
}

/// Deactivates an agent.
pub struct DeleteAgent;

impl Operation for DeleteAgent {
    const ROUTE: Route = Route::new(
        "deleteAgent",
        Method::DELETE,
        "/v1/agents/{agent_id}",
        204,
        "Deactivates an agent: its keys and tokens stop at once; the record and its history stay.",
    )
    .audited("agent.deactivate", "agent");
    type Path = OfAgent;
    type Params = ();
    type Output = ();
    type Access = OnAgent<access::ChangeAgent>;

    async fn run(
        cx: &Cx,
        may: Permit<access::ChangeAgent, AgentId>,
        path: OfAgent,
        (): (),
    ) -> Result<Reply<()>> {
        let agent = agents::facts(cx.store(), path.agent_id).await?.or_missing("agent")?;
        change(cx, &may, agent, Change::Deactivate, Row::Keep).await?;
        Ok(Reply::of(()))
    }
}

#[derive(Serialize, JsonSchema)]
pub struct AgentKeyRotatedResponse {
    /// Shown once.
    api_key: Revealed,
}

/// Gives an agent a new key.
pub struct RotateAgentKey;

impl Operation for RotateAgentKey {
    const ROUTE: Route = Route::new(
        "rotateAgentKey",
        Method::POST,
        "/v1/agents/{agent_id}/rotate-key",
        200,
        "Gives an agent a new key, once; its earlier key and tokens stop at once.",
    )
    .audited("agent.rotate_key", "agent");
    type Path = OfAgent;
    type Params = Nothing;
    type Output = AgentKeyRotatedResponse;
    type Access = OnAgent<access::ChangeAgent>;

    async fn run(
        cx: &Cx,
        may: Permit<access::ChangeAgent, AgentId>,
        path: OfAgent,
        _: Nothing,
    ) -> Result<Reply<AgentKeyRotatedResponse>> {
        let agent = agents::facts(cx.store(), path.agent_id).await?.or_missing("agent")?;
        // Nor once it has ended: its record pins nothing then.
        if agent.auth_method != "api_key" {
            return Err(Error::conflict(format!(
                "This agent logs in without a key ({}), so there is none to rotate. Deactivate it to end it; for \
                 another certificate or client, register another agent.",
                agent.auth_method
            )));
        }
        let (key, credential) = record::new_key()?;
        let new_key = Row::Key(record::prefix(&key));
        change(cx, &may, agent, Change::RotateKey(credential), new_key).await?;
        Ok(Reply::of(AgentKeyRotatedResponse { api_key: Revealed::new(&key) }))
    }
}

/// Which the record of an agent is.
fn principal(agent: &Agent) -> Result<signer_protocol::record::Principal> {
    agent.record.peek().map_err(|e| Error::internal(format!("agent {}'s record is damaged: {e}", agent.id)))
}
