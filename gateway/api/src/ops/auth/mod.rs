//! Signing up, logging in, tokens.

pub mod agent_token;
pub mod api_key_token;
mod api_keys;
pub mod asserted;
mod google;
mod jwks;
mod login;
mod me;
mod resource;
mod revoke;
mod signup;

use domain::{AgentId, Error, PrincipalId, Result, SecretText};
use schemars::JsonSchema;
use serde::Serialize;
use signer_protocol::token::IssuedToken;

pub use agent_token::AgentToken;
pub use api_key_token::ApiKeyToken;
pub use api_keys::{CreateApiKey, ListApiKeys, RevokeApiKey};
pub use google::GoogleLogin;
pub use jwks::Jwks;
pub use login::Login;
pub use me::{Me, UpdateMe};
pub use resource::ProtectedResource;
pub use revoke::RevokeToken;
pub use signup::{Signup, insert_user, sign_up, signup_event};

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
}

/// The token itself.
pub fn text(issued: &IssuedToken) -> Result<SecretText> {
    let jwt =
        std::str::from_utf8(issued.jwt.expose()).map_err(|_| Error::internal("a token that is not text"))?;
    Ok(SecretText::from(jwt.to_owned()))
}

/// An email as it is compared: trimmed and lower-cased.
///
/// # Errors
/// `Invalid`, naming `email`.
pub fn email(text: &str) -> Result<String> {
    let email = text.trim().to_lowercase();
    let fits = email.len() <= 254
        && email.split_once('@').is_some_and(|(local, host)| {
            !local.is_empty() && host.contains('.') && !host.starts_with('.') && !host.ends_with('.')
        })
        && email.matches('@').count() == 1
        && !email.chars().any(|c| c.is_whitespace() || c.is_control());
    if fits {
        Ok(email)
    } else {
        Err(Error::invalid("email", "must be an email address such as ada@example.org"))
    }
}
