//! A value on its way in: checked, sealed by the signer, stored as the next version.

use domain::access::{self, Permit, SecretAt};
use domain::{Error, Result, SecretId, SecretPath, SecretText, SecretType, Time, metadata};
use http::Method;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use signer_protocol::sealing::{Label, Seal};
use signer_protocol::wire::Secret;
use store::secrets::{self, NewVersion};

use super::SecretMetadataResponse;
use crate::access::{Granted, OnSecret};
use crate::cx::Cx;
use crate::decode::{self, NothingElse};
use crate::operation::{Operation, Reply, Route};
use crate::ops::{OfSecret, cmek};
use crate::tool::{Default as Or, Effect, Tool, arg};

/// Of a value, in bytes.
const MAX_VALUE: usize = 1024 * 1024;
/// Writers of one path at the same moment, before one of them gives up.
const TRIES: usize = 32;

#[derive(Deserialize, JsonSchema)]
pub struct PutSecretRequest {
    /// What it is: password, api_key, private_key, certificate, file, note, ssh_key, env_bundle or generic.
    #[serde(rename = "type", default)]
    pub kind: SecretType,
    /// At most 1 MiB.
    pub value: SecretText,
    /// At most 16 KiB as JSON, 64 keys of 64 characters in an object, 4 levels deep; rotation_policy alike.
    /// With `signing_only: true`, a private_key can sign and never be read, by anybody.
    #[serde(default)]
    pub metadata: Option<Map<String, Value>>,
    #[serde(default)]
    pub expires_at: Option<Time>,
    #[serde(default)]
    pub rotation_policy: Option<Map<String, Value>>,
    /// Successful reads after which the value is gone.
    #[serde(default)]
    pub max_access_count: Option<u64>,
    #[serde(flatten)]
    pub _nothing_else: NothingElse,
}

/// Writes a new version of a secret.
pub struct PutSecret;

impl Operation for PutSecret {
    const ROUTE: Route = Route::new(
        "putSecret",
        Method::PUT,
        "/v1/vaults/{vault_id}/secrets/{path}",
        201,
        "Writes a new version of a secret; the versions before it are kept.",
    )
    .audited("secret.write", "secret")
    .tool(
        Tool::new(
            "put_secret",
            Effect::Adds,
            "Stores a value at a path: the first version, or a new one on top of those before. Use rotate_and_store instead \
             for the next value of a secret that is there. If you lack write permission, ask an owner or admin for a policy \
             on the path; if an argument is refused, the error names it.",
        )
        .takes(&[
            arg("path").about("Segments of letters, digits, _ and - joined by single slashes: api/stripe."),
            arg("value"),
            arg("type").or(Or::Text("api_key")),
            arg("metadata").about("Notes for people and tools, at most 16 KiB; no secrets in it."),
            arg("expires_at").about("RFC 3339, in the future."),
            arg("max_access_count").about("Reads after which the value is gone; at least 1."),
        ]),
    );
    type Path = OfSecret;
    type Params = decode::From<PutSecretRequest>;
    type Output = SecretMetadataResponse;
    type Access = OnSecret<access::WriteSecret>;

    async fn run(
        cx: &Cx,
        granted: Granted<Permit<access::WriteSecret, SecretAt>>,
        path: OfSecret,
        decode::From(new): Self::Params,
    ) -> Result<Reply<SecretMetadataResponse>> {
        put(cx, &granted, &path.path, &new).await.map(Reply::of)
    }
}

/// The next version at a path.
pub async fn put(
    cx: &Cx,
    granted: &Granted<Permit<access::WriteSecret, SecretAt>>,
    path: &SecretPath,
    new: &PutSecretRequest,
) -> Result<SecretMetadataResponse> {
    check(cx, new)?;
    cmek::check(&granted.vault, new)?;
    // Somebody else may write the same version number first; it is sealed again for the next one then.
    for _ in 0..TRIES {
        if let Some(written) = write(cx, granted, path, new).await? {
            return Ok(written);
        }
    }
    Err(Error::conflict("Many writers at this path at once; try again in a moment."))
}

fn check(cx: &Cx, new: &PutSecretRequest) -> Result<()> {
    if new.value.expose().len() > MAX_VALUE {
        return Err(Error::new(domain::Kind::TooLarge, "value: must have at most 1 MiB (1,048,576 bytes)"));
    }
    for (field, given) in [("metadata", &new.metadata), ("rotation_policy", &new.rotation_policy)] {
        given.as_ref().map_or(Ok(()), |given| metadata::check(field, given))?;
    }
    if new.expires_at.is_some_and(|at| at <= cx.now()) {
        return Err(Error::invalid("expires_at", "must be in the future"));
    }
    if new.max_access_count == Some(0) {
        return Err(Error::invalid("max_access_count", "must be at least 1; leave it out for no limit"));
    }
    let said = new.metadata.as_ref().and_then(|metadata| metadata.get("signing_only"));
    if said.is_some_and(|said| !said.is_boolean()) {
        return Err(Error::invalid("metadata.signing_only", "must be true or false"));
    }
    if signing_only(&new.metadata) && new.kind != SecretType::PrivateKey {
        return Err(Error::invalid("metadata.signing_only", "is for type private_key alone"));
    }
    Ok(())
}

pub fn signing_only(metadata: &Option<Map<String, Value>>) -> bool {
    metadata.as_ref().is_some_and(|m| m.get("signing_only") == Some(&Value::Bool(true)))
}

async fn write(
    cx: &Cx,
    granted: &Granted<Permit<access::WriteSecret, SecretAt>>,
    path: &SecretPath,
    new: &PutSecretRequest,
) -> Result<Option<SecretMetadataResponse>> {
    let Granted { may, vault } = granted;
    let before = secrets::facts(cx.store(), may.on()).await?;
    if cx.caller()?.principal().intents
        && (new.kind.is_key() || before.as_ref().is_some_and(|v| v.kind.is_key()))
    {
        return Err(Error::forbidden(
            "An agent with intents_api_enabled may not write keys, nor on the path of one; a person must.",
        ));
    }
    let (id, version) = before.map_or_else(|| (SecretId::new(), 1), |v| (v.id, v.newest + 1));
    let label = Label { org: may.org(), vault: vault.id, path: path.clone(), version, kind: new.kind };
    let request = Seal {
        by: cx.for_signer()?,
        vault_key: vault.key.clone(),
        label,
        value: Secret::from(&new.value),
        signing_only: signing_only(&new.metadata),
    };
    let sealed = cx.signer(async |signer, context| signer.seal(context, request).await).await?;
    let new_version = NewVersion {
        id,
        version,
        kind: new.kind,
        metadata: new.metadata.as_ref(),
        rotation_policy: new.rotation_policy.as_ref(),
        sealed: sealed.value.as_ref(),
        // What looks like a key under CMEK is a ciphertext.
        signing_key: sealed.signing_key.as_ref().filter(|_| vault.cmek.is_none()),
        expires_at: new.expires_at,
        max_access_count: new.max_access_count,
        cmek: vault.cmek,
        at: cx.now(),
    };
    let mut act = cx.begin().await?;
    if !secrets::put(&mut act, may, &new_version).await? {
        return Ok(None);
    }
    act.note("path", path.as_str());
    act.note("version", version);
    act.note("type", new.kind.as_str());
    act.note("vault_id", vault.id.to_string());
    act.commit(id).await?;
    Ok(Some(SecretMetadataResponse {
        id,
        path: path.to_string(),
        kind: new.kind,
        version,
        metadata: new.metadata.clone(),
        created_at: cx.now(),
        expires_at: new.expires_at,
        deleted_at: None,
    }))
}
