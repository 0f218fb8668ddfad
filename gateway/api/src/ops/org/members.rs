//! Members: listed, promoted, demoted, removed.

use domain::access::{self, ManageMember, Permit};
use domain::{OrMissing as _, OrgId, PrincipalId, Result, Role, Time, UserId};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use signer_protocol::record::Change;
use store::members;
use store::users::User;

use crate::access::{InOrg, OnMember};
use crate::cx::Cx;
use crate::decode;
use crate::operation::{Operation, Reply, Route};
use crate::ops::OfMember;
use crate::record::{confirm, propose};

#[derive(Serialize, JsonSchema)]
pub struct OrgMemberResponse {
    id: UserId,
    email: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    role: Role,
    /// `password` or `google`
    auth_method: String,
    created_at: Time,
}

impl From<User> for OrgMemberResponse {
    fn from(user: User) -> Self {
        Self {
            id: user.id,
            email: user.email,
            display_name: user.display_name,
            role: user.role,
            auth_method: user.auth_method,
            created_at: user.created_at,
        }
    }
}

#[derive(Serialize, JsonSchema)]
pub struct OrgMemberListResponse {
    members: Vec<OrgMemberResponse>,
}

/// The organisation's people.
pub struct ListMembers;

impl Operation for ListMembers {
    const ROUTE: Route = Route::new(
        "listMembers",
        Method::GET,
        "/v1/org/members",
        200,
        "The people of your organisation, oldest first.",
    );
    type Path = ();
    type Params = ();
    type Output = OrgMemberListResponse;
    type Access = InOrg<access::ListMembers>;

    async fn run(
        cx: &Cx,
        may: Permit<access::ListMembers, OrgId>,
        (): (),
        (): (),
    ) -> Result<Reply<OrgMemberListResponse>> {
        let members = members::list(cx.store(), &may).await?.into_iter().map(OrgMemberResponse::from);
        Ok(Reply::of(OrgMemberListResponse { members: members.collect() }))
    }
}

#[derive(Deserialize, JsonSchema)]
pub struct UpdateMemberRoleRequest {
    role: Role,
}

/// Changes a member's role.
pub struct ChangeMemberRole;

impl Operation for ChangeMemberRole {
    const ROUTE: Route = Route::new(
        "updateMemberRole",
        Method::PATCH,
        "/v1/org/members/{user_id}",
        200,
        "Changes a member's role; their tokens end. Owners alone make or change owners, and one owner stays.",
    )
    .audited("member.role", "user");
    type Path = OfMember;
    type Params = decode::From<UpdateMemberRoleRequest>;
    type Output = OrgMemberResponse;
    type Access = OnMember;

    async fn run(
        cx: &Cx,
        may: Permit<ManageMember, UserId>,
        _: OfMember,
        decode::From(UpdateMemberRoleRequest { role }): Self::Params,
    ) -> Result<Reply<OrgMemberResponse>> {
        access::role(&cx.subject()?, role)?;
        let mut user = members::find(cx.store(), &may).await?.or_missing("member")?;
        if user.role == role {
            return Ok(Reply::of(user.into()));
        }
        let record = propose(cx, Some(user.record.clone()), Change::SetRole(role)).await?;
        let mut act = cx.begin().await?;
        members::change_role(&mut act, &may, &user, role, &record).await?;
        act.note("from", user.role.as_str());
        act.note("to", role.as_str());
        act.commit(user.id).await?;
        cx.gateway.known.forget_principal(PrincipalId::User(user.id)).await;
        confirm(cx, &record).await?;
        user.role = role;
        Ok(Reply::of(user.into()))
    }
}

/// Removes a member.
pub struct RemoveMember;

impl Operation for RemoveMember {
    const ROUTE: Route = Route::new(
        "removeMember",
        Method::DELETE,
        "/v1/org/members/{user_id}",
        204,
        "Removes a member: tokens, API keys and policies of theirs end at once, and the account is gone. What they made \
         stays.",
    )
    .audited("member.remove", "user");
    type Path = OfMember;
    type Params = ();
    type Output = ();
    type Access = OnMember;

    async fn run(cx: &Cx, may: Permit<ManageMember, UserId>, _: OfMember, (): ()) -> Result<Reply<()>> {
        let mut user = members::find(cx.store(), &may).await?.or_missing("member")?;
        // In two steps: should the gateway die between them, the member has ended, and a second call takes the rest
        // away.
        if is_active(&user)? {
            end(cx, &may, &mut user).await?;
        }
        let mut act = cx.begin().await?;
        members::remove(&mut act, &may, &user).await?;
        act.note("role", user.role.as_str());
        act.commit(user.id).await?;
        cx.gateway.known.forget_principal(PrincipalId::User(user.id)).await;
        Ok(Reply::of(()))
    }
}

/// Stores and confirms the member's last record.
async fn end(cx: &Cx, may: &Permit<ManageMember, UserId>, user: &mut User) -> Result<()> {
    let record = propose(cx, Some(user.record.clone()), Change::Deactivate).await?;
    let mut tx = cx.store().begin().await?;
    members::end(&mut tx, may, user, &record).await?;
    tx.commit().await?;
    user.version += 1;
    cx.gateway.known.forget_principal(PrincipalId::User(user.id)).await;
    confirm(cx, &record).await
}

fn is_active(user: &User) -> Result<bool> {
    user.record.peek().map(|record| record.active).map_err(domain::Error::internal)
}
