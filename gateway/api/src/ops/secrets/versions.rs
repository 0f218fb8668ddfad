//! A secret's versions: listed, read, taken out of use.

use domain::access::{DescribeSecret, Permit, SecretAt, WriteSecret};
use domain::{Error, OrMissing as _, Result, SecretType, Time};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use store::secrets::{Version, versions};

use super::{SecretResponse, answer, intents_may};
use crate::access::{Granted, MayRead, OnDescription, OnSecret, OnValue};
use crate::cx::Cx;
use crate::decode;
use crate::operation::{Operation, Reply, Route};
use crate::ops::{OfSecret, OfVersion};

/// Versions on one page, at most.
const PAGE: usize = 1000;

#[derive(Serialize, JsonSchema)]
pub struct SecretVersionResponse {
    version: u64,
    #[serde(rename = "type")]
    kind: SecretType,
    /// `live`; `disabled` by hand; `deleted`, and restorable for a while; `purged`: erased for good. Of a live one, `expired`
    /// or `used_up`.
    state: &'static str,
    created_by: String,
    created_by_type: &'static str,
    created_at: Time,
    access_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_access_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<Time>,
    /// Of the customer's key that the value is encrypted with: SHA-256, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    cmek_fingerprint: Option<String>,
}

impl SecretVersionResponse {
    fn of(version: &Version, now: Time) -> Self {
        Self {
            version: version.version,
            kind: version.kind,
            state: version.state(now).as_str(),
            created_by: version.created_by.uuid(),
            created_by_type: version.created_by.kind(),
            created_at: version.created_at,
            access_count: version.access_count,
            max_access_count: version.max_access_count,
            metadata: version.metadata.clone(),
            expires_at: version.expires_at,
            disabled_at: version.disabled_at,
            deleted_at: version.deleted_at,
            cmek_fingerprint: version.cmek.map(|key| key.to_string()),
        }
    }
}

#[derive(Deserialize, JsonSchema)]
pub struct ListVersionsQuery {
    /// Versions on a page, 1 to 1,000; left out: 1,000.
    #[serde(default)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    #[serde(default)]
    cursor: Option<u64>,
}

#[derive(Serialize, JsonSchema)]
pub struct SecretVersionListResponse {
    path: String,
    versions: Vec<SecretVersionResponse>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<u64>,
}

/// What there is of a secret, version by version.
pub struct ListVersions;

impl Operation for ListVersions {
    const ROUTE: Route = Route::new(
        "listSecretVersions",
        Method::GET,
        "/v1/vaults/{vault_id}/secret-versions/{path}",
        200,
        "A secret's versions, newest first: state, type, counts and metadata, never a value. It counts as no read.",
    );
    type Path = OfSecret;
    type Params = decode::From<ListVersionsQuery>;
    type Output = SecretVersionListResponse;
    type Access = OnDescription;

    async fn run(
        cx: &Cx,
        granted: Granted<Permit<DescribeSecret, SecretAt>>,
        path: OfSecret,
        decode::From(query): Self::Params,
    ) -> Result<Reply<SecretVersionListResponse>> {
        let limit = super::list::page_size(query.limit)?.unwrap_or(PAGE);
        let below = query.cursor.unwrap_or(u64::MAX);
        let mut found = versions::list(cx.store(), &granted.may, below, limit + 1).await?;
        if found.is_empty() && query.cursor.is_none() {
            return Err(Error::missing("secret"));
        }
        let more = found.len() > limit;
        found.truncate(limit);
        Ok(Reply::of(SecretVersionListResponse {
            path: path.path.to_string(),
            next_cursor: found.last().filter(|_| more).map(|version| version.version),
            versions: found.iter().map(|version| SecretVersionResponse::of(version, cx.now())).collect(),
        }))
    }
}

/// Reads one version.
pub struct GetVersion;

impl Operation for GetVersion {
    const ROUTE: Route = Route::new(
        "getSecretVersion",
        Method::GET,
        "/v1/vaults/{vault_id}/secret-version/{path}/{version}",
        200,
        "Reads the value of one version. Audited and counted as a read of the secret is.",
    )
    .audited("secret.read", "secret");
    type Path = OfVersion;
    type Params = ();
    type Output = SecretResponse;
    type Access = OnValue;

    async fn run(
        cx: &Cx,
        granted: Granted<MayRead>,
        path: OfVersion,
        (): (),
    ) -> Result<Reply<SecretResponse>> {
        let found = versions::reveal(cx.store(), &granted.may, path.version).await?.or_missing("version")?;
        answer(cx, &granted, found).await.map(Reply::of)
    }
}

/// Takes one version out of use.
pub struct DisableVersion;

impl Operation for DisableVersion {
    const ROUTE: Route = Route::new(
        "disableSecretVersion",
        Method::POST,
        "/v1/vaults/{vault_id}/secret-version-disable/{path}/{version}",
        200,
        "Takes a version out of use for good: it is neither read nor signed with. Reading the secret answers the newest \
         version that is neither disabled nor deleted.",
    )
    .audited("secret.disable", "secret");
    type Path = OfVersion;
    type Params = ();
    type Output = SecretVersionResponse;
    type Access = OnSecret<WriteSecret>;

    async fn run(
        cx: &Cx,
        granted: Granted<Permit<WriteSecret, SecretAt>>,
        path: OfVersion,
        (): (),
    ) -> Result<Reply<SecretVersionResponse>> {
        let at = granted.may.on();
        let mut found = versions::facts(cx.store(), at, path.version).await?.or_missing("version")?;
        intents_may(cx, found.kind, "disable")?;
        if found.deleted_at.is_some() {
            return Err(Error::gone("This version was deleted."));
        }
        let mut act = cx.begin().await?;
        if !versions::disable(&mut act, &granted.may, path.version, cx.now()).await? {
            return Err(Error::conflict("This version is disabled or deleted already."));
        }
        act.note("path", at.path.as_str());
        act.note("version", path.version);
        act.note("vault_id", at.vault.to_string());
        act.commit(found.id).await?;
        found.disabled_at = Some(cx.now());
        Ok(Reply::of(SecretVersionResponse::of(&found, cx.now())))
    }
}
