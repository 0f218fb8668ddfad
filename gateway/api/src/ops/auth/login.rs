//! Logging in with a password.

use domain::{Error, Kind, PrincipalId, Result, SecretText};
use http::Method;
use schemars::JsonSchema;
use serde::Deserialize;
use signer_protocol::record::{Credential, CredentialKind};
use signer_protocol::token::IssueToken;
use store::users;

use super::{MAX_PASSWORD, TokenResponse, email};
use crate::access::Public;
use crate::cx::Cx;
use crate::decode;
use crate::operation::{Operation, Reply, Route};
use crate::password::SALT;

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
    type Output = TokenResponse;
    type Access = Public;

    async fn run(cx: &Cx, (): (), (): (), decode::From(given): Self::Params) -> Result<Reply<TokenResponse>> {
        if given.password.expose().len() > MAX_PASSWORD {
            return Err(Error::unauthenticated(WRONG).because("a password that is too long to be one"));
        }
        let user = match email(&given.email) {
            Ok(email) => users::facts_by_email(cx.store(), &email).await?,
            Err(_) => None,
        };
        // An unknown email costs the same hash as a known one.
        let salt = user.as_ref().map_or_else(|| vec![0; SALT], |u| u.salt.clone());
        let secret = cx.gateway.hasher.stretch(&given.password, &salt).await?;
        let user = user.ok_or_else(|| Error::unauthenticated(WRONG).because("unknown email"))?;
        let proof = Credential { kind: CredentialKind::Password, secret };
        let request = IssueToken { record: user.record, proof, derived_scopes: Vec::new() };
        let issued = cx.signer(async |signer, context| signer.issue_token(context, request).await).await;
        let id = PrincipalId::User(user.id);
        match issued {
            Ok(issued) => {
                let mut act = cx.begin().await?;
                act.by(id, user.org);
                act.commit(user.id).await?;
                Ok(Reply::of(TokenResponse::new(&issued)?))
            }
            Err(error) if error.kind() == Kind::Unauthenticated => {
                cx.auth_failure(id, user.org, "password").await?;
                Err(Error::unauthenticated(WRONG).because(error))
            }
            Err(error) => Err(error),
        }
    }
}
