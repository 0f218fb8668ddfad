//! Secrets: written, read, listed, deleted. Values are sealed and opened by the signer.

mod describe;
mod env_bundle;
mod put;
mod rotate;

pub use describe::DescribeSecret;
pub use env_bundle::GetEnvBundle;
pub use put::{PutSecret, PutSecretRequest, signing_only};
pub use rotate::RotateSecret;

use domain::access::{self, Permit, SecretAt};
use domain::{Error, OrMissing as _, Result, Revealed, SecretBytes, SecretId, SecretType, Time, VaultId};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use signer_protocol::sealing::{Label, Open};
use signer_protocol::wire::Blob;
use store::Read;
use store::secrets::{self, SealedVersion, Version};

use super::{OfSecret, OfVault};
use crate::access::{Granted, OnSecret, OnVault};
use crate::cx::Cx;
use crate::decode;
use crate::operation::{Operation, Reply, Route};
use crate::tool::{Effect, Tool, arg};

#[derive(Serialize, JsonSchema)]
pub struct SecretMetadataResponse {
    id: SecretId,
    path: SecretPathText,
    #[serde(rename = "type")]
    kind: SecretType,
    version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Map<String, Value>>,
    created_at: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Time>,
}

/// A path, for the schema a string.
type SecretPathText = String;

impl From<&Version> for SecretMetadataResponse {
    fn from(version: &Version) -> Self {
        Self {
            id: version.id,
            path: version.path.to_string(),
            kind: version.kind,
            version: version.version,
            metadata: version.metadata.clone(),
            created_at: version.created_at,
            expires_at: version.expires_at,
        }
    }
}

#[derive(Serialize, JsonSchema)]
pub struct SecretResponse {
    #[serde(flatten)]
    about: SecretMetadataResponse,
    value: Revealed,
    created_by: String,
    /// The value is encrypted with a key of the customer's: base64 of `0x01 | IV (12 bytes) | ciphertext | tag (16 bytes)`.
    cmek_encrypted: bool,
}

/// Reads a secret's value.
pub struct GetSecret;

impl Operation for GetSecret {
    const ROUTE: Route = Route::new(
        "getSecret",
        Method::GET,
        "/v1/vaults/{vault_id}/secrets/{path}",
        200,
        "Reads the value of a secret's newest version. Each read is audited, and counted where reads are limited.",
    )
    .audited("secret.read", "secret")
    .tool(
        Tool::new(
            "get_secret",
            Effect::Reveals,
            "Reads a secret's value. Each read is audited, and counted where reads are limited: read when you need it, once, \
             and don't repeat the value. If there is no secret at the path, see list_secrets. If it is expired, deleted or \
             used up, ask for a new version. If you lack read permission, ask an owner or admin for a policy on the path. \
             Keys are not readable for agents that send transactions: use submit_transaction.",
        )
        .takes(&[arg("path").about("As list_secrets gives it.")])
        .shows_output(),
    );
    type Path = OfSecret;
    type Params = ();
    type Output = SecretResponse;
    type Access = OnSecret<access::ReadSecret>;

    async fn run(
        cx: &Cx,
        granted: Granted<Permit<access::ReadSecret, SecretAt>>,
        path: OfSecret,
        (): (),
    ) -> Result<Reply<SecretResponse>> {
        let SealedVersion { version, sealed, cmek, .. } = newest(cx, &granted.may).await?;
        let value = open(cx, &granted, &version, sealed).await?;
        record(cx, &version, path.vault_id).await?;
        Ok(Reply::of(SecretResponse {
            about: SecretMetadataResponse::from(&version),
            value: Revealed::from_bytes(&value)?,
            created_by: version.created_by.uuid(),
            cmek_encrypted: cmek.is_some(),
        }))
    }
}

/// The newest version, if it is live and of a kind that the caller may read.
async fn newest(cx: &Cx, may: &Permit<access::ReadSecret, SecretAt>) -> Result<SealedVersion> {
    let found = secrets::reveal(cx.store(), may).await?.or_missing("secret")?;
    live(cx, &found.version)?;
    if cx.caller()?.principal().intents && found.version.kind.is_key() {
        return Err(Error::forbidden(format!(
            "A {} is not readable by an agent with intents_api_enabled; submit a transaction with \
             signing_key_path instead.",
            found.version.kind.as_str()
        )));
    }
    Ok(found)
}

/// The value, opened by the signer. It must not leave before [`record`] has counted the read.
async fn open(
    cx: &Cx,
    granted: &Granted<Permit<access::ReadSecret, SecretAt>>,
    version: &Version,
    sealed: Option<Blob>,
) -> Result<SecretBytes> {
    let Granted { may, vault } = granted;
    let sealed = sealed.ok_or_else(|| {
        Error::forbidden("This key is signing-only: it can sign transactions and never be read.")
    })?;
    let label = Label {
        org: may.org(),
        vault: vault.id,
        path: version.path.clone(),
        version: version.version,
        kind: version.kind,
    };
    let request = Open { by: cx.for_signer()?, vault_key: vault.key.clone(), label, sealed };
    let value = cx.signer(async |signer, context| signer.open(context, request).await).await?;
    Ok(value.into())
}

/// Deleted, expired or used up: gone.
fn live(cx: &Cx, version: &Version) -> Result<()> {
    if version.deleted_at.is_some() {
        return Err(Error::gone("This secret was deleted; write it again to use the path."));
    }
    if version.expires_at.is_some_and(|end| cx.now() >= end) {
        return Err(Error::gone("This secret has expired; ask for a new version."));
    }
    if version.max_access_count.is_some_and(|max| version.access_count >= max) {
        return Err(used_up());
    }
    Ok(())
}

fn used_up() -> Error {
    Error::gone("This secret's reads are used up; ask for a new version.")
}

/// The read is counted and on the audit trail before the value leaves.
async fn record(cx: &Cx, version: &Version, vault: VaultId) -> Result<()> {
    let details = Map::from_iter([
        ("path".to_owned(), version.path.as_str().into()),
        ("version".to_owned(), version.version.into()),
        ("vault_id".to_owned(), vault.to_string().into()),
    ]);
    let read = Read {
        event: cx.read_event(version.id.to_string(), details)?,
        limited: version.max_access_count.map(|_| (version.id, version.version)),
    };
    if cx.store().journal().record(read).await? { Ok(()) } else { Err(used_up()) }
}

#[derive(Deserialize, JsonSchema)]
pub struct ListSecretsQuery {
    /// Only paths that begin with it.
    #[serde(default)]
    prefix: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub struct SecretListResponse {
    secrets: Vec<SecretMetadataResponse>,
}

/// What is in a vault, without values.
pub struct ListSecrets;

impl Operation for ListSecrets {
    const ROUTE: Route = Route::new(
        "listSecrets",
        Method::GET,
        "/v1/vaults/{vault_id}/secrets",
        200,
        "What is in a vault, as far as you may read it: paths, types and versions, never a value.",
    )
    .tool(
        Tool::new(
            "list_secrets",
            Effect::Reads,
            "Lists the secrets that you may read: path, type, version and expiry, never a value. Use it first, to find a \
             path. An empty list means that no policy gives you a path there: ask an owner or admin for one.",
        )
        .takes(&[arg("prefix")]),
    );
    type Path = OfVault;
    type Params = decode::From<ListSecretsQuery>;
    type Output = SecretListResponse;
    type Access = OnVault<access::ListSecrets>;

    async fn run(
        cx: &Cx,
        granted: Granted<Permit<access::ListSecrets, VaultId>>,
        _: OfVault,
        decode::From(query): Self::Params,
    ) -> Result<Reply<SecretListResponse>> {
        let policies = cx.policies().await?;
        let readable = access::readable(&cx.subject()?, &granted.vault.facts(), &policies);
        let prefix = query.prefix.unwrap_or_default();
        let all = secrets::list(cx.store(), &granted.may).await?;
        let seen = all.iter().filter(|v| v.path.as_str().starts_with(&prefix) && readable.covers(&v.path));
        Ok(Reply::of(SecretListResponse { secrets: seen.map(SecretMetadataResponse::from).collect() }))
    }
}

/// Deletes a secret, all its versions.
pub struct DeleteSecret;

impl Operation for DeleteSecret {
    const ROUTE: Route = Route::new(
        "deleteSecret",
        Method::DELETE,
        "/v1/vaults/{vault_id}/secrets/{path}",
        204,
        "Deletes a secret with all its versions; reading it answers 410 from then on.",
    )
    .audited("secret.delete", "secret")
    .tool(
        Tool::new(
            "delete_secret",
            Effect::Removes,
            "Deletes a secret with all its versions; reading it fails from then on. Only when your user asked for it. If there \
             is no such secret, see list_secrets; if you lack permission, ask an owner or admin.",
        )
        .takes(&[arg("path").about("As list_secrets gives it.")]),
    );
    type Path = OfSecret;
    type Params = ();
    type Output = ();
    type Access = OnSecret<access::DeleteSecret>;

    async fn run(
        cx: &Cx,
        granted: Granted<Permit<access::DeleteSecret, SecretAt>>,
        path: OfSecret,
        (): (),
    ) -> Result<Reply<()>> {
        let found = secrets::facts(cx.store(), granted.may.on()).await?.or_missing("secret")?;
        if cx.caller()?.principal().intents && found.kind.is_key() {
            return Err(Error::forbidden(
                "An agent with intents_api_enabled may not delete a key; a person must.",
            ));
        }
        let mut act = cx.begin().await?;
        if !secrets::delete(&mut act, &granted.may, cx.now()).await? {
            return Err(Error::gone("This secret was deleted already."));
        }
        act.note("path", path.path.as_str());
        act.note("vault_id", path.vault_id.to_string());
        act.commit(found.id).await?;
        Ok(Reply::of(()))
    }
}
