//! How an agent logs in: with a key of its own, with a TLS client certificate, or with the token of an issuer's client.

use domain::{Error, Result, SecretText};
use signer_protocol::record::{AgentLogin, Assertion};
use signer_protocol::wire::Blob;

use super::record::new_key;
use crate::certificate::Fingerprint;
use crate::cx::Cx;

/// Of a client's id, in bytes.
const LONGEST_CLIENT: usize = 255;

/// The fields of a registration that say so.
pub struct LoginFields {
    pub auth_method: Option<String>,
    pub client_cert_fingerprint: Option<String>,
    pub oidc_issuer: Option<String>,
    pub oidc_client_id: Option<String>,
}

/// What they come to.
#[derive(Clone)]
pub enum LoginMethod {
    Key,
    Certificate(Fingerprint),
    Client { issuer: String, client_id: String },
}

impl LoginMethod {
    /// # Errors
    /// `Invalid`, naming the field that is missing, wrong, or another method's.
    pub fn read(cx: &Cx, fields: LoginFields) -> Result<Self> {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let certificate = given(fields.client_cert_fingerprint);
        let (issuer, client) = (given(fields.oidc_issuer), given(fields.oidc_client_id));
        match fields.auth_method.as_deref() {
            None | Some("api_key") => {
                others("api_key", &[("client_cert_fingerprint", &certificate)])?;
                others("api_key", &[("oidc_issuer", &issuer), ("oidc_client_id", &client)])?;
                Ok(Self::Key)
            }
            Some("mtls") => {
                others("mtls", &[("oidc_issuer", &issuer), ("oidc_client_id", &client)])?;
                let rule = "must be the SHA-256 of the client's certificate (DER), as 64 hexadecimal digits";
                let fingerprint = certificate.as_deref().and_then(Fingerprint::parse);
                let fingerprint =
                    fingerprint.ok_or_else(|| Error::invalid("client_cert_fingerprint", rule))?;
                Ok(Self::Certificate(fingerprint))
            }
            Some("oidc_client_credentials") => {
                others("oidc_client_credentials", &[("client_cert_fingerprint", &certificate)])?;
                Ok(Self::Client { issuer: read_issuer(cx, issuer)?, client_id: read_client(client)? })
            }
            Some(_) => Err(Error::invalid("auth_method", "must be api_key, mtls or oidc_client_credentials")),
        }
    }

    /// As the contract calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Key => "api_key",
            Self::Certificate(_) => "mtls",
            Self::Client { .. } => "oidc_client_credentials",
        }
    }

    /// What the signer pins, and the key, where there is one.
    pub fn make(&self) -> Result<(AgentLogin, Option<SecretText>)> {
        Ok(match self {
            Self::Key => {
                let (key, credential) = new_key()?;
                (AgentLogin::Key(credential), Some(key))
            }
            Self::Certificate(fingerprint) => {
                let sha256 = Blob(fingerprint.as_bytes().to_vec());
                (AgentLogin::Asserted(Assertion::Certificate { sha256 }), None)
            }
            Self::Client { issuer, client_id } => {
                let (issuer, client_id) = (issuer.clone(), client_id.clone());
                (AgentLogin::Asserted(Assertion::Client { issuer, client_id }), None)
            }
        })
    }
}

/// What one method has no use for would not be looked at: whoever sets it means something else.
fn others(method: &str, fields: &[(&str, &Option<String>)]) -> Result<()> {
    match fields.iter().find(|(_, value)| value.is_some()) {
        Some((field, _)) => Err(Error::invalid(field, format!("must be left out with auth_method {method}"))),
        None => Ok(()),
    }
}

/// As tokens name it (`iss`), to the letter.
fn read_issuer(cx: &Cx, issuer: Option<String>) -> Result<String> {
    let wrong = |rule: &str| Error::invalid("oidc_issuer", rule);
    let issuer = issuer.ok_or_else(|| wrong("must be the issuer's address, as its tokens name it (iss)"))?;
    let url = cx.gateway.egress.check(&issuer).map_err(wrong)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("must have no query and no fragment"));
    }
    if issuer.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(wrong("must have no spaces"));
    }
    Ok(issuer)
}

fn read_client(client: Option<String>) -> Result<String> {
    let fits = |id: &String| id.len() <= LONGEST_CLIENT && !id.chars().any(char::is_control);
    client.filter(fits).ok_or_else(|| {
        Error::invalid(
            "oidc_client_id",
            "must be the client's id, as its tokens name it (azp or client_id): 1 to 255 characters",
        )
    })
}
