//! Webhooks' keys: drawn here, used here, shown once to the person who asked.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use signer_protocol::webhook::{MakeWebhookKey, NewWebhookKey, SignDelivery, WebhookKey};
use signer_protocol::wire::Blob;
use zeroize::Zeroizing;

use crate::alone::{lock, unlock};
use crate::authority::Authority;
use crate::encoding::length_prefixed;
use crate::keys::KeyError;
use crate::ledger::over;
use crate::refuse::Result;
use crate::sealing::random;

/// Bytes of a key.
const KEY: usize = 32;

impl Authority {
    /// A key for a webhook of the caller's organisation: an owner or admin who has logged in, since it leads what happens
    /// there to the outside.
    pub async fn make_webhook_key(&self, request: MakeWebhookKey) -> Result<NewWebhookKey> {
        let by = self.caller(&request.by).await?;
        by.in_person()?;
        by.manages()?;
        let (id, org) = (request.id, by.org());
        if self.ledger.ended(org)? {
            return Err(over());
        }
        let (secret, sealed) = self
            .pool
            .on_keys(move |keys| {
                let mut key = Zeroizing::new([0; KEY]);
                random(&mut *key)?;
                let sealed = lock(keys, &aad(id, org), &*key)?;
                Ok((key.to_vec().into(), sealed))
            })
            .await?;
        let key = self.statements.attest(&WebhookKey { id, org, sealed }).await?;
        Ok(NewWebhookKey { secret, key })
    }

    /// The HMAC-SHA-256 of a delivery. What is delivered the gateway says; the key never leaves.
    pub async fn sign_delivery(&self, request: SignDelivery) -> Result<Blob> {
        let key = self.statements.verify(&request.key).await?;
        if self.ledger.ended(key.org)? {
            return Err(over());
        }
        let content = request.content;
        self.pool
            .on_keys(move |keys| {
                let secret = unlock(keys, &aad(key.id, key.org), &key.sealed.0)?;
                let mut hmac = Hmac::<Sha256>::new_from_slice(secret.expose())
                    .map_err(|_| KeyError::Rejected("a webhook's key has an unexpected length".into()))?;
                hmac.update(&content.0);
                Ok(Blob(hmac.finalize().into_bytes().to_vec()))
            })
            .await
    }
}

/// All that a key is bound to.
fn aad(id: domain::WebhookId, org: domain::OrgId) -> Vec<u8> {
    length_prefixed(&[b"talon/webhook-key/1", id.as_bytes(), org.as_bytes()])
}
