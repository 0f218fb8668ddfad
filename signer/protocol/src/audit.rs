//! Checkpoints of audit chains: the signer puts its name to where a chain stands.

use domain::{OrgId, Time};
use serde::{Deserialize, Serialize};

use crate::wire::Blob;

/// Asks for a checkpoint. Asked again for the same head, the answer is the same; the signer never signs another one at the
/// same sequence or a lower one, unless an operator has put back an older ledger, or had the head forgotten ([`ForgottenHead`]).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SignHead {
    /// The organisation whose chain it is, or the system's.
    pub org: OrgId,
    /// Of the last event.
    pub sequence: u64,
    /// The last event's integrity hash.
    pub hash: [u8; 32],
}

/// A checkpoint: Ed25519 (RFC 8032) under the token key over [`SignedHead::message`], which no token can be mistaken for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SignedHead {
    pub org: OrgId,
    pub sequence: u64,
    pub hash: [u8; 32],
    pub signed_at: Time,
    /// The key's id in the JWKS.
    pub key_id: String,
    /// 64 bytes.
    pub signature: Blob,
}

/// What was signed of a chain.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Heads {
    /// The newest; `None`: nothing was signed, or it was forgotten.
    pub last: Option<SignedHead>,
    /// Heads of other histories, the one that was forgotten first before the others.
    pub forgotten: Vec<ForgottenHead>,
}

/// A head that an operator had forgotten, so that another history could be signed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ForgottenHead {
    pub sequence: u64,
    pub hash: [u8; 32],
    pub signed_at: Time,
    pub forgotten_at: Time,
}

impl SignedHead {
    /// What is signed: `talon/audit-head/1`, a zero byte, then organisation (16 bytes), sequence (8, big-endian), hash (32)
    /// and time (8, milliseconds, big-endian).
    pub fn message(org: OrgId, sequence: u64, hash: &[u8; 32], signed_at: Time) -> Vec<u8> {
        [
            b"talon/audit-head/1\0".as_slice(),
            org.as_bytes(),
            &sequence.to_be_bytes(),
            hash,
            &signed_at.millis().to_be_bytes(),
        ]
        .concat()
    }
}
