//! Webhooks' keys: made and used in the signer, shown to a person once, and opened by nothing.

use domain::{OrgId, WebhookId};
use serde::{Deserialize, Serialize};

use crate::attested::{Attested, Statement};
use crate::token::Caller;
use crate::wire::{Blob, Secret};

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct WebhookKey {
    pub id: WebhookId,
    pub org: OrgId,
    /// 32 bytes, sealed for this webhook.
    pub sealed: Blob,
}

impl Statement for WebhookKey {
    const DOMAIN: &'static str = "talon/webhook-key/1";
}

/// Asks for a key: owners and admins who have logged in, without scopes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MakeWebhookKey {
    pub by: Caller,
    pub id: WebhookId,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewWebhookKey {
    /// 32 bytes: shown once.
    pub secret: Secret,
    pub key: Attested<WebhookKey>,
}

/// Asks for the HMAC-SHA-256 of a delivery (32 bytes) under its webhook's key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SignDelivery {
    pub key: Attested<WebhookKey>,
    /// `id.timestamp.body` (Standard Webhooks).
    pub content: Blob,
}
