//! The command line and the environment of a signer.

use std::net::ToSocketAddrs as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::{SecretBytes, Wei};
use signer_protocol::HostPort;
use signer_protocol::tls::Files;
use zeroize::Zeroizing;

use crate::config::{Config, KeystoreConfig, TlsConfig};
use crate::keys::{CacheSizes, pkcs11};
use crate::start::StartError;
use crate::webauthn::Origin;

/// Options of `talon-signer` and of `talon signer`. Secrets come from files or the environment alone: a command
/// line shows in the list of processes.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The Unix socket to listen on [default: signer.sock in the data folder, or none with --listen].
    #[arg(long, env = "TALON_SIGNER_SOCKET", value_name = "PATH")]
    pub socket: Option<PathBuf>,

    /// Where to listen for gateways on other hosts, by mutual TLS: a host or address of this machine, such as
    /// tls:0.0.0.0:8444.
    #[arg(long, env = "TALON_SIGNER_LISTEN", value_name = "tls:HOST:PORT", value_parser = tls_address,
          requires_all = ["tls_ca", "tls_cert", "tls_key"])]
    pub listen: Option<HostPort>,

    /// The CA whose certificates are let in, PEM: one that serves this signer alone.
    #[arg(long, env = "TALON_SIGNER_TLS_CA", value_name = "FILE", requires = "listen")]
    pub tls_ca: Option<PathBuf>,

    /// The signer's own certificate, PEM, for the name that gateways connect to.
    #[arg(long, env = "TALON_SIGNER_TLS_CERT", value_name = "FILE", requires = "listen")]
    pub tls_cert: Option<PathBuf>,

    /// The key of the certificate, PEM.
    #[arg(long, env = "TALON_SIGNER_TLS_KEY", value_name = "FILE", requires = "listen")]
    pub tls_key: Option<PathBuf>,

    /// The signer's own folder: its ledger and, with the software keystore, its keys.
    #[arg(long, env = "TALON_SIGNER_DATA", value_name = "FOLDER", default_value = "talon-signer-data")]
    pub data: PathBuf,

    /// Where the keys are.
    #[arg(long, env = "TALON_KEYSTORE", value_enum, default_value_t = Kind::Software)]
    pub keystore: Kind,

    /// A file with the passphrase of the software keystore (or TALON_KEYSTORE_PASSPHRASE).
    #[arg(long, env = "TALON_KEYSTORE_PASSPHRASE_FILE", value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,

    /// The HSM's PKCS#11 module, such as /usr/lib/softhsm/libsofthsm2.so.
    #[arg(long, env = "TALON_PKCS11_MODULE", value_name = "FILE")]
    pub pkcs11_module: Option<PathBuf>,

    /// The label of the HSM's token.
    #[arg(long, env = "TALON_PKCS11_TOKEN", value_name = "LABEL")]
    pub pkcs11_token: Option<String>,

    /// A file with the token's PIN (or TALON_PKCS11_PIN).
    #[arg(long, env = "TALON_PKCS11_PIN_FILE", value_name = "FILE")]
    pub pkcs11_pin_file: Option<PathBuf>,

    /// Sessions to keep open with the HSM; as many threads use the keystore.
    #[arg(long, env = "TALON_PKCS11_SESSIONS", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub pkcs11_sessions: u16,

    /// Another user (a numeric id) who may connect, besides the signer's own. The socket must then be in a folder
    /// that he can enter.
    #[arg(long, env = "TALON_SIGNER_PEER_UID", value_name = "UID")]
    pub peer_uid: Option<u32>,

    /// The most ether that one transaction may cost in fees, for agents without a limit of their own.
    #[arg(long, env = "TALON_SIGNER_MAX_FEE", value_name = "ETHER", default_value = "1", value_parser = ether)]
    pub max_fee: Wei,

    /// The site where people use their passkeys, as browsers have it: https://HOST[:PORT], by a name (http for localhost
    /// alone). Its host is what passkeys are bound to: those made at another are no good.
    #[arg(long, env = "TALON_SIGNER_ORIGIN", value_name = "https://HOST[:PORT]")]
    pub origin: Option<Origin>,

    /// A file or folder that the HSM's module needs beside the system's; may be given more than once.
    #[arg(long, env = "TALON_SIGNER_ALLOW", value_name = "PATH", value_delimiter = ':')]
    pub allow: Vec<PathBuf>,

    /// A TCP port that the HSM's module may connect to; may be given more than once.
    #[arg(long, env = "TALON_SIGNER_ALLOW_PORT", value_name = "PORT", value_delimiter = ',')]
    pub allow_port: Vec<u16>,

    /// End when standard input closes, so as not to outlive the parent process.
    #[arg(long)]
    pub parent_stdin: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Kind {
    Software,
    Pkcs11,
}

fn ether(text: &str) -> Result<Wei, String> {
    Wei::parse_ether("max-fee", text).map_err(|error| error.detail().to_owned())
}

fn tls_address(text: &str) -> Result<HostPort, String> {
    let at = text.strip_prefix("tls:").ok_or("must be tls:HOST:PORT")?;
    at.parse().map_err(|error| format!("what follows tls: {error}"))
}

impl Options {
    /// Reads the secrets, and puts all together.
    ///
    /// # Errors
    /// What is missing or can't be read, in one sentence.
    pub fn config(self) -> Result<Config, StartError> {
        let keystore = match self.keystore {
            Kind::Software => KeystoreConfig::Software {
                passphrase: secret(self.passphrase_file.as_deref(), "TALON_KEYSTORE_PASSPHRASE")?,
            },
            Kind::Pkcs11 => {
                let missing = |name| StartError::new(format!("the pkcs11 keystore needs {name}"));
                KeystoreConfig::Pkcs11(pkcs11::Config {
                    module: self.pkcs11_module.ok_or_else(|| missing("TALON_PKCS11_MODULE"))?,
                    token: self.pkcs11_token.ok_or_else(|| missing("TALON_PKCS11_TOKEN"))?,
                    pin: secret(self.pkcs11_pin_file.as_deref(), "TALON_PKCS11_PIN")?
                        .ok_or_else(|| missing("TALON_PKCS11_PIN or TALON_PKCS11_PIN_FILE"))?,
                    sessions: usize::from(self.pkcs11_sessions),
                    caches: CacheSizes::default(),
                })
            }
        };
        let tls = match (self.listen, self.tls_ca, self.tls_cert, self.tls_key) {
            (Some(at), Some(ca), Some(cert), Some(key)) => Some(listener(&at, &Files { ca, cert, key })?),
            (None, None, None, None) => None,
            _ => return Err(StartError::new("--listen, --tls-ca, --tls-cert and --tls-key go together")),
        };
        let socket = match (self.socket, &tls) {
            (None, Some(_)) => None,
            (named, _) => Some(named.unwrap_or_else(|| self.data.join("signer.sock"))),
        };
        let mut config = Config { socket, tls, ..Config::new(PathBuf::new(), self.data, keystore) };
        if let KeystoreConfig::Pkcs11(hsm) = &config.keystore {
            config.key_threads = hsm.sessions;
        }
        config.peer_uid = self.peer_uid;
        config.parent_stdin = self.parent_stdin;
        config.limits.max_fee = self.max_fee;
        config.limits.origin = self.origin;
        config.allow = self.allow;
        config.allow_ports = self.allow_port;
        Ok(config)
    }
}

/// Looked up and read here: once it is isolated, the process has neither names nor files.
fn listener(at: &HostPort, files: &Files) -> Result<TlsConfig, StartError> {
    let unknown = |error| StartError::new(format!("--listen: {at} can't be looked up ({error})"));
    let addresses = (at.name().as_str(), at.port).to_socket_addrs().map_err(unknown)?.collect();
    let server = files.read().and_then(|read| read.server()).map_err(StartError::from)?;
    Ok(TlsConfig { addresses, server: Arc::new(server) })
}

/// From the file if one is named, else from the environment. A line's end in the file does not count.
fn secret(file: Option<&Path>, variable: &str) -> Result<Option<SecretBytes>, StartError> {
    let Some(file) = file else {
        #[expect(
            clippy::disallowed_methods,
            reason = "secrets are read from the environment here, and nowhere else"
        )]
        return Ok(std::env::var(variable).ok().map(|text| text.into_bytes().into()));
    };
    let unreadable = |cause: String| StartError::new(format!("{} can't be read ({cause})", file.display()));
    let text = std::fs::read(file).map(Zeroizing::new).map_err(|error| unreadable(error.to_string()))?;
    match text.trim_ascii_end() {
        b"" => Err(unreadable("it is empty".to_owned())),
        secret => Ok(Some(secret.to_vec().into())),
    }
}
