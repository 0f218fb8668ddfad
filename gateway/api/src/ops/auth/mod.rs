//! Signing up, logging in, tokens.

pub mod agent_token;
pub mod api_key_token;
mod api_keys;
pub mod asserted;
mod change_password;
pub mod delete_me;
mod device;
mod google;
mod jwks;
mod login;
mod me;
mod mfa;
mod passkeys;
mod refresh;
pub mod reset_password;
mod resource;
mod revoke;
mod signup;
mod verify_email;

use domain::{AgentId, Error, PrincipalId, Result, SecretText, UserId};
use schemars::JsonSchema;
use serde::Serialize;
use signer_protocol::record::{Credential, CredentialKind};
use signer_protocol::token::{ACCESS, IssuedToken};

use crate::gateway::Gateway;
use crate::password::{SALT, random};

pub use agent_token::AgentToken;
pub use api_key_token::ApiKeyToken;
pub use api_keys::{CreateApiKey, ListApiKeys, RevokeApiKey};
pub use change_password::ChangePassword;
pub use delete_me::{DeleteMe, tell};
pub use device::{ApproveDevice, DenyDevice, DeviceCode, DeviceStatus, DeviceToken};
pub use google::GoogleLogin;
pub use jwks::Jwks;
pub use login::Login;
pub use me::{Me, UpdateMe};
pub use mfa::{DisableMfa, MfaStatus, SetUpMfa, VerifyMfa, VerifyMfaSetup};
pub use passkeys::{AddPasskey, ListPasskeys, PasskeyChallenge, RemovePasskey};
pub use refresh::Refresh;
pub use reset_password::{ForgotPassword, ResetPassword};
pub use resource::ProtectedResource;
pub use revoke::RevokeToken;
pub use signup::{Signup, insert_user, sign_up, signup_event};
pub use verify_email::VerifyEmail;

/// Of a password that may be one, in bytes: sign-up takes none that is longer (1,024 characters of four bytes).
const MAX_PASSWORD: usize = 4096;

#[derive(Serialize, JsonSchema)]
pub struct TokenResponse {
    access_token: domain::Revealed,
    /// `Bearer`
    token_type: &'static str,
    /// Seconds.
    expires_in: i64,
    /// Whose token it is, for a client that holds nothing but a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_id: Option<AgentId>,
}

impl TokenResponse {
    pub fn new(issued: &IssuedToken) -> Result<Self> {
        Ok(Self {
            access_token: domain::Revealed::new(&text(issued)?),
            token_type: "Bearer",
            expires_in: issued.claims.exp - issued.claims.iat,
            agent_id: match issued.claims.sub {
                PrincipalId::Agent(id) => Some(id),
                PrincipalId::User(_) => None,
            },
        })
    }

    /// Where there is none to give: what was asked for is done, and logging in is the next step.
    fn without_token() -> Self {
        let none = SecretText::from(String::new());
        Self {
            access_token: domain::Revealed::new(&none),
            token_type: "Bearer",
            expires_in: 0,
            agent_id: None,
        }
    }
}

/// A new password, as the signer checks it, and its salt. It costs a hash: within [`throttle::guard`](crate::throttle::guard)
/// or [`in_turn`](crate::throttle::in_turn).
///
/// # Errors
/// `Invalid` if it breaks a rule, naming the field.
pub(super) async fn new_password(
    gateway: &Gateway,
    field: &str,
    password: &SecretText,
) -> Result<(Credential, [u8; SALT])> {
    domain::password::check(field, password)?;
    let salt = random::<SALT>()?;
    Ok((stretched(gateway, password, &salt).await?, salt))
}

/// A password as the signer checks it.
pub(super) async fn stretched(gateway: &Gateway, password: &SecretText, salt: &[u8]) -> Result<Credential> {
    let secret = gateway.hasher.stretch(password, salt).await?;
    Ok(Credential { kind: CredentialKind::Password, secret })
}

/// What logging in answers: a token, or that a code must be shown first.
#[derive(Serialize, JsonSchema)]
pub struct LoginResponse {
    /// Empty where a code must be shown first.
    access_token: domain::Revealed,
    /// `Bearer`
    token_type: &'static str,
    /// Seconds.
    expires_in: i64,
    user_id: UserId,
    /// A time-based or a recovery code must be shown to `/v1/auth/mfa/verify`.
    mfa_required: bool,
    /// For `/v1/auth/mfa/verify` and nothing else, once.
    #[serde(skip_serializing_if = "Option::is_none")]
    mfa_token: Option<domain::Revealed>,
}

impl LoginResponse {
    pub fn new(issued: &IssuedToken) -> Result<Self> {
        let PrincipalId::User(user_id) = issued.claims.sub else {
            return Err(Error::internal("an agent's token was about to be given out as a person's"));
        };
        let mfa_required = needs_code(issued);
        let given = domain::Revealed::new(&jwt(issued)?);
        let none = || domain::Revealed::new(&SecretText::from(String::new()));
        let (access_token, mfa_token) = if mfa_required { (none(), Some(given)) } else { (given, None) };
        Ok(Self {
            access_token,
            token_type: "Bearer",
            expires_in: issued.claims.exp - issued.claims.iat,
            user_id,
            mfa_required,
            mfa_token,
        })
    }
}

/// Whether this is the first half of a login, which must never be given out as an access token.
pub fn needs_code(issued: &IssuedToken) -> bool {
    issued.claims.kind != ACCESS
}

/// An access token itself.
///
/// # Errors
/// For a token of any other kind.
pub fn text(issued: &IssuedToken) -> Result<SecretText> {
    if needs_code(issued) {
        return Err(Error::internal("a token that is no access token was about to be given out as one"));
    }
    jwt(issued)
}

fn jwt(issued: &IssuedToken) -> Result<SecretText> {
    let jwt =
        std::str::from_utf8(issued.jwt.expose()).map_err(|_| Error::internal("a token that is not text"))?;
    Ok(SecretText::from(jwt.to_owned()))
}

/// An email as it is kept.
///
/// # Errors
/// `Invalid`, naming `email`.
pub fn email(text: &str) -> Result<String> {
    crate::email::parse("email", text)
}
