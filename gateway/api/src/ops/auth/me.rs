//! Who the caller is.

use domain::{OrMissing as _, Result, Time, UserId};
use http::Method;
use schemars::JsonSchema;
use serde::Serialize;
use store::users;

use crate::access::People;
use crate::cx::Cx;
use crate::operation::{Operation, Reply, Route};

#[derive(Serialize, JsonSchema)]
pub struct UserProfileResponse {
    id: UserId,
    email: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    auth_method: String,
    role: Option<domain::Role>,
    email_verified: bool,
    marketing_emails: bool,
    totp_enabled: bool,
    created_at: Time,
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
        Ok(Reply::of(UserProfileResponse {
            id: user.id,
            email: user.email,
            display_name: user.display_name,
            auth_method: user.auth_method,
            role: cx.caller()?.principal().role,
            email_verified: user.email_verified,
            marketing_emails: user.marketing_emails,
            totp_enabled: false,
            created_at: user.created_at,
        }))
    }
}
