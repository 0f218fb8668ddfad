//! The operations, one file for each thing.

pub mod admin;
pub mod agents;
pub mod approvals;
pub mod audit;
pub mod auth;
pub mod chains;
pub mod cmek;
pub mod events;
pub mod health;
pub mod org;
pub mod pages;
pub mod policies;
pub mod secrets;
pub mod security;
pub mod setup;
pub mod shares;
pub mod transactions;
pub mod vaults;
pub mod webhooks;

use domain::unseen::has_unseen;
use domain::{
    AgentId, ApiKeyId, ApprovalId, CmekJobId, InvitationId, IpRuleId, PolicyId, SecretId, SecretPath,
    ShareId, TxId, UserId, VaultId, WebhookId,
};

use crate::access::{NamesAgent, NamesApiKey, NamesMember, NamesSecret, NamesValue, NamesVault};
use crate::decode::path_of;
use store::chains::ChainRef;

path_of! {
    /// `/v1/vaults/{vault_id}…`
    OfVault { vault_id: VaultId }
    /// `/v1/vaults/{vault_id}/secrets/{path}`
    OfSecret { vault_id: VaultId, path: SecretPath }
    /// `/v1/vaults/{vault_id}/secret-version/{path}/{version}`
    OfVersion { vault_id: VaultId, path: SecretPath, version: u64 }
    /// `/v1/secrets/{secret_id}/share`
    OfSecretId { secret_id: SecretId }
    /// `/v1/share/{share_id}`, `/v1/shares/{share_id}/…`
    OfShare { share_id: ShareId }
    /// `/v1/vaults/{vault_id}/policies/{policy_id}`
    OfPolicy { vault_id: VaultId, policy_id: PolicyId }
    /// `/v1/vaults/{vault_id}/cmek-rotate/{job_id}`
    OfCmekJob { vault_id: VaultId, job_id: CmekJobId }
    /// `/v1/agents/{agent_id}…`
    OfAgent { agent_id: AgentId }
    /// `/v1/agents/{agent_id}/transactions/{tx_id}`
    OfTransaction { agent_id: AgentId, tx_id: TxId }
    /// `/v1/approvals/{approval_id}…`
    OfApproval { approval_id: ApprovalId }
    /// `/v1/auth/api-keys/{key_id}`
    OfApiKey { key_id: ApiKeyId }
    /// `/v1/org/members/{user_id}`
    OfMember { user_id: UserId }
    /// `/v1/org/invitations/{invitation_id}`
    OfInvitation { invitation_id: InvitationId }
    /// `/v1/security/ip-rules/{rule_id}`
    OfIpRule { rule_id: IpRuleId }
    /// `/v1/webhooks/{webhook_id}`
    OfWebhook { webhook_id: WebhookId }
    /// `/v1/auth/passkeys/{passkey_id}`
    OfPasskey { passkey_id: String }
    /// `/v1/auth/device/code/{user_code}`
    OfDevice { user_code: String }
    /// `/v1/chains/{identifier}`
    OfChain { identifier: String }
    /// `/v1/admin/chains/{chain_id}`
    OfAdminChain { chain_id: ChainRef }
    /// `/v1/admin/settings/{key}`
    OfSetting { key: String }
}

impl NamesVault for OfVault {
    fn vault(&self) -> VaultId {
        self.vault_id
    }
}

impl NamesVault for OfSecret {
    fn vault(&self) -> VaultId {
        self.vault_id
    }
}

impl NamesSecret for OfSecret {
    fn secret(&self) -> &SecretPath {
        &self.path
    }
}

impl NamesVault for OfCmekJob {
    fn vault(&self) -> VaultId {
        self.vault_id
    }
}

impl NamesVault for OfVersion {
    fn vault(&self) -> VaultId {
        self.vault_id
    }
}

impl NamesValue for OfSecret {
    fn version(&self) -> Option<u64> {
        None
    }
}

impl NamesValue for OfVersion {
    fn version(&self) -> Option<u64> {
        Some(self.version)
    }
}

impl NamesSecret for OfVersion {
    fn secret(&self) -> &SecretPath {
        &self.path
    }
}

impl NamesVault for OfPolicy {
    fn vault(&self) -> VaultId {
        self.vault_id
    }
}

impl NamesAgent for OfAgent {
    fn agent(&self) -> AgentId {
        self.agent_id
    }
}

impl NamesApiKey for OfApiKey {
    fn api_key(&self) -> ApiKeyId {
        self.key_id
    }
}

impl NamesMember for OfMember {
    fn member(&self) -> UserId {
        self.user_id
    }
}

impl NamesAgent for OfTransaction {
    fn agent(&self) -> AgentId {
        self.agent_id
    }
}

/// A name that people gave: trimmed, 1 to 200 characters, none that can't be seen.
fn name(field: &str, text: &str) -> domain::Result<String> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > 200 || has_unseen(text) {
        return Err(domain::Error::invalid(
            field,
            "must have 1 to 200 characters, none of them a control character, an invisible one or a mark of direction",
        ));
    }
    Ok(text.to_owned())
}

/// A description that people gave: at most 2,000 characters, none that can't be seen but ends of lines and tabs.
fn described(text: String) -> domain::Result<String> {
    if text.chars().count() > 2000 || text.split(['\n', '\r', '\t']).any(has_unseen) {
        return Err(domain::Error::invalid(
            "description",
            "must have at most 2,000 characters, none of them a control character, an invisible one or a mark of direction",
        ));
    }
    Ok(text)
}

/// As [`described`], where it may be left out.
fn description(text: Option<String>) -> domain::Result<Option<String>> {
    text.map(described).transpose()
}
