//! Access tokens: issued by the signer against proof, verified by everyone.

use domain::{ApiKeyId, OrgId, PathGlob, PrincipalId, Role, Time, TokenId, VaultId};
use serde::{Deserialize, Serialize};

use crate::attested::Attested;
use crate::record::{Credential, Principal};
use crate::wire::Secret;

/// Who is this token for (`aud`) and from (`iss`).
pub const ISSUER: &str = "talon";

/// What a token says (a JWT, `alg` `EdDSA`). Every claim is derived from the principal's record by the signer,
/// but for `scopes` where the record has none: these are the gateway's, for information.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Claims {
    pub iss: String,
    pub aud: String,
    pub sub: PrincipalId,
    pub org: OrgId,
    pub scopes: Vec<PathGlob>,
    pub vault_ids: Vec<VaultId>,
    pub intents_api_enabled: bool,
    /// `access`. A token of another kind is no access token.
    pub kind: String,
    pub role: Option<Role>,
    pub epoch: u64,
    /// Whether the identity rests on the gateway's word (Google, mTLS, OIDC) and not on proof.
    pub asserted: bool,
    /// Seconds since 1970.
    pub iat: i64,
    /// Seconds since 1970.
    pub exp: i64,
    pub jti: TokenId,
    /// The personal API key that the token was issued against. Its scopes are then the token's, and a ceiling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<FromKey>,
}

/// Names a personal API key: the token ends when the key has another version.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FromKey {
    pub id: ApiKeyId,
    pub version: u64,
}

/// The one kind of token there is so far.
pub const ACCESS: &str = "access";

/// Asks for a token against a proof of identity.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IssueToken {
    pub record: Attested<Principal>,
    pub proof: Credential,
    /// Written into `scopes` when the record has no explicit ones: what the principal's policies come to.
    pub derived_scopes: Vec<PathGlob>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IssuedToken {
    pub jwt: Secret,
    pub claims: Claims,
}

/// Who asks: a live token and the record behind it. The signer checks both, and that they belong together:
/// signature, expiry, revocation, epoch, organisation, and that the record is the newest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Caller {
    pub token: Secret,
    pub record: Attested<Principal>,
}

/// Ends one token. Whoever holds it may end it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RevokeToken {
    pub token: Secret,
}

/// A revoked token's id is remembered until then.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct RevokedToken {
    pub jti: TokenId,
    pub expires_at: Time,
}
