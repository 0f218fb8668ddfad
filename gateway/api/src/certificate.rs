//! The certificate that a client has shown: to this gateway's own TLS listener, or to a proxy that is believed. What
//! proves anything is the handshake, in which the client has signed with the certificate's key; who issued it, and
//! until when, does not matter here: an agent's record pins one certificate and no other.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::gateway::Settings;
use crate::pipeline::{Inbound, is_trusted};

/// SHA-256 over a certificate (DER).
#[derive(Clone, Copy, Debug)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub fn of(certificate: &[u8]) -> Self {
        Self(Sha256::digest(certificate).into())
    }

    /// 64 hexadecimal digits, also with colons between the bytes, as OpenSSL prints them.
    pub fn parse(text: &str) -> Option<Self> {
        let pairs: Vec<&str> = text.trim().split(':').collect();
        let plain = match pairs.as_slice() {
            [plain] => (*plain).to_owned(),
            pairs if pairs.len() == 32 && pairs.iter().all(|pair| pair.len() == 2) => pairs.concat(),
            _ => return None,
        };
        let mut bytes = [0; 32];
        hex::decode_to_slice(plain, &mut bytes).ok()?;
        Some(Self(bytes))
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// In constant time.
    pub fn is(&self, sha256: &[u8]) -> bool {
        self.0.as_slice().ct_eq(sha256).into()
    }
}

/// Takes the header out of the request, whoever has sent it, and tells what certificate the client has shown. Of a
/// proxy that is believed, its word counts alone: the certificate of its own connection is not its client's.
pub fn shown(settings: &Settings, request: &mut Inbound) -> Option<Fingerprint> {
    let header = settings.client_cert_header.as_ref();
    let said = header.and_then(|header| only(&request.headers, header.as_str()));
    if let Some(header) = header {
        request.headers.remove(header);
    }
    let by_proxy =
        request.peer.is_some_and(|peer| is_trusted(&settings.trusted_proxies, peer.to_canonical()));
    if by_proxy { said } else { request.peer_certificate }
}

/// What the header says, if it is there once: of two, one may be the client's.
fn only(headers: &HeaderMap, name: &str) -> Option<Fingerprint> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) => said(line.to_str().ok()?),
        _ => None,
    }
}

/// The fingerprint itself (HAProxy, Envoy, Caddy), or the certificate, PEM, percent-encoded (nginx, AWS).
fn said(text: &str) -> Option<Fingerprint> {
    if let Some(fingerprint) = Fingerprint::parse(text) {
        return Some(fingerprint);
    }
    let pem = percent_encoding::percent_decode_str(text).decode_utf8().ok()?;
    let (body, rest) =
        pem.trim().strip_prefix("-----BEGIN CERTIFICATE-----")?.split_once("-----END CERTIFICATE-----")?;
    if !rest.is_empty() {
        return None;
    }
    let base64: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let der = STANDARD.decode(base64).ok()?;
    (!der.is_empty()).then(|| Fingerprint::of(&der))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    #[test]
    fn a_fingerprint_is_read_as_it_is_written_elsewhere() {
        let colons =
            HEX.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap()).collect::<Vec<_>>();
        let colons = colons.join(":");
        for text in [HEX, &HEX.to_uppercase(), &colons, &format!(" {} ", colons.to_uppercase())] {
            assert_eq!(hex::encode(Fingerprint::parse(text).unwrap().as_bytes()), HEX, "{text}");
        }
        let long = format!("{HEX}00");
        for text in
            ["", ":", &HEX[2..], &long, &HEX.replace('2', "g"), &colons[3..], &colons.replacen(':', "::", 1)]
        {
            assert!(Fingerprint::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_proxys_header_is_a_fingerprint_or_a_certificate() {
        let fingerprint = |text: &str| said(text).map(|f| hex::encode(f.as_bytes()));
        assert_eq!(fingerprint(HEX).as_deref(), Some(HEX));
        // "hello", as nginx and as AWS encode it.
        let nginx = "-----BEGIN%20CERTIFICATE-----%0AaGVsbG8%3D%0A-----END%20CERTIFICATE-----%0A";
        let aws = "-----BEGIN%20CERTIFICATE-----%0AaGVsbG8=%0A-----END%20CERTIFICATE-----";
        for pem in [nginx, aws] {
            assert_eq!(fingerprint(pem).as_deref(), Some(HEX), "{pem}");
        }
        for nonsense in [
            "",
            "SUCCESS",
            "-----BEGIN%20CERTIFICATE-----%0A-----END%20CERTIFICATE-----",
            "-----BEGIN%20CERTIFICATE-----%0AaGVsbG8%3D",
            &format!("{nginx}{nginx}"),
        ] {
            assert_eq!(fingerprint(nonsense), None, "{nonsense}");
        }
        let mut headers = HeaderMap::new();
        headers.append("x-cert", HEX.parse().unwrap());
        assert!(only(&headers, "x-cert").is_some());
        headers.append("x-cert", HEX.parse().unwrap());
        assert!(only(&headers, "x-cert").is_none(), "twice");
    }
}
