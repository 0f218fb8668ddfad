//! What every request passes, in this order, whichever door it came through.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use domain::audit::SYSTEM;
use domain::{Error, PrincipalId, RequestId, Result};
use futures::stream::BoxStream;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use ipnet::IpNet;
use tokio::sync::watch;
use tracing::Instrument as _;

use crate::access::ONLY_AGENTS;
use crate::authenticate::{self, Caller};
use crate::catalog::Entry;
use crate::certificate::{self, Fingerprint};
use crate::cx::Cx;
use crate::gate;
use crate::gateway::Gateway;
use crate::implied;
use crate::notes::Asked;
use crate::ops::cmek::{NEW_KEY, OLD_KEY};
use crate::ops::shares::PASSPHRASE;
use crate::problem::problem;
use crate::tool::Tool;

/// A request, without the door that it came through.
pub struct Inbound {
    /// The placeholders' values by name, percent-decoded. Those left out are the caller's own: its agent id, its
    /// default vault.
    pub path: Vec<(String, String)>,
    pub query: Option<String>,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The socket's other end.
    pub peer: Option<IpAddr>,
    /// The certificate that it has shown in the TLS handshake.
    pub peer_certificate: Option<Fingerprint>,
    /// It comes through a door that has counted it against the rates already: [`admit`] did.
    pub counted: bool,
}

/// An answer, for whichever door.
pub struct Outbound {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// Comes instead of the body, as it is made.
    pub stream: Option<BoxStream<'static, std::io::Result<Bytes>>>,
}

impl Outbound {
    pub fn new(status: StatusCode, body: Vec<u8>) -> Self {
        let mut headers = HeaderMap::new();
        if !body.is_empty() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        // Values and tokens are in these answers.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Self { status, headers, body, stream: None }
    }
}

/// Serves one request. It runs to its end even if the caller hangs up: nothing is left half-done. What does nothing but wait asks
/// [`Cx::hung_up`].
pub async fn serve(gateway: &Arc<Gateway>, entry: &Entry, mut request: Inbound) -> Outbound {
    let id = RequestId::new();
    blank_out(&mut request.headers);
    let span = tracing::info_span!("request", %id, operation = entry.route.id);
    let (gateway, entry) = (gateway.clone(), entry.clone());
    // Goes with this future, which the doors drop when the client has gone.
    let (_present, client) = watch::channel(());
    let work = async move { steps(gateway, &entry, request, id, client).await }.instrument(span.clone());
    let result = match tokio::spawn(work).await {
        Ok(result) => result,
        Err(panic) => Err(Error::internal(format!("the operation ended in a panic: {panic}"))),
    };
    let mut out = result.unwrap_or_else(|error| {
        let out = problem(&error);
        span.in_scope(|| log(&error, out.status));
        out
    });
    if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
        out.headers.insert("x-request-id", id);
    }
    out
}

/// An agent at a door that must know who knocks before it takes a request. What the agent may do is decided with each
/// request, by [`serve`].
pub struct Visitor(Caller);

impl Visitor {
    /// Whether it is of use to this agent.
    pub fn sees(&self, tool: &Tool) -> bool {
        tool.is_for(self.0.principal())
    }
}

/// Whoever prints headers prints none of these.
fn blank_out(headers: &mut HeaderMap) {
    for (name, value) in headers.iter_mut() {
        if ["authorization", OLD_KEY, NEW_KEY, PASSPHRASE, crate::passkey::HEADER].contains(&name.as_str()) {
            value.set_sensitive(true);
        }
    }
}

/// Who sends these headers, if it is an agent. Counts the request against the rates.
///
/// # Errors
/// The answer, ready to be sent: 429 beyond a rate, 401 without a live credential, 403 for people and for whom the
/// organisation does not let in.
pub async fn admit(
    gateway: &Arc<Gateway>,
    headers: &HeaderMap,
    peer: Option<IpAddr>,
) -> Result<Visitor, Box<Outbound>> {
    let address = client_address(&gateway.settings.trusted_proxies, headers, peer);
    // As with a request: it may exchange a key, which writes, and is not to be left half-done by who hangs up.
    let (gateway, headers) = (gateway.clone(), headers.clone());
    let work = async move {
        gateway.limits.arrives(address)?;
        enter(&gateway, &headers, address, false).await
    };
    let caller = tokio::spawn(work.in_current_span()).await.map_err(Error::internal).flatten();
    let admitted = caller.and_then(|caller| match caller.principal().id {
        PrincipalId::Agent(_) => Ok(Visitor(caller)),
        PrincipalId::User(_) => Err(Error::forbidden(ONLY_AGENTS)),
    });
    admitted.map_err(|error| {
        let out = problem(&error);
        log(&error, out.status);
        Box::new(out)
    })
}

async fn steps(
    gateway: Arc<Gateway>,
    entry: &Entry,
    mut request: Inbound,
    id: RequestId,
    client: watch::Receiver<()>,
) -> Result<Outbound> {
    let now = gateway.clock.now();
    let address = client_address(&gateway.settings.trusted_proxies, &request.headers, request.peer);
    if !request.counted {
        gateway.limits.arrives(address)?;
    }
    let caller = if entry.public {
        visitor(&gateway, entry, &request, address).await?
    } else {
        Some(enter(&gateway, &request.headers, address, request.counted).await?)
    };
    let certificate = certificate::shown(&gateway.settings, &mut request);
    let headers = request.headers.clone();
    let route = entry.route.clone();
    let cx = Cx { gateway, route, request: id, headers, address, certificate, now, caller, client };
    let gateway = cx.gateway.clone();
    let who = cx.caller.as_ref().map(|caller| (caller.principal().id, caller.principal().org));
    implied::complete(&cx, entry, &mut request).await?;
    entry.call(cx, request).await.inspect_err(|error| {
        let (by, org) = (who.map(|(id, _)| id), who.map_or(SYSTEM, |(_, org)| org));
        let what = ("operation", entry.route.id);
        gateway.notes.refused(error, Asked { org, by, what, from: address, at: now });
    })
}

/// Who it is, whether they ask too much, and whether their organisation lets them in from there: in this order, so that a
/// stranger learns of no rule.
async fn enter(
    gateway: &Gateway,
    headers: &HeaderMap,
    address: Option<IpAddr>,
    counted: bool,
) -> Result<Caller> {
    let caller = authenticate::caller(gateway, headers, address).await?;
    let principal = caller.principal();
    if !counted {
        gateway.limits.asks(principal.id, principal.org)?;
    }
    gate::pass(gateway, principal.id, principal.org, address).await?;
    Ok(caller)
}

/// Who shows a token where none is needed.
async fn visitor(
    gateway: &Gateway,
    entry: &Entry,
    request: &Inbound,
    address: Option<IpAddr>,
) -> Result<Option<Caller>> {
    if !entry.looks || !request.headers.contains_key(header::AUTHORIZATION) {
        return Ok(None);
    }
    let caller = authenticate::caller(gateway, &request.headers, address).await?;
    gateway.limits.asks(caller.principal().id, caller.principal().org)?;
    Ok(Some(caller))
}

/// Whether this is a proxy that is believed. The address is canonical: no IPv4 inside IPv6.
pub(crate) fn is_trusted(proxies: &[IpNet], address: IpAddr) -> bool {
    proxies.iter().any(|net| net.contains(&address))
}

/// The socket's address, or the one that a trusted proxy forwards: the right-most that is no trusted proxy.
fn client_address(proxies: &[IpNet], headers: &HeaderMap, peer: Option<IpAddr>) -> Option<IpAddr> {
    let peer = peer?.to_canonical();
    if !is_trusted(proxies, peer) {
        return Some(peer);
    }
    let forwarded = headers.get_all("x-forwarded-for").iter();
    let hops: Vec<&[u8]> = forwarded.flat_map(|v| v.as_bytes().split(|byte| *byte == b',')).collect();
    for hop in hops.into_iter().rev() {
        // A hop that can't be read is nobody that anything could be allowed to.
        let hop = std::str::from_utf8(hop).ok()?.trim();
        let ip =
            hop.parse::<IpAddr>().or_else(|_| hop.parse::<SocketAddr>().map(|a| a.ip())).ok()?.to_canonical();
        if !is_trusted(proxies, ip) {
            return Some(ip);
        }
    }
    Some(peer)
}

fn log(error: &Error, status: StatusCode) {
    if status.is_server_error() {
        tracing::error!(status = status.as_u16(), %error);
    } else {
        tracing::info!(status = status.as_u16(), %error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(forwarded: &[&[u8]]) -> Option<String> {
        let proxies = ["10.0.0.0/8".parse().unwrap()];
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_bytes(line).unwrap());
        }
        client_address(&proxies, &headers, Some([10, 0, 0, 1].into())).map(|ip| ip.to_string())
    }

    #[test]
    fn the_client_is_the_last_hop_that_is_no_proxy_of_ours() {
        assert_eq!(seen(&[]), Some("10.0.0.1".into()));
        assert_eq!(seen(&[b"203.0.113.9"]), Some("203.0.113.9".into()));
        assert_eq!(seen(&[b"192.0.2.1", b"203.0.113.9:4711, 10.0.0.2"]), Some("203.0.113.9".into()));
        assert_eq!(seen(&[b"::ffff:203.0.113.9"]), Some("203.0.113.9".into()));
    }

    #[test]
    fn what_can_not_be_read_is_no_way_to_be_taken_for_the_proxy() {
        assert_eq!(seen(&[b"\xff, 203.0.113.9"]), Some("203.0.113.9".into()));
        assert_eq!(seen(&[b"203.0.113.9, \xff"]), None);
        assert_eq!(seen(&[b"127.0.0.1, nobody, 10.0.0.2"]), None);
        assert_eq!(seen(&[b""]), None);
    }
}
