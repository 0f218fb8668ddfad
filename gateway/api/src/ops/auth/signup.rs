//! A person, a new organisation, and the person as its owner.

use std::net::IpAddr;
use std::time::Duration;

use domain::audit::Event;
use domain::limit::Window;
use domain::setting::{EMAIL_VERIFICATION, OPEN_SIGNUP};
use domain::{Error, EventId, OrgId, PrincipalId, Result, SecretText, UserId};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use signer_protocol::Attested;
use signer_protocol::link::Followed;
use signer_protocol::people::{Join, Login, Newcomer};
use signer_protocol::record::{Credential, FoundOrganisation, Principal};
use signer_protocol::token::{IssueToken, IssuedToken};
use store::Tx;
use store::invitations::Invitation;
use store::users::{self, User};

use super::{email, new_password, text, verify_email};
use crate::access::Public;
use crate::cx::{Act, Cx};
use crate::decode;
use crate::gateway::Gateway;
use crate::operation::{Operation, Reply, Route};
use crate::ops::{name, org, shares};
use crate::outside::mail::{self, Letter};
use crate::{gate, refusal, throttle};

#[derive(Deserialize, JsonSchema)]
pub struct SignupRequest {
    email: String,
    /// At least 12 characters with upper, lower, digit and symbol; no three equal or sequential ones in a row.
    password: SecretText,
    #[serde(default)]
    display_name: Option<String>,
    /// From the link of an invitation: you join the organisation that invites, and found none.
    #[serde(default)]
    invitation: Option<SecretText>,
}

impl SignupRequest {
    /// Email and name, as they are kept.
    fn who(&self) -> Result<(String, Option<String>)> {
        let email = email(&self.email)?;
        let name = self.display_name.as_deref().map(|text| name("display_name", text)).transpose()?;
        Ok((email, name))
    }
}

#[derive(Serialize, JsonSchema)]
pub struct SignupResponse {
    message: &'static str,
    /// Left out while there is no account: the address is to be verified first.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<UserId>,
    email: String,
    /// Left out while the address is to be verified first.
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<domain::Revealed>,
    token_type: &'static str,
    /// Seconds.
    expires_in: i64,
}

impl SignupResponse {
    fn welcome(user: User, issued: &IssuedToken) -> Result<Self> {
        Ok(Self {
            message: "Welcome to Talon.",
            user_id: Some(user.id),
            email: user.email,
            access_token: Some(domain::Revealed::new(&text(issued)?)),
            token_type: "Bearer",
            expires_in: issued.claims.exp - issued.claims.iat,
        })
    }

    /// The same whether the address has an account or not.
    pub fn to_be_verified(email: String) -> Self {
        Self {
            message: "Check your mail: it has a link that confirms your address. If none arrives within a few minutes, \
                      sign up again.",
            user_id: None,
            email,
            access_token: None,
            token_type: "Bearer",
            expires_in: 0,
        }
    }
}

/// To whoever brings an invitation.
pub const HAS_AN_ACCOUNT: &str =
    "This email has an account already; log in, then take the invitation up with POST /v1/org/join.";

/// From one address: each is a hash and an organisation.
const SIGN_UPS: Window = Window::new(200, Duration::from_secs(60 * 60));

/// Makes a person, an organisation and its owner.
pub struct Signup;

impl Operation for Signup {
    const ROUTE: Route = Route::new(
        "signup",
        Method::POST,
        "/v1/auth/signup",
        200,
        "Signs a person up: makes an organisation that they own, and logs them in.",
    )
    .audited("user.signup", "user");
    type Path = ();
    type Params = decode::From<SignupRequest>;
    type Output = SignupResponse;
    type Access = Public;

    async fn run(cx: &Cx, (): (), (): (), decode::From(new): Self::Params) -> Result<Reply<SignupResponse>> {
        if let Some(ticket) = &new.invitation {
            let (email, display_name) = new.who()?;
            return join(cx, ticket, email, &new.password, display_name).await;
        }
        open(cx).await?;
        room(cx).await?;
        let (email, display_name) = new.who()?;
        if cx.gateway.installation.is_on(cx.store(), &EMAIL_VERIFICATION).await? {
            verify_email::ask(cx, &email, &new.password, display_name).await?;
            return Ok(Reply::of(SignupResponse::to_be_verified(email)));
        }
        let (user, issued) =
            sign_up(&cx.gateway, cx.now(), cx.address, email, &new.password, display_name).await?;
        let mut act = cx.begin().await?;
        act.by(PrincipalId::User(user.id), user.org);
        insert_user(&mut act, &user).await?;
        mail::queue(&mut act, &user.email, &Letter::Welcome, cx.now()).await?;
        act.commit(user.id).await?;
        SignupResponse::welcome(user, &issued).map(Reply::of)
    }
}

/// # Errors
/// `Forbidden` where strangers may not sign up.
pub async fn open(cx: &Cx) -> Result<()> {
    if cx.gateway.installation.is_on(cx.store(), &OPEN_SIGNUP).await? {
        return Ok(());
    }
    Err(Error::forbidden("Nobody may sign up here; the installation's operators have closed it."))
}

/// # Errors
/// `TooManyRequests` if too many have signed up from here.
pub async fn room(cx: &Cx) -> Result<()> {
    throttle::take(&cx.gateway, "signup.address", &[&throttle::place(cx.address)], SIGN_UPS).await
}

/// The id that will be somebody's who has no account, the invitation, if they may come in from here, and what shows the signer
/// that its link was followed.
///
/// # Errors
/// `Conflict` if there is an account, `Forbidden`.
pub async fn invited(cx: &Cx, ticket: &SecretText, email: &str) -> Result<(UserId, Invitation, Followed)> {
    let (open, followed) = org::open(cx, ticket, email).await?;
    if users::facts_by_email(cx.store(), email).await?.is_some() {
        return Err(Error::conflict(HAS_AN_ACCOUNT));
    }
    let id = open.record.peek().map_err(Error::internal)?.user;
    gate::pass(&cx.gateway, PrincipalId::User(id), open.org, cx.address).await?;
    Ok((id, open, followed))
}

/// A new person's record in the organisation that invites.
pub async fn come_in(
    cx: &Cx,
    open: &Invitation,
    followed: Followed,
    login: Login,
) -> Result<Attested<Principal>> {
    let request = Join { invitation: open.record.clone(), followed, who: Newcomer::New(login) };
    cx.signer(async |signer, context| signer.join(context, request).await).await
}

/// Stores who has [come in](come_in), and spends the invitation.
pub async fn insert_invited(cx: &Cx, act: &mut Act, open: &Invitation, user: &User) -> Result<()> {
    org::take(act, open, cx.now()).await?;
    users::insert(act, user).await?;
    act.note("invitation", open.id.to_string());
    act.note("role", open.role.as_str());
    Ok(())
}

/// A new person in the organisation that invites. The link has shown that the address is theirs.
async fn join(
    cx: &Cx,
    ticket: &SecretText,
    email: String,
    password: &SecretText,
    display_name: Option<String>,
) -> Result<Reply<SignupResponse>> {
    let (id, open, followed) = invited(cx, ticket, &email).await?;
    let hash = new_password(&cx.gateway, "password", password);
    let (credential, salt) = throttle::in_turn(&cx.gateway, cx.address, hash).await?;
    let record = come_in(cx, &open, followed, Login::Proof(credential.clone())).await?;
    let user = User {
        id,
        org: open.org,
        email,
        display_name,
        auth_method: "password".to_owned(),
        email_verified: true,
        marketing_emails: false,
        salt: salt.to_vec(),
        record,
        created_at: cx.now(),
    };
    let mut act = cx.begin().await?;
    act.by(PrincipalId::User(user.id), user.org);
    insert_invited(cx, &mut act, &open, &user).await?;
    shares::claim(&mut act, &user, cx.now()).await?;
    mail::queue(&mut act, &user.email, &Letter::Welcome, cx.now()).await?;
    act.commit(user.id).await?;
    // Should the gateway die before this, the account is there, and a login gives the token.
    let issued = first_token(&cx.gateway, &user, credential).await?;
    SignupResponse::welcome(user, &issued).map(Reply::of)
}

/// Founds an organisation in the signer and gives its owner a first token. Nothing is stored yet.
pub async fn sign_up(
    gateway: &Gateway,
    now: domain::Time,
    from: Option<IpAddr>,
    email: String,
    password: &SecretText,
    display_name: Option<String>,
) -> Result<(User, IssuedToken)> {
    if users::facts_by_email(&gateway.store, &email).await?.is_some() {
        return Err(Error::conflict("This email has an account already; log in, or use another."));
    }
    let (user, credential) = found(gateway, now, from, email, password, display_name).await?;
    let issued = first_token(gateway, &user, credential).await?;
    Ok((user, issued))
}

/// Founds an organisation in the signer, with an owner who has this password.
pub async fn found(
    gateway: &Gateway,
    now: domain::Time,
    from: Option<IpAddr>,
    email: String,
    password: &SecretText,
    display_name: Option<String>,
) -> Result<(User, Credential)> {
    let hash = new_password(gateway, "password", password);
    let (credential, salt) = throttle::in_turn(gateway, from, hash).await?;
    let (org, owner) = (OrgId::new(), UserId::new());
    let request = FoundOrganisation {
        org,
        owner,
        email: org::addressed_to(&email),
        login: Login::Proof(credential.clone()),
    };
    let founded = gateway.signer.call(async |signer, cx| signer.found_organisation(cx, request).await);
    let record = founded.await.map_err(refusal::error)?;
    let user = User {
        id: owner,
        org,
        email,
        display_name,
        auth_method: "password".to_owned(),
        email_verified: false,
        marketing_emails: false,
        salt: salt.to_vec(),
        record,
        created_at: now,
    };
    Ok((user, credential))
}

/// The token of somebody who has just shown their password.
///
/// # Errors
/// `Unauthenticated` if it is not theirs.
pub async fn first_token(gateway: &Gateway, user: &User, proof: Credential) -> Result<IssuedToken> {
    let request = IssueToken { record: Some(user.record.clone()), proof, derived_scopes: Vec::new() };
    let issued = gateway.signer.call(async |signer, cx| signer.issue_token(cx, request).await);
    issued.await.map_err(refusal::error)
}

/// Stores what [`sign_up`] made.
pub async fn insert_user(tx: &mut Tx, user: &User) -> Result<()> {
    users::found_organisation(tx, user.org, &user.email, user.created_at).await?;
    users::insert(tx, user).await
}

/// The first event of a new organisation, where no request is behind it.
pub fn signup_event(user: &User, at: domain::Time) -> Event {
    Event {
        id: EventId::new(),
        org: user.org,
        action: "user.signup",
        actor: Some(PrincipalId::User(user.id)),
        resource: ("user", user.id.to_string()),
        details: Default::default(),
        address: None,
        at,
    }
}
