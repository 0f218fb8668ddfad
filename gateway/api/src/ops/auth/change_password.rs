//! A new password, by whoever knows the old one.

use domain::access::{self, Permit};
use domain::{Error, Kind, OrMissing as _, PrincipalId, Result, SecretText, UserId};
use http::Method;
use schemars::JsonSchema;
use serde::Deserialize;
use signer_protocol::people;
use store::users;

use super::{MAX_PASSWORD, new_password, reset_password, stretched};
use crate::access::Own;
use crate::cx::Cx;
use crate::decode;
use crate::operation::{Operation, Reply, Route};
use crate::outside::mail::{self, Letter};
use crate::throttle::{self, Target};

#[derive(Deserialize, JsonSchema)]
pub struct ChangePasswordRequest {
    current_password: SecretText,
    /// At least 12 characters with upper, lower, digit and symbol; no three equal or sequential ones in a row; not the
    /// current one.
    new_password: SecretText,
}

/// The field of the new password.
const NEW: &str = "new_password";

/// Changes the caller's password.
pub struct ChangePassword;

impl Operation for ChangePassword {
    const ROUTE: Route = Route::new(
        "changePassword",
        Method::POST,
        "/v1/auth/change-password",
        204,
        "Changes your password. Every token of yours ends, this one too, and those of your API keys; the keys stay. Needs a \
         login of your own.",
    )
    .audited("auth.change_password", "user");
    type Path = ();
    type Params = decode::From<ChangePasswordRequest>;
    type Output = ();
    type Access = Own<access::ChangePassword>;

    async fn run(
        cx: &Cx,
        may: Permit<access::ChangePassword, UserId>,
        (): (),
        decode::From(given): Self::Params,
    ) -> Result<Reply<()>> {
        let wrong = || Error::invalid("current_password", "is not your password");
        if given.current_password.expose().len() > MAX_PASSWORD {
            return Err(wrong().because("a password that is too long to be one"));
        }
        if given.new_password.expose() == given.current_password.expose() {
            return Err(Error::invalid(NEW, "must be another one than the current"));
        }
        let user = users::facts(cx.store(), *may.on()).await?.or_missing("user")?;
        // Before a guess is counted.
        domain::password::check(NEW, &given.new_password)?;
        let change = async {
            let current = stretched(&cx.gateway, &given.current_password, &user.salt).await?;
            let (new, salt) = new_password(&cx.gateway, NEW, &given.new_password).await?;
            let request = people::ChangePassword { by: cx.for_signer()?, current, new };
            let changed =
                cx.signer(async |signer, context| signer.change_password(context, request).await).await;
            changed.map(|record| (record, salt))
        };
        // A guess at the password, as a login is: one that is refused costs no hash.
        let changed = throttle::guard(&cx.gateway, Target::Account(&user.email), cx.address, change).await;
        let (record, salt) = match changed {
            Ok(changed) => changed,
            Err(error) if error.kind() == Kind::Unauthenticated => {
                cx.auth_failure(PrincipalId::User(user.id), user.org, "change_password");
                return Err(wrong().because(error));
            }
            Err(error) => return Err(error),
        };
        let mut act = cx.begin().await?;
        if !users::set_password(&mut act, user.id, &user.record, &record, &salt).await? {
            return Err(changed_meanwhile());
        }
        // Whoever asked for a link before the change doesn't get in by it.
        reset_password::withdraw(&mut act, user.id).await?;
        mail::queue(&mut act, &user.email, &Letter::PasswordChanged, cx.now()).await?;
        act.commit(user.id).await?;
        cx.gateway.confirm(&record).await?;
        Ok(Reply::of(()))
    }
}

pub fn changed_meanwhile() -> Error {
    Error::conflict("Your account was changed just now, by another request; try again.")
}
