//! Webhooks' keys: for whom one is made, and what comes of using it.

use domain::{Role, WebhookId};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use signer_protocol::Reason;
use signer_protocol::webhook::{MakeWebhookKey, NewWebhookKey, SignDelivery};
use signer_protocol::wire::Blob;

use super::{Actor, World, edited, reason, settings};
use crate::refuse::Result;

impl World {
    pub async fn webhook_key(&self, by: &Actor) -> Result<NewWebhookKey> {
        self.signer.make_webhook_key(MakeWebhookKey { by: by.caller(), id: WebhookId::new() }).await
    }
}

#[tokio::test]
async fn owners_and_admins_make_one_and_nobody_else() {
    let w = World::new();
    let owner = w.owner().await;
    let admin = w.person(&owner, Role::Admin).await;
    let member = w.person(&owner, Role::Member).await;
    let bot = w.agent(&owner, settings()).await;
    assert!(w.webhook_key(&owner).await.is_ok() && w.webhook_key(&admin).await.is_ok());
    for other in [&member, &bot] {
        assert_eq!(reason(w.webhook_key(other).await), Reason::Forbidden);
    }
}

#[tokio::test]
async fn a_delivery_is_signed_by_its_webhooks_own_key() {
    let w = World::new();
    let owner = w.owner().await;
    let (made, other) = (w.webhook_key(&owner).await.unwrap(), w.webhook_key(&owner).await.unwrap());
    assert_eq!(made.secret.expose().len(), 32);
    assert_ne!(made.secret.expose(), other.secret.expose());
    let content = b"id.1700000000.{}".to_vec();
    let mut expected = Hmac::<Sha256>::new_from_slice(made.secret.expose()).unwrap();
    expected.update(&content);
    let w = w.restarted();
    let sign = async |key| w.signer.sign_delivery(SignDelivery { key, content: Blob(content.clone()) }).await;
    assert_eq!(sign(made.key.clone()).await.unwrap().0, expected.finalize().into_bytes().to_vec());

    // Neither a forged statement, nor one whose key was put into another's, signs anything.
    let (own, others) = (made.key.peek().unwrap(), other.key.peek().unwrap());
    let swapped = edited(&made.key, &own.id.to_string(), &others.id.to_string());
    assert_eq!(reason(sign(swapped).await), Reason::Tampered);
}
