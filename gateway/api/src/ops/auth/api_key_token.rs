//! A personal API key, exchanged for a token.

use std::net::IpAddr;

use domain::audit::Event;
use domain::{Error, EventId, Kind, PrincipalId, Result, SecretText, UserId};
use http::Method;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Map;
use signer_protocol::api_key::{ApiKey as KeyRecord, IssueKeyToken};
use signer_protocol::record::{Credential, CredentialKind, Principal};
use signer_protocol::token::{IssueToken, IssuedToken};
use signer_protocol::wire::Secret;
use signer_protocol::{Attested, Refusal};
use store::api_keys::{self, ApiKey};
use store::users;

use super::TokenResponse;
use super::agent_token::PREFIX;
use crate::access::Public;
use crate::cx::Cx;
use crate::decode::{self, NothingElse};
use crate::gate;
use crate::gateway::Gateway;
use crate::notes::{COARSE, Tried};
use crate::operation::{Operation, Reply, Route};
use crate::refusal;
use crate::throttle::{self, Target};

/// What a personal API key begins with.
pub const KEY: &str = "1ck_";
/// With 32 bytes in base64, no padding.
const LENGTH: usize = KEY.len() + 43;
const WRONG: &str =
    "Wrong API key, or it was revoked or has expired. Make a new one at POST /v1/auth/api-keys.";

#[derive(Deserialize, JsonSchema)]
pub struct UserApiKeyTokenRequest {
    /// `1ck_…`
    api_key: SecretText,
    #[serde(flatten)]
    _nothing_else: NothingElse,
}

/// Exchanges a personal API key for a token.
pub struct ApiKeyToken;

impl Operation for ApiKeyToken {
    const ROUTE: Route = Route::new(
        "apiKeyToken",
        Method::POST,
        "/v1/auth/api-key-token",
        200,
        "Exchanges a personal API key for a token of 900 seconds, less where the key ends sooner.",
    );
    type Path = ();
    type Params = decode::From<UserApiKeyTokenRequest>;
    type Output = TokenResponse;
    type Access = Public;

    async fn run(cx: &Cx, (): (), (): (), decode::From(given): Self::Params) -> Result<Reply<TokenResponse>> {
        let work = exchange(&cx.gateway, &given.api_key, cx.address);
        let issued = throttle::guard(&cx.gateway, Target::Anyones, cx.address, work).await?;
        Ok(Reply::of(TokenResponse::new(&issued)?))
    }
}

/// # Errors
/// `Unauthenticated`, alike for a key that nobody has and for one that is wrong, revoked or expired.
pub async fn exchange(gateway: &Gateway, key: &SecretText, address: Option<IpAddr>) -> Result<IssuedToken> {
    let text = key.expose();
    let prefix = match text.get(..PREFIX) {
        Some(prefix) if text.len() == LENGTH && text.starts_with(KEY) => prefix,
        _ => {
            gateway.notes.stranger(Tried::ApiKey, address, gateway.clock.now());
            return Err(Error::unauthenticated(WRONG).because("no API key by its looks"));
        }
    };
    let candidates = api_keys::facts_by_prefix(&gateway.store, prefix).await?;
    if candidates.is_empty() {
        // The same work as for a key that is there, and the same answer.
        let _refused = issue(gateway, None, key).await?;
        gateway.notes.stranger(Tried::ApiKey, address, gateway.clock.now());
    }
    for found in candidates {
        match issue(gateway, Some(&found), key).await? {
            Ok(issued) => {
                gate::pass(gateway, PrincipalId::User(found.user), found.org, address).await?;
                succeeded(gateway, &found, address).await?;
                return Ok(issued);
            }
            Err(refused) => match refusal::error(refused) {
                error if error.kind() == Kind::Unauthenticated => {
                    gateway.notes.failed(event(gateway, &found, "auth.failure", address));
                }
                error => return Err(error),
            },
        }
    }
    Err(Error::unauthenticated(WRONG))
}

type Issued = Result<IssuedToken, Refusal>;
/// Whose key it is, and the key.
type Records = (Attested<Principal>, Attested<KeyRecord>);

async fn issue(gateway: &Gateway, found: Option<&ApiKey>, secret: &SecretText) -> Result<Issued> {
    let proof = Credential { kind: CredentialKind::ApiKey, secret: Secret::from(secret) };
    let user = users::facts(&gateway.store, found.map_or_else(UserId::new, |found| found.user)).await?;
    let (Some(user), Some(found)) = (user, found) else {
        let request = IssueToken { record: None, proof, derived_scopes: Vec::new() };
        return Ok(gateway.signer.call(async |signer, cx| signer.issue_token(cx, request).await).await);
    };
    let newest = || async {
        let user = users::facts(&gateway.store, user.id).await?;
        let key = api_keys::facts(&gateway.store, found.id).await?;
        Ok(user.zip(key).map(|(user, key)| (user.record, key.record)))
    };
    let sent = (user.record.clone(), found.record.clone());
    refusal::with_newest(sent, |records| ask(gateway, records, &proof), newest).await
}

async fn ask(gateway: &Gateway, (record, key): Records, proof: &Credential) -> Issued {
    let request = IssueKeyToken { record, key, proof: proof.clone() };
    gateway.signer.call(async |signer, cx| signer.issue_key_token(cx, request).await).await
}

async fn succeeded(gateway: &Gateway, key: &ApiKey, address: Option<IpAddr>) -> Result<()> {
    let mut tx = gateway.store.begin().await?;
    api_keys::used(&mut tx, key.id, gateway.clock.now(), COARSE).await?;
    tx.record(event(gateway, key, "auth.success", address));
    tx.commit().await
}

fn event(gateway: &Gateway, key: &ApiKey, action: &'static str, address: Option<IpAddr>) -> Event {
    Event {
        id: EventId::new(),
        org: key.org,
        action,
        actor: Some(PrincipalId::User(key.user)),
        resource: ("user", key.user.to_string()),
        details: Map::from_iter([
            ("method".to_owned(), "api_key".into()),
            ("api_key_id".to_owned(), key.id.to_string().into()),
        ]),
        address: address.map(|a| a.to_string()),
        at: gateway.clock.now(),
    }
}
