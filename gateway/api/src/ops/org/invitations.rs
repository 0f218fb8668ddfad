//! Invitations: sent, listed, revoked.

use std::time::Duration;

use domain::access::{self, InviteMember, Permit};
use domain::limit::Window;
use domain::{Error, InvitationId, OrMissing as _, OrgId, PrincipalId, Result, Role, Time, UserId};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use signer_protocol::people;
use store::invitations::{self, Invitation};
use store::{members, users};

use super::join;
use crate::access::InOrg;
use crate::cx::Cx;
use crate::decode;
use crate::mailbox::{self, Mails};
use crate::operation::{Operation, Reply, Route};
use crate::ops::{OfInvitation, auth};
use crate::outside::mail::{self, Letter};
use crate::throttle;

/// An invitation lives as long as somebody may be away.
const LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Of open ones in an organisation.
const MAX_OPEN: u64 = 200;
/// By one organisation: a mail each, to somebody who has not asked for it.
const INVITATIONS: Window = Window::new(60, Duration::from_secs(60 * 60));

#[derive(Deserialize, JsonSchema)]
pub struct InviteMemberRequest {
    email: String,
    /// `member` when left out. Owners alone make owners.
    #[serde(default)]
    role: Option<Role>,
}

#[derive(Serialize, JsonSchema)]
pub struct InviteMemberResponse {
    message: &'static str,
    email: String,
}

/// Asks somebody to come into the organisation.
pub struct Invite;

impl Operation for Invite {
    const ROUTE: Route = Route::new(
        "inviteMember",
        Method::POST,
        "/v1/org/invite",
        200,
        "Mails somebody a link to join your organisation with; it is good once, for 7 days, and replaces an earlier one.",
    )
    .audited("member.invite", "invitation");
    type Path = ();
    type Params = decode::From<InviteMemberRequest>;
    type Output = InviteMemberResponse;
    type Access = InOrg<InviteMember>;

    async fn run(
        cx: &Cx,
        may: Permit<InviteMember, OrgId>,
        (): (),
        decode::From(asked): Self::Params,
    ) -> Result<Reply<InviteMemberResponse>> {
        let (email, role) = (auth::email(&asked.email)?, asked.role.unwrap_or(Role::Member));
        access::role(&cx.subject()?, role)?;
        room(cx, &may, &email).await?;
        let invitation = invite(cx, &may, email, role).await?;
        // Last: what is refused takes no place in a mailbox.
        throttle::take(&cx.gateway, "invite.organisation", &[&may.org().to_string()], INVITATIONS).await?;
        mailbox::take(&cx.gateway, Mails::OthersAskFor, &invitation.email).await?;
        let letter = letter(cx, &may, &invitation).await?;
        let mut act = cx.begin().await?;
        invitations::put(&mut act, &may, &invitation).await?;
        mail::queue(&mut act, &invitation.email, &letter, cx.now()).await?;
        act.note("role", role.as_str());
        act.commit(invitation.id).await?;
        Ok(Reply::of(InviteMemberResponse {
            message: "The invitation is on its way; it is good for 7 days.",
            email: invitation.email,
        }))
    }
}

async fn room(cx: &Cx, may: &Permit<InviteMember, OrgId>, email: &str) -> Result<()> {
    let member = store::users::facts_by_email(cx.store(), email).await?;
    if member.is_some_and(|user| user.org == may.org()) {
        return Err(Error::conflict("This person is in your organisation already."));
    }
    if invitations::open_to_others(cx.store(), may, email, cx.now()).await? >= MAX_OPEN {
        return Err(Error::conflict(format!(
            "{MAX_OPEN} invitations are open; revoke one, or wait until one is taken up."
        )));
    }
    Ok(())
}

/// The signer's leave for it: on the word of an owner or admin.
async fn invite(cx: &Cx, may: &Permit<InviteMember, OrgId>, email: String, role: Role) -> Result<Invitation> {
    let PrincipalId::User(invited_by) = may.by() else {
        return Err(Error::internal("an agent got leave to invite"));
    };
    let (id, user, expires_at) = (InvitationId::new(), UserId::new(), cx.now().plus(LIFETIME));
    let request = people::Invite {
        by: cx.for_signer()?,
        id,
        user,
        role,
        email: join::addressed_to(&email),
        expires_at,
        passkey: cx.passkey().await?,
    };
    let record = cx.signer(async |signer, context| signer.invite(context, request).await).await?;
    Ok(Invitation { id, org: may.org(), email, role, record, invited_by, created_at: cx.now(), expires_at })
}

async fn letter(cx: &Cx, may: &Permit<InviteMember, OrgId>, to: &Invitation) -> Result<Letter> {
    let organisation = members::organisation_name(cx.store(), may.org()).await?.or_missing("organisation")?;
    let by = users::facts(cx.store(), to.invited_by).await?.or_missing("user")?;
    let by = by.display_name.unwrap_or(by.email);
    Ok(Letter::Invitation { invitation: to.id, organisation, by })
}

#[derive(Serialize, JsonSchema)]
pub struct InvitationResponse {
    id: InvitationId,
    email: String,
    role: Role,
    invited_by: UserId,
    created_at: Time,
    expires_at: Time,
}

#[derive(Serialize, JsonSchema)]
pub struct InvitationListResponse {
    invitations: Vec<InvitationResponse>,
}

/// What is still open.
pub struct ListInvitations;

impl Operation for ListInvitations {
    const ROUTE: Route = Route::new(
        "listInvitations",
        Method::GET,
        "/v1/org/invitations",
        200,
        "Your organisation's invitations that nobody has taken up yet, oldest first.",
    );
    type Path = ();
    type Params = ();
    type Output = InvitationListResponse;
    type Access = InOrg<InviteMember>;

    async fn run(
        cx: &Cx,
        may: Permit<InviteMember, OrgId>,
        (): (),
        (): (),
    ) -> Result<Reply<InvitationListResponse>> {
        let open = invitations::list(cx.store(), &may, cx.now()).await?;
        let shown = |i: Invitation| InvitationResponse {
            id: i.id,
            email: i.email,
            role: i.role,
            invited_by: i.invited_by,
            created_at: i.created_at,
            expires_at: i.expires_at,
        };
        Ok(Reply::of(InvitationListResponse { invitations: open.into_iter().map(shown).collect() }))
    }
}

/// Takes an invitation back.
pub struct RevokeInvitation;

impl Operation for RevokeInvitation {
    const ROUTE: Route = Route::new(
        "revokeInvitation",
        Method::DELETE,
        "/v1/org/invitations/{invitation_id}",
        204,
        "Takes an invitation back: its link is dead at once.",
    )
    .audited("invitation.revoke", "invitation");
    type Path = OfInvitation;
    type Params = ();
    type Output = ();
    type Access = InOrg<InviteMember>;

    async fn run(
        cx: &Cx,
        may: Permit<InviteMember, OrgId>,
        OfInvitation { invitation_id }: OfInvitation,
        (): (),
    ) -> Result<Reply<()>> {
        let mut act = cx.begin().await?;
        if !invitations::revoke(&mut act, &may, invitation_id).await? {
            return Err(Error::missing("invitation"));
        }
        act.commit(invitation_id).await?;
        Ok(Reply::of(()))
    }
}
