//! The requests, all of them.

use serde::{Deserialize, Serialize};

use crate::api_key::{ApiKey, CreateApiKey, IssueKeyToken, RevokeApiKey};
use crate::approval::{ApproveIntent, Approved, DenyIntent};
use crate::attested::Attested;
use crate::audit::{Heads, SignHead, SignedHead};
use crate::backup::{CopyLedger, LedgerPart};
use crate::cmek::{AllowRotation, Rotate, Rotated, RotationGrant};
use crate::device::{ApproveDevice, DeviceGrant, IssueDeviceToken};
use crate::identity::{MakeIdentity, NewIdentity};
use crate::intent::{Intent, Release, Sign, SignedTransaction, Submit};
use crate::link::{Link, MakeLink};
use crate::mfa::{DisableMfa, EnableMfa, EnabledMfa, NewMfa, SetUpMfa, VerifyMfa};
use crate::passkey::{AddPasskey, BeginPasskey, ChangedPasskeys, PendingPasskey, RemovePasskey};
use crate::people::{
    ArmAgent, ChangePassword, EndOrganisation, EnrolAgent, Invitation, Invite, Join, ResetPassword,
    SuspendAgents,
};
use crate::record::{ChangePrincipal, FoundOrganisation, Principal};
use crate::refusal::Refusal;
use crate::replace::Replace;
use crate::root::{FinishRotation, Rewrapped, RootState, Wrapped};
use crate::sealing::{DestroyVaultKey, MakeVaultKey, Open, Seal, Sealed, VaultKey};
use crate::sharing::{EndShare, OpenShared, Share, ShareGrant};
use crate::token::{IssueAsserted, IssueToken, IssuedToken, RevokeToken, RevokedToken};
use crate::webhook::{MakeWebhookKey, NewWebhookKey, SignDelivery};
use crate::wire::{Blob, Secret};
use domain::{AgentId, OrgId, Wei};

/// Who the signer is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Info {
    pub version: String,
    /// `software` or `pkcs11`.
    pub keystore: String,
    /// Ed25519, 32 bytes: verifies every access token.
    pub token_public_key: Blob,
    /// The key's id in the JWKS and in a token's header.
    pub key_id: String,
}

/// How the keystore is, asked of the keystore itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Health {
    Ok,
    /// Works, with trouble that an operator should look at.
    Degraded(String),
    Unavailable(String),
}

/// The signer's whole surface.
#[tarpc::service]
pub trait Signer {
    async fn info() -> Info;
    async fn health() -> Health;

    /// A copy of the ledger for a backup, part by part. There is no request that puts one back.
    async fn copy_ledger(request: CopyLedger) -> Result<LedgerPart, Refusal>;

    /// Where a rotation of the root key stands.
    async fn root_state() -> Result<RootState, Refusal>;
    /// Wraps what these statements hold by the newest root: an outcome for each, in their order.
    async fn rewrap(statements: Vec<Wrapped>) -> Result<Vec<Rewrapped>, Refusal>;
    /// `false`: it was said before.
    async fn finish_rotation(request: FinishRotation) -> Result<bool, Refusal>;

    async fn found_organisation(request: FoundOrganisation) -> Result<Attested<Principal>, Refusal>;
    async fn change_principal(request: ChangePrincipal) -> Result<Attested<Principal>, Refusal>;
    /// Makes a record the newest: its predecessors are refused from the answer on.
    async fn confirm(record: Attested<Principal>) -> Result<(), Refusal>;
    /// Whether the signer made all of these records, be they the newest or not: to show what they say.
    async fn vouch(records: Vec<Attested<Principal>>) -> Result<(), Refusal>;
    async fn make_identity(request: MakeIdentity) -> Result<NewIdentity, Refusal>;

    async fn invite(request: Invite) -> Result<Attested<Invitation>, Refusal>;
    async fn make_link(request: MakeLink) -> Result<Attested<Link>, Refusal>;
    async fn join(request: Join) -> Result<Attested<Principal>, Refusal>;
    async fn change_password(request: ChangePassword) -> Result<Attested<Principal>, Refusal>;
    async fn reset_password(request: ResetPassword) -> Result<Attested<Principal>, Refusal>;
    async fn end_organisation(request: EndOrganisation) -> Result<(), Refusal>;
    async fn suspend_agents(request: SuspendAgents) -> Result<(), Refusal>;
    async fn enrol_agent(request: EnrolAgent) -> Result<Attested<Principal>, Refusal>;
    async fn arm_agent(request: ArmAgent) -> Result<Attested<Principal>, Refusal>;

    async fn set_up_mfa(request: SetUpMfa) -> Result<NewMfa, Refusal>;
    async fn enable_mfa(request: EnableMfa) -> Result<EnabledMfa, Refusal>;
    async fn disable_mfa(request: DisableMfa) -> Result<Attested<Principal>, Refusal>;
    async fn verify_mfa(request: VerifyMfa) -> Result<IssuedToken, Refusal>;

    async fn begin_passkey(request: BeginPasskey) -> Result<Attested<PendingPasskey>, Refusal>;
    async fn add_passkey(request: AddPasskey) -> Result<ChangedPasskeys, Refusal>;
    async fn remove_passkey(request: RemovePasskey) -> Result<ChangedPasskeys, Refusal>;

    async fn approve_device(request: ApproveDevice) -> Result<Attested<DeviceGrant>, Refusal>;
    async fn issue_device_token(request: IssueDeviceToken) -> Result<IssuedToken, Refusal>;

    async fn create_api_key(request: CreateApiKey) -> Result<Attested<ApiKey>, Refusal>;
    async fn revoke_api_key(request: RevokeApiKey) -> Result<Attested<ApiKey>, Refusal>;
    async fn issue_key_token(request: IssueKeyToken) -> Result<IssuedToken, Refusal>;

    async fn issue_token(request: IssueToken) -> Result<IssuedToken, Refusal>;
    async fn issue_asserted(request: IssueAsserted) -> Result<IssuedToken, Refusal>;
    async fn revoke_token(request: RevokeToken) -> Result<RevokedToken, Refusal>;

    async fn make_vault_key(request: MakeVaultKey) -> Result<Attested<VaultKey>, Refusal>;
    async fn destroy_vault_key(request: DestroyVaultKey) -> Result<(), Refusal>;
    async fn seal(request: Seal) -> Result<Sealed, Refusal>;
    async fn open(request: Open) -> Result<Secret, Refusal>;

    async fn share(request: Share) -> Result<Attested<ShareGrant>, Refusal>;
    async fn open_shared(request: OpenShared) -> Result<Secret, Refusal>;
    async fn end_share(request: EndShare) -> Result<(), Refusal>;

    async fn allow_rotation(request: AllowRotation) -> Result<Attested<RotationGrant>, Refusal>;
    async fn rotate(request: Rotate) -> Result<Rotated, Refusal>;

    async fn sign_head(request: SignHead) -> Result<SignedHead, Refusal>;
    /// What was signed of the organisation's chain: whoever writes to the database can't make it another.
    async fn last_head(org: OrgId) -> Result<Heads, Refusal>;
    async fn make_webhook_key(request: MakeWebhookKey) -> Result<NewWebhookKey, Refusal>;
    async fn sign_delivery(request: SignDelivery) -> Result<Blob, Refusal>;

    async fn submit(request: Submit) -> Result<Attested<Intent>, Refusal>;
    async fn approve_intent(request: ApproveIntent) -> Result<Approved, Refusal>;
    async fn deny_intent(request: DenyIntent) -> Result<(), Refusal>;
    async fn sign(request: Sign) -> Result<SignedTransaction, Refusal>;
    async fn release(request: Release) -> Result<(), Refusal>;
    /// An intent in the place of another: the same at higher fees, or nothing.
    async fn replace(request: Replace) -> Result<Attested<Intent>, Refusal>;
    /// What the agent has spent and holds in the last 24 hours.
    async fn spent(agent: AgentId) -> Result<Wei, Refusal>;
}
