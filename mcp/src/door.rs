//! Who comes in: streamable HTTP, a request at a time, for agents alone.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use api::{Gateway, Outbound, Visitor, pipeline, problem};
use bytes::Bytes;
use domain::{Error, Kind, Result};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};

use crate::server::Server;

/// Where MCP is served.
pub const PATH: &str = "/mcp";

type Answer = Response<BoxBody<Bytes, Infallible>>;

/// Who sent a request, for its handler.
#[derive(Clone)]
pub struct Visit {
    pub visitor: Arc<Visitor>,
    pub peer: Option<IpAddr>,
}

/// MCP on a gateway.
pub struct Door {
    gateway: Arc<Gateway>,
    service: StreamableHttpService<Server, NeverSessionManager>,
    challenge: HeaderValue,
}

impl Door {
    /// # Errors
    /// If the gateway's public address is none.
    pub fn new(gateway: &Arc<Gateway>) -> Result<Self> {
        let public = gateway.public_url();
        let challenge = format!("Bearer resource_metadata=\"{public}/.well-known/oauth-protected-resource\"");
        let server = Server::new(gateway.clone());
        let config = config(public)?;
        Ok(Self {
            gateway: gateway.clone(),
            service: StreamableHttpService::new(move || Ok(server.clone()), Arc::default(), config),
            challenge: HeaderValue::from_str(&challenge).map_err(Error::internal)?,
        })
    }

    /// Serves one request, whose body is here already and within the gateway's limit.
    pub async fn serve(&self, mut request: Request<Bytes>, peer: Option<IpAddr>) -> Answer {
        let visitor = match pipeline::admit(&self.gateway, request.headers(), peer).await {
            Ok(visitor) => Arc::new(visitor),
            Err(out) => return self.turned_away(*out),
        };
        request.extensions_mut().insert(Visit { visitor, peer });
        let sent_json = is_json(request.headers());
        let mut answer = self.service.handle(request.map(Full::new)).await;
        if answer.status().is_success() || is_json(answer.headers()) {
            answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            return answer;
        }
        // What the transport refuses it says in plain text, in which there may be a piece of the body.
        let mut refused = whole(problem(&refusal(answer.status(), sent_json)));
        if let Some(allowed) = answer.headers_mut().remove(header::ALLOW) {
            refused.headers_mut().insert(header::ALLOW, allowed);
        }
        refused
    }

    fn turned_away(&self, out: Outbound) -> Answer {
        let mut answer = whole(out);
        if answer.status() == StatusCode::UNAUTHORIZED {
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, self.challenge.clone());
        }
        answer
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

fn refusal(status: StatusCode, sent_json: bool) -> Error {
    match status {
        StatusCode::FORBIDDEN => Error::forbidden(
            "The request's Host or Origin is not this gateway's. Use the address in TALON_PUBLIC_URL, or have its \
             operator set that to the address that you use.",
        ),
        StatusCode::METHOD_NOT_ALLOWED => Error::new(
            Kind::MethodNotAllowed,
            "MCP takes POST alone: there are no sessions to open or close.",
        ),
        StatusCode::NOT_ACCEPTABLE => {
            Error::invalid("Accept", "must name both application/json and text/event-stream")
        }
        StatusCode::UNSUPPORTED_MEDIA_TYPE if !sent_json => Error::new(
            Kind::UnsupportedMediaType,
            "Send one JSON-RPC message, with Content-Type: application/json.",
        ),
        status if status.is_server_error() => {
            Error::internal(format!("the MCP transport answered {}", status.as_u16()))
        }
        _ => Error::new(
            Kind::Invalid,
            "The request is not one JSON-RPC message of a version of MCP that is known here.",
        ),
    }
}

fn whole(out: Outbound) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(out.body)).boxed());
    *answer.status_mut() = out.status;
    *answer.headers_mut() = out.headers;
    answer
}

/// A page in a browser must not reach a gateway under a name of its own making (DNS rebinding), nor from a site of
/// its own: only the public address and loopback are names of this gateway.
fn config(public: &str) -> Result<StreamableHttpServerConfig> {
    const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];
    let uri: Uri = public.parse().map_err(Error::internal)?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(Error::internal("the public address has no scheme or host"));
    };
    let port = authority.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
    let hosts = LOOPBACK.into_iter().chain([authority.host()]).map(str::to_owned);
    let loopback = LOOPBACK.iter().flat_map(|host| [format!("http://{host}:*"), format!("https://{host}:*")]);
    let origins = loopback.chain([format!("{scheme}://{}:{port}", authority.host())]);
    Ok(StreamableHttpServerConfig::default()
        .with_allowed_hosts(hosts)
        .with_allowed_origins(origins)
        .enforce_origin_validation()
        // Any gateway behind a balancer can answer any request.
        .with_legacy_session_mode(false)
        .with_json_response(true))
}
