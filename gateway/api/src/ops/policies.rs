//! Policies: who may do what with which paths of a vault.

mod explain;

pub use explain::ExplainAccessTo;

use domain::access::{self, ManagePolicies, Permit};
use domain::policy::{Conditions, Permission, Policy};
use domain::{Error, OrMissing as _, PathGlob, PolicyId, PrincipalId, Result, Time, VaultId};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use signer_protocol::record::Principal;
use store::policies;

use super::approvals::too_few;
use super::{OfPolicy, OfVault};
use crate::access::{Granted, OnVault};
use crate::cx::Cx;
use crate::decode::{self, Distinct, NothingElse, Patch};
use crate::operation::{Operation, Reply, Route};
use crate::tool::{Default as Or, Effect, Tool, arg};

type May = Granted<Permit<ManagePolicies, VaultId>>;

#[derive(Serialize, JsonSchema)]
pub struct PolicyResponse {
    id: PolicyId,
    vault_id: VaultId,
    secret_path_pattern: String,
    principal_type: &'static str,
    principal_id: String,
    permissions: Vec<Permission>,
    conditions: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Time>,
    created_by: String,
    created_by_type: &'static str,
    created_at: Time,
    /// What to mind, of a policy that was just made or changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
}

impl From<&Policy> for PolicyResponse {
    fn from(policy: &Policy) -> Self {
        Self {
            id: policy.id,
            vault_id: policy.vault,
            secret_path_pattern: policy.pattern.to_string(),
            principal_type: policy.principal.kind(),
            principal_id: policy.principal.uuid(),
            permissions: policy.permissions.clone(),
            conditions: policy.conditions.as_given().clone(),
            expires_at: policy.expires_at,
            created_by: policy.created_by.uuid(),
            created_by_type: policy.created_by.kind(),
            created_at: policy.created_at,
            warning: None,
        }
    }
}

impl PolicyResponse {
    async fn warned(cx: &Cx, may: &Permit<ManagePolicies, VaultId>, policy: &Policy) -> Self {
        let warning = match policy.conditions.approval() {
            Some(terms) => too_few(cx, may.org(), policy.principal, terms.approvals).await,
            None => None,
        };
        Self { warning, ..Self::from(policy) }
    }
}

#[derive(Deserialize, JsonSchema)]
pub struct CreatePolicyRequest {
    secret_path_pattern: String,
    /// `user` or `agent`
    principal_type: String,
    principal_id: String,
    /// `read`, `write` (which includes `delete`), `delete`
    permissions: Vec<String>,
    /// `ip_allowlist`, `time_window`, `require_approval`; at most 4 KiB as JSON.
    #[serde(default)]
    conditions: Option<Distinct>,
    #[serde(default)]
    expires_at: Option<Time>,
    #[serde(flatten)]
    _nothing_else: NothingElse,
}

/// Gives a principal permissions on paths of a vault.
pub struct CreatePolicy;

impl Operation for CreatePolicy {
    const ROUTE: Route = Route::new(
        "createPolicy",
        Method::POST,
        "/v1/vaults/{vault_id}/policies",
        201,
        "Gives a user or an agent permissions on the paths of a vault that match a pattern.",
    )
    .audited("policy.create", "policy")
    .tool(
        Tool::new(
            "grant_access",
            Effect::Adds,
            "Gives a user or an agent of your organisation access to the paths of a vault that you made. Give the least that \
             serves. In a vault that you did not make it is refused: ask an owner or admin. An unknown principal_id is refused.",
        )
        .takes(&[
            arg("vault_id"),
            arg("principal_type"),
            arg("principal_id").about("The user's or agent's UUID."),
            arg("permissions").or(Or::Texts(&["read"])),
            arg("secret_path_pattern")
                .or(Or::Text("**"))
                .about("* is one segment of a path, ** any number of them."),
        ])
        .only_for(may_manage),
    );
    type Path = OfVault;
    type Params = decode::From<CreatePolicyRequest>;
    type Output = PolicyResponse;
    type Access = OnVault<ManagePolicies>;

    async fn run(
        cx: &Cx,
        granted: May,
        path: OfVault,
        decode::From(new): Self::Params,
    ) -> Result<Reply<PolicyResponse>> {
        let policy = Policy {
            id: PolicyId::new(),
            vault: path.vault_id,
            pattern: PathGlob::parse("secret_path_pattern", &new.secret_path_pattern)?,
            principal: PrincipalId::from_parts(&new.principal_type, &new.principal_id)?,
            permissions: permissions(&new.permissions)?,
            conditions: Conditions::parse(new.conditions.unwrap_or_default().0)?,
            expires_at: in_future(cx, new.expires_at)?,
            created_by: granted.may.by(),
            created_at: cx.now(),
        };
        belongs(cx, &granted, policy.principal).await?;
        keys_stay_closed(cx)?;
        access::pattern(&cx.subject()?, &policy.pattern)?;
        let mut act = cx.begin().await?;
        policies::insert(&mut act, &granted.may, &policy).await?;
        note(&mut act, &policy);
        act.commit(policy.id).await?;
        cx.gateway.known.forget_policies(policy.principal).await;
        Ok(Reply::of(PolicyResponse::warned(cx, &granted.may, &policy).await))
    }
}

#[derive(Serialize, JsonSchema)]
pub struct PolicyListResponse {
    policies: Vec<PolicyResponse>,
}

/// A vault's policies.
pub struct ListPolicies;

impl Operation for ListPolicies {
    const ROUTE: Route =
        Route::new("listPolicies", Method::GET, "/v1/vaults/{vault_id}/policies", 200, "A vault's policies.");
    type Path = OfVault;
    type Params = ();
    type Output = PolicyListResponse;
    type Access = OnVault<ManagePolicies>;

    async fn run(cx: &Cx, granted: May, _: OfVault, (): ()) -> Result<Reply<PolicyListResponse>> {
        let (all, subject) = (policies::list(cx.store(), &granted.may).await?, cx.subject()?);
        // Who is held to some paths learns nothing of who reaches others.
        let within = all.iter().filter(|policy| access::pattern(&subject, &policy.pattern).is_ok());
        Ok(Reply::of(PolicyListResponse { policies: within.map(PolicyResponse::from).collect() }))
    }
}

#[derive(Deserialize, JsonSchema)]
pub struct UpdatePolicyRequest {
    #[serde(default)]
    permissions: Option<Vec<String>>,
    #[serde(default)]
    conditions: Patch<Distinct>,
    #[serde(default)]
    expires_at: Patch<Time>,
    #[serde(flatten)]
    _nothing_else: NothingElse,
}

/// Changes a policy's permissions, conditions or end.
pub struct UpdatePolicy;

impl Operation for UpdatePolicy {
    const ROUTE: Route = Route::new(
        "updatePolicy",
        Method::PUT,
        "/v1/vaults/{vault_id}/policies/{policy_id}",
        200,
        "Changes a policy's permissions, conditions or end; what is left out stays.",
    )
    .audited("policy.update", "policy");
    type Path = OfPolicy;
    type Params = decode::From<UpdatePolicyRequest>;
    type Output = PolicyResponse;
    type Access = OnVault<ManagePolicies>;

    async fn run(
        cx: &Cx,
        granted: May,
        path: OfPolicy,
        decode::From(change): Self::Params,
    ) -> Result<Reply<PolicyResponse>> {
        let mut act = cx.begin().await?;
        let mut policy =
            policies::take(&mut act, &granted.may, path.policy_id).await?.or_missing("policy")?;
        access::pattern(&cx.subject()?, &policy.pattern)?;
        if let Some(given) = change.permissions {
            policy.permissions = permissions(&given)?;
        }
        policy.conditions = match change.conditions.try_map(|Distinct(given)| Conditions::parse(given))? {
            Patch::Keep => policy.conditions,
            Patch::Clear => Conditions::default(),
            Patch::Set(conditions) => conditions,
        };
        if let Patch::Set(at) = change.expires_at {
            in_future(cx, Some(at))?;
        }
        policy.expires_at = change.expires_at.over(policy.expires_at);
        keys_stay_closed(cx)?;
        policies::update(&mut act, &granted.may, &policy).await?;
        note(&mut act, &policy);
        act.commit(policy.id).await?;
        cx.gateway.known.forget_policies(policy.principal).await;
        Ok(Reply::of(PolicyResponse::warned(cx, &granted.may, &policy).await))
    }
}

/// Takes a policy away.
pub struct DeletePolicy;

impl Operation for DeletePolicy {
    const ROUTE: Route = Route::new(
        "deletePolicy",
        Method::DELETE,
        "/v1/vaults/{vault_id}/policies/{policy_id}",
        204,
        "Takes a policy away; what it allowed stops at once.",
    )
    .audited("policy.delete", "policy");
    type Path = OfPolicy;
    type Params = ();
    type Output = ();
    type Access = OnVault<ManagePolicies>;

    async fn run(cx: &Cx, granted: May, path: OfPolicy, (): ()) -> Result<Reply<()>> {
        let mut act = cx.begin().await?;
        let policy = policies::take(&mut act, &granted.may, path.policy_id).await?.or_missing("policy")?;
        access::pattern(&cx.subject()?, &policy.pattern)?;
        if !policies::delete(&mut act, &granted.may, path.policy_id).await? {
            return Err(Error::missing("policy"));
        }
        note(&mut act, &policy);
        act.commit(path.policy_id).await?;
        cx.gateway.known.forget_policies(policy.principal).await;
        Ok(Reply::of(()))
    }
}

fn note(act: &mut crate::cx::Act, policy: &Policy) {
    act.note("vault_id", policy.vault.to_string());
    act.note("pattern", policy.pattern.as_str());
    act.note("principal", policy.principal.to_string());
    act.note("permissions", policy.permissions.iter().map(|p| p.as_str()).collect::<Vec<_>>());
    act.note("conditions", policy.conditions.as_given().clone());
    act.note("expires_at", policy.expires_at.map(|t| t.to_string()));
}

fn permissions(given: &[String]) -> Result<Vec<Permission>> {
    if given.is_empty() {
        return Err(Error::invalid("permissions", "must name at least one of read, write, delete"));
    }
    let mut permissions = Vec::new();
    for text in given {
        let permission = text.parse()?;
        if !permissions.contains(&permission) {
            permissions.push(permission);
        }
    }
    Ok(permissions)
}

fn in_future(cx: &Cx, at: Option<Time>) -> Result<Option<Time>> {
    match at {
        Some(at) if at <= cx.now() => Err(Error::invalid("expires_at", "must be in the future")),
        at => Ok(at),
    }
}

/// A policy is for somebody of the vault's own organisation.
async fn belongs(cx: &Cx, granted: &May, principal: PrincipalId) -> Result<()> {
    let known = cx.gateway.known.principal(cx.store(), principal, granted.may.org()).await?;
    known
        .map(drop)
        .ok_or_else(|| Error::invalid("principal_id", "must be a user or an agent of your organisation"))
}

/// An agent that sends transactions writes no policies on the paths of keys; a pattern may cover one at any time,
/// so it writes none at all.
fn keys_stay_closed(cx: &Cx) -> Result<()> {
    if !may_manage(cx.caller()?.principal()) {
        return Err(Error::forbidden(
            "An agent with intents_api_enabled may not manage policies; a person must.",
        ));
    }
    Ok(())
}

fn may_manage(who: &Principal) -> bool {
    !who.intents
}
