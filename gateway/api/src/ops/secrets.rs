//! Secrets: written, read, listed, deleted. Values are sealed and opened by the signer.

mod describe;
mod env_bundle;
mod generate;
mod list;
mod put;
mod restore;
mod rotate;
mod versions;

pub use describe::DescribeSecret;
pub use env_bundle::GetEnvBundle;
pub use generate::GenerateSecret;
pub use list::ListSecrets;
pub use put::{PutSecret, PutSecretRequest, signing_only};
pub use restore::RestoreSecret;
pub use rotate::RotateSecret;
pub use versions::{DisableVersion, GetVersion, ListVersions};

use domain::access::{self, Permit, SecretAt};
use domain::{Error, OrMissing as _, Result, Revealed, SecretBytes, SecretId, SecretType, Time};
use http::Method;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use signer_protocol::sealing::{Label, Open};
use signer_protocol::wire::Blob;
use store::Read;
use store::secrets::{self, SealedVersion, State, Version, deletion};

use super::{OfSecret, approvals};
use crate::access::{Granted, MayRead, OnSecret, OnValue};
use crate::cx::Cx;
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
    /// Of one that is listed because it can be restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<Time>,
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
            deleted_at: version.deleted_at,
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
    /// Of that key: SHA-256, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    cmek_fingerprint: Option<String>,
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
             used up, ask for a new version. If people must approve the read, wait until they have, then make the same call \
             again. If you lack read permission, ask an owner or admin for a policy on the path. \
             Keys are not readable for agents that send transactions: use submit_transaction.",
        )
        .takes(&[arg("path").about("As list_secrets gives it.")])
        .shows_output(),
    );
    type Path = OfSecret;
    type Params = ();
    type Output = SecretResponse;
    type Access = OnValue;

    async fn run(cx: &Cx, granted: Granted<MayRead>, _: OfSecret, (): ()) -> Result<Reply<SecretResponse>> {
        let found = secrets::reveal(cx.store(), &granted.may).await?.or_missing("secret")?;
        answer(cx, &granted, found).await.map(Reply::of)
    }
}

/// A version's value, opened, counted and on the audit trail.
async fn answer(cx: &Cx, granted: &Granted<MayRead>, found: SealedVersion) -> Result<SecretResponse> {
    let SealedVersion { version, sealed, .. } = readable(cx, &granted.may, found)?;
    let value = open(cx, granted, &version, sealed).await?;
    record(cx, granted, &version).await?;
    Ok(SecretResponse {
        about: SecretMetadataResponse::from(&version),
        value: Revealed::from_bytes(&value)?,
        created_by: version.created_by.uuid(),
        cmek_encrypted: version.cmek.is_some(),
        cmek_fingerprint: version.cmek.map(|key| key.to_string()),
    })
}

/// The version, if it is the one that may be read, live, and of a kind that the caller may read.
fn readable(cx: &Cx, may: &MayRead, found: SealedVersion) -> Result<SealedVersion> {
    may.covers(found.version.version)?;
    may_be_read(cx, &found.version)?;
    Ok(found)
}

/// Whether a version is live and of a kind that the caller may read.
pub fn may_be_read(cx: &Cx, version: &Version) -> Result<()> {
    live(cx, version)?;
    if cx.caller()?.principal().intents && version.kind.is_key() {
        return Err(Error::forbidden(format!(
            "A {} is not readable by an agent with intents_api_enabled; submit a transaction with \
             signing_key_path instead.",
            version.kind.as_str()
        )));
    }
    Ok(())
}

/// The value, opened by the signer. It must not leave before [`record`] has counted the read.
async fn open(
    cx: &Cx,
    granted: &Granted<MayRead>,
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

/// Deleted, disabled, expired or used up: gone.
fn live(cx: &Cx, version: &Version) -> Result<()> {
    Err(Error::gone(match version.state(cx.now()) {
        State::Live => return Ok(()),
        State::Deleted | State::Purged => "This secret was deleted; write it again to use the path.",
        State::Disabled => "This version is disabled; ask for a new one.",
        State::Expired => "This secret has expired; ask for a new version.",
        State::UsedUp => USED_UP,
    }))
}

const USED_UP: &str = "This secret's reads are used up; ask for a new version.";

/// The read is counted and on the audit trail, and its approval used up, before the value leaves.
async fn record(cx: &Cx, granted: &Granted<MayRead>, version: &Version) -> Result<()> {
    let Granted { may, vault } = granted;
    let mut details = Map::from_iter([
        ("path".to_owned(), version.path.as_str().into()),
        ("version".to_owned(), version.version.into()),
        ("vault_id".to_owned(), vault.id.to_string().into()),
    ]);
    if let Some(approval) = may.approval() {
        details.insert("approval_id".to_owned(), approval.to_string().into());
    }
    let read = Read {
        event: cx.read_event(version.id.to_string(), details)?,
        limited: version.max_access_count.map(|_| (version.id, version.version)),
        approval: may.approval(),
    };
    match (cx.store().journal().record(read).await?, may.approval()) {
        (true, _) => Ok(()),
        (false, None) => Err(Error::gone(USED_UP)),
        (false, Some(_)) => Err(approvals::again(cx, vault, version).await),
    }
}

/// What an agent that sends transactions does to no key.
fn intents_may(cx: &Cx, kind: SecretType, what: &str) -> Result<()> {
    if cx.caller()?.principal().intents && kind.is_key() {
        return Err(Error::forbidden(format!(
            "An agent with intents_api_enabled may not {what} a key; a person must."
        )));
    }
    Ok(())
}

/// Deletes a secret, all its versions.
pub struct DeleteSecret;

impl Operation for DeleteSecret {
    const ROUTE: Route = Route::new(
        "deleteSecret",
        Method::DELETE,
        "/v1/vaults/{vault_id}/secrets/{path}",
        204,
        "Deletes a secret with all its versions; reading it answers 410 from then on. Within the retention time it can be \
         restored, then it is erased.",
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
        intents_may(cx, found.kind, "delete")?;
        let mut act = cx.begin().await?;
        if !deletion::delete(&mut act, &granted.may, cx.now()).await? {
            return Err(Error::gone("This secret was deleted already."));
        }
        act.note("path", path.path.as_str());
        act.note("vault_id", path.vault_id.to_string());
        act.commit(found.id).await?;
        Ok(Reply::of(()))
    }
}
