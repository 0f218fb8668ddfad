//! How a person confirms a request by a passkey. Any request may be answered 403 with `type: passkey_required`, a
//! `challenge` and the caller's `allow_credentials`; the same request comes again with what `navigator.credentials.get`
//! gave, in the header `X-Passkey-Assertion`. The signer checks it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{Error, PrincipalId, Result};
use serde::Deserialize;
use serde_json::json;
use signer_protocol::passkey::{Asserted, Assertion};
use signer_protocol::wire::Blob;
use signer_protocol::{Reason, Refusal};
use store::passkeys;

use crate::cx::Cx;
use crate::refusal;

pub const HEADER: &str = "x-passkey-assertion";

/// As it stands in the header, base64url of this JSON.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    id: String,
    #[serde(rename = "clientDataJSON")]
    client_data: String,
    authenticator_data: String,
    signature: String,
}

impl Cx {
    /// What a passkey of the caller's has signed, if the request brings it.
    pub async fn passkey(&self) -> Result<Option<Asserted>> {
        let Some(header) = self.header(HEADER)? else { return Ok(None) };
        let PrincipalId::User(user) = self.caller()?.principal().id else { return Ok(None) };
        let assertion = assertion(header)?;
        let stored = passkeys::facts(self.store(), user).await?.passkeys;
        Ok(stored.map(|passkeys| Asserted { passkeys, assertion }))
    }

    /// The signer's refusal as an error; where it asks for a passkey, with the ids of the caller's.
    pub(crate) async fn refused(&self, refusal: Refusal) -> Error {
        if let Some(caller) = &self.caller
            && self.was_changed(&refusal, caller.record()).await
        {
            return refusal::of_change(refusal);
        }
        let asks = matches!(refusal.reason, Reason::PasskeyRequired(_));
        let error = refusal::error(refusal);
        match self.caller.as_ref().map(|caller| caller.principal().id) {
            Some(PrincipalId::User(user)) if asks => {
                match passkeys::facts(self.store(), user).await.and_then(|stored| ids(&stored)) {
                    Ok(ids) => error.with("allow_credentials", json!(ids)),
                    Err(broken) => broken,
                }
            }
            _ => error,
        }
    }
}

fn ids(stored: &passkeys::Stored) -> Result<Vec<String>> {
    let Some(passkeys) = &stored.passkeys else { return Ok(Vec::new()) };
    let passkeys = passkeys.peek().map_err(Error::internal)?;
    Ok(passkeys.keys.iter().map(|key| encoded(&key.id)).collect())
}

fn assertion(header: &str) -> Result<Assertion> {
    let bad = || {
        Error::invalid(
            "X-Passkey-Assertion",
            "must be base64url of {id, clientDataJSON, authenticatorData, signature}, each base64url",
        )
    };
    let json = URL_SAFE_NO_PAD.decode(header.trim_end_matches('=')).map_err(|_| bad())?;
    let shown: Shown = serde_json::from_slice(&json).map_err(|_| bad())?;
    let field = |text: &str| decoded(text).ok_or_else(bad);
    Ok(Assertion {
        id: field(&shown.id)?,
        client_data: field(&shown.client_data)?,
        authenticator_data: field(&shown.authenticator_data)?,
        signature: field(&shown.signature)?,
    })
}

/// base64url, as WebAuthn has it; padding is not missed.
pub fn decoded(text: &str) -> Option<Blob> {
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok().map(Blob)
}

pub fn encoded(bytes: &Blob) -> String {
    URL_SAFE_NO_PAD.encode(&bytes.0)
}
