//! The operator's account, on a first start.

use std::net::IpAddr;

use domain::{Error, Result, SecretText, Time, secret};
use http::Method;
use schemars::JsonSchema;
use serde::Deserialize;
use store::{settings, users};

use super::auth::{self, TokenResponse};
use crate::access::Public;
use crate::cx::Cx;
use crate::decode;
use crate::gateway::Gateway;
use crate::installation::OPERATORS;
use crate::operation::{Operation, Reply, Route};
use crate::password::random;

/// Hash of the one-time token, and when it ends.
const INVITATION: &str = "operators.invitation";
const LIFETIME: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);
/// Somebody signed up with the email before there was an operator.
const TAKEN: &str = "TALON_OPERATOR_EMAIL names an email that has an account already, which can't become the operator's: \
                     set another email, or unset it and TALON_OPERATOR_PASSWORD to get a link";

/// What the link leads to. The token is in the fragment, which a browser never sends.
pub const PAGE: &str = include_str!("setup.html");

/// Makes the operator's account from the configuration, or the link with which a person makes it.
pub async fn first_start(gateway: &Gateway) -> Result<Option<String>> {
    if settings::find(&gateway.store, OPERATORS).await?.is_some() {
        return Ok(None);
    }
    let now = gateway.clock.now();
    match &gateway.settings.operator {
        Some((email, password)) => {
            let email = auth::email(email)?;
            if users::facts_by_email(&gateway.store, &email).await?.is_some() {
                return Err(Error::conflict(TAKEN));
            }
            make_operator(gateway, now, None, email, password, None).await?;
            Ok(None)
        }
        None => invite(gateway, now).await.map(Some),
    }
}

async fn invite(gateway: &Gateway, now: Time) -> Result<String> {
    let token = domain::secret::api_key("setup_", &random::<32>()?);
    let invitation = format!("{}:{}", hash(&token), now.plus(LIFETIME).millis());
    let mut tx = gateway.store.begin().await?;
    settings::put(&mut tx, INVITATION, &invitation, None, now).await?;
    tx.commit().await?;
    Ok(format!("{}/setup#{}", gateway.settings.public_url, token.expose()))
}

fn hash(token: &SecretText) -> String {
    hex::encode(secret::sha256(token.expose().as_bytes()))
}

#[derive(Deserialize, JsonSchema)]
pub struct SetupRequest {
    /// From the link that the first start printed.
    token: SecretText,
    email: String,
    password: SecretText,
}

/// Makes the operator's account.
pub struct Setup;

impl Operation for Setup {
    const ROUTE: Route = Route::new(
        "setup",
        Method::POST,
        "/v1/setup",
        200,
        "Makes the operator's account with the one-time token that the first start printed.",
    );
    type Path = ();
    type Params = decode::From<SetupRequest>;
    type Output = TokenResponse;
    type Access = Public;

    async fn run(cx: &Cx, (): (), (): (), decode::From(given): Self::Params) -> Result<Reply<TokenResponse>> {
        let email = auth::email(&given.email)?;
        let wrong = || Error::forbidden("This link is used up or has expired; restart Talon for a new one.");
        let invitation = settings::find(cx.store(), INVITATION).await?.ok_or_else(wrong)?;
        let (expected, until) = invitation.split_once(':').ok_or_else(wrong)?;
        let until = until.parse().map(Time::from_millis).map_err(|_| wrong())?;
        // Hashes of 256 random bits: comparing them tells nothing about the token.
        if cx.now() >= until || hash(&given.token) != expected {
            return Err(wrong());
        }
        let (now, from) = (cx.now(), cx.address);
        let issued = make_operator(&cx.gateway, now, from, email, &given.password, Some(&invitation)).await?;
        Ok(Reply::of(TokenResponse::new(&issued)?))
    }
}

/// Signs the operator up, as the first and only one.
async fn make_operator(
    gateway: &Gateway,
    now: Time,
    from: Option<IpAddr>,
    email: String,
    password: &SecretText,
    invitation: Option<&str>,
) -> Result<signer_protocol::token::IssuedToken> {
    let (user, issued) = auth::sign_up(gateway, now, from, email, password, None).await?;
    let mut tx = gateway.store.begin().await?;
    let taken = || Error::conflict("The operator's account exists already; log in with it.");
    if let Some(invitation) = invitation
        && !settings::take(&mut tx, INVITATION, invitation).await?
    {
        return Err(taken());
    }
    if !settings::add(&mut tx, OPERATORS, &user.org.to_string(), now).await? {
        return Err(taken());
    }
    auth::insert_user(&mut tx, &user).await?;
    tx.record(auth::signup_event(&user, now));
    tx.commit().await?;
    gateway.installation.forget().await;
    Ok(issued)
}
