//! REST: every operation of the catalog on one router.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use api::{Entry, Gateway, Inbound, Outbound, problem};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, RawPathParams, Request};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use domain::{Error, Kind};
use http::{HeaderValue, StatusCode, header};
use tower_http::timeout::TimeoutLayer;

/// Of a body, in bytes: a 1 MiB value in JSON, with room for escapes.
const MAX_BODY: usize = 1536 * 1024;
/// Of a path and query, in bytes.
const MAX_URI: usize = 8 * 1024;
/// Until an answer is ready.
const PATIENCE: Duration = Duration::from_secs(30);

/// The whole router.
pub fn router(gateway: &Arc<Gateway>) -> Router {
    let mut router = Router::new()
        .route("/", axum::routing::get(async || HELLO))
        .route("/setup", axum::routing::get(async || Html(api::SETUP_PAGE)));
    for entry in api::catalog::entries() {
        router = router.route(&entry.router_path(), mount(gateway, entry));
    }
    router
        .fallback(async || answer(problem(&Error::new(Kind::Missing, "There is nothing at this address."))))
        .method_not_allowed_fallback(async || {
            answer(problem(&Error::new(Kind::MethodNotAllowed, "This address does not take this method; see Allow.")))
        })
        .layer(axum::middleware::from_fn(bounded))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, PATIENCE))
}

const HELLO: &str = "Talon: a vault and signing gateway for AI agents.\nREST under /v1; the health of it all: /v1/health\n";

fn mount(gateway: &Arc<Gateway>, entry: Entry) -> MethodRouter {
    let gateway = gateway.clone();
    // The catalog names standard methods alone.
    let filter = MethodFilter::try_from(entry.route.method.clone()).unwrap_or(MethodFilter::GET);
    on(filter, move |peer: ConnectInfo<SocketAddr>, path: RawPathParams, request: Request| {
        let (gateway, entry) = (gateway.clone(), entry.clone());
        async move {
            let path = path.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            let (parts, body) = request.into_parts();
            let body = match read(body).await {
                Ok(body) => body,
                Err(error) => return answer(problem(&error)),
            };
            let query = parts.uri.query().map(str::to_owned);
            let inbound = Inbound { path, query, headers: parts.headers, body, peer: Some(peer.0.ip()) };
            answer(api::pipeline::serve(&gateway, &entry, inbound).await)
        }
    })
}

async fn read(body: Body) -> Result<Bytes, Error> {
    axum::body::to_bytes(body, MAX_BODY)
        .await
        .map_err(|_| Error::new(Kind::TooLarge, "The body is too large, or did not arrive whole; a value has at most 1 MiB."))
}

/// Refuses what is too long before it is looked at.
async fn bounded(request: Request, next: axum::middleware::Next) -> Response {
    let length = request.uri().path_and_query().map_or(0, |p| p.as_str().len());
    if length > MAX_URI {
        return answer(problem(&Error::new(Kind::Invalid, "path: must have at most 8 KiB with its query")));
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    response
}

fn answer(out: Outbound) -> Response {
    let mut response = (out.status, Body::from(out.body)).into_response();
    *response.headers_mut() = out.headers;
    response
}
