//! What the audit trail says of an agent and of its changes: by the contract's names and in its units, as callers see it.

use domain::{Error, Result};
use serde_json::{Map, Value, json};
use store::agents::Agent;

use super::AgentResponse;
use crate::cx::Cx;

/// All that a person decides about an agent, and which key it has: the prefix is shown to everybody who sees the agent.
const FIELDS: [&str; 27] = [
    "name",
    "description",
    "auth_method",
    "key_prefix",
    "client_cert_fingerprint",
    "oidc_issuer",
    "oidc_client_id",
    "scopes",
    "is_active",
    "expires_at",
    "intents_api_enabled",
    "token_ttl_seconds",
    "vault_ids",
    "tx_to_allowlist",
    "tx_max_value_eth",
    "tx_daily_limit_eth",
    "tx_max_fee_eth",
    "tx_allowed_chains",
    "tx_daily_count",
    "tx_recipient_daily_limit_eth",
    "tx_daily_gas_eth",
    "tx_tokens",
    "tx_calls_allowlist",
    "tx_unlimited_approvals",
    "tx_approval_policy",
    "tx_auto_bump",
    "tx_contract_creation",
];

/// The fields' values; null: none.
pub async fn seen(cx: &Cx, agent: &Agent) -> Result<Map<String, Value>> {
    let shown = serde_json::to_value(AgentResponse::new(cx, agent).await?).map_err(Error::internal)?;
    Ok(FIELDS.map(|field| (field.to_owned(), shown[field].clone())).into_iter().collect())
}

/// The fields that differ, each with its value before and after.
pub fn changed(before: &Map<String, Value>, after: Map<String, Value>) -> Map<String, Value> {
    let differing = after.into_iter().filter(|(field, value)| before.get(field) != Some(value));
    differing.map(|(field, to)| (field.clone(), json!({ "from": before.get(&field), "to": to }))).collect()
}
