//! The key that verifies Talon's tokens.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::Result;
use http::Method;
use schemars::JsonSchema;
use serde::Serialize;

use crate::access::Public;
use crate::cx::Cx;
use crate::operation::{Operation, Reply, Route};

/// RFC 7517 and RFC 8037 §2.
#[derive(Serialize, JsonSchema)]
pub struct JwkSet {
    keys: Vec<Jwk>,
}

#[derive(Serialize, JsonSchema)]
struct Jwk {
    kty: &'static str,
    crv: &'static str,
    alg: &'static str,
    #[serde(rename = "use")]
    usage: &'static str,
    kid: String,
    x: String,
}

/// The key that verifies tokens.
pub struct Jwks;

impl Operation for Jwks {
    const ROUTE: Route = Route::new(
        "jwks",
        Method::GET,
        "/.well-known/jwks.json",
        200,
        "The key that verifies tokens (RFC 7517).",
    );
    type Path = ();
    type Params = ();
    type Output = JwkSet;
    type Access = Public;

    async fn run(cx: &Cx, (): (), (): (), (): ()) -> Result<Reply<JwkSet>> {
        let (info, _) = cx.gateway.signer_info().await?;
        let key = Jwk {
            kty: "OKP",
            crv: "Ed25519",
            alg: "EdDSA",
            usage: "sig",
            kid: info.key_id.clone(),
            x: URL_SAFE_NO_PAD.encode(&info.token_public_key.0),
        };
        Ok(Reply::of(JwkSet { keys: vec![key] }))
    }
}
