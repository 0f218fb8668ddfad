//! A person, a new organisation, and the person as its owner.

use domain::audit::Event;
use domain::setting::OPEN_SIGNUP;
use domain::{Error, EventId, OrgId, PrincipalId, Result, SecretText, UserId, password};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use signer_protocol::people::Login;
use signer_protocol::record::{Credential, CredentialKind, FoundOrganisation};
use signer_protocol::token::{IssueToken, IssuedToken};
use store::Tx;
use store::users::{self, User};

use super::{email, text};
use crate::access::Public;
use crate::cx::Cx;
use crate::decode;
use crate::gateway::Gateway;
use crate::operation::{Operation, Reply, Route};
use crate::password::{SALT, random};
use crate::refusal;

#[derive(Deserialize, JsonSchema)]
pub struct SignupRequest {
    email: String,
    /// At least 12 characters with upper, lower, digit and symbol.
    password: SecretText,
    #[serde(default)]
    display_name: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub struct SignupResponse {
    message: &'static str,
    email: String,
    access_token: domain::Revealed,
    token_type: &'static str,
    /// Seconds.
    expires_in: i64,
}

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
        if !cx.gateway.installation.is_on(cx.store(), &OPEN_SIGNUP).await? {
            return Err(Error::forbidden(
                "Nobody may sign up here; the installation's operators have closed it.",
            ));
        }
        let email = email(&new.email)?;
        let display_name = new.display_name.map(|n| super::super::name("display_name", &n)).transpose()?;
        let (user, issued) = sign_up(&cx.gateway, cx.now(), email, &new.password, display_name).await?;
        let mut act = cx.begin().await?;
        act.by(PrincipalId::User(user.id), user.org);
        insert_user(&mut act, &user).await?;
        act.commit(user.id).await?;
        Ok(Reply::of(SignupResponse {
            message: "Welcome to Talon.",
            email: user.email,
            access_token: domain::Revealed::new(&text(&issued)?),
            token_type: "Bearer",
            expires_in: issued.claims.exp - issued.claims.iat,
        }))
    }
}

/// Founds an organisation in the signer and gives its owner a first token. Nothing is stored yet.
pub async fn sign_up(
    gateway: &Gateway,
    now: domain::Time,
    email: String,
    password: &SecretText,
    display_name: Option<String>,
) -> Result<(User, IssuedToken)> {
    password::check(password)?;
    if users::facts_by_email(&gateway.store, &email).await?.is_some() {
        return Err(Error::conflict("This email has an account already; log in, or use another."));
    }
    let salt = random::<SALT>()?;
    let stretched = gateway.hasher.stretch(password, &salt).await?;
    let credential = Credential { kind: CredentialKind::Password, secret: stretched };
    let (org, owner) = (OrgId::new(), UserId::new());
    let request = FoundOrganisation { org, owner, login: Login::Proof(credential.clone()) };
    let founded = gateway.signer.call(async |signer, cx| signer.found_organisation(cx, request).await);
    let record = founded.await.map_err(refusal::error)?;
    let request = IssueToken { record: record.clone(), proof: credential, derived_scopes: Vec::new() };
    let issued = gateway.signer.call(async |signer, cx| signer.issue_token(cx, request).await);
    let issued = issued.await.map_err(refusal::error)?;
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
    Ok((user, issued))
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
