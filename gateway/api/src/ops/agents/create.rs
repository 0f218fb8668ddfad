//! An agent is registered, by a person.

use domain::access::{self, Permit};
use domain::{OrgId, Result, Revealed, Time, VaultId};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::AgentResponse;
use super::approval::ApprovalPolicyEntry;
use super::guardrails::GuardrailPatches;
use super::login::{LoginFields, LoginMethod};
use super::record::{self, default_settings, register, token_ttl};
use super::tokens::{AllowedCallsEntry, TokenLimitEntry};
use crate::access::InOrg;
use crate::cx::Cx;
use crate::decode::{self, NothingElse, Patch};
use crate::operation::{Operation, Reply, Route};
use crate::ops::{description, name};

#[derive(Deserialize, JsonSchema)]
pub struct CreateAgentRequest {
    name: String,
    #[serde(default)]
    description: Option<String>,
    /// `api_key` (when left out), `mtls` or `oidc_client_credentials`: for good.
    #[serde(default)]
    auth_method: Option<String>,
    /// With `mtls`: the SHA-256 of its certificate (DER), in hex, with colons or without. Who issued the certificate, and
    /// until when, is not looked at.
    #[serde(default)]
    client_cert_fingerprint: Option<String>,
    /// With `oidc_client_credentials`: who issues its tokens, exactly as they say it (`iss`). They must be for this
    /// gateway's public address alone (`aud`).
    #[serde(default)]
    oidc_issuer: Option<String>,
    /// With `oidc_client_credentials`: the client, as its tokens name it (`azp` or `client_id`).
    #[serde(default)]
    oidc_client_id: Option<String>,
    /// Path globs that bound what the agent may touch, whatever its policies say.
    #[serde(default)]
    scopes: Option<Vec<String>>,
    /// Clients that say `api_key_expires_at` mean the same.
    #[serde(default, alias = "api_key_expires_at")]
    expires_at: Option<Time>,
    /// The agent may submit transactions, and never reads a key.
    #[serde(default)]
    intents_api_enabled: Option<bool>,
    /// 60 to 86,400; 3,600 when left out.
    #[serde(default)]
    token_ttl_seconds: Option<u32>,
    /// The vaults that the agent is bound to; empty: any of the organisation.
    #[serde(default)]
    vault_ids: Option<Vec<VaultId>>,
    #[serde(default)]
    tx_to_allowlist: Patch<Vec<String>>,
    #[serde(default)]
    tx_max_value_eth: Patch<String>,
    #[serde(default)]
    tx_daily_limit_eth: Patch<String>,
    /// The most that one transaction may cost in fees, in ether.
    #[serde(default)]
    tx_max_fee_eth: Patch<String>,
    /// Names or chain ids.
    #[serde(default)]
    tx_allowed_chains: Patch<Vec<String>>,
    /// The most transactions in any 24 hours.
    #[serde(default)]
    tx_daily_count: Patch<u32>,
    /// The most native value to any one address in any 24 hours, in ether.
    #[serde(default)]
    tx_recipient_daily_limit_eth: Patch<String>,
    /// The most that the transactions of any 24 hours may cost in fees, at their caps, in ether.
    #[serde(default)]
    tx_daily_gas_eth: Patch<String>,
    /// The tokens that may move, and no others; empty: as the other limits say.
    #[serde(default)]
    tx_tokens: Patch<Vec<TokenLimitEntry>>,
    /// Calls that may be made though they can't be decoded, and no others but those of tx_tokens.
    #[serde(default)]
    tx_calls_allowlist: Patch<Vec<AllowedCallsEntry>>,
    /// Whether approvals without a limit that means anything may be given; refused when left out.
    #[serde(default)]
    tx_unlimited_approvals: Patch<bool>,
    /// When people must approve a transaction before it is signed; null: never.
    #[serde(default)]
    tx_approval_policy: Patch<ApprovalPolicyEntry>,
    /// Whether the gateway may raise the fees of a transaction that waits, within the caps, where the installation does that.
    #[serde(default)]
    tx_auto_bump: Patch<bool>,
    /// Whether contracts may be created; refused when left out.
    #[serde(default)]
    tx_contract_creation: Patch<bool>,
    #[serde(flatten)]
    _nothing_else: NothingElse,
}

#[derive(Serialize, JsonSchema)]
pub struct AgentCreatedResponse {
    agent: AgentResponse,
    /// Shown once. Agents that log in by certificate or issuer have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<Revealed>,
}

/// Registers an agent.
pub struct CreateAgent;

impl Operation for CreateAgent {
    const ROUTE: Route = Route::new(
        "createAgent",
        Method::POST,
        "/v1/agents",
        201,
        "Registers an agent and gives out its key, once. Its identity pairs (Ed25519, P-256) are made with it.",
    )
    .audited("agent.register", "agent");
    type Path = ();
    type Params = decode::From<CreateAgentRequest>;
    type Output = AgentCreatedResponse;
    type Access = InOrg<access::CreateAgent>;

    async fn run(
        cx: &Cx,
        may: Permit<access::CreateAgent, OrgId>,
        (): (),
        decode::From(new): Self::Params,
    ) -> Result<Reply<AgentCreatedResponse>> {
        let login = LoginFields {
            auth_method: new.auth_method,
            client_cert_fingerprint: new.client_cert_fingerprint,
            oidc_issuer: new.oidc_issuer,
            oidc_client_id: new.oidc_client_id,
        };
        let method = LoginMethod::read(cx, login)?;
        let guardrails = GuardrailPatches {
            allowed_chains: new.tx_allowed_chains,
            to_allowlist: new.tx_to_allowlist,
            max_value: new.tx_max_value_eth,
            daily_limit: new.tx_daily_limit_eth,
            max_fee: new.tx_max_fee_eth,
            daily_count: new.tx_daily_count,
            recipient_daily_limit: new.tx_recipient_daily_limit_eth,
            daily_gas: new.tx_daily_gas_eth,
            tokens: new.tx_tokens,
            calls: new.tx_calls_allowlist,
            unlimited_approvals: new.tx_unlimited_approvals,
            approval: new.tx_approval_policy,
            auto_bump: new.tx_auto_bump,
            contract_creation: new.tx_contract_creation,
        };
        let mut settings = default_settings();
        settings.intents = new.intents_api_enabled.unwrap_or(false);
        settings.scopes = record::scopes(&new.scopes.unwrap_or_default())?;
        settings.vault_ids = record::vaults(cx, new.vault_ids.unwrap_or_default()).await?;
        settings.token_ttl_seconds = token_ttl(new.token_ttl_seconds)?;
        settings.expires_at = record::end(cx, new.expires_at)?;
        settings.guardrails = guardrails.apply(cx, settings.guardrails).await?;
        let (name, description) = (name("name", &new.name)?, description(new.description)?);
        let (agent, key) = register(cx, &may, (name, description), &method, settings).await?;
        let response = AgentResponse::changed(cx, &agent).await?;
        Ok(Reply::of(AgentCreatedResponse { agent: response, api_key: key.as_ref().map(Revealed::new) }))
    }
}
