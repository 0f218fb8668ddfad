//! REST: every operation of the catalog on one router.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use api::{Entry, Fingerprint, Gateway, Inbound, Outbound, problem};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{ConnectInfo, RawPathParams, Request};
use axum::middleware::{Next, from_fn};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::{MethodFilter, MethodRouter, get, on};
use axum_server::accept::NoDelayAcceptor;
use axum_server::tls::TlsInfo;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use axum_server::{Handle, Server};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{Error, Kind, RequestId};
use futures::StreamExt as _;
use http::{HeaderName, HeaderValue, Method, header};
use mcp::Door;
use sha2::{Digest as _, Sha256};

use crate::mcp_mount;

/// Of a body, in bytes: a 1 MiB value in JSON, with room for escapes.
const MAX_BODY: usize = 1536 * 1024;
/// Of a body that is too large, in bytes: read and thrown away, so that its sender, who listens only after the last
/// byte, hears why it was refused. Who sends more loses the connection.
const MAX_DISCARDED: usize = 16 * 1024 * 1024;
/// Of a path and query, in bytes.
const MAX_URI: usize = 8 * 1024;
/// Of a request's head, in bytes. What is longer is cut off before it is ours.
const MAX_HEAD: usize = 32 * 1024;
/// Until an answer is ready, the body's arrival included.
const PATIENCE: Duration = Duration::from_secs(30);
/// Until a request's head has arrived.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const HELLO: &str =
    "Talon: a vault and signing gateway for AI agents.\nREST under /v1; the health of it all: /v1/health\n";

/// Serves until the handle is told to stop and the requests are done.
///
/// # Errors
/// If the socket fails.
pub async fn serve(
    gateway: &Arc<Gateway>,
    listener: TcpListener,
    tls: Option<RustlsConfig>,
    handle: Handle<SocketAddr>,
) -> io::Result<()> {
    let door = Door::new(gateway).map_err(io::Error::other)?;
    let app = router(gateway, door).into_make_service_with_connect_info::<SocketAddr>();
    // Answers are small and whole: there is nothing to wait for before sending one.
    let mut server = axum_server::from_tcp(listener)?.acceptor(NoDelayAcceptor::new()).handle(handle);
    limit(&mut server);
    match tls {
        Some(tls) => {
            server
                .map(|plain| RustlsAcceptor::new(tls).handshake_timeout(HEAD_PATIENCE).acceptor(plain))
                .serve(app)
                .await
        }
        None => server.serve(app).await,
    }
}

/// What one connection may cost before a request is whole.
fn limit<A>(server: &mut Server<SocketAddr, A>) {
    let http = server.http_builder();
    http.http1().header_read_timeout(HEAD_PATIENCE).max_buf_size(MAX_HEAD);
    let list = u32::try_from(MAX_HEAD).unwrap_or(u32::MAX);
    http.http2()
        .max_header_list_size(list)
        .max_concurrent_streams(128)
        .keep_alive_interval(HEAD_PATIENCE)
        .keep_alive_timeout(HEAD_PATIENCE);
}

/// The whole router.
fn router(gateway: &Arc<Gateway>, door: Door) -> Router {
    let mut router = Router::new().route("/", get(async || HELLO));
    let links = api::LINK_PATHS.map(|path| (path, api::LINK_PAGE));
    let others = [("/setup", api::SETUP_PAGE), ("/share/{share_id}", api::SHARE_PAGE)];
    for (path, html) in links.into_iter().chain(others) {
        // Whoever types an address may end it with a slash.
        router = router.route(path, page(html)).route(&format!("{path}/"), page(html));
    }
    for entry in api::catalog::entries() {
        router = router.route(&entry.router_path(), mount(gateway, entry));
    }
    router = router.route(mcp::PATH, mcp_mount::mount(door));
    router.fallback(nothing_here).method_not_allowed_fallback(wrong_method).layer(from_fn(bounded))
}

fn mount(gateway: &Arc<Gateway>, entry: Entry) -> MethodRouter {
    let gateway = gateway.clone();
    // The catalog names standard methods alone.
    let filter = MethodFilter::try_from(entry.route.method.clone()).unwrap_or(MethodFilter::GET);
    type Placeholders = Result<RawPathParams, RawPathParamsRejection>;
    on(filter, move |peer: ConnectInfo<SocketAddr>, path: Placeholders, request: Request| {
        let (gateway, entry) = (gateway.clone(), entry.clone());
        async move {
            // A router takes HEAD for GET; but a read that is counted or recorded gives its value to somebody.
            if request.method() == Method::HEAD && entry.route.audit.is_some() {
                return wrong_method().await;
            }
            let (parts, body) = request.into_parts();
            let (path, body) = match (path, read(body).await) {
                (Ok(path), Ok(body)) => (path, body),
                (Err(_), _) => {
                    return answer(problem(&Error::invalid("path", "must be UTF-8, percent-encoded")));
                }
                (_, Err(error)) => return answer(problem(&error)),
            };
            let path =
                entry.values(path.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect());
            let query = parts.uri.query().map(str::to_owned);
            let tls = parts.extensions.get::<Arc<TlsInfo>>();
            let shown = tls.and_then(|tls| tls.peer_certificates.first());
            let inbound = Inbound {
                path,
                query,
                headers: parts.headers,
                body,
                peer: Some(peer.0.ip()),
                peer_certificate: shown.map(|certificate| Fingerprint::of(certificate)),
                counted: false,
            };
            answer(api::pipeline::serve(&gateway, &entry, inbound).await)
        }
    })
}

/// A whole body, within the limit.
pub async fn read(body: Body) -> Result<Bytes, Error> {
    let mut chunks = body.into_data_stream();
    let (mut kept, mut seen) = (Vec::new(), 0);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| Error::invalid("body", "did not arrive whole").because(error))?;
        seen += chunk.len();
        if seen <= MAX_BODY {
            kept.extend_from_slice(&chunk);
        } else if seen > MAX_DISCARDED {
            break;
        }
    }
    if seen > MAX_BODY {
        return Err(Error::new(Kind::TooLarge, "The body is too large; a value has at most 1 MiB."));
    }
    Ok(kept.into())
}

async fn nothing_here() -> Response {
    answer(problem(&Error::new(Kind::Missing, "There is nothing at this address.")))
}

async fn wrong_method() -> Response {
    answer(problem(&Error::new(Kind::MethodNotAllowed, "This address does not take this method; see Allow.")))
}

/// A page of ours: its script speaks to this gateway alone.
fn page(html: &'static str) -> MethodRouter {
    // The browser runs that script by its hash, and no other.
    let inside = html.split_once("<script>").and_then(|(_, rest)| rest.split_once("</script>"));
    let hash = STANDARD.encode(Sha256::digest(inside.map_or("", |(script, _)| script)));
    let policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{hash}'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let headers = [(header::CONTENT_SECURITY_POLICY, policy), (header::CACHE_CONTROL, "no-store".to_owned())];
    get(async move || (headers.clone(), Html(html)))
}

/// Around every request: what is too long is refused before it is looked at, what takes too long is answered.
async fn bounded(request: Request, next: Next) -> Response {
    let length = request.uri().path_and_query().map_or(0, |p| p.as_str().len());
    let mut response = if length > MAX_URI {
        answer(problem(&Error::invalid("path", "must have at most 8 KiB with its query")))
    } else {
        // An operation that was begun runs to its end all the same.
        let late =
            |_| answer(problem(&Error::unavailable("The answer took longer than 30 seconds; ask again.")));
        tokio::time::timeout(PATIENCE, next.run(request)).await.unwrap_or_else(late)
    };
    let headers = response.headers_mut();
    if !headers.contains_key(REQUEST_ID)
        && let Ok(id) = HeaderValue::from_str(&RequestId::new().to_string())
    {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    response
}

pub fn answer(out: Outbound) -> Response {
    let body = out.stream.map_or_else(|| Body::from(out.body), Body::from_stream);
    let mut response = (out.status, body).into_response();
    *response.headers_mut() = out.headers;
    response
}
