//! A value that is made here, and that nobody has seen before it is read.

use domain::access::{Permit, SecretAt, WriteSecret};
use domain::generated::{self, Charset, DEFAULT_LENGTH, LENGTHS};
use domain::{Error, Result, SecretText, SecretType, Time};
use http::Method;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use store::secrets;

use super::SecretMetadataResponse;
use super::put::{PutSecretRequest, put};
use crate::access::{Granted, OnSecret};
use crate::cx::Cx;
use crate::decode::{self, NothingElse};
use crate::operation::{Operation, Reply, Route};
use crate::ops::{OfSecret, cmek};
use crate::password;

#[derive(Deserialize, JsonSchema)]
pub struct GenerateSecretRequest {
    /// Characters, 8 to 4,096; left out: 32.
    #[serde(default)]
    length: Option<usize>,
    /// alphanumeric (left out), hex, base64url, ascii (all that is printable but the space) or digits.
    #[serde(default)]
    charset: Option<Charset>,
    /// password, api_key, generic, note, or private_key: 32 bytes of hex that can sign, without a length or charset. Left
    /// out: as it is, or password.
    #[serde(rename = "type", default)]
    kind: Option<SecretType>,
    /// Left out: as it is.
    #[serde(default)]
    metadata: Option<Map<String, Value>>,
    #[serde(default)]
    expires_at: Option<Time>,
    #[serde(default)]
    rotation_policy: Option<Map<String, Value>>,
    #[serde(default)]
    max_access_count: Option<u64>,
    #[serde(flatten)]
    _nothing_else: NothingElse,
}

/// Writes a value that the gateway makes.
pub struct GenerateSecret;

impl Operation for GenerateSecret {
    const ROUTE: Route = Route::new(
        "generateSecret",
        Method::POST,
        "/v1/vaults/{vault_id}/secret-rotate/{path}",
        201,
        "Writes a new version with a random value that is made here and not answered: read it where it is needed.",
    )
    .audited("secret.write", "secret");
    type Path = OfSecret;
    type Params = decode::From<GenerateSecretRequest>;
    type Output = SecretMetadataResponse;
    type Access = OnSecret<WriteSecret>;

    async fn run(
        cx: &Cx,
        granted: Granted<Permit<WriteSecret, SecretAt>>,
        path: OfSecret,
        decode::From(wanted): Self::Params,
    ) -> Result<Reply<SecretMetadataResponse>> {
        cmek::nothing_made(&granted.vault)?;
        let before = secrets::facts(cx.store(), granted.may.on()).await?;
        let before = before.filter(|version| version.deleted_at.is_none());
        let present = before.as_ref().map_or(SecretType::Password, |version| version.kind);
        let kind = wanted.kind.unwrap_or(present);
        let new = PutSecretRequest {
            kind,
            value: value(kind, wanted.length, wanted.charset)?,
            metadata: wanted.metadata.or_else(|| before.and_then(|version| version.metadata)),
            expires_at: wanted.expires_at,
            rotation_policy: wanted.rotation_policy,
            max_access_count: wanted.max_access_count,
            _nothing_else: NothingElse,
        };
        put(cx, &granted, &path.path, &new).await.map(Reply::of)
    }
}

fn value(kind: SecretType, length: Option<usize>, charset: Option<Charset>) -> Result<SecretText> {
    match kind {
        SecretType::Password | SecretType::ApiKey | SecretType::Generic | SecretType::Note => {
            let length = length.unwrap_or(DEFAULT_LENGTH);
            if !LENGTHS.contains(&length) {
                return Err(Error::invalid("length", "must be 8 to 4096"));
            }
            generated::text(charset.unwrap_or_default(), length, &mut password::fill)
        }
        SecretType::PrivateKey if length.is_some() || charset.is_some() => {
            Err(Error::invalid("length", "and charset are not for type private_key: it has 32 bytes, as hex"))
        }
        SecretType::PrivateKey => generated::private_key(&mut password::fill),
        SecretType::Certificate | SecretType::File | SecretType::SshKey | SecretType::EnvBundle => {
            Err(Error::invalid(
                "type",
                format!("{} has a form of its own and can't be generated; write it with PUT", kind.as_str()),
            ))
        }
    }
}
