//! TLS as this gateway speaks it to its clients: whoever has a certificate may show it, and nobody must.

use std::io;
use std::path::Path;
use std::sync::Arc;

use axum_server::tls_rustls::RustlsConfig;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme};

use crate::StartError;

/// A certificate and its key, read before the process locks itself in.
pub struct Tls {
    cert: Vec<u8>,
    key: Vec<u8>,
    named: String,
}

impl Tls {
    /// # Errors
    /// If one of them can't be read.
    pub fn read(cert: &Path, key: &Path) -> Result<Self, StartError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|error| StartError::Tls(path.display().to_string(), error))
        };
        let named = format!("{} with the key {}", cert.display(), key.display());
        Ok(Self { cert: read(cert)?, key: read(key)?, named })
    }

    /// # Errors
    /// If they are no certificate and key that belong together.
    pub fn parse(self) -> Result<RustlsConfig, StartError> {
        let config = self.config().map_err(|error| StartError::Tls(self.named.clone(), error))?;
        Ok(RustlsConfig::from_config(Arc::new(config)))
    }

    fn config(&self) -> io::Result<ServerConfig> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&self.cert)
            .collect::<Result<_, _>>()
            .map_err(|error| io::Error::other(format!("the certificate is no PEM ({error})")))?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| io::Error::other("the key is no private key: it must be PEM, and not encrypted"))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let asks = AnyCertificate { provider: provider.clone() };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_client_cert_verifier(Arc::new(asks))
            .with_single_cert(chain, key)
            .map_err(io::Error::other)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// Asks for a certificate and takes any, so long as its key has signed the handshake. It proves nothing but that the
/// client has this key; agents' records say which certificate is whose.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for AnyCertificate {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
