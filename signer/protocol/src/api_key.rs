//! Personal API keys (`1ck_…`): with one, a program acts as the person whose it is.
//!
//! A key has a record of its own, attested as a principal's is. A token comes from it only together with the
//! person's newest record, and never reaches further than both.

use domain::{ApiKeyId, OrgId, PathGlob, Time, UserId};
use serde::{Deserialize, Serialize};

use crate::attested::{Attested, Statement};
use crate::passkey::Asserted;
use crate::record::{Credential, Principal, Verifier};
use crate::token::Caller;

/// A personal API key as the signer attests it. Revoking it gives one more version, the last.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ApiKey {
    pub id: ApiKeyId,
    pub org: OrgId,
    /// Whose it is: who made it, with a token of a login of their own.
    pub user: UserId,
    pub verifier: Verifier,
    /// Path globs that bound what tokens from this key may touch, on top of the person's own. Empty: no further
    /// bound.
    pub scopes: Vec<PathGlob>,
    /// Neither the key nor a token from it is good from then on.
    pub expires_at: Option<Time>,
    pub active: bool,
    /// Rises when the key is revoked; the signer's ledger keeps the newest that it has seen.
    pub version: u64,
}

impl Statement for ApiKey {
    const DOMAIN: &'static str = "talon/api-key/1";
}

/// Asks for a new key. It counts, and its id is taken, from the answer on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CreateApiKey {
    /// A person, with a token that did not itself come from an API key.
    pub by: Caller,
    pub id: ApiKeyId,
    /// An `ApiKey` credential.
    pub credential: Credential,
    pub scopes: Vec<PathGlob>,
    pub expires_at: Option<Time>,
    /// Over [`crate::passkey::challenge_of_api_key`]: needed of whoever has a passkey.
    pub passkey: Option<Asserted>,
}

/// Ends a key and every token from it, at once. Asked again, the answer is the same.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RevokeApiKey {
    /// The person whose key it is, in person. A token that came from an API key ends that key alone.
    pub by: Caller,
    pub key: Attested<ApiKey>,
}

/// Asks for a token against a key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IssueKeyToken {
    /// The person's record.
    pub record: Attested<Principal>,
    pub key: Attested<ApiKey>,
    pub proof: Credential,
}
