//! Access tokens: issued by the signer against proof, verified by everyone.

use domain::{ApiKeyId, OrgId, PathGlob, PrincipalId, Role, Time, TokenId, VaultId};
use serde::{Deserialize, Serialize};

use crate::attested::Attested;
use crate::record::{Assertion, Credential, Principal};
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
    /// The personal API key that the token was issued against. Its scopes are then the token's, and a ceiling. Written
    /// where there is none, too: on the wire fields go by their order, so that only the last may be left out.
    #[serde(default)]
    pub key: Option<FromKey>,
    /// Whether a device's login (RFC 8628) led to it: good for what its person does, but not for what must be done in
    /// person.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub device: bool,
}

/// Names a personal API key: the token ends when the key has another version.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FromKey {
    pub id: ApiKeyId,
    pub version: u64,
}

/// The kind of token that opens the API.
pub const ACCESS: &str = "access";
/// The kind that stands for a password that was right where a code is still to come: 300 s, good for
/// [`crate::mfa::VerifyMfa`] alone.
pub const MFA: &str = "mfa";

/// Asks for a token against a proof of identity. For a person with a second factor the answer is of the kind [`MFA`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IssueToken {
    /// `None`: nobody is known whose proof it is. The answer is that of a wrong proof, and costs what it costs.
    pub record: Option<Attested<Principal>>,
    pub proof: Credential,
    /// Written into `scopes` when the record has no explicit ones: what the principal's policies come to.
    pub derived_scopes: Vec<PathGlob>,
}

/// Asks for a token on the gateway's word. For a person with a second factor the answer is of the kind [`MFA`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IssueAsserted {
    pub record: Attested<Principal>,
    /// Whom the gateway has recognised: what the record pins, or nothing comes of it.
    pub seen: Assertion,
    /// As for [`IssueToken`].
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
