//! NOT BUILT YET.

use signer_protocol::webhook::{MakeWebhookKey, NewWebhookKey, SignDelivery};
use signer_protocol::wire::Blob;

use crate::authority::Authority;
use crate::refuse::{Result, unavailable};

impl Authority {
    pub async fn make_webhook_key(&self, _: MakeWebhookKey) -> Result<NewWebhookKey> {
        Err(unavailable("Not built yet."))
    }

    pub async fn sign_delivery(&self, _: SignDelivery) -> Result<Blob> {
        Err(unavailable("Not built yet."))
    }
}
