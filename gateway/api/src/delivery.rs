//! One delivery to a webhook, as Standard Webhooks have it: the body, and headers that say which it is, when it was sent,
//! and, by the webhook's key, that we sent it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{Error, Result};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use signer_protocol::webhook::SignDelivery;
use signer_protocol::wire::Blob;
use store::webhooks::Webhook;

use crate::egress::{Failure, Word};
use crate::gateway::Gateway;
use crate::refusal;

/// What came of it, for the webhook's owner. Why an address was not reached is for the log alone: it could map our network.
pub enum Outcome {
    Delivered(StatusCode),
    /// It answered something else.
    Refused(StatusCode),
    Unreachable(&'static str),
}

impl Outcome {
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Delivered(status) | Self::Refused(status) => Some(status.as_u16()),
            Self::Unreachable(_) => None,
        }
    }

    /// Why it was not delivered.
    pub fn trouble(&self) -> Option<String> {
        match self {
            Self::Delivered(_) => None,
            Self::Refused(status) => {
                Some(format!("it answered {}, where 200 to 299 is expected", status.as_u16()))
            }
            Self::Unreachable(why) => Some((*why).to_owned()),
        }
    }
}

/// Sends `body` once. `id` is the same however often it is sent.
///
/// # Errors
/// What is ours: the signer is away, or refuses the key.
pub async fn send(gateway: &Gateway, hook: &Webhook, id: &str, body: &impl Serialize) -> Result<Outcome> {
    let body = serde_json::to_vec(body).map_err(Error::internal)?;
    let timestamp = gateway.clock.now().seconds().to_string();
    let content = Blob([id.as_bytes(), b".", timestamp.as_bytes(), b".", &body].concat());
    let request = SignDelivery { key: hook.key.clone(), content };
    let signed = gateway.signer.call(async |signer, c| signer.sign_delivery(c, request).await).await;
    let signature = format!("v1,{}", STANDARD.encode(signed.map_err(refusal::error)?.0));
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, text) in
        [("webhook-id", id), ("webhook-timestamp", &timestamp), ("webhook-signature", &signature)]
    {
        headers.insert(name, HeaderValue::from_str(text).map_err(Error::internal)?);
    }
    Ok(match gateway.egress.post(Word::Tenant(hook.org), &hook.url, headers, body).await {
        Ok(status) if status.is_success() => Outcome::Delivered(status),
        Ok(status) => Outcome::Refused(status),
        Err(failure) => {
            tracing::info!(webhook = %hook.id, %failure, "a webhook was not reached");
            Outcome::Unreachable(match failure {
                Failure::Address(_) => "its address may not be called",
                Failure::Busy => "too many other deliveries are under way",
                _ => "no answer: it can't be reached by HTTPS, or takes longer than 10 seconds",
            })
        }
    })
}
