//! Signing up where addresses are verified: until the mail's link is used there is no account, and so nobody can keep an
//! address from whoever owns it. See ADR 11.

use std::time::Duration;

use domain::limit::Window;
use domain::ticket::{Purpose, TicketHash};
use domain::{Error, Kind, PrincipalId, Result, SecretText};
use http::Method;
use schemars::JsonSchema;
use serde::Deserialize;
use signer_protocol::token::IssuedToken;
use store::users::User;
use store::{signups, tickets};

use super::signup::{first_token, found, insert_user};
use super::{TokenResponse, stretched};
use crate::access::Public;
use crate::cx::Cx;
use crate::decode;
use crate::mailbox::{self, Mails};
use crate::operation::{Operation, Reply, Route};
use crate::ops::shares;
use crate::outside::mail::{self, Letter};
use crate::throttle::{self, Target};

/// To one address at once.
const MAILS: Window = Window::new(1, Duration::from_secs(60));

/// Keeps what somebody signed up with, and mails them the link. What is done, and how long it takes, is the same for an
/// address that has an account: who has one is told so by the mail.
pub async fn ask(cx: &Cx, email: &str, password: &SecretText, display_name: Option<String>) -> Result<()> {
    let now = cx.now();
    let (user, _) = found(&cx.gateway, now, cx.address, email.to_owned(), password, display_name).await?;
    if !throttle::has_room(&cx.gateway, "signup.email", &[email], MAILS).await?
        || !mailbox::has_room(&cx.gateway, Mails::ToSignUp, email).await?
    {
        return Ok(());
    }
    let letter = Letter::Verification { signup: user.id };
    let mut tx = cx.store().begin().await?;
    // The ticket is made with the mail, which may be late.
    signups::insert(&mut tx, &user, now.plus(letter.patience() + Purpose::VerifyEmail.lifetime())).await?;
    mail::queue(&mut tx, email, &letter, now).await?;
    tx.commit().await
}

#[derive(Deserialize, JsonSchema)]
pub struct VerifyEmailRequest {
    /// From the mail's link.
    token: SecretText,
    /// The one that you signed up with. Without it the address is verified, and the answer's token is empty: the signer
    /// gives tokens against proof alone.
    #[serde(default)]
    password: Option<SecretText>,
}

/// Makes the account.
pub struct VerifyEmail;

impl Operation for VerifyEmail {
    const ROUTE: Route = Route::new(
        "verifyEmail",
        Method::POST,
        "/v1/auth/verify-email",
        200,
        "Makes the account of somebody who signed up, with the token of the mail's link; with the password, logs them in.",
    )
    .audited("user.signup", "user");
    type Path = ();
    type Params = decode::From<VerifyEmailRequest>;
    type Output = TokenResponse;
    type Access = Public;

    async fn run(cx: &Cx, (): (), (): (), decode::From(given): Self::Params) -> Result<Reply<TokenResponse>> {
        super::signup::open(cx).await?;
        let ticket = TicketHash::of(&given.token);
        let id = tickets::find(cx.store(), Purpose::VerifyEmail, &ticket, cx.now()).await?;
        let id = id.ok_or_else(used_up)?;
        let user = signups::find(cx.store(), id, cx.now()).await?.ok_or_else(used_up)?;
        let issued = match &given.password {
            Some(password) => Some(log_in(cx, &user, password).await?),
            None => None,
        };
        let mut act = cx.begin().await?;
        act.by(PrincipalId::User(user.id), user.org);
        tickets::redeem(&mut act, Purpose::VerifyEmail, &ticket, cx.now()).await?.ok_or_else(used_up)?;
        insert_user(&mut act, &user).await?;
        shares::claim(&mut act, &user, cx.now()).await?;
        signups::end(&mut act, &user.email).await?;
        mail::queue(&mut act, &user.email, &Letter::Welcome, cx.now()).await?;
        act.commit(user.id).await?;
        issued.as_ref().map_or_else(|| Ok(TokenResponse::without_token()), TokenResponse::new).map(Reply::of)
    }
}

/// The ticket is not spent on a password that was mistyped.
async fn log_in(cx: &Cx, user: &User, password: &SecretText) -> Result<IssuedToken> {
    domain::password::check("password", password).map_err(|_| wrong_password())?;
    let check = async {
        let proof = stretched(&cx.gateway, password, &user.salt).await?;
        first_token(&cx.gateway, user, proof).await
    };
    let issued = throttle::guard(&cx.gateway, Target::Account(&user.email), cx.address, check).await;
    issued.map_err(|error| match error.kind() {
        Kind::Unauthenticated => wrong_password().because(error),
        _ => error,
    })
}

fn wrong_password() -> Error {
    Error::invalid(
        "password",
        "is not the one that you signed up with; sign up again after a minute to choose another; if you did not sign up, \
         close this page",
    )
}

fn used_up() -> Error {
    Error::invalid("token", "is used up or has expired; log in, or sign up again for a new link")
}
