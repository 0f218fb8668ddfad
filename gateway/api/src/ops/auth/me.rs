//! Who the caller is.

use domain::access::{self, Permit};
use domain::{OrMissing as _, OrgId, Result, Role, Time, UserId};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use signer_protocol::record::Principal;
use store::users::{self, User};

use crate::access::{InOrg, People};
use crate::cx::Cx;
use crate::decode::{self, Patch};
use crate::operation::{Operation, Reply, Route};
use crate::ops::name;

#[derive(Serialize, JsonSchema)]
pub struct UserProfileResponse {
    id: UserId,
    org_id: OrgId,
    email: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    /// `password` or `google`
    auth_method: String,
    role: Option<Role>,
    email_verified: bool,
    marketing_emails: bool,
    totp_enabled: bool,
    /// Whether approving transactions and loosening what holds agents needs one of your passkeys.
    passkeys_enabled: bool,
    created_at: Time,
}

impl UserProfileResponse {
    fn new(user: User, principal: &Principal) -> Self {
        Self {
            id: user.id,
            org_id: user.org,
            email: user.email,
            display_name: user.display_name,
            auth_method: user.auth_method,
            role: principal.role,
            email_verified: user.email_verified,
            marketing_emails: user.marketing_emails,
            totp_enabled: principal.mfa.is_some(),
            passkeys_enabled: principal.passkeys.is_some(),
            created_at: user.created_at,
        }
    }
}

/// The caller's profile.
pub struct Me;

impl Operation for Me {
    const ROUTE: Route = Route::new("getMe", Method::GET, "/v1/auth/me", 200, "Your profile.");
    type Path = ();
    type Params = ();
    type Output = UserProfileResponse;
    type Access = People;

    async fn run(cx: &Cx, id: UserId, (): (), (): ()) -> Result<Reply<UserProfileResponse>> {
        let user = users::facts(cx.store(), id).await?.or_missing("user")?;
        Ok(Reply::of(UserProfileResponse::new(user, cx.caller()?.principal())))
    }
}

#[derive(Deserialize, JsonSchema)]
pub struct UpdateProfileRequest {
    /// 1 to 200 characters; null: none.
    #[serde(default)]
    display_name: Patch<String>,
    /// null: no.
    #[serde(default)]
    marketing_emails: Patch<bool>,
}

/// Changes the caller's profile.
pub struct UpdateMe;

impl Operation for UpdateMe {
    const ROUTE: Route = Route::new(
        "updateMe",
        Method::PATCH,
        "/v1/auth/me",
        200,
        "Changes your profile; what is left out stays, null clears.",
    )
    .audited("user.update", "user");
    type Path = ();
    type Params = decode::From<UpdateProfileRequest>;
    type Output = UserProfileResponse;
    type Access = InOrg<access::ChangeProfile>;

    async fn run(
        cx: &Cx,
        may: Permit<access::ChangeProfile, OrgId>,
        (): (),
        decode::From(change): Self::Params,
    ) -> Result<Reply<UserProfileResponse>> {
        let display_name = change.display_name.try_map(|text| name("display_name", &text))?;
        let mut act = cx.begin().await?;
        let mut user = users::take(&mut act, &may).await?.or_missing("user")?;
        let mut changed = Vec::new();
        let new = display_name.over(user.display_name.clone());
        if new != user.display_name {
            changed.push("display_name");
            user.display_name = new;
        }
        let new = change.marketing_emails.over(Some(user.marketing_emails)).unwrap_or(false);
        if new != user.marketing_emails {
            changed.push("marketing_emails");
            user.marketing_emails = new;
        }
        users::update_profile(&mut act, &may, &user).await?;
        // What people are called is not for the trail, which outlives them.
        act.note("changed", changed);
        act.commit(user.id).await?;
        Ok(Reply::of(UserProfileResponse::new(user, cx.caller()?.principal())))
    }
}
