//! Principal records: who a user or an agent is, as the signer knows it.

use alloy_primitives::{Address, Selector, U256};
use domain::{AgentId, OrgId, PathGlob, PrincipalId, Role, Time, UserId, VaultId, Wei};
use serde::{Deserialize, Serialize};

use crate::approval::ApprovalPolicy;
use crate::attested::{Attested, Statement};
use crate::identity::{Identity, PublicHalves};
use crate::passkey::Asserted;
use crate::people::Login;
use crate::token::Caller;
use crate::wire::{Blob, Secret};

/// A principal as the signer attests it. Stored in the gateway's database; a row that was rolled back or edited
/// is refused.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Principal {
    pub id: PrincipalId,
    pub org: OrgId,
    /// A person's role; `None` for agents.
    pub role: Option<Role>,
    /// What a proof of identity is checked against; `None`: can't log in with a credential of its own.
    pub verifier: Option<Verifier>,
    /// May submit transactions, and never reads a key.
    pub intents: bool,
    /// Path globs that bound what the principal's tokens may touch. Empty: no bound.
    pub scopes: Vec<PathGlob>,
    /// Vaults that the principal's tokens are bound to. Empty: any of its organisation.
    pub vault_ids: Vec<VaultId>,
    /// 60 to 86,400.
    pub token_ttl_seconds: u32,
    pub guardrails: Guardrails,
    pub active: bool,
    pub expires_at: Option<Time>,
    /// The person who registered an agent; `None` for people.
    pub created_by: Option<UserId>,
    /// An agent's public halves, for ever the same. `None` for people, and for agents from before there were any.
    #[serde(default)]
    pub identity: Option<PublicHalves>,
    /// What the gateway vouches for in place of a proof that the signer checks; `None`: no such login.
    #[serde(default)]
    pub asserted: Option<Assertion>,
    /// SHA-256 of the person's address, trimmed and lower-cased: where links into the account are mailed. `None` for agents, and
    /// for people from before there was one, until they set a new password by such a link.
    #[serde(default)]
    pub email: Option<Blob>,
    /// SHA-256 of the person's [`crate::mfa::Mfa`], as attested; `None`: no second factor.
    #[serde(default)]
    pub mfa: Option<Blob>,
    /// SHA-256 of the person's [`crate::passkey::Passkeys`], as attested; `None`: no passkey.
    #[serde(default)]
    pub passkeys: Option<Blob>,
    /// Whether an owner or admin who did not make the agent has stopped it: one of them lets it go on, and nobody else.
    #[serde(default)]
    pub stopped_by_manager: bool,
    /// Tokens of an earlier epoch are refused. Rises when a key is rotated, a password changed, a principal ended.
    pub epoch: u64,
    /// Rises with every change; the signer's ledger keeps the newest that it has seen.
    pub version: u64,
}

impl Principal {
    /// Whether there is anything that it logs in with.
    pub fn has_login(&self) -> bool {
        self.verifier.is_some() || self.asserted.is_some()
    }
}

impl Statement for Principal {
    const DOMAIN: &'static str = "talon/principal/1";
}

/// An identity that somebody else proves and the gateway vouches for. The record pins which: whoever writes to the
/// database can't put another in its place. Tokens that rest on one say `asserted: true`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Assertion {
    /// OpenID Connect: who has logged in (`iss`, `sub`).
    Person { issuer: String, subject: String },
    /// OAuth client credentials: which client (`iss`, `azp` or `client_id`).
    Client { issuer: String, client_id: String },
    /// A TLS client certificate: its SHA-256, 32 bytes.
    Certificate { sha256: Blob },
}

/// HMAC-SHA-256, under the signer's key, over the credential and whose it is: a stolen database gives nothing
/// to guess against.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Verifier {
    pub kind: CredentialKind,
    /// 32 bytes, hex.
    pub code: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    /// An `ocv_` key.
    AgentKey,
    /// A person's `1ck_` key.
    ApiKey,
    /// The 32-byte output of Argon2id over a password, with the salt that the gateway keeps.
    Password,
    /// The 32-byte output of Argon2id over a share's passphrase, with the salt that the gateway keeps.
    Passphrase,
}

/// Limits on an agent's transactions, enforced in the signer and nowhere else.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Guardrails {
    /// Numeric chain ids (EIP-155). Empty: any chain.
    pub allowed_chains: Vec<u64>,
    /// Empty: any recipient.
    pub to_allowlist: Vec<Address>,
    /// The most native value that one transaction may carry.
    pub max_value: Option<Wei>,
    /// The most native value in any 24 hours, over all chains; each nonce once.
    pub daily_limit: Option<Wei>,
    /// The most that one transaction may cost in fees (gas limit times the fee cap). `None`: the signer's own cap.
    pub max_fee: Option<Wei>,
    /// The most transactions in any 24 hours, over all chains; each nonce once.
    #[serde(default)]
    pub daily_count: Option<u32>,
    /// The most native value that goes to any one address in any 24 hours, over all chains.
    #[serde(default)]
    pub recipient_daily_limit: Option<Wei>,
    /// The most that the transactions of any 24 hours may cost in fees, at their caps.
    #[serde(default)]
    pub daily_gas: Option<Wei>,
    /// The tokens that may move, and how much. Empty: as the other limits say. Each token once.
    #[serde(default)]
    pub tokens: Vec<TokenLimit>,
    /// Calls that may be made though they can't be decoded; where there are any, no others, but those of `tokens`.
    #[serde(default)]
    pub calls: Vec<AllowedCalls>,
    /// Whether approvals without a limit that means anything may be given.
    #[serde(default)]
    pub unlimited_approvals: bool,
    /// `None`: nothing needs people.
    #[serde(default)]
    pub approval: Option<ApprovalPolicy>,
    /// Whether the gateway may, by itself, raise the fees of a transaction that waits, within the caps.
    #[serde(default)]
    pub auto_bump: bool,
    /// Whether contracts may be created.
    #[serde(default)]
    pub contract_creation: bool,
}

/// A token that may move. Amounts are in its smallest units, below 2^192; of an ERC-721, in items.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TokenLimit {
    pub chain_id: u64,
    pub token: Address,
    pub standard: TokenStandard,
    /// In one transaction. `None`: no limit.
    pub max: Option<U256>,
    /// In any 24 hours. `None`: no limit.
    pub daily: Option<U256>,
}

/// How a token's calls are read: the same bytes are an amount in an ERC-20 and an item's id in an ERC-721.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenStandard {
    #[default]
    Erc20,
    Erc721,
    Erc1155,
}

/// Functions of a contract that may be called.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AllowedCalls {
    pub chain_id: u64,
    pub contract: Address,
    pub selectors: Vec<Selector>,
}

/// A credential as the gateway presents it to be enrolled or checked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Credential {
    pub kind: CredentialKind,
    pub secret: Secret,
}

/// Sign-up: a new organisation with its first owner. The signer refuses an organisation id that it has seen.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FoundOrganisation {
    pub org: OrgId,
    pub owner: UserId,
    /// As in [`Principal`], 32 bytes.
    pub email: Blob,
    pub login: Login,
}

/// A change to a principal's record, asked for by a person of its organisation. Of people's records, owners and admins
/// (owners alone, where an owner is made or touched) change the role and end them, and everybody may end their own; all
/// that in person.
///
/// The signer answers with the new record, one version up. It takes effect, and its predecessor stops, when the
/// signer first sees it used or [confirmed](crate::Signer::confirm): so a gateway that dies between the answer
/// and its own commit loses nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChangePrincipal {
    /// An owner or admin of the organisation, or the member who made the agent. Never an agent.
    pub by: Caller,
    /// The record to change; `None` for [`Change::CreateAgent`] alone.
    pub base: Option<Attested<Principal>>,
    pub change: Change,
    /// Needed of whoever has a passkey: over [`challenge_of_settings`](crate::passkey::challenge_of_settings), where it loosens an
    /// agent's bounds; [`challenge_of_new_agent`](crate::passkey::challenge_of_new_agent), where it makes one that submits
    /// transactions; [`challenge_of_rotation`](crate::passkey::challenge_of_rotation), for another key;
    /// [`challenge_of_role`](crate::passkey::challenge_of_role), where it raises a person; and
    /// [`challenge_of_leaving`](crate::passkey::challenge_of_leaving), for one's own end.
    pub passkey: Option<Asserted>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Change {
    CreateAgent {
        id: AgentId,
        login: AgentLogin,
        /// What [`crate::identity::MakeIdentity`] answered for this id; `None`: an agent without pairs.
        identity: Option<Attested<Identity>>,
        settings: AgentSettings,
    },
    /// Replaces all settings; `active: true` reactivates, in person.
    Update(AgentSettings),
    /// A new key: earlier keys and tokens end.
    RotateKey(Credential),
    /// Keys, other ways to log in, and tokens end at once. An agent that had no key gets none afterwards either: that, the
    /// gateway asks.
    Deactivate,
    /// A person's role. Their tokens end: each says the role it was issued for.
    SetRole(Role),
}

/// What a new agent will log in with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum AgentLogin {
    /// An `AgentKey` credential.
    Key(Credential),
    /// [`Assertion::Client`] or [`Assertion::Certificate`].
    Asserted(Assertion),
}

/// What a person decides about an agent.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AgentSettings {
    pub intents: bool,
    pub scopes: Vec<PathGlob>,
    pub vault_ids: Vec<VaultId>,
    /// 60 to 86,400.
    pub token_ttl_seconds: u32,
    pub guardrails: Guardrails,
    pub active: bool,
    pub expires_at: Option<Time>,
}

#[cfg(test)]
mod tests {
    use super::Guardrails;

    /// Records are kept as they were attested: one from before there were more limits sets none of them.
    #[test]
    fn guardrails_from_before_have_no_newer_limits() {
        let text =
            r#"{"allowed_chains":[1],"to_allowlist":[],"max_value":"1","daily_limit":null,"max_fee":null}"#;
        let read: Guardrails = serde_json::from_str(text).unwrap();
        let newer = Guardrails { allowed_chains: vec![1], max_value: read.max_value, ..Default::default() };
        assert!(read == newer && read.max_value.is_some());
    }
}
