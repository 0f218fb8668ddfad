//! The protocol's requests, each handed to the rule that answers it.

use std::sync::Arc;

use domain::{AgentId, OrgId, Wei};
use signer_protocol::api_key::{ApiKey, CreateApiKey, IssueKeyToken, RevokeApiKey};
use signer_protocol::attested::Attested;
use signer_protocol::audit::{SignHead, SignedHead};
use signer_protocol::backup::{CopyLedger, LedgerPart};
use signer_protocol::cmek::{AllowRotation, Rotate, Rotated, RotationGrant};
use signer_protocol::device::{ApproveDevice, DeviceGrant, IssueDeviceToken};
use signer_protocol::identity::{MakeIdentity, NewIdentity};
use signer_protocol::intent::{Intent, Release, Sign, SignedTransaction, Submit};
use signer_protocol::mfa::{DisableMfa, EnableMfa, EnabledMfa, NewMfa, SetUpMfa, VerifyMfa};
use signer_protocol::people::{
    ArmAgent, ChangePassword, EndOrganisation, EnrolAgent, Invitation, Invite, Join, ResetPassword,
    SuspendAgents,
};
use signer_protocol::record::{ChangePrincipal, FoundOrganisation, Principal};
use signer_protocol::replace::Replace;
use signer_protocol::sealing::{DestroyVaultKey, MakeVaultKey, Open, Seal, Sealed, VaultKey};
use signer_protocol::service::{Health, Info};
use signer_protocol::sharing::{EndShare, OpenShared, Share, ShareGrant};
use signer_protocol::token::{IssueAsserted, IssueToken, IssuedToken, RevokeToken, RevokedToken};
use signer_protocol::webhook::{MakeWebhookKey, NewWebhookKey, SignDelivery};
use signer_protocol::wire::{Blob, Secret};
use signer_protocol::{Refusal, Signer};
use tarpc::context::Context;

use crate::authority::Authority;

/// One connection's handle on the rules.
#[derive(Clone)]
pub struct Service(pub Arc<Authority>);

impl Signer for Service {
    async fn info(self, _: Context) -> Info {
        let keystore = self.0.pool.keystore();
        Info {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            keystore: keystore.kind().to_owned(),
            token_public_key: Blob(keystore.token_public_key().to_vec()),
            key_id: self.0.tokens.key_id().to_owned(),
        }
    }

    async fn health(self, _: Context) -> Health {
        let asked = match self.0.ledger.health() {
            Ok(()) => self.0.pool.on_keys(|keys| keys.health()).await,
            refused => refused,
        };
        asked.map_or_else(|refusal| Health::Unavailable(refusal.detail), |()| Health::Ok)
    }

    async fn copy_ledger(self, _: Context, request: CopyLedger) -> Result<LedgerPart, Refusal> {
        self.0.copy_ledger(request).await
    }

    async fn found_organisation(
        self,
        _: Context,
        request: FoundOrganisation,
    ) -> Result<Attested<Principal>, Refusal> {
        self.0.found_organisation(request).await
    }

    async fn change_principal(
        self,
        _: Context,
        request: ChangePrincipal,
    ) -> Result<Attested<Principal>, Refusal> {
        self.0.change_principal(request).await
    }

    async fn confirm(self, _: Context, record: Attested<Principal>) -> Result<(), Refusal> {
        self.0.confirm(record).await
    }

    async fn vouch(self, _: Context, records: Vec<Attested<Principal>>) -> Result<(), Refusal> {
        self.0.vouch(records).await
    }

    async fn make_identity(self, _: Context, request: MakeIdentity) -> Result<NewIdentity, Refusal> {
        self.0.make_identity(request).await
    }

    async fn invite(self, _: Context, request: Invite) -> Result<Attested<Invitation>, Refusal> {
        self.0.invite(request).await
    }

    async fn join(self, _: Context, request: Join) -> Result<Attested<Principal>, Refusal> {
        self.0.join(request).await
    }

    async fn change_password(
        self,
        _: Context,
        request: ChangePassword,
    ) -> Result<Attested<Principal>, Refusal> {
        self.0.change_password(request).await
    }

    async fn reset_password(
        self,
        _: Context,
        request: ResetPassword,
    ) -> Result<Attested<Principal>, Refusal> {
        self.0.reset_password(request).await
    }

    async fn end_organisation(self, _: Context, request: EndOrganisation) -> Result<(), Refusal> {
        self.0.end_organisation(request).await
    }

    async fn suspend_agents(self, _: Context, request: SuspendAgents) -> Result<(), Refusal> {
        self.0.suspend_agents(request).await
    }

    async fn enrol_agent(self, _: Context, request: EnrolAgent) -> Result<Attested<Principal>, Refusal> {
        self.0.enrol_agent(request).await
    }

    async fn arm_agent(self, _: Context, request: ArmAgent) -> Result<Attested<Principal>, Refusal> {
        self.0.arm_agent(request).await
    }

    async fn set_up_mfa(self, _: Context, request: SetUpMfa) -> Result<NewMfa, Refusal> {
        self.0.set_up_mfa(request).await
    }

    async fn enable_mfa(self, _: Context, request: EnableMfa) -> Result<EnabledMfa, Refusal> {
        self.0.enable_mfa(request).await
    }

    async fn disable_mfa(self, _: Context, request: DisableMfa) -> Result<Attested<Principal>, Refusal> {
        self.0.disable_mfa(request).await
    }

    async fn verify_mfa(self, _: Context, request: VerifyMfa) -> Result<IssuedToken, Refusal> {
        self.0.verify_mfa(request).await
    }

    async fn approve_device(
        self,
        _: Context,
        request: ApproveDevice,
    ) -> Result<Attested<DeviceGrant>, Refusal> {
        self.0.approve_device(request).await
    }

    async fn issue_device_token(self, _: Context, request: IssueDeviceToken) -> Result<IssuedToken, Refusal> {
        self.0.issue_device_token(request).await
    }

    async fn issue_asserted(self, _: Context, request: IssueAsserted) -> Result<IssuedToken, Refusal> {
        self.0.issue_asserted(request).await
    }

    async fn create_api_key(self, _: Context, request: CreateApiKey) -> Result<Attested<ApiKey>, Refusal> {
        self.0.create_api_key(request).await
    }

    async fn revoke_api_key(self, _: Context, request: RevokeApiKey) -> Result<Attested<ApiKey>, Refusal> {
        self.0.revoke_api_key(request).await
    }

    async fn issue_key_token(self, _: Context, request: IssueKeyToken) -> Result<IssuedToken, Refusal> {
        self.0.issue_key_token(request).await
    }

    async fn issue_token(self, _: Context, request: IssueToken) -> Result<IssuedToken, Refusal> {
        self.0.issue_token(request).await
    }

    async fn revoke_token(self, _: Context, request: RevokeToken) -> Result<RevokedToken, Refusal> {
        self.0.revoke_token(request).await
    }

    async fn make_vault_key(self, _: Context, request: MakeVaultKey) -> Result<Attested<VaultKey>, Refusal> {
        self.0.make_vault_key(request).await
    }

    async fn destroy_vault_key(self, _: Context, request: DestroyVaultKey) -> Result<(), Refusal> {
        self.0.destroy_vault_key(request).await
    }

    async fn seal(self, _: Context, request: Seal) -> Result<Sealed, Refusal> {
        self.0.seal(request).await
    }

    async fn open(self, _: Context, request: Open) -> Result<Secret, Refusal> {
        self.0.open(request).await
    }

    async fn share(self, _: Context, request: Share) -> Result<Attested<ShareGrant>, Refusal> {
        self.0.share(request).await
    }

    async fn open_shared(self, _: Context, request: OpenShared) -> Result<Secret, Refusal> {
        self.0.open_shared(request).await
    }

    async fn end_share(self, _: Context, request: EndShare) -> Result<(), Refusal> {
        self.0.end_share(request).await
    }

    async fn allow_rotation(
        self,
        _: Context,
        request: AllowRotation,
    ) -> Result<Attested<RotationGrant>, Refusal> {
        self.0.allow_rotation(request).await
    }

    async fn rotate(self, _: Context, request: Rotate) -> Result<Rotated, Refusal> {
        self.0.rotate(request).await
    }

    async fn sign_head(self, _: Context, request: SignHead) -> Result<SignedHead, Refusal> {
        self.0.sign_head(request).await
    }

    async fn last_head(self, _: Context, org: OrgId) -> Result<Option<SignedHead>, Refusal> {
        self.0.last_head(org).await
    }

    async fn make_webhook_key(self, _: Context, request: MakeWebhookKey) -> Result<NewWebhookKey, Refusal> {
        self.0.make_webhook_key(request).await
    }

    async fn sign_delivery(self, _: Context, request: SignDelivery) -> Result<Blob, Refusal> {
        self.0.sign_delivery(request).await
    }

    async fn submit(self, _: Context, request: Submit) -> Result<Attested<Intent>, Refusal> {
        self.0.submit(request).await
    }

    async fn sign(self, _: Context, request: Sign) -> Result<SignedTransaction, Refusal> {
        self.0.sign(request).await
    }

    async fn release(self, _: Context, request: Release) -> Result<(), Refusal> {
        self.0.release(request).await
    }

    async fn replace(self, _: Context, request: Replace) -> Result<Attested<Intent>, Refusal> {
        self.0.replace(request).await
    }

    async fn spent(self, _: Context, agent: AgentId) -> Result<Wei, Refusal> {
        self.0.spent(agent).await
    }
}
