//! Personal API keys: made, listed, revoked. What a key may is in its record, which the signer attests.

use domain::access::{self, Permit};
use domain::{ApiKeyId, Error, OrMissing as _, Result, Revealed, Time, UserId};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use signer_protocol::api_key;
use signer_protocol::record::{Credential, CredentialKind};
use signer_protocol::wire::Secret;
use store::api_keys::{self, ApiKey};
use store::users;

use super::api_key_token::KEY;
use crate::access::{OnApiKey, Own};
use crate::cx::Cx;
use crate::decode::{self, NothingElse};
use crate::operation::{Operation, Reply, Route};
use crate::ops::{OfApiKey, agents, name};
use crate::outside::mail::{self, Letter};
use crate::password::random;

/// Of one person, neither revoked nor expired.
const MAX_KEYS: u64 = 100;

#[derive(Serialize, JsonSchema)]
pub struct ApiKeyResponse {
    id: ApiKeyId,
    name: String,
    /// The first 12 characters of the key, to tell keys apart.
    key_prefix: String,
    /// The same as `key_prefix`, as clients name it.
    prefix: String,
    /// Path globs; empty: whatever its person may.
    scopes: Vec<String>,
    /// False once it has expired.
    is_active: bool,
    created_at: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Time>,
    /// To a minute or so.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<Time>,
}

impl ApiKeyResponse {
    fn new(cx: &Cx, key: &ApiKey) -> Result<Self> {
        let record = key
            .record
            .peek()
            .map_err(|e| Error::internal(format!("API key {}'s record is damaged: {e}", key.id)))?;
        Ok(Self {
            id: key.id,
            name: key.name.clone(),
            key_prefix: key.prefix.clone(),
            prefix: key.prefix.clone(),
            scopes: record.scopes.iter().map(ToString::to_string).collect(),
            is_active: record.active && record.expires_at.is_none_or(|end| cx.now() < end),
            created_at: key.created_at,
            expires_at: record.expires_at,
            last_used_at: key.last_used_at,
        })
    }
}

#[derive(Deserialize, JsonSchema)]
pub struct CreateApiKeyRequest {
    /// 1 to 200 characters.
    name: String,
    /// Path globs that bound what the key may touch, on top of what you may. Empty: no further bound.
    #[serde(default)]
    scopes: Option<Vec<String>>,
    /// In the future; left out: no end.
    #[serde(default)]
    expires_at: Option<Time>,
    #[serde(flatten)]
    _nothing_else: NothingElse,
}

#[derive(Serialize, JsonSchema)]
pub struct ApiKeyCreatedResponse {
    key: ApiKeyResponse,
    /// Shown once.
    api_key: Revealed,
}

/// Makes a personal API key.
pub struct CreateApiKey;

impl Operation for CreateApiKey {
    const ROUTE: Route = Route::new(
        "createApiKey",
        Method::POST,
        "/v1/auth/api-keys",
        201,
        "Makes a personal API key and gives it out, once. Needs a login of your own: a key makes no other. At most 100 \
         live ones a person.",
    )
    .audited("api_key.create", "api_key");
    type Path = ();
    type Params = decode::From<CreateApiKeyRequest>;
    type Output = ApiKeyCreatedResponse;
    type Access = Own<access::CreateApiKey>;

    async fn run(
        cx: &Cx,
        may: Permit<access::CreateApiKey, UserId>,
        (): (),
        decode::From(new): Self::Params,
    ) -> Result<Reply<ApiKeyCreatedResponse>> {
        let name = name("name", &new.name)?;
        let scopes = agents::scopes(&new.scopes.unwrap_or_default())?;
        let expires_at = agents::end(cx, new.expires_at)?;
        room(api_keys::live(cx.store(), &may, cx.now()).await?)?;
        let secret = domain::secret::api_key(KEY, &random::<32>()?);
        let id = ApiKeyId::new();
        let request = api_key::CreateApiKey {
            by: cx.for_signer()?,
            id,
            credential: Credential { kind: CredentialKind::ApiKey, secret: Secret::from(&secret) },
            scopes,
            expires_at,
            passkey: cx.passkey().await?,
        };
        let record = cx.signer(async |signer, context| signer.create_api_key(context, request).await).await?;
        let key = ApiKey {
            id,
            org: may.org(),
            user: *may.on(),
            name,
            prefix: agents::prefix(&secret),
            record,
            created_at: cx.now(),
            expires_at,
            last_used_at: None,
        };
        let response = ApiKeyResponse::new(cx, &key)?;
        let mut act = cx.begin().await?;
        // Once more, now that nobody else can add one.
        room(api_keys::count_live(&mut act, &may, cx.now()).await?)?;
        api_keys::insert(&mut act, &may, &key).await?;
        act.note("name", key.name.as_str());
        act.note("scopes", response.scopes.clone());
        act.note("expires_at", expires_at.map(|t| t.to_string()));
        if let Some(user) = users::facts(cx.store(), *may.on()).await? {
            let letter = Letter::ApiKeyCreated { name: key.name.clone() };
            mail::queue(&mut act, &user.email, &letter, cx.now()).await?;
        }
        act.commit(id).await?;
        Ok(Reply::of(ApiKeyCreatedResponse { key: response, api_key: Revealed::new(&secret) }))
    }
}

fn room(live: u64) -> Result<()> {
    if live < MAX_KEYS {
        Ok(())
    } else {
        Err(Error::conflict(format!("You have {MAX_KEYS} API keys, and no more fit; revoke one first.")))
    }
}

#[derive(Serialize, JsonSchema)]
pub struct ApiKeyListResponse {
    keys: Vec<ApiKeyResponse>,
}

/// The caller's own keys.
pub struct ListApiKeys;

impl Operation for ListApiKeys {
    const ROUTE: Route = Route::new(
        "listApiKeys",
        Method::GET,
        "/v1/auth/api-keys",
        200,
        "Your own personal API keys that were not revoked, the live ones first, each oldest first; never the keys \
         themselves. What has expired is forgotten after a month.",
    );
    type Path = ();
    type Params = ();
    type Output = ApiKeyListResponse;
    type Access = Own<access::ListApiKeys>;

    async fn run(
        cx: &Cx,
        may: Permit<access::ListApiKeys, UserId>,
        (): (),
        (): (),
    ) -> Result<Reply<ApiKeyListResponse>> {
        let keys = api_keys::list(cx.store(), &may, cx.now()).await?;
        let keys = keys.iter().map(|key| ApiKeyResponse::new(cx, key)).collect::<Result<_>>()?;
        Ok(Reply::of(ApiKeyListResponse { keys }))
    }
}

/// Ends a key.
pub struct RevokeApiKey;

impl Operation for RevokeApiKey {
    const ROUTE: Route = Route::new(
        "revokeApiKey",
        Method::DELETE,
        "/v1/auth/api-keys/{key_id}",
        204,
        "Revokes one of your own API keys: it and every token that it was exchanged for stop at once. With a key, that \
         key alone; with a device's token, none.",
    )
    .audited("api_key.revoke", "api_key");
    type Path = OfApiKey;
    type Params = ();
    type Output = ();
    type Access = OnApiKey;

    async fn run(
        cx: &Cx,
        may: Permit<access::RevokeApiKey, ApiKeyId>,
        _: OfApiKey,
        (): (),
    ) -> Result<Reply<()>> {
        let key = api_keys::find(cx.store(), &may).await?.or_missing("API key")?;
        // The signer first: from its answer on the key is dead. A crash in between leaves a row that a second DELETE
        // ends.
        let request = api_key::RevokeApiKey { by: cx.for_signer()?, key: key.record };
        let last = cx.signer(async |signer, context| signer.revoke_api_key(context, request).await).await?;
        let mut act = cx.begin().await?;
        if !api_keys::revoke(&mut act, &may, &last, cx.now()).await? {
            return Err(Error::missing("API key"));
        }
        act.note("name", key.name.as_str());
        act.commit(key.id).await?;
        cx.gateway.known.forget_api_key(key.id).await;
        Ok(Reply::of(()))
    }
}
