//! Checkpoints of audit chains: the signer's word for where a chain stood. It is given once for each place in a chain, so
//! whoever keeps a checkpoint can tell a chain that was cut off, put back or written anew.

use domain::{OrgId, Time};
use signer_protocol::audit::{Heads, SignHead, SignedHead};
use signer_protocol::wire::Blob;

use crate::authority::Authority;
use crate::ledger::Head;
use crate::refuse::{Result, invalid};

impl Authority {
    /// Signs a head that goes on from the last one, or again the last one itself. Where the chain stands is on the disk
    /// before the signature leaves.
    ///
    /// Nobody's token is asked for: the gateway takes checkpoints by itself, and a head tells nothing of its events.
    pub async fn sign_head(&self, request: SignHead) -> Result<SignedHead> {
        let SignHead { org, sequence, hash } = request;
        if sequence == 0 {
            return Err(invalid("sequence: a chain without events has no head to sign."));
        }
        let head = Head { sequence, hash, signed_at: self.clock.now().millis() };
        let signed_at = self.ledger.head(org, head).await?;
        self.signed(org, Head { signed_at, ..head }).await
    }

    /// The last head that was signed, with the same signature as then, and those that were forgotten.
    pub async fn last_head(&self, org: OrgId) -> Result<Heads> {
        let last = match self.ledger.last_head(org)? {
            Some(last) => Some(self.signed(org, last).await?),
            None => None,
        };
        Ok(Heads { last, forgotten: self.ledger.forgotten_heads(org)? })
    }

    async fn signed(&self, org: OrgId, head: Head) -> Result<SignedHead> {
        let Head { sequence, hash, signed_at } = head;
        let signed_at = Time::from_millis(signed_at);
        // The token key signs one other thing: a JWT's header and payload, which is base64url and one dot. This message
        // begins with a text that ends in a zero byte, so neither can be taken for the other.
        let message = SignedHead::message(org, sequence, &hash, signed_at);
        let signature = self.pool.on_keys(move |keys| keys.sign_token(&message)).await?;
        let key_id = self.tokens.key_id().to_owned();
        Ok(SignedHead { org, sequence, hash, signed_at, key_id, signature: Blob(signature.to_vec()) })
    }
}
