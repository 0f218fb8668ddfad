//! What a signer is told when it is started.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::U256;
use domain::{Clock, SecretBytes, Wei};
use rustls::ServerConfig;

use crate::authority::Limits;
use crate::keys::pkcs11;

/// Threads that use the keystore, unless told.
const THREADS: usize = 4;

/// All of it. [`Config::new`] gives what most need.
#[derive(Clone)]
pub struct Config {
    /// Where gateways of this host connect.
    pub socket: Option<PathBuf>,
    /// Where gateways of other hosts connect.
    pub tls: Option<TlsConfig>,
    /// The signer's own folder: ledger, software keystore.
    pub data: PathBuf,
    pub keystore: KeystoreConfig,
    /// Another user who may connect, besides the signer's own.
    pub peer_uid: Option<u32>,
    /// Ends when standard input closes, so as not to outlive the parent.
    pub parent_stdin: bool,
    pub limits: Limits,
    pub key_threads: usize,
    /// Files and folders that the module needs beside the system's.
    pub allow: Vec<PathBuf>,
    /// TCP ports that the module may connect to.
    pub allow_ports: Vec<u16>,
    pub clock: Clock,
}

/// Where to listen for mutual TLS, with the certificates of both sides read.
#[derive(Clone)]
pub struct TlsConfig {
    /// Of one host and port: the first that can be listened on is.
    pub addresses: Vec<SocketAddr>,
    pub server: Arc<ServerConfig>,
}

/// Where the keys are.
#[derive(Clone)]
pub enum KeystoreConfig {
    /// A file in the data folder, sealed by a passphrase if one is given.
    Software { passphrase: Option<SecretBytes> },
    /// A token behind a PKCS#11 module.
    Pkcs11(pkcs11::Config),
}

impl Config {
    /// On a Unix socket alone.
    pub fn new(socket: PathBuf, data: PathBuf, keystore: KeystoreConfig) -> Self {
        Self {
            socket: Some(socket),
            tls: None,
            data,
            keystore,
            peer_uid: None,
            parent_stdin: false,
            limits: Limits::default(),
            key_threads: THREADS,
            allow: Vec::new(),
            allow_ports: Vec::new(),
            clock: Clock::default(),
        }
    }
}

impl Default for Limits {
    /// Five minutes; one ether; no passkeys.
    fn default() -> Self {
        Self {
            intent_lifetime: Duration::from_secs(5 * 60),
            max_fee: Wei(U256::from(1_000_000_000_000_000_000_u64)),
            origin: None,
        }
    }
}
