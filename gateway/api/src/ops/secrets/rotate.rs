//! A new value for a secret that is there.

use domain::access::{Permit, SecretAt, WriteSecret};
use domain::{Error, OrMissing as _, Result, SecretText};
use http::Method;
use schemars::JsonSchema;
use serde::Deserialize;
use store::secrets;

use super::SecretMetadataResponse;
use super::put::{PutSecretRequest, put};
use crate::access::{Granted, OnSecret};
use crate::cx::Cx;
use crate::decode::{self, NothingElse};
use crate::operation::{Operation, Reply, Route};
use crate::ops::OfSecret;
use crate::tool::{Effect, Tool, arg};

#[derive(Deserialize, JsonSchema)]
pub struct RotateSecretRequest {
    /// At most 1 MiB.
    value: SecretText,
    /// A limit or an expiry would be ignored here: PUT takes them.
    #[serde(flatten)]
    _nothing_else: NothingElse,
}

/// Writes a new value of a secret; its type and metadata stay.
pub struct RotateSecret;

impl Operation for RotateSecret {
    const ROUTE: Route = Route::new(
        "rotateSecret",
        Method::POST,
        "/v1/vaults/{vault_id}/rotate/{path}",
        201,
        "Writes a new version of a secret that is there; its type and metadata stay, an expiry and a limit of reads do not.",
    )
    .audited("secret.write", "secret")
    .tool(
        Tool::new(
            "rotate_and_store",
            Effect::Adds,
            "Stores the new value of an existing secret after you have rotated it at its service: a new version, its type \
             and metadata kept, without the old one's expiry and limit of reads. If there is no such secret or it was \
             deleted, use put_secret; if you lack write permission, ask an owner or admin for a policy.",
        )
        .takes(&[arg("path").about("As list_secrets gives it."), arg("value")]),
    );
    type Path = OfSecret;
    type Params = decode::From<RotateSecretRequest>;
    type Output = SecretMetadataResponse;
    type Access = OnSecret<WriteSecret>;

    async fn run(
        cx: &Cx,
        granted: Granted<Permit<WriteSecret, SecretAt>>,
        path: OfSecret,
        decode::From(new): Self::Params,
    ) -> Result<Reply<SecretMetadataResponse>> {
        let before = secrets::facts(cx.store(), granted.may.on()).await?.or_missing("secret")?;
        if before.deleted_at.is_some() {
            return Err(Error::gone("This secret was deleted; write it anew to use the path."));
        }
        let new = PutSecretRequest {
            kind: before.kind,
            value: new.value,
            metadata: before.metadata,
            expires_at: None,
            rotation_policy: None,
            max_access_count: None,
            _nothing_else: NothingElse,
        };
        put(cx, &granted, &path.path, &new).await.map(Reply::of)
    }
}
