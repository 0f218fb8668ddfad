//! Members: listed, promoted, demoted, removed.

use domain::access::{self, ManageMember, Permit};
use domain::{Error, OrMissing as _, OrgId, PrincipalId, Result, Role, Time, UserId};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use signer_protocol::record::Change;
use store::users::{self, User};
use store::{Tx, members};

use super::owners;
use crate::access::{InOrg, OnMember};
use crate::cx::Cx;
use crate::decode;
use crate::operation::{Operation, Reply, Route};
use crate::ops::OfMember;
use crate::ops::auth::tell;
use crate::ops::webhooks::switch_off;

#[derive(Serialize, JsonSchema)]
pub struct OrgMemberResponse {
    id: UserId,
    /// The same as `id`, as clients name it.
    user_id: UserId,
    email: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    role: Role,
    /// `password` or `google`
    auth_method: String,
    created_at: Time,
    /// The same as `created_at`, as clients name it: who comes from another organisation keeps theirs.
    joined_at: Time,
}

impl OrgMemberResponse {
    fn new(user: User) -> Result<Self> {
        Ok(Self {
            role: owners::record(&user)?.role.unwrap_or(Role::Member),
            id: user.id,
            user_id: user.id,
            email: user.email,
            display_name: user.display_name,
            auth_method: user.auth_method,
            created_at: user.created_at,
            joined_at: user.created_at,
        })
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
        "listOrgMembers",
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
        let members = members::list(cx.store(), &may).await?.into_iter().map(OrgMemberResponse::new);
        Ok(Reply::of(OrgMemberListResponse { members: members.collect::<Result<_>>()? }))
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
        let before = owners::record(&user)?.role;
        if before == Some(role) {
            return OrgMemberResponse::new(user).map(Reply::of);
        }
        let record = cx.propose(Some(user.record.clone()), Change::SetRole(role)).await?;
        let mut act = cx.begin().await?;
        if role != Role::Owner {
            another_owner(&mut act, may.org(), user.id).await?;
        }
        members::change(&mut act, &may, &user.record, &record).await?;
        if !role.manages() {
            switch_off(cx, &mut act, may.org(), user.id).await?;
        }
        act.note("from", before.map(Role::as_str));
        act.note("to", role.as_str());
        act.commit(user.id).await?;
        cx.gateway.confirm(&record).await?;
        user.record = record;
        OrgMemberResponse::new(user).map(Reply::of)
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
        "Removes somebody else: tokens, API keys and policies of theirs end at once, and the account is gone. What they \
         made stays.",
    )
    .audited("member.remove", "user");
    type Path = OfMember;
    type Params = ();
    type Output = ();
    type Access = OnMember;

    async fn run(cx: &Cx, may: Permit<ManageMember, UserId>, _: OfMember, (): ()) -> Result<Reply<()>> {
        if may.by() == PrincipalId::User(*may.on()) {
            return Err(Error::conflict(
                "This is your own account; delete it with DELETE /v1/auth/me, which asks for a confirmation.",
            ));
        }
        let user = members::find(cx.store(), &may).await?.or_missing("member")?;
        let last = cx.propose(Some(user.record.clone()), Change::Deactivate).await?;
        let mut act = cx.begin().await?;
        another_owner(&mut act, may.org(), user.id).await?;
        if !members::remove(&mut act, &may, &user.record, &last).await? {
            return Err(Error::conflict(
                "Somebody else changed this account just now; look at it again, then repeat.",
            ));
        }
        switch_off(cx, &mut act, may.org(), user.id).await?;
        act.note("role", owners::record(&user)?.role.map(Role::as_str));
        act.commit(user.id).await?;
        cx.gateway.known.forget_policies(PrincipalId::User(user.id)).await;
        tell(&cx.gateway, user.id, &last).await?;
        Ok(Reply::of(()))
    }
}

/// Whoever this is, the organisation keeps an owner. Until the transaction ends, nobody else asks.
async fn another_owner(tx: &mut Tx, org: OrgId, than: UserId) -> Result<()> {
    if owners::another(&users::hold_people(tx, org).await?, than)? {
        return Ok(());
    }
    Err(Error::conflict("This is the organisation's last owner. Make somebody else an owner first."))
}
