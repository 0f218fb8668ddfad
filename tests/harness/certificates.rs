//! Certificates of clients and of a Talon of its own, made by nobody who is believed.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedKey, IsCa, KeyPair, generate_simple_self_signed};

/// A certificate with its key, PEM.
pub struct Certificate {
    pub pem: String,
    pub key: String,
    pub der: Vec<u8>,
}

impl Certificate {
    pub fn new(name: &str) -> Self {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed([name.to_owned()]).unwrap();
        Self { pem: cert.pem(), key: signing_key.serialize_pem(), der: cert.der().to_vec() }
    }

    /// An authority's, made as if it were a server's: as `openssl req -x509` does.
    pub fn authority(name: &str) -> Self {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap();
        Self { pem: cert.pem(), key: key.serialize_pem(), der: cert.der().to_vec() }
    }

    /// As a client shows it.
    pub fn identity(&self) -> reqwest::Identity {
        reqwest::Identity::from_pem(format!("{}{}", self.pem, self.key).as_bytes()).unwrap()
    }

    /// Writes it into a folder, as a server reads it: the certificate's file and the key's.
    pub fn write(&self, folder: &Path) -> [(&'static str, String); 2] {
        let (cert, key) = (folder.join("tls-cert.pem"), folder.join("tls-key.pem"));
        std::fs::write(&cert, &self.pem).unwrap();
        std::fs::write(&key, &self.key).unwrap();
        [("TALON_TLS_CERT", cert.display().to_string()), ("TALON_TLS_KEY", key.display().to_string())]
    }
}
