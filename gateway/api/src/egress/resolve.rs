//! Names into addresses, and of these only those that may be dialled: what the connection is made to is what was
//! looked at here, since nobody resolves the name again.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures::future::BoxFuture;
use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::address::{is_in, is_public};

/// Who knows the addresses of names.
pub trait Lookup: Send + Sync + 'static {
    fn lookup(&self, name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// The machine's own resolver.
pub struct System;

impl Lookup for System {
    fn lookup(&self, name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
        })
    }
}

/// Which addresses may be dialled.
#[derive(Clone)]
pub struct Rule {
    /// Networks that an operator has named.
    pub allowed: Arc<[IpNet]>,
    /// Whether those on the internet may, too.
    pub public: bool,
}

impl Rule {
    pub fn lets(&self, address: IpAddr) -> bool {
        is_in(&self.allowed, address) || (self.public && is_public(address))
    }
}

/// Resolves for a client that is held to a rule.
pub struct Guarded {
    pub lookup: Arc<dyn Lookup>,
    pub rule: Rule,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let (looking, rule) = (self.lookup.lookup(name.as_str().to_owned()), self.rule.clone());
        Box::pin(async move {
            // Mapped addresses are dialled as what they mean.
            let found: Vec<IpAddr> = looking.await?.iter().map(IpAddr::to_canonical).collect();
            let held: Vec<SocketAddr> =
                found.iter().filter(|ip| rule.lets(**ip)).map(|ip| SocketAddr::new(*ip, 0)).collect();
            if held.is_empty() {
                let text = format!("none of its addresses may be dialled: {found:?}");
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, text).into());
            }
            Ok(Box::new(held.into_iter()) as Addrs)
        })
    }
}
