//! What is known of a secret besides its value.

use domain::access::{DescribeSecret as Describe, Permit, SecretAt};
use domain::{OrMissing as _, Result};
use http::Method;
use store::secrets;

use super::{SecretMetadataResponse, live};
use crate::access::{Granted, OnDescription};
use crate::cx::Cx;
use crate::operation::{Operation, Reply, Route};
use crate::ops::OfSecret;
use crate::tool::{Effect, Tool, arg};

/// A secret without its value.
pub struct DescribeSecret;

impl Operation for DescribeSecret {
    const ROUTE: Route = Route::new(
        "describeSecret",
        Method::GET,
        "/v1/vaults/{vault_id}/metadata/{path}",
        200,
        "A secret's type, version, metadata and expiry, without its value. It counts as no read.",
    )
    .tool(
        Tool::new(
            "describe_secret",
            Effect::Reads,
            "Tells a secret's type, version, metadata and expiry without reading its value; it counts as no read. Use it \
             before get_secret when reads are limited, or to see whether a secret is there. Errors as for get_secret.",
        )
        .takes(&[arg("path").about("As list_secrets gives it.")]),
    );
    type Path = OfSecret;
    type Params = ();
    type Output = SecretMetadataResponse;
    type Access = OnDescription;

    async fn run(
        cx: &Cx,
        granted: Granted<Permit<Describe, SecretAt>>,
        _: OfSecret,
        (): (),
    ) -> Result<Reply<SecretMetadataResponse>> {
        let version = secrets::facts(cx.store(), granted.may.on()).await?.or_missing("secret")?;
        live(cx, &version)?;
        Ok(Reply::of(SecretMetadataResponse::from(&version)))
    }
}
