//! The protocol's requests, each handed to the rule that answers it.

use std::sync::Arc;

use domain::{AgentId, OrgId, Wei};
use signer_protocol::api_key::{ApiKey, CreateApiKey, IssueKeyToken, RevokeApiKey};
use signer_protocol::approval::{ApproveIntent, Approved, DenyIntent};
use signer_protocol::attested::Attested;
use signer_protocol::audit::{Heads, SignHead, SignedHead};
use signer_protocol::backup::{CopyLedger, LedgerPart};
use signer_protocol::cmek::{AllowRotation, Rotate, Rotated, RotationGrant};
use signer_protocol::device::{ApproveDevice, DeviceGrant, IssueDeviceToken};
use signer_protocol::identity::{MakeIdentity, NewIdentity};
use signer_protocol::intent::{Intent, Release, Sign, SignedTransaction, Submit};
use signer_protocol::link::{Link, MakeLink};
use signer_protocol::mfa::{DisableMfa, EnableMfa, EnabledMfa, NewMfa, SetUpMfa, VerifyMfa};
use signer_protocol::passkey::{AddPasskey, BeginPasskey, ChangedPasskeys, PendingPasskey, RemovePasskey};
use signer_protocol::people::{
    ArmAgent, ChangePassword, EndOrganisation, EnrolAgent, Invitation, Invite, Join, ResetPassword,
    SuspendAgents,
};
use signer_protocol::record::{ChangePrincipal, FoundOrganisation, Principal};
use signer_protocol::replace::Replace;
use signer_protocol::root::{FinishRotation, Rewrapped, RootState, Wrapped};
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

/// The requests that may be refused, each answered by the rule of the same name.
macro_rules! answers {
    ($($name:ident($request:ty) -> $answer:ty;)+) => {
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

            async fn root_state(self, _: Context) -> Result<RootState, Refusal> {
                noted("root_state", self.0.root_state().await)
            }

            $(async fn $name(self, _: Context, request: $request) -> Result<$answer, Refusal> {
                noted(stringify!($name), self.0.$name(request).await)
            })+
        }
    };
}

answers! {
    copy_ledger(CopyLedger) -> LedgerPart;
    rewrap(Vec<Wrapped>) -> Vec<Rewrapped>;
    finish_rotation(FinishRotation) -> bool;
    found_organisation(FoundOrganisation) -> Attested<Principal>;
    change_principal(ChangePrincipal) -> Attested<Principal>;
    confirm(Attested<Principal>) -> ();
    vouch(Vec<Attested<Principal>>) -> ();
    make_identity(MakeIdentity) -> NewIdentity;
    invite(Invite) -> Attested<Invitation>;
    make_link(MakeLink) -> Attested<Link>;
    join(Join) -> Attested<Principal>;
    change_password(ChangePassword) -> Attested<Principal>;
    reset_password(ResetPassword) -> Attested<Principal>;
    end_organisation(EndOrganisation) -> ();
    suspend_agents(SuspendAgents) -> ();
    enrol_agent(EnrolAgent) -> Attested<Principal>;
    arm_agent(ArmAgent) -> Attested<Principal>;
    set_up_mfa(SetUpMfa) -> NewMfa;
    enable_mfa(EnableMfa) -> EnabledMfa;
    disable_mfa(DisableMfa) -> Attested<Principal>;
    verify_mfa(VerifyMfa) -> IssuedToken;
    begin_passkey(BeginPasskey) -> Attested<PendingPasskey>;
    add_passkey(AddPasskey) -> ChangedPasskeys;
    remove_passkey(RemovePasskey) -> ChangedPasskeys;
    approve_device(ApproveDevice) -> Attested<DeviceGrant>;
    issue_device_token(IssueDeviceToken) -> IssuedToken;
    create_api_key(CreateApiKey) -> Attested<ApiKey>;
    revoke_api_key(RevokeApiKey) -> Attested<ApiKey>;
    issue_key_token(IssueKeyToken) -> IssuedToken;
    issue_token(IssueToken) -> IssuedToken;
    issue_asserted(IssueAsserted) -> IssuedToken;
    revoke_token(RevokeToken) -> RevokedToken;
    make_vault_key(MakeVaultKey) -> Attested<VaultKey>;
    destroy_vault_key(DestroyVaultKey) -> ();
    seal(Seal) -> Sealed;
    open(Open) -> Secret;
    share(Share) -> Attested<ShareGrant>;
    open_shared(OpenShared) -> Secret;
    end_share(EndShare) -> ();
    allow_rotation(AllowRotation) -> Attested<RotationGrant>;
    rotate(Rotate) -> Rotated;
    sign_head(SignHead) -> SignedHead;
    last_head(OrgId) -> Heads;
    make_webhook_key(MakeWebhookKey) -> NewWebhookKey;
    sign_delivery(SignDelivery) -> Blob;
    submit(Submit) -> Attested<Intent>;
    approve_intent(ApproveIntent) -> Approved;
    deny_intent(DenyIntent) -> ();
    sign(Sign) -> SignedTransaction;
    release(Release) -> ();
    replace(Replace) -> Attested<Intent>;
    spent(AgentId) -> Wei;
}

/// Whoever runs against a rule is in the signer's own log, whatever the gateway makes of it.
fn noted<T>(request: &str, answer: Result<T, Refusal>) -> Result<T, Refusal> {
    answer.inspect_err(|refusal| {
        if let Some(rule) = refusal.reason.rule() {
            tracing::warn!(request, rule, detail = refusal.detail, "refused");
        }
    })
}
