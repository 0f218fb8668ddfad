//! From an `Authorization` header to a caller.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::access::{Subject, Through};
use domain::{Error, Kind, PrincipalId, Result, SecretText, Time, VaultId};
use http::{HeaderMap, header};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use signer_protocol::Attested;
use signer_protocol::record::Principal;
use signer_protocol::token::{ACCESS, Caller as SignerCaller, Claims, FromKey, ISSUER, MFA};
use signer_protocol::wire::Secret;

use crate::gateway::Gateway;
use crate::known::{Digest, KnownPrincipal, digest};
use crate::ops::auth::{agent_token, api_key_token, text};

/// Who asks, with a live token.
#[derive(Clone)]
pub struct Caller {
    pub claims: Arc<Claims>,
    token: Arc<SecretText>,
    /// Stands for the token in the cache.
    pub digest: Digest,
    known: Arc<KnownPrincipal>,
    vault_ids: Vec<VaultId>,
    /// Whether a key was presented, and the token is what it was exchanged for.
    pub by_key: bool,
}

impl Caller {
    /// The caller's own record says what it may do; the token only proves who it is.
    pub fn principal(&self) -> &signer_protocol::record::Principal {
        &self.known.principal
    }

    /// As the database had it.
    pub(crate) fn record(&self) -> &Attested<Principal> {
        &self.known.record
    }

    pub fn subject(&self, address: Option<std::net::IpAddr>, at: Time) -> Subject<'_> {
        let principal = self.principal();
        Subject {
            id: principal.id,
            org: principal.org,
            role: principal.role,
            vault_ids: &self.vault_ids,
            scopes: &principal.scopes,
            key: self.claims.key.map(|key| Through { id: key.id, scopes: &self.claims.scopes }),
            device: self.claims.device,
            address,
            at,
        }
    }

    /// The same caller, as the signer wants to see it.
    pub fn for_signer(&self) -> SignerCaller {
        SignerCaller { token: Secret::from(&*self.token), record: self.known.record.clone() }
    }
}

const NO_TOKEN: &str = "This needs a token: Authorization: Bearer <token>. Get one from POST /v1/auth/token, \
                        /v1/auth/api-key-token or /v1/auth/agent-token.";
const BAD_TOKEN: &str = "The token is not valid, has expired or was revoked. Get a new one.";

/// # Errors
/// `Unauthenticated`, whatever is wrong with the token; the log says what.
pub async fn caller(
    gateway: &Gateway,
    headers: &HeaderMap,
    address: Option<std::net::IpAddr>,
) -> Result<Caller> {
    let bearer = bearer(headers)?;
    if ![AGENT_KEY, api_key_token::KEY].iter().any(|start| bearer.expose().starts_with(start)) {
        return with_token(gateway, Arc::new(bearer)).await;
    }
    let token = exchanged(gateway, &bearer, address).await?;
    let caller = match with_token(gateway, token).await {
        // The token that it was exchanged for has ended; the key may still be good.
        Err(error) if error.kind() == Kind::Unauthenticated => {
            gateway.known.exchanged.invalidate(&(digest(&bearer), address)).await;
            with_token(gateway, exchanged(gateway, &bearer, address).await?).await
        }
        caller => caller,
    };
    caller.map(|caller| Caller { by_key: true, ..caller })
}

/// The same caller later, by the token that it had: what has ended since refuses it.
///
/// # Errors
/// As [`caller`].
pub async fn still(gateway: &Gateway, caller: &Caller) -> Result<Caller> {
    with_token(gateway, caller.token.clone()).await
}

/// What an agent's key begins with.
const AGENT_KEY: &str = "ocv_";

/// The token that stands for a key presented directly, kept for half a minute at most.
async fn exchanged(
    gateway: &Gateway,
    key: &SecretText,
    address: Option<std::net::IpAddr>,
) -> Result<Arc<SecretText>> {
    let exchange = async {
        let issued = if key.expose().starts_with(AGENT_KEY) {
            agent_token::exchange(gateway, None, key, address).await?
        } else {
            api_key_token::exchange(gateway, key, address).await?
        };
        Ok::<_, Error>(Arc::new(text(&issued)?))
    };
    let token = gateway.known.exchanged.try_get_with((digest(key), address), exchange).await;
    token.map_err(Arc::unwrap_or_clone)
}

async fn with_token(gateway: &Gateway, token: Arc<SecretText>) -> Result<Caller> {
    let digest = digest(&token);
    let claims = match gateway.known.tokens.get(&digest).await {
        Some(claims) => claims,
        None => {
            let claims = Arc::new(verify(gateway, &token, ACCESS).await?);
            if store::tokens::is_revoked(&gateway.store, claims.jti).await? {
                return Err(Error::unauthenticated(BAD_TOKEN).because("revoked"));
            }
            gateway.known.tokens.insert(digest, claims.clone()).await;
            claims
        }
    };
    let now = gateway.clock.now();
    let bad = |why: &str| Error::unauthenticated(BAD_TOKEN).because(why);
    if now.seconds() >= claims.exp {
        return Err(bad("expired"));
    }
    let mut known = gateway.known.principal(&gateway.store, claims.sub, claims.org).await?;
    // A token that is newer than what is known of its principal: somebody has changed it a moment ago, at another gateway.
    let is_behind =
        |known: &Principal| claims.epoch > known.epoch || (claims.epoch == known.epoch && !known.active);
    if known.as_ref().is_none_or(|known| is_behind(&known.principal)) {
        gateway.known.forget_principal(claims.sub).await;
        known = gateway.known.principal(&gateway.store, claims.sub, claims.org).await?;
    }
    let known = known.ok_or_else(|| bad("unknown principal"))?;
    let principal = &known.principal;
    if !principal.active || principal.epoch != claims.epoch {
        return Err(bad("ended, or of an earlier epoch"));
    }
    if principal.expires_at.is_some_and(|end| now >= end) {
        return Err(bad("the principal has expired"));
    }
    if let Some(key) = claims.key {
        alive(gateway, key, &claims, now).await?;
    }
    let vault_ids = narrower(&claims.vault_ids, &principal.vault_ids);
    Ok(Caller { claims, token, digest, known, vault_ids, by_key: false })
}

/// A token ends with the API key that it came from.
async fn alive(gateway: &Gateway, from: FromKey, claims: &Claims, now: Time) -> Result<()> {
    let key = gateway.known.api_key(&gateway.store, from.id).await?;
    let alive = key.is_some_and(|key| {
        key.active
            && key.version == from.version
            && PrincipalId::User(key.user) == claims.sub
            && key.expires_at.is_none_or(|end| now < end)
    });
    if !alive {
        return Err(Error::unauthenticated(BAD_TOKEN).because("its API key was revoked or has expired"));
    }
    gateway.notes.used(from.id, now);
    Ok(())
}

/// Narrowing a record's vaults counts at once, widening with the next token.
fn narrower(token: &[VaultId], record: &[VaultId]) -> Vec<VaultId> {
    match (token, record) {
        ([], ids) | (ids, []) => ids.to_vec(),
        (token, record) => {
            let both: Vec<VaultId> = token.iter().filter(|id| record.contains(id)).copied().collect();
            // Empty would mean "any": an id that no vault has means "none".
            if both.is_empty() { vec![VaultId::from_bytes([0; 16])] } else { both }
        }
    }
}

fn bearer(headers: &HeaderMap) -> Result<SecretText> {
    let value = headers.get(header::AUTHORIZATION).ok_or_else(|| Error::unauthenticated(NO_TOKEN))?;
    let text = value.to_str().map_err(|_| Error::unauthenticated(NO_TOKEN))?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() => {
            Ok(SecretText::from(token.trim().to_owned()))
        }
        _ => Err(Error::unauthenticated(NO_TOKEN)),
    }
}

/// What a token says that stands for the first half of a login. It opens nothing; whether it is still good, the signer
/// says.
///
/// # Errors
/// `Unauthenticated`, for a token of any other kind too.
pub async fn first_half(gateway: &Gateway, token: &SecretText) -> Result<Claims> {
    verify(gateway, token, MFA).await
}

/// Signature, claims and kind, against the signer's public key.
async fn verify(gateway: &Gateway, token: &SecretText, kind: &str) -> Result<Claims> {
    let key = gateway.token_key().await?;
    let mut rules = Validation::new(Algorithm::EdDSA);
    rules.set_issuer(&[ISSUER]);
    rules.set_audience(&[ISSUER]);
    rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    // Expiry is checked for every request, against this gateway's clock.
    rules.validate_exp = false;
    let verified = jsonwebtoken::decode::<Claims>(token.expose(), key, &rules)
        .map_err(|error| Error::unauthenticated(BAD_TOKEN).because(error))?;
    if verified.claims.kind != kind {
        return Err(Error::unauthenticated(BAD_TOKEN)
            .because(format!("a token of the kind {}", verified.claims.kind)));
    }
    Ok(verified.claims)
}

/// The signer's public key (RFC 8037), as jsonwebtoken wants it.
pub fn decoding_key(public_key: &[u8]) -> Result<DecodingKey> {
    DecodingKey::from_ed_components(&URL_SAFE_NO_PAD.encode(public_key)).map_err(Error::internal)
}
