//! Logging in with a password.

use domain::{Error, Kind, PrincipalId, Result, SecretText};
use http::Method;
use schemars::JsonSchema;
use serde::Deserialize;
use signer_protocol::record::{Credential, Principal};
use signer_protocol::token::{IssueToken, IssuedToken};
use signer_protocol::{Attested, Refusal};
use store::users::{self, User};

use super::{LoginResponse, MAX_PASSWORD, email, needs_code, stretched};
use crate::access::Public;
use crate::cx::Cx;
use crate::decode;
use crate::notes::Tried;
use crate::operation::{Operation, Reply, Route};
use crate::ops::shares;
use crate::password::SALT;
use crate::throttle::{self, Target};
use crate::{gate, refusal};

#[derive(Deserialize, JsonSchema)]
pub struct LoginRequest {
    email: String,
    password: SecretText,
}

/// Logs a person in.
pub struct Login;

const WRONG: &str = "Wrong email or password.";

impl Operation for Login {
    const ROUTE: Route =
        Route::new("login", Method::POST, "/v1/auth/token", 200, "Logs a person in with email and password.")
            .audited("auth.success", "user");
    type Path = ();
    type Params = decode::From<LoginRequest>;
    type Output = LoginResponse;
    type Access = Public;

    async fn run(cx: &Cx, (): (), (): (), decode::From(given): Self::Params) -> Result<Reply<LoginResponse>> {
        let check = check(cx, &given);
        let (user, issued) =
            throttle::guard(&cx.gateway, Target::Account(&given.email), cx.address, check).await?;
        let mut act = cx.begin().await?;
        act.by(PrincipalId::User(user.id), user.org);
        if needs_code(&issued) {
            act.instead("auth.challenge");
        } else {
            shares::claim(&mut act, &user, cx.now()).await?;
        }
        act.commit(user.id).await?;
        Ok(Reply::of(LoginResponse::new(&issued)?))
    }
}

/// Whose password it is, and a token for them. What it costs, it costs for an email that nobody has as well.
async fn check(cx: &Cx, given: &LoginRequest) -> Result<(User, IssuedToken)> {
    if given.password.expose().len() > MAX_PASSWORD {
        cx.gateway.notes.stranger(Tried::Password, cx.address, cx.now());
        return Err(Error::unauthenticated(WRONG).because("a password that is too long to be one"));
    }
    let user = match email(&given.email) {
        Ok(email) => users::facts_by_email(cx.store(), &email).await?,
        Err(_) => None,
    };
    let salt = user.as_ref().map_or_else(|| vec![0; SALT], |user| user.salt.clone());
    let proof = tokio::select! {
        proof = stretched(&cx.gateway, &given.password, &salt) => proof?,
        // The hasher leaves out what nobody waits for.
        () = cx.hung_up() => return Err(Error::unavailable("Nobody waits for the answer any more.")),
    };
    let record = user.as_ref().map(|user| user.record.clone());
    let newest = || async {
        let Some(user) = &user else { return Ok(Some(None)) };
        Ok(users::facts(cx.store(), user.id).await?.map(|user| Some(user.record)))
    };
    let issued = refusal::with_newest(record, |record| issue(cx, record, &proof), newest).await?;
    let Some(user) = user else {
        cx.gateway.notes.stranger(Tried::Password, cx.address, cx.now());
        return Err(Error::unauthenticated(WRONG).because("unknown email"));
    };
    let id = PrincipalId::User(user.id);
    match issued.map_err(refusal::error) {
        Ok(issued) => {
            gate::log_in(cx, id, user.org).await?;
            Ok((user, issued))
        }
        // Whose organisation has ended is nobody here any more, and no stranger learns that they were.
        Err(error) if matches!(error.kind(), Kind::Unauthenticated | Kind::Gone) => {
            cx.auth_failure(id, user.org, "password");
            Err(Error::unauthenticated(WRONG).because(error))
        }
        Err(error) => Err(error),
    }
}

async fn issue(
    cx: &Cx,
    record: Option<Attested<Principal>>,
    proof: &Credential,
) -> Result<IssuedToken, Refusal> {
    let request = IssueToken { record, proof: proof.clone(), derived_scopes: Vec::new() };
    cx.gateway.signer.call(async |signer, context| signer.issue_token(context, request).await).await
}
