//! Mutual TLS between a gateway and a signer on hosts of their own, as both ends speak it: TLS 1.3 alone, a
//! certificate on either side, each of a CA that serves this pair and nobody else.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, Error, RootCertStore, ServerConfig};
use zeroize::Zeroizing;

/// Until a peer that answers nothing any more counts as gone. A host that lost its power sends no farewell, and
/// the kernel's own patience is a quarter of an hour.
const SILENCE: Duration = Duration::from_secs(10);

/// Of a certificate's life: what is left of it when a start begins to warn.
const SOON: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Why a file can't be used: one sentence that names it and says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(String);

/// Where an end of the connection has its certificates, all PEM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Files {
    /// The CA, or several: only certificates of these are believed.
    pub ca: PathBuf,
    /// This end's own certificate, with its chain if it has one.
    pub cert: PathBuf,
    /// The key of `cert`.
    pub key: PathBuf,
}

/// What an end shows, and whose it believes. Read before the process closes its files to itself.
pub struct Credentials {
    files: Files,
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// What a certificate is for.
#[derive(Clone, Copy)]
enum End {
    Gateway,
    Signer,
}

impl Files {
    /// # Errors
    /// Naming the file: it can't be read, is open to others, or holds something else.
    pub fn read(&self) -> Result<Credentials, TlsError> {
        let mut roots = RootCertStore::empty();
        for root in certificates(&self.ca)? {
            roots.add(root).map_err(|error| about(&self.ca, format!("holds no CA ({error})")))?;
        }
        let chain = certificates(&self.cert)?;
        closed_to_others(&self.key)?;
        let pem =
            std::fs::read(&self.key).map(Zeroizing::new).map_err(|error| unreadable(&self.key, error))?;
        let key = PrivateKeyDer::from_pem_slice(&pem)
            .map_err(|_| about(&self.key, "holds no private key: it must be PEM, and not encrypted"))?;
        Ok(Credentials { files: self.clone(), roots: Arc::new(roots), chain, key })
    }
}

impl Credentials {
    /// The gateway's end.
    ///
    /// # Errors
    /// If certificate and key don't belong together, or the CA is not theirs.
    pub fn client(self) -> Result<ClientConfig, TlsError> {
        self.check(End::Gateway)?;
        let Self { files, roots, chain, key } = self;
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| about(&files.cert, error))?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(|error| apart(&files, &error))?;
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    /// The signer's end: whoever shows no certificate of the CA is refused.
    ///
    /// # Errors
    /// If certificate and key don't belong together, or the CA is not theirs.
    pub fn server(self) -> Result<ServerConfig, TlsError> {
        self.check(End::Signer)?;
        let Self { files, roots, chain, key } = self;
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
            .build()
            .map_err(|error| about(&files.ca, error))?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| about(&files.cert, error))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(|error| apart(&files, &error))?;
        // A session that is resumed does not have its certificate looked at again: it could have expired.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    /// Whether the other end would believe it. Said at the start: later it is a handshake that fails, somewhere.
    fn check(&self, end: End) -> Result<(), TlsError> {
        let now = UnixTime::now();
        self.verify(end, now).map_err(|error| self.explain(end, &error))?;
        if self.verify(end, UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + SOON)).is_err() {
            tracing::warn!(file = %self.files.cert.display(), "this certificate expires within 30 days");
        }
        Ok(())
    }

    fn verify(&self, end: End, at: UnixTime) -> Result<(), Error> {
        let (own, chain) =
            self.chain.split_first().ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
        match end {
            End::Gateway => WebPkiClientVerifier::builder_with_provider(self.roots.clone(), provider())
                .build()
                .map_err(|error| Error::General(error.to_string()))?
                .verify_client_cert(own, chain, at)
                .map(drop),
            End::Signer => {
                let algorithms = provider().signature_verification_algorithms.all;
                let own = ParsedCertificate::try_from(own)?;
                verify_server_cert_signed_by_trust_anchor(&own, &self.roots, chain, at, algorithms)
            }
        }
    }

    fn explain(&self, end: End, error: &Error) -> TlsError {
        use CertificateError as Bad;
        let other = match end {
            End::Gateway => "is no certificate of a gateway: the signer's is for the signer alone",
            End::Signer => "is no certificate of a signer: the gateway's is for the gateway alone",
        };
        let cert = &self.files.cert;
        match error {
            Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => {
                about(cert, "has expired: make new ones with `talon-signer certificates`")
            }
            Error::InvalidCertificate(Bad::NotValidYet | Bad::NotValidYetContext { .. }) => {
                about(cert, "is not valid yet: is this host's clock right?")
            }
            Error::InvalidCertificate(Bad::InvalidPurpose | Bad::InvalidPurposeContext { .. }) => {
                about(cert, other)
            }
            Error::InvalidCertificate(Bad::UnknownIssuer | Bad::BadSignature) => about(
                cert,
                format!("is not of the CA in {}: take both from one run", self.files.ca.display()),
            ),
            error => about(cert, format!("can't be used ({error})")),
        }
    }
}

/// The cryptography of both ends, whatever else of the process uses another.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Requests go out at once, and a peer that is silently gone is noticed.
///
/// # Errors
/// If the kernel refuses.
pub fn tune(stream: &tokio::net::TcpStream) -> std::io::Result<()> {
    use rustix::net::sockopt;
    sockopt::set_tcp_nodelay(stream, true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, SILENCE / 2)?;
    sockopt::set_tcp_keepintvl(stream, SILENCE / 4)?;
    sockopt::set_tcp_keepcnt(stream, 2)?;
    sockopt::set_tcp_user_timeout(stream, u32::try_from(SILENCE.as_millis()).unwrap_or(u32::MAX))?;
    Ok(())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let none = || about(path, "holds no certificate: it must be PEM");
    let pem = std::fs::read(path).map_err(|error| unreadable(path, error))?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|_| none())?;
    if found.is_empty() { Err(none()) } else { Ok(found) }
}

/// Whoever can read the key is the gateway, or the signer.
fn closed_to_others(key: &Path) -> Result<(), TlsError> {
    let mode = std::fs::metadata(key).map_err(|error| unreadable(key, error))?.permissions().mode();
    if mode & 0o027 != 0 {
        return Err(about(key, "is open to other users: run chmod 600 on it"));
    }
    Ok(())
}

fn apart(files: &Files, error: &Error) -> TlsError {
    about(&files.key, format!("is not the key of {} ({error})", files.cert.display()))
}

fn unreadable(path: &Path, error: impl std::fmt::Display) -> TlsError {
    about(path, format!("can't be read ({error})"))
}

fn about(path: &Path, what: impl std::fmt::Display) -> TlsError {
    TlsError(format!("{} {what}", path.display()))
}
