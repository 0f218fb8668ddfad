//! Whether everything is there.

use http::Method;
use schemars::JsonSchema;
use serde::Serialize;
use signer_protocol::service;

use crate::access::Public;
use crate::cx::Cx;
use crate::operation::{Operation, Reply, Route};
use domain::Result;

#[derive(Serialize, JsonSchema)]
pub struct HealthResponse {
    /// `healthy` or `degraded`
    status: &'static str,
    version: &'static str,
}

/// Whether the gateway and its database work.
pub struct Health;

impl Operation for Health {
    const ROUTE: Route = Route::new(
        "healthCheck",
        Method::GET,
        "/v1/health",
        200,
        "Whether the gateway and its database work.",
    );
    type Path = ();
    type Params = ();
    type Output = HealthResponse;
    type Access = Public;

    async fn run(cx: &Cx, (): (), (): (), (): ()) -> Result<Reply<HealthResponse>> {
        let status = if cx.store().ping().await.is_ok() { "healthy" } else { "degraded" };
        Ok(Reply::of(HealthResponse { status, version: env!("CARGO_PKG_VERSION") }))
    }
}

#[derive(Serialize, JsonSchema)]
pub struct HsmHealthResponse {
    /// `ok`, `degraded` or `unavailable`
    status: &'static str,
}

/// Whether the signer can use its keys.
pub struct HsmHealth;

impl Operation for HsmHealth {
    const ROUTE: Route =
        Route::new("healthHsm", Method::GET, "/v1/health/hsm", 200, "Whether the signer can use its keys.");
    type Path = ();
    type Params = ();
    type Output = HsmHealthResponse;
    type Access = Public;

    async fn run(cx: &Cx, (): (), (): (), (): ()) -> Result<Reply<HsmHealthResponse>> {
        let status = cx.gateway.known.keystore.get_with((), ask(cx)).await;
        Ok(Reply::of(HsmHealthResponse { status }))
    }
}

/// Anyone may ask, so the keystore is asked once a second at most.
async fn ask(cx: &Cx) -> &'static str {
    let health = cx.gateway.signer.ask(async |signer, context| signer.health(context).await).await;
    match health {
        Ok(service::Health::Ok) => "ok",
        Ok(service::Health::Degraded(why)) => {
            tracing::warn!(why, "the signer's keystore is degraded");
            "degraded"
        }
        Ok(service::Health::Unavailable(why)) => {
            tracing::error!(why, "the signer's keystore is not available");
            "unavailable"
        }
        Err(_) => "unavailable",
    }
}
