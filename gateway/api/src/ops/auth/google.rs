//! Signing in with Google: who is known logs in, who is not signs up. An account that was made another way is never
//! joined with this one: whoever made it with somebody else's address would keep the key to it.

use domain::{Error, Kind, OrgId, PrincipalId, Result, SecretText, UserId};
use http::Method;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Map;
use signer_protocol::people::Login as SignerLogin;
use signer_protocol::record::{Assertion, FoundOrganisation, Principal};
use signer_protocol::token::{IssueAsserted, IssuedToken};
use signer_protocol::{Attested, Refusal};
use store::outside_logins::{self, OutsideLogin};
use store::users::{self, User};

use super::{LoginResponse, email, insert_user, needs_code, signup};
use crate::access::Public;
use crate::cx::{Act, Cx};
use crate::decode;
use crate::notes::Tried;
use crate::openid::{GooglePerson, Refused};
use crate::operation::{Operation, Reply, Route};
use crate::ops::org::addressed_to;
use crate::ops::{name, shares};
use crate::outside::mail::{self, Letter};
use crate::password::{SALT, random};
use crate::{gate, refusal};

#[derive(Deserialize, JsonSchema)]
pub struct GoogleAuthRequest {
    /// As Google's sign-in gave it to the client that is set up here.
    id_token: SecretText,
    /// From the link of an invitation, for who is not known yet: you join the organisation that invites, and found none.
    #[serde(default)]
    invitation: Option<SecretText>,
}

/// Logs a person in with Google.
pub struct GoogleLogin;

const NOT_SET_UP: &str = "Nobody signs in with Google here: the operator has not set TALON_GOOGLE_CLIENT_ID. Log in with \
                          email and password.";
const NOT_GOOD: &str = "Google's token is not valid here, or has expired. Sign in with Google again.";
const AWAY: &str = "Google's keys can't be fetched right now; try again in a moment.";
const ANOTHERS: &str = "This email has an account already, which does not log in with this Google account. Log in the way \
                        that it was made.";

impl Operation for GoogleLogin {
    const ROUTE: Route = Route::new(
        "googleAuth",
        Method::POST,
        "/v1/auth/google",
        200,
        "Logs a person in with Google's id_token; who is not known yet is signed up, with an invitation into the \
         organisation that invites.",
    )
    .audited("auth.success", "user");
    type Path = ();
    type Params = decode::From<GoogleAuthRequest>;
    type Output = LoginResponse;
    type Access = Public;

    async fn run(cx: &Cx, (): (), (): (), decode::From(given): Self::Params) -> Result<Reply<LoginResponse>> {
        let seen = cx.gateway.openid.google(&cx.gateway.egress, &cx.gateway.clock, &given.id_token).await;
        let seen =
            seen.ok_or_else(|| Error::new(Kind::Missing, NOT_SET_UP))?.map_err(|refused| match refused {
                Refused::Token(why) => {
                    cx.gateway.notes.stranger(Tried::Google, cx.address, cx.now());
                    Error::unauthenticated(NOT_GOOD).because(why)
                }
                Refused::NoKeys(why) => Error::unavailable(AWAY).because(why),
            })?;
        let issued = match (known(cx, &seen).await?, &given.invitation) {
            (Some(_), Some(_)) => return Err(Error::conflict(signup::HAS_AN_ACCOUNT)),
            (Some(user), None) => log_in(cx, &user, &seen).await?,
            (None, Some(ticket)) => join(cx, &seen, ticket).await?,
            (None, None) => match sign_up(cx, &seen).await {
                // The same person a moment ago, by another request.
                Err(error) if error.kind() == Kind::Conflict => {
                    // Writers may share a commit: what the other one wrote is seen when what comes after it is there.
                    cx.store().begin().await?.commit().await?;
                    let user = known(cx, &seen).await?.ok_or(error)?;
                    log_in(cx, &user, &seen).await?
                }
                signed_up => signed_up?,
            },
        };
        Ok(Reply::of(LoginResponse::new(&issued)?))
    }
}

async fn known(cx: &Cx, seen: &GooglePerson) -> Result<Option<User>> {
    match outside_logins::facts(cx.store(), &seen.issuer, &seen.subject).await? {
        Some(id) => users::facts(cx.store(), id).await,
        None => Ok(None),
    }
}

async fn log_in(cx: &Cx, user: &User, seen: &GooglePerson) -> Result<IssuedToken> {
    let id = PrincipalId::User(user.id);
    let issued = issue(cx, user, seen.assertion()).await;
    if issued.as_ref().is_err_and(|error| error.kind() == Kind::Unauthenticated) {
        cx.auth_failure(id, user.org, "google");
    }
    let issued = issued?;
    gate::log_in(cx, id, user.org).await?;
    let mut act = cx.begin().await?;
    act.by(id, user.org);
    if needs_code(&issued) {
        act.instead("auth.challenge");
    } else {
        shares::claim(&mut act, user, cx.now()).await?;
    }
    act.note("method", "google");
    act.commit(user.id).await?;
    Ok(issued)
}

/// The signer compares with what the person's record pins.
async fn issue(cx: &Cx, user: &User, seen: Assertion) -> Result<IssuedToken> {
    let newest = || async { Ok(users::facts(cx.store(), user.id).await?.map(|user| user.record)) };
    let issued = refusal::with_newest(user.record.clone(), |record| ask(cx, record, &seen), newest).await?;
    issued.map_err(refusal::error)
}

async fn ask(cx: &Cx, record: Attested<Principal>, seen: &Assertion) -> Result<IssuedToken, Refusal> {
    let request = IssueAsserted { record, seen: seen.clone(), derived_scopes: Vec::new() };
    cx.gateway.signer.call(async |signer, context| signer.issue_asserted(context, request).await).await
}

/// Makes the person, with an organisation of their own.
async fn sign_up(cx: &Cx, seen: &GooglePerson) -> Result<IssuedToken> {
    let email = email(&seen.email)?;
    if users::facts_by_email(cx.store(), &email).await?.is_some() {
        return Err(Error::conflict(ANOTHERS));
    }
    signup::open(cx).await?;
    signup::room(cx).await?;
    let (org, owner) = (OrgId::new(), UserId::new());
    let login = SignerLogin::Asserted(seen.assertion());
    let request = FoundOrganisation { org, owner, email: addressed_to(&email), login };
    let record = cx.signer(async |signer, context| signer.found_organisation(context, request).await).await?;
    let user = person(cx, seen, email, (owner, org), record)?;
    let mut act = cx.begin().await?;
    act.by(PrincipalId::User(user.id), user.org);
    insert_user(&mut act, &user).await?;
    welcome(cx, act, &user, seen).await
}

/// Makes the person in the organisation that invites. The invitation must be for the address that Google has verified.
async fn join(cx: &Cx, seen: &GooglePerson, ticket: &SecretText) -> Result<IssuedToken> {
    let email = email(&seen.email)?;
    let (id, open, followed) = signup::invited(cx, ticket, &email).await?;
    let record = signup::come_in(cx, &open, followed, SignerLogin::Asserted(seen.assertion())).await?;
    let user = person(cx, seen, email, (id, open.org), record)?;
    let mut act = cx.begin().await?;
    act.by(PrincipalId::User(user.id), user.org);
    signup::insert_invited(cx, &mut act, &open, &user).await?;
    welcome(cx, act, &user, seen).await
}

fn person(
    cx: &Cx,
    seen: &GooglePerson,
    email: String,
    (id, org): (UserId, OrgId),
    record: Attested<Principal>,
) -> Result<User> {
    Ok(User {
        id,
        org,
        email,
        display_name: seen.name.as_deref().and_then(|text| name("name", text).ok()),
        auth_method: "google".to_owned(),
        email_verified: true,
        marketing_emails: false,
        // Whoever tries a password waits as long as with any other account, and is refused.
        salt: random::<SALT>()?.to_vec(),
        record,
        created_at: cx.now(),
    })
}

/// What goes with a new person, and their first token.
async fn welcome(cx: &Cx, mut act: Act, user: &User, seen: &GooglePerson) -> Result<IssuedToken> {
    let login = OutsideLogin { issuer: &seen.issuer, subject: &seen.subject, user: user.id };
    outside_logins::insert(&mut act, &login).await?;
    shares::claim(&mut act, user, cx.now()).await?;
    mail::queue(&mut act, &user.email, &Letter::WelcomeWithGoogle, cx.now()).await?;
    act.note("method", "google");
    act.also("user.signup", "user", user.id, Map::from_iter([("method".to_owned(), "google".into())]))?;
    act.commit(user.id).await?;
    issue(cx, user, seen.assertion()).await
}
