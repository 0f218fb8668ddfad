//! A new password for whoever has lost theirs and reads the mail of their account; or whom an operator gives the link.

use std::time::Duration;

use domain::audit::Event;
use domain::limit::Window;
use domain::ticket::{Purpose, Ticket, TicketHash};
use domain::{Clock, Error, EventId, OrMissing as _, PrincipalId, Result, SecretText, UserId};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use signer_protocol::link::{Followed, LinkTo};
use signer_protocol::{Client, people};
use store::{Store, Tx, tickets, users};

use super::change_password::changed_meanwhile;
use super::{email, new_password};
use crate::access::Public;
use crate::cx::Cx;
use crate::decode;
use crate::operation::{Operation, Reply, Route};
use crate::outside::mail::{self, Letter};
use crate::password::random;
use crate::{links, refusal, throttle};

/// To one address at once.
const MAILS: Window = Window::new(1, Duration::from_secs(60));
/// As long as a link is good: whoever asks in somebody's name leaves them one that they can use.
const LINKS: Window = Window::new(3, Duration::from_secs(30 * 60));
/// From one client, whatever addresses it names.
const ASKED: Window = Window::new(30, Duration::from_secs(60 * 60));
/// From one client: each is a hash. Tickets can't be guessed.
const TRIES: Window = Window::new(60, Duration::from_secs(60 * 60));

const LINKS_TO_A_PASSWORD: [Purpose; 2] = [Purpose::ResetPassword, Purpose::Recovery];

#[derive(Deserialize, JsonSchema)]
pub struct ForgotPasswordRequest {
    email: String,
}

#[derive(Serialize, JsonSchema)]
pub struct ForgotPasswordResponse {
    message: &'static str,
}

/// Mails a link for a new password.
pub struct ForgotPassword;

impl Operation for ForgotPassword {
    const ROUTE: Route = Route::new(
        "forgotPassword",
        Method::POST,
        "/v1/auth/forgot-password",
        202,
        "Mails a link for a new password, if the address has an account. The answer is the same if it has none.",
    );
    type Path = ();
    type Params = decode::From<ForgotPasswordRequest>;
    type Output = ForgotPasswordResponse;
    type Access = Public;

    /// Whether there is such an account is not looked at here: the answer can't tell, nor the time that it takes.
    async fn run(
        cx: &Cx,
        (): (),
        (): (),
        decode::From(given): Self::Params,
    ) -> Result<Reply<ForgotPasswordResponse>> {
        let (email, now) = (email(&given.email)?, cx.now());
        let place = throttle::place(cx.address);
        throttle::take(&cx.gateway, "reset.address", &[&place], ASKED).await?;
        if throttle::has_room(&cx.gateway, "reset.email", &[&email], MAILS).await?
            && throttle::has_room(&cx.gateway, "reset.links", &[&email], LINKS).await?
        {
            let mut tx = cx.store().begin().await?;
            mail::queue(&mut tx, &email, &Letter::PasswordReset, now).await?;
            tx.commit().await?;
        }
        Ok(Reply::of(ForgotPasswordResponse {
            message: "If the address has an account, a mail with a link is on its way. The link is good for 30 minutes.",
        }))
    }
}

#[derive(Deserialize, JsonSchema)]
pub struct ResetPasswordRequest {
    /// From the mail's link.
    token: SecretText,
    /// At least 12 characters with upper, lower, digit and symbol; no three equal or sequential ones in a row.
    new_password: SecretText,
}

/// Sets the new password.
pub struct ResetPassword;

impl Operation for ResetPassword {
    const ROUTE: Route = Route::new(
        "resetPassword",
        Method::POST,
        "/v1/auth/reset-password",
        204,
        "Sets a new password with the token of a mail's link, once. Every token of the person ends; a second factor stays.",
    )
    .audited("auth.reset_password", "user");
    type Path = ();
    type Params = decode::From<ResetPasswordRequest>;
    type Output = ();
    type Access = Public;

    async fn run(cx: &Cx, (): (), (): (), decode::From(given): Self::Params) -> Result<Reply<()>> {
        let place = throttle::place(cx.address);
        throttle::take(&cx.gateway, "reset.tries", &[&place], TRIES).await?;
        let (purpose, id, followed) = followed(cx, &given.token).await?;
        let user = users::facts(cx.store(), id).await?.ok_or_else(used_up)?;
        let hashed = new_password(&cx.gateway, "new_password", &given.new_password);
        let (new, salt) = throttle::in_turn(&cx.gateway, cx.address, hashed).await?;
        let request = people::ResetPassword { record: user.record.clone(), followed, new };
        let reset = cx.gateway.signer.call(async |signer, c| signer.reset_password(c, request).await).await;
        let record = reset.map_err(refusal::of_change)?;
        let mut act = cx.begin().await?;
        act.by(PrincipalId::User(id), user.org);
        let ticket = TicketHash::of(&given.token);
        tickets::redeem(&mut act, purpose, &ticket, cx.now()).await?.ok_or_else(used_up)?;
        withdraw(&mut act, id).await?;
        if !users::set_password(&mut act, id, &user.record, &record, &salt).await? {
            return Err(changed_meanwhile());
        }
        throttle::forgive(&mut act, &user.email, cx.address, cx.now()).await?;
        mail::queue(&mut act, &user.email, &Letter::PasswordChanged, cx.now()).await?;
        act.commit(id).await?;
        cx.gateway.confirm(&record).await?;
        Ok(Reply::of(()))
    }
}

/// Whose link it is: one of the two that set a new password.
async fn followed(cx: &Cx, ticket: &SecretText) -> Result<(Purpose, UserId, Followed)> {
    for purpose in LINKS_TO_A_PASSWORD {
        if let Some((id, followed)) = links::followed(cx, purpose, ticket).await? {
            return Ok((purpose, id, followed));
        }
    }
    Err(used_up())
}

/// Ends every link to a new password of this person.
pub async fn withdraw(tx: &mut Tx, id: UserId) -> Result<()> {
    for purpose in LINKS_TO_A_PASSWORD {
        tickets::withdraw(tx, purpose, &id.to_string()).await?;
    }
    Ok(())
}

fn used_up() -> Error {
    Error::invalid("token", "is used up or has expired; ask for a new link")
}

/// The link for somebody who can't get a mail: made on the gateway's host, by whoever operates it.
///
/// # Errors
/// `Missing` if nobody has the address, `Conflict` if they log in without a password, `Unavailable` without the signer.
pub async fn recover(store: &Store, signer: &Client, public_url: &str, address: &str) -> Result<SecretText> {
    let user = users::facts_by_email(store, &email(address)?).await?.or_missing("account")?;
    if user.auth_method != "password" {
        return Err(Error::conflict(
            "This account logs in through an identity provider, and has no password.",
        ));
    }
    let (ticket, now) = (Ticket::new(&random::<32>()?), Clock::default().now());
    let (purpose, subject) = (Purpose::Recovery, user.id.to_string());
    let to = LinkTo::Password(user.record.clone());
    let link = links::attest(signer, &ticket, to, &user.email).await.map_err(refusal::error)?;
    let mut tx = store.begin().await?;
    links::issue(&mut tx, purpose, &subject, &ticket, &link).await?;
    tx.record(Event {
        id: EventId::new(),
        org: user.org,
        action: "auth.recover",
        actor: None,
        resource: ("user", subject),
        details: Default::default(),
        address: None,
        at: now,
    });
    tx.commit().await?;
    Ok(ticket.link(public_url, purpose))
}
