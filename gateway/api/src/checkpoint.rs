//! A checkpoint as it is shown, exported and kept by others: enough to check it without Talon.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::audit::Hash;
use domain::audit::walk::hex_hash;
use domain::{OrgId, Time};
use ed25519_dalek::{Signature, VerifyingKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use signer_protocol::audit::SignedHead;

/// Where an organisation's audit trail stood, signed by the signer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    pub org_id: OrgId,
    /// Of the last event.
    pub sequence: u64,
    /// Its integrity hash, in hex.
    #[serde(with = "hex_hash")]
    #[schemars(with = "String")]
    pub hash: Hash,
    pub signed_at: Time,
    /// The key's id in the JWKS.
    pub key_id: String,
    /// Ed25519 (RFC 8032), 64 bytes, base64, over: `talon/audit-head/1`, a zero byte, the organisation's id (16 bytes), the
    /// sequence (8, big-endian), the hash (32) and the time in milliseconds (8, big-endian).
    pub signature: String,
}

impl Checkpoint {
    /// Whether this key has signed it.
    pub fn is_signed_by(&self, public_key: &[u8]) -> bool {
        let check = || {
            let key = VerifyingKey::from_bytes(public_key.try_into().ok()?).ok()?;
            let signature: [u8; 64] = STANDARD.decode(&self.signature).ok()?.try_into().ok()?;
            let message = SignedHead::message(self.org_id, self.sequence, &self.hash, self.signed_at);
            key.verify_strict(&message, &Signature::from_bytes(&signature)).ok()
        };
        check().is_some()
    }
}

impl From<SignedHead> for Checkpoint {
    fn from(head: SignedHead) -> Self {
        Self {
            org_id: head.org,
            sequence: head.sequence,
            hash: head.hash,
            signed_at: head.signed_at,
            key_id: head.key_id,
            signature: STANDARD.encode(head.signature.0),
        }
    }
}
