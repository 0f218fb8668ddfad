//! What an MCP client learns of the gateway that answered 401.

use domain::Result;
use http::Method;
use schemars::JsonSchema;
use serde::Serialize;

use crate::access::Public;
use crate::cx::Cx;
use crate::operation::{Operation, Reply, Route};

/// RFC 9728 §2. There is no authorization server: an agent has its key from a person, and exchanges it here.
#[derive(Serialize, JsonSchema)]
pub struct ProtectedResourceMetadata {
    resource: String,
    resource_name: &'static str,
    bearer_methods_supported: [&'static str; 1],
}

/// What the door for MCP is, and how to come through it.
pub struct ProtectedResource;

impl Operation for ProtectedResource {
    const ROUTE: Route = Route::new(
        "protectedResource",
        Method::GET,
        "/.well-known/oauth-protected-resource",
        200,
        "What the MCP endpoint is, for clients without a token (RFC 9728).",
    );
    type Path = ();
    type Params = ();
    type Output = ProtectedResourceMetadata;
    type Access = Public;

    async fn run(cx: &Cx, (): (), (): (), (): ()) -> Result<Reply<ProtectedResourceMetadata>> {
        Ok(Reply::of(ProtectedResourceMetadata {
            resource: format!("{}/mcp", cx.gateway.public_url()),
            resource_name: "Talon",
            bearer_methods_supported: ["header"],
        }))
    }
}
