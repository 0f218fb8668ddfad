//! The one list of operations. The router, the tools, the OpenAPI document and the sweeps come from it.

use futures::future::BoxFuture;
use http::{HeaderValue, StatusCode, header};
use schemars::{Schema, SchemaGenerator};
use serde::Serialize;

use domain::{Error, Result};

use crate::access::Access;
use crate::cx::Cx;
use crate::decode::{self, FromPath, Params};
use crate::operation::{Operation, Route, Streamed};
use crate::ops::{
    admin, agents, approvals, audit, auth, chains, cmek, events, health, org, policies, secrets, security,
    setup, shares, transactions, vaults, webhooks,
};
use crate::pipeline::{Inbound, Outbound};

/// An operation without its types: what a door needs to mount it.
#[derive(Clone)]
pub struct Entry {
    pub route: Route,
    /// No token needed.
    pub public: bool,
    /// But one that is shown counts.
    pub looks: bool,
    /// The path's placeholders.
    pub placeholders: &'static [&'static str],
    call: fn(Cx, Inbound) -> BoxFuture<'static, Result<Outbound>>,
    shapes: fn(&mut SchemaGenerator) -> Shapes,
}

/// A version of a secret, at a path's end.
const VERSION_OF_PATH: &str = "{path}/{version}";

/// What goes in and what comes out.
pub struct Shapes {
    pub input: Option<Schema>,
    /// Whether what goes in may be left out.
    pub optional: bool,
    pub output: Option<Schema>,
}

impl Entry {
    /// The path as a router takes it: a secret's path spans segments, and a router knows none behind it.
    pub fn router_path(&self) -> String {
        self.route.path.replace(VERSION_OF_PATH, "{*path}").replace("{path}", "{*path}")
    }

    /// The placeholders' values, from what a router found: a version is the last segment of what it took for the path.
    pub fn values(&self, mut found: Vec<(String, String)>) -> Vec<(String, String)> {
        if self.route.path.ends_with(VERSION_OF_PATH)
            && let Some((_, path)) = found.iter_mut().find(|(name, _)| name == "path")
        {
            let cut = path.rfind('/').map_or(0, |slash| slash + 1);
            let version = path.split_off(cut);
            path.pop();
            found.push(("version".to_owned(), version));
        }
        found
    }

    pub(crate) fn call(&self, cx: Cx, request: Inbound) -> BoxFuture<'static, Result<Outbound>> {
        (self.call)(cx, request)
    }

    /// The shapes, whose definitions go into `schemas`.
    pub fn shapes(&self, schemas: &mut SchemaGenerator) -> Shapes {
        (self.shapes)(schemas)
    }
}

/// Every operation, in the order of the contract.
pub fn entries() -> Vec<Entry> {
    vec![
        mount::<auth::Login>(),
        mount::<auth::RevokeToken>(),
        mount::<auth::AgentToken>(),
        mount::<auth::ApiKeyToken>(),
        mount::<auth::CreateApiKey>(),
        mount::<auth::ListApiKeys>(),
        mount::<auth::RevokeApiKey>(),
        mount::<auth::Refresh>(),
        mount::<auth::Signup>(),
        mount::<auth::VerifyEmail>(),
        mount::<auth::ChangePassword>(),
        mount::<auth::ForgotPassword>(),
        mount::<auth::ResetPassword>(),
        mount::<auth::Me>(),
        mount::<auth::UpdateMe>(),
        mount::<auth::DeleteMe>(),
        mount::<auth::GoogleLogin>(),
        mount::<auth::MfaStatus>(),
        mount::<auth::SetUpMfa>(),
        mount::<auth::VerifyMfaSetup>(),
        mount::<auth::VerifyMfa>(),
        mount::<auth::DisableMfa>(),
        mount::<auth::ListPasskeys>(),
        mount::<auth::PasskeyChallenge>(),
        mount::<auth::AddPasskey>(),
        mount::<auth::RemovePasskey>(),
        mount::<auth::DeviceCode>(),
        mount::<auth::DeviceToken>(),
        mount::<auth::DeviceStatus>(),
        mount::<auth::ApproveDevice>(),
        mount::<auth::DenyDevice>(),
        mount::<auth::Jwks>(),
        mount::<auth::ProtectedResource>(),
        mount::<vaults::CreateVault>(),
        mount::<vaults::ListVaults>(),
        mount::<vaults::GetVault>(),
        mount::<vaults::DeleteVault>(),
        mount::<cmek::EnableCmek>(),
        mount::<cmek::DisableCmek>(),
        mount::<cmek::RotateCmek>(),
        mount::<cmek::GetCmekRotationJob>(),
        mount::<secrets::ListSecrets>(),
        mount::<secrets::PutSecret>(),
        mount::<secrets::GetSecret>(),
        mount::<secrets::DeleteSecret>(),
        mount::<secrets::DescribeSecret>(),
        mount::<secrets::RotateSecret>(),
        mount::<secrets::GetEnvBundle>(),
        mount::<secrets::ListVersions>(),
        mount::<secrets::GetVersion>(),
        mount::<secrets::DisableVersion>(),
        mount::<secrets::RestoreSecret>(),
        mount::<secrets::GenerateSecret>(),
        mount::<shares::CreateShare>(),
        mount::<shares::OpenShare>(),
        mount::<shares::RevokeShare>(),
        mount::<shares::ListOutbound>(),
        mount::<shares::ListInbound>(),
        mount::<shares::AcceptShare>(),
        mount::<shares::DeclineShare>(),
        mount::<policies::CreatePolicy>(),
        mount::<policies::ListPolicies>(),
        mount::<policies::UpdatePolicy>(),
        mount::<policies::DeletePolicy>(),
        mount::<policies::ExplainAccessTo>(),
        mount::<agents::CreateAgent>(),
        mount::<agents::ListAgents>(),
        mount::<agents::EnrollAgent>(),
        mount::<agents::EnrollmentCredentials>(),
        mount::<agents::GetAgentSelf>(),
        mount::<agents::GetAgent>(),
        mount::<agents::UpdateAgent>(),
        mount::<agents::DeleteAgent>(),
        mount::<agents::RotateAgentKey>(),
        mount::<agents::SuspendAgent>(),
        mount::<agents::ResumeAgent>(),
        mount::<agents::SuspendAllAgents>(),
        mount::<agents::ResumeAllAgents>(),
        mount::<transactions::SubmitTransaction>(),
        mount::<transactions::ListTransactions>(),
        mount::<transactions::GetTransaction>(),
        mount::<transactions::SimulateTransaction>(),
        mount::<transactions::SimulateBundle>(),
        mount::<transactions::SpeedUpTransaction>(),
        mount::<transactions::CancelTransaction>(),
        mount::<chains::ListChains>(),
        mount::<chains::GetChain>(),
        mount::<approvals::CreateApproval>(),
        mount::<approvals::ListApprovals>(),
        mount::<approvals::WaitForApproval>(),
        mount::<approvals::GetApproval>(),
        mount::<approvals::ApproveApproval>(),
        mount::<approvals::DenyApproval>(),
        mount::<approvals::DecideApproval>(),
        mount::<approvals::CancelApproval>(),
        mount_stream::<events::StreamEvents>(),
        mount::<org::ListMembers>(),
        mount::<org::Invite>(),
        mount::<org::ListInvitations>(),
        mount::<org::RevokeInvitation>(),
        mount::<org::Join>(),
        mount::<org::ChangeMemberRole>(),
        mount::<org::RemoveMember>(),
        mount::<audit::ListAuditEvents>(),
        mount::<audit::VerifyAudit>(),
        mount_stream::<audit::ExportAudit>(),
        mount::<audit::TakeCheckpoint>(),
        mount::<audit::ListCheckpoints>(),
        mount::<webhooks::CreateWebhook>(),
        mount::<webhooks::ListWebhooks>(),
        mount::<webhooks::GetWebhook>(),
        mount::<webhooks::UpdateWebhook>(),
        mount::<webhooks::DeleteWebhook>(),
        mount::<webhooks::TestWebhook>(),
        mount::<webhooks::ListDeliveries>(),
        mount::<security::ListIpRules>(),
        mount::<security::CreateIpRule>(),
        mount::<security::DeleteIpRule>(),
        mount::<admin::AdminListChains>(),
        mount::<admin::CreateChain>(),
        mount::<admin::UpdateChain>(),
        mount::<admin::DeleteChain>(),
        mount::<admin::AdminListSettings>(),
        mount::<admin::AdminUpdateSetting>(),
        mount::<admin::AdminDeleteSetting>(),
        mount::<admin::AdminGetRoot>(),
        mount::<health::Health>(),
        mount::<health::HsmHealth>(),
        mount::<setup::Setup>(),
    ]
}

/// Takes the types off an operation.
pub fn mount<O: Operation>() -> Entry
where
    O::Output: Serialize,
{
    entry::<O>(|cx, request| Box::pin(whole::<O>(cx, request)))
}

/// The same for one whose answer is sent as it is made.
pub fn mount_stream<O: Operation<Output = Streamed>>() -> Entry {
    entry::<O>(|cx, request| Box::pin(streamed::<O>(cx, request)))
}

fn entry<O: Operation>(call: fn(Cx, Inbound) -> BoxFuture<'static, Result<Outbound>>) -> Entry {
    Entry {
        route: O::ROUTE,
        public: O::Access::PUBLIC,
        looks: O::Access::LOOKS,
        placeholders: O::Path::NAMES,
        call,
        shapes: |schemas| Shapes {
            input: O::Params::schema(schemas),
            optional: O::Params::OPTIONAL,
            output: (O::ROUTE.status != 204).then(|| schemas.subschema_for::<O::Output>()),
        },
    }
}

/// Path, access, fields, then the operation itself: what is not allowed is refused before its fields are read.
async fn run<O: Operation>(cx: Cx, request: Inbound) -> Result<(StatusCode, O::Output)> {
    let path = O::Path::from_path(&|name| {
        let found = request.path.iter().find(|(key, _)| key == name);
        let (_, value) = found.ok_or_else(|| Error::internal(format!("no placeholder {name}")))?;
        decode::no_nul(name, value).map(|()| value.clone())
    })?;
    let granted = O::Access::grant(&cx, &path).await?;
    let params = O::Params::read(&request, &O::ROUTE.method)?;
    let reply = O::run(&cx, granted, path, params).await?;
    let status = match reply.status {
        Some(status) => status,
        None => StatusCode::from_u16(O::ROUTE.status).map_err(Error::internal)?,
    };
    Ok((status, reply.body))
}

async fn whole<O: Operation>(cx: Cx, request: Inbound) -> Result<Outbound>
where
    O::Output: Serialize,
{
    let (status, body) = run::<O>(cx, request).await?;
    if status == StatusCode::NO_CONTENT {
        return Ok(Outbound::new(status, Vec::new()));
    }
    Ok(Outbound::new(status, serde_json::to_vec(&body).map_err(Error::internal)?))
}

async fn streamed<O: Operation<Output = Streamed>>(cx: Cx, request: Inbound) -> Result<Outbound> {
    let (status, Streamed(pieces)) = run::<O>(cx, request).await?;
    let media_type = O::ROUTE.streams.ok_or_else(|| Error::internal("a stream without a media type"))?;
    let mut out = Outbound { stream: Some(pieces), ..Outbound::new(status, Vec::new()) };
    out.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    // Proxies that gather an answer before they send it would hold events back.
    out.headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(out)
}
