//! Access tokens: JWT (RFC 7519) signed by Ed25519 (RFC 8037), issued against proof.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{PathGlob, PrincipalId, Time, TokenId};
use ed25519_dalek::{Signature, VerifyingKey};
use moka::sync::Cache;
use signer_protocol::record::{Principal, Verifier};
use signer_protocol::token::{
    ACCESS, Claims, ISSUER, IssueAsserted, IssueToken, IssuedToken, MFA, RevokeToken, RevokedToken,
};
use signer_protocol::wire::Secret;
use subtle::ConstantTimeEq as _;

use crate::authority::Authority;
use crate::callers::Usable as _;
use crate::encoding::sha256;
use crate::principals;
use crate::refuse::{Result, unauthenticated, unavailable};
use crate::start::StartError;

/// Seconds that a person's token lives; an agent's record says how long its tokens do.
const USER_TOKEN_SECONDS: i64 = 900;

/// Until the second factor must have been shown.
const MFA_TOKEN_SECONDS: i64 = 300;

/// A token is some 800 bytes; explicit scopes make it longer. Longer ones are not looked at.
const MAX_TOKEN: usize = 64 * 1024;

/// Tokens whose signature was found good, at most.
const CACHED: u64 = 50_000;

/// Reads and checks tokens. Whether one was revoked, the ledger knows.
pub struct Tokens {
    key: VerifyingKey,
    key_id: String,
    /// The one header that a token of ours has, as it stands in the token: so there is nothing to parse in it,
    /// and no algorithm to choose.
    header: String,
    verified: Cache<[u8; 32], Arc<Claims>>,
}

impl Tokens {
    /// # Errors
    /// If the bytes are no Ed25519 public key.
    pub fn new(public_key: &[u8; 32]) -> Result<Self, StartError> {
        let key = VerifyingKey::from_bytes(public_key)
            .map_err(|_| StartError::new("the keystore's token key is no Ed25519 key"))?;
        let key_id = thumbprint(public_key);
        let header = format!(r#"{{"alg":"EdDSA","typ":"JWT","kid":"{key_id}"}}"#);
        let header = URL_SAFE_NO_PAD.encode(header);
        Ok(Self { key, key_id, header, verified: Cache::new(CACHED) })
    }

    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Checks an access token: signature, header, issuer, audience, kind and expiry.
    ///
    /// # Errors
    /// `Unauthenticated`, alike for every way in which a token can be bad.
    pub fn verify(&self, token: &Secret, now: Time) -> Result<Arc<Claims>> {
        self.verify_kind(ACCESS, token, now)
    }

    /// The same for a token that stands for the first half of a login.
    pub fn verify_first_half(&self, token: &Secret, now: Time) -> Result<Arc<Claims>> {
        self.verify_kind(MFA, token, now)
    }

    fn verify_kind(&self, kind: &str, token: &Secret, now: Time) -> Result<Arc<Claims>> {
        let id = sha256(token.expose());
        let claims = match self.verified.get(&id) {
            Some(claims) => claims,
            None => {
                let claims = Arc::new(self.read(token.expose()).ok_or_else(bad_token)?);
                self.verified.insert(id, claims.clone());
                claims
            }
        };
        if claims.kind != kind || now.seconds() >= claims.exp { Err(bad_token()) } else { Ok(claims) }
    }

    fn read(&self, token: &[u8]) -> Option<Claims> {
        let token = std::str::from_utf8(token).ok().filter(|text| text.len() <= MAX_TOKEN)?;
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        if header != self.header {
            return None;
        }
        let signature: [u8; 64] = URL_SAFE_NO_PAD.decode(signature).ok()?.try_into().ok()?;
        // Strict: refuses the malleable and small-order forms that RFC 8032 leaves open.
        self.key.verify_strict(signed.as_bytes(), &Signature::from_bytes(&signature)).ok()?;
        let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
        (claims.iss == ISSUER && claims.aud == ISSUER).then_some(claims)
    }
}

pub fn bad_token() -> signer_protocol::Refusal {
    unauthenticated("The access token is invalid, expired or revoked. Sign in again.")
}

/// The key's JWK thumbprint (RFC 7638, members as in RFC 8037 §2).
fn thumbprint(public_key: &[u8; 32]) -> String {
    let jwk = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, URL_SAFE_NO_PAD.encode(public_key));
    URL_SAFE_NO_PAD.encode(sha256(jwk.as_bytes()))
}

impl Authority {
    /// Checks the proof against the record, and derives every claim from the record.
    pub async fn issue_token(&self, request: IssueToken) -> Result<IssuedToken> {
        let Some(record) = &request.record else {
            // The work that it takes to compare with somebody's.
            let _nobodys = principals::credential_code(self, "nobody", &request.proof).await?;
            return Err(denied());
        };
        let record = self.newest(record).await?;
        let now = self.clock.now();
        let code = principals::credential_code(self, record.id, &request.proof).await?;
        // The code covers the credential's kind and owner: another kind, or another's, comes to another code.
        let genuine = record.verifier.as_ref().is_some_and(|verifier| same_code(verifier, &code));
        if !genuine || !record.usable(now) {
            return Err(denied());
        }
        self.first_half(&record, request.derived_scopes, now).await
    }

    /// A token on the gateway's word, for the identity that the record pins and no other.
    pub async fn issue_asserted(&self, request: IssueAsserted) -> Result<IssuedToken> {
        let record = self.newest(&request.record).await?;
        let now = self.clock.now();
        if record.asserted.as_ref() != Some(&request.seen) || !record.usable(now) {
            return Err(denied());
        }
        self.first_half(&record, request.derived_scopes, now).await
    }

    /// What the first proof is worth: an access token, or where a second factor is to come, leave to show it.
    async fn first_half(
        &self,
        record: &Principal,
        derived_scopes: Vec<PathGlob>,
        now: Time,
    ) -> Result<IssuedToken> {
        self.not_stopped(record)?;
        let mut claims = claims(record, derived_scopes, now);
        if self.second_factor(record).await?.is_some() {
            MFA.clone_into(&mut claims.kind);
            claims.exp = claims.exp.min(now.seconds() + MFA_TOKEN_SECONDS);
        }
        self.issued(claims).await
    }

    /// Signs claims that a rule of this signer has derived.
    pub(crate) async fn issued(&self, claims: Claims) -> Result<IssuedToken> {
        let payload = serde_json::to_vec(&claims).map_err(|_| unavailable("The token can't be written."))?;
        let signed = format!("{}.{}", self.tokens.header, URL_SAFE_NO_PAD.encode(payload));
        let (signed, signature) = self
            .pool
            .on_keys(move |keys| keys.sign_token(signed.as_bytes()).map(|signature| (signed, signature)))
            .await?;
        let jwt = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        Ok(IssuedToken { jwt: jwt.into_bytes().into(), claims })
    }

    /// Ends a token. One that has expired needs no ending, and is refused as it would be anywhere else.
    pub async fn revoke_token(&self, request: RevokeToken) -> Result<RevokedToken> {
        let claims = self.tokens.verify(&request.token, self.clock.now())?;
        let expires_at = Time::from_seconds(claims.exp);
        self.ledger.revoke(claims.jti, expires_at).await?;
        Ok(RevokedToken { jti: claims.jti, expires_at })
    }
}

pub fn denied() -> signer_protocol::Refusal {
    unauthenticated("The credential is wrong, or its owner may not sign in.")
}

/// Compares in constant time.
pub fn same_code(verifier: &Verifier, code: &str) -> bool {
    verifier.code.as_bytes().ct_eq(code.as_bytes()).into()
}

pub fn claims(record: &Principal, derived_scopes: Vec<PathGlob>, now: Time) -> Claims {
    let lifetime = match record.id {
        PrincipalId::User(_) => USER_TOKEN_SECONDS,
        PrincipalId::Agent(_) => i64::from(record.token_ttl_seconds),
    };
    let exp = now.seconds().saturating_add(lifetime);
    Claims {
        iss: ISSUER.to_owned(),
        aud: ISSUER.to_owned(),
        sub: record.id,
        org: record.org,
        scopes: if record.scopes.is_empty() { derived_scopes } else { record.scopes.clone() },
        vault_ids: record.vault_ids.clone(),
        intents_api_enabled: record.intents,
        kind: ACCESS.to_owned(),
        role: record.role,
        epoch: record.epoch,
        asserted: record.asserted.is_some(),
        iat: now.seconds(),
        // A principal's tokens end with it.
        exp: record.expires_at.map_or(exp, |end| exp.min(end.seconds())),
        jti: TokenId::new(),
        key: None,
        device: false,
    }
}
