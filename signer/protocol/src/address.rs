//! Where a signer is.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

/// A signer's address, with what it takes to connect there.
#[derive(Clone)]
pub enum Address {
    /// On this host: the socket's file says who may connect.
    Unix(PathBuf),
    /// On another one: certificates say who is who.
    Tls(HostPort, Arc<ClientConfig>),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tls(at, _) => write!(f, "tls:{at}"),
        }
    }
}

impl From<PathBuf> for Address {
    fn from(socket: PathBuf) -> Self {
        Self::Unix(socket)
    }
}

impl From<&PathBuf> for Address {
    fn from(socket: &PathBuf) -> Self {
        Self::Unix(socket.clone())
    }
}

impl From<&Path> for Address {
    fn from(socket: &Path) -> Self {
        Self::Unix(socket.to_owned())
    }
}

/// `HOST:PORT`: a name or an address (IPv6 in brackets), and a port that is not 0. The certificate of a signer must
/// be for the host as it is written here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostPort {
    pub host: ServerName<'static>,
    pub port: u16,
}

impl HostPort {
    /// As it is looked up.
    pub fn name(&self) -> String {
        self.host.to_str().into_owned()
    }
}

impl FromStr for HostPort {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "must be HOST:PORT, such as signer.example.org:8444 or [fd00::2]:8444";
        let (host, port) = text.rsplit_once(':').ok_or(WRONG)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        // Without brackets an IPv6 address could end anywhere.
        if bare.is_none() && host.contains(':') {
            return Err(WRONG);
        }
        let host = ServerName::try_from(bare.unwrap_or(host).to_owned()).map_err(|_| WRONG)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or(WRONG)?;
        Ok(Self { host, port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.host.to_str();
        if name.contains(':') {
            write!(f, "[{name}]:{}", self.port)
        } else {
            write!(f, "{name}:{}", self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_or_addresses_with_a_port() {
        for text in ["signer.example.org:8444", "localhost:1", "192.0.2.7:65535", "[fd00::2]:8444"] {
            assert_eq!(text.parse::<HostPort>().unwrap().to_string(), text);
        }
        for text in
            ["", ":1", "host", "host:", "host:0", "host:65536", "fd00::2:8444", "[fd00::2]", "a b:1", "a/b:1"]
        {
            assert!(text.parse::<HostPort>().is_err(), "{text}");
        }
    }
}
