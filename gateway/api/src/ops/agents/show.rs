//! An agent, as callers see it: limits and public keys from the record that the signer attests.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{AgentId, OrgId, PrincipalId, Result, Time, UserId, VaultId, Wei};
use schemars::JsonSchema;
use serde::Serialize;
use signer_protocol::record::{Assertion, Guardrails, Principal};
use signer_protocol::{Reason, Refusal};
use store::agents::Agent;

use super::approval::ApprovalPolicyEntry;
use super::principal;
use super::tokens::{AllowedCallsEntry, TokenLimitEntry};
use crate::cx::Cx;
use crate::ops::approvals::too_few;
use crate::refusal;

/// Records that are vouched for in one request: each has some 110 KB at most, and a frame 4 MiB.
const AT_ONCE: usize = 25;

/// That these are the agents' own records, and the signer's: somebody trusts what is shown, a public key above all,
/// and whoever writes to the database must not be able to swap it.
///
/// # Errors
/// `Forbidden` for a record that the signer did not make, or that is another agent's.
pub async fn vouched(cx: &Cx, agents: &[Agent]) -> Result<()> {
    for agent in agents {
        let record = principal(agent)?;
        if (record.id, record.org) != (PrincipalId::Agent(agent.id), agent.org) {
            let cause = format!("agent {} has the record of {}", agent.id, record.id);
            return Err(refusal::error(Refusal::new(Reason::Tampered, cause)));
        }
    }
    for some in agents.chunks(AT_ONCE) {
        let records: Vec<_> = some.iter().map(|agent| agent.record.clone()).collect();
        cx.signer(async |signer, context| signer.vouch(context, records).await).await?;
    }
    Ok(())
}

#[derive(Serialize, JsonSchema)]
pub struct AgentResponse {
    id: AgentId,
    org_id: OrgId,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    auth_method: String,
    /// The first characters of the key, to tell keys apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_prefix: Option<String>,
    /// SHA-256, hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_cert_fingerprint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    oidc_issuer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    oidc_client_id: Option<String>,
    scopes: Vec<String>,
    is_active: bool,
    /// `active`; `awaiting_key`: enrolled, and its person has not fetched its key; `suspended`: as it was, once it is resumed;
    /// `expired`; `ended`: with what it logged in with. Of this agent alone: `agents_suspended` stops it as well.
    status: &'static str,
    intents_api_enabled: bool,
    #[serde(flatten)]
    guardrails: GuardrailsShown,
    token_ttl_seconds: u32,
    vault_ids: Vec<VaultId>,
    /// Ed25519: 32 bytes, base64. Agents from before there were pairs have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    ssh_public_key: Option<String>,
    /// P-256, uncompressed: 65 bytes, base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    ecdh_public_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<UserId>,
    created_at: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_active_at: Option<Time>,
    /// What to mind, of an agent that was just made or changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
}

/// What bounds an agent's transactions. An empty list bounds nothing, nor does a limit that is left out.
#[derive(Serialize, JsonSchema)]
struct GuardrailsShown {
    tx_to_allowlist: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tx_max_value_eth: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tx_daily_limit_eth: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tx_max_fee_eth: Option<String>,
    tx_allowed_chains: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tx_daily_count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tx_recipient_daily_limit_eth: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tx_daily_gas_eth: Option<String>,
    /// Empty: tokens move as the other limits say.
    tx_tokens: Vec<TokenLimitEntry>,
    tx_calls_allowlist: Vec<AllowedCallsEntry>,
    tx_unlimited_approvals: bool,
    /// Left out: people are asked for nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    tx_approval_policy: Option<ApprovalPolicyEntry>,
    tx_auto_bump: bool,
    tx_contract_creation: bool,
}

impl GuardrailsShown {
    async fn new(cx: &Cx, limits: &Guardrails) -> Result<Self> {
        let chains = cx.gateway.chains.all(cx.store()).await?;
        let name = |id: &u64| {
            let known = chains.iter().find(|c| c.chain_id == *id);
            known.map_or_else(|| id.to_string(), |c| c.name.clone())
        };
        Ok(Self {
            tx_to_allowlist: limits.to_allowlist.iter().map(|a| a.to_checksum(None)).collect(),
            tx_max_value_eth: limits.max_value.map(Wei::to_ether),
            tx_daily_limit_eth: limits.daily_limit.map(Wei::to_ether),
            tx_max_fee_eth: limits.max_fee.map(Wei::to_ether),
            tx_allowed_chains: limits.allowed_chains.iter().map(name).collect(),
            tx_daily_count: limits.daily_count,
            tx_recipient_daily_limit_eth: limits.recipient_daily_limit.map(Wei::to_ether),
            tx_daily_gas_eth: limits.daily_gas.map(Wei::to_ether),
            tx_tokens: limits.tokens.iter().map(|one| TokenLimitEntry::of(one, name)).collect(),
            tx_calls_allowlist: limits.calls.iter().map(|one| AllowedCallsEntry::of(one, name)).collect(),
            tx_unlimited_approvals: limits.unlimited_approvals,
            tx_approval_policy: limits.approval.as_ref().map(ApprovalPolicyEntry::of),
            tx_auto_bump: limits.auto_bump,
            tx_contract_creation: limits.contract_creation,
        })
    }
}

fn status(record: &Principal, now: Time) -> &'static str {
    match (record.active, record.has_login()) {
        (true, true) if record.expires_at.is_some_and(|end| end <= now) => "expired",
        (true, true) => "active",
        (true, false) => "awaiting_key",
        (false, true) => "suspended",
        (false, false) => "ended",
    }
}

impl AgentResponse {
    pub async fn new(cx: &Cx, agent: &Agent) -> Result<Self> {
        let record = principal(agent)?;
        let status = status(&record, cx.now());
        let (certificate, issuer, client) = match record.asserted {
            Some(Assertion::Certificate { sha256 }) => (Some(hex::encode(sha256.0)), None, None),
            Some(Assertion::Client { issuer, client_id }) => (None, Some(issuer), Some(client_id)),
            Some(Assertion::Person { .. }) | None => (None, None, None),
        };
        Ok(Self {
            id: agent.id,
            org_id: agent.org,
            name: agent.name.clone(),
            description: agent.description.clone(),
            auth_method: agent.auth_method.clone(),
            key_prefix: agent.key_prefix.clone(),
            client_cert_fingerprint: certificate,
            oidc_issuer: issuer,
            oidc_client_id: client,
            scopes: record.scopes.iter().map(ToString::to_string).collect(),
            is_active: record.active,
            status,
            intents_api_enabled: record.intents,
            guardrails: GuardrailsShown::new(cx, &record.guardrails).await?,
            token_ttl_seconds: record.token_ttl_seconds,
            vault_ids: record.vault_ids.clone(),
            ssh_public_key: record.identity.as_ref().map(|halves| STANDARD.encode(&halves.ssh.0)),
            ecdh_public_key: record.identity.as_ref().map(|halves| STANDARD.encode(&halves.ecdh.0)),
            created_by: record.created_by,
            created_at: agent.created_at,
            expires_at: record.expires_at,
            last_active_at: agent.last_active_at,
            warning: None,
        })
    }

    /// As it was just made or changed.
    pub async fn changed(cx: &Cx, agent: &Agent) -> Result<Self> {
        let approval = principal(agent)?.guardrails.approval;
        let warning = match approval {
            Some(policy) => too_few(cx, agent.org, PrincipalId::Agent(agent.id), policy.approvals).await,
            None => None,
        };
        Ok(Self { warning, ..Self::new(cx, agent).await? })
    }
}

#[derive(Serialize, JsonSchema)]
pub struct AgentSelfResponse {
    id: AgentId,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    org_id: OrgId,
    scopes: Vec<String>,
    is_active: bool,
    intents_api_enabled: bool,
    /// The vaults that it is bound to; empty: any that a policy names.
    vault_ids: Vec<VaultId>,
    #[serde(flatten)]
    guardrails: GuardrailsShown,
    /// What is left of the daily limit now, in ether: the limit less what was sent or is about to be in the last
    /// 24 hours.
    #[serde(skip_serializing_if = "Option::is_none")]
    tx_daily_remaining_eth: Option<String>,
    /// Ed25519: 32 bytes, base64. Agents from before there were pairs have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    ssh_public_key: Option<String>,
    /// P-256, uncompressed: 65 bytes, base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    ecdh_public_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<UserId>,
    created_at: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_active_at: Option<Time>,
}

/// The signer counts, and nobody else knows.
async fn remaining(cx: &Cx, agent: AgentId, limits: &Guardrails) -> Result<Option<Wei>> {
    let Some(limit) = limits.daily_limit else { return Ok(None) };
    let spent = cx.signer(async |signer, context| signer.spent(context, agent).await).await?;
    Ok(Some(Wei(limit.0.saturating_sub(spent.0))))
}

impl AgentSelfResponse {
    pub async fn new(cx: &Cx, agent: &Agent) -> Result<Self> {
        let record = principal(agent)?;
        Ok(Self {
            id: agent.id,
            name: agent.name.clone(),
            description: agent.description.clone(),
            org_id: agent.org,
            scopes: record.scopes.iter().map(ToString::to_string).collect(),
            is_active: record.active,
            intents_api_enabled: record.intents,
            vault_ids: record.vault_ids.clone(),
            guardrails: GuardrailsShown::new(cx, &record.guardrails).await?,
            tx_daily_remaining_eth: remaining(cx, agent.id, &record.guardrails).await?.map(Wei::to_ether),
            ssh_public_key: record.identity.as_ref().map(|halves| STANDARD.encode(&halves.ssh.0)),
            ecdh_public_key: record.identity.as_ref().map(|halves| STANDARD.encode(&halves.ecdh.0)),
            created_by: record.created_by,
            created_at: agent.created_at,
            expires_at: record.expires_at,
            last_active_at: agent.last_active_at,
        })
    }
}
