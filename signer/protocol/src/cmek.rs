//! Values that a customer encrypted with a key of their own (CMEK) before they were stored, changed over to another key.
//!
//! What is stored then is `0x01`, a 12-byte IV, the ciphertext and a 16-byte tag (AES-256-GCM without further data), in
//! base64. Only a rotation ever sees the key, here, in memory that is zeroed.

use domain::{CmekJobId, OrgId, Time, VaultId};
use serde::{Deserialize, Serialize};

use crate::attested::{Attested, Statement};
use crate::sealing::{Label, VaultKey};
use crate::token::Caller;
use crate::wire::{Blob, Secret};

/// SHA-256 of a customer's key.
pub type Fingerprint = [u8; 32];

/// Leave to change one vault's values from one key to another. It outlives the token of the one who asked.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RotationGrant {
    pub job: CmekJobId,
    pub org: OrgId,
    pub vault: VaultId,
    pub old: Fingerprint,
    pub new: Fingerprint,
    pub expires_at: Time,
}

impl Statement for RotationGrant {
    const DOMAIN: &'static str = "talon/cmek-rotation/1";
}

/// Asks for leave: owners and admins, and the vault's creator; never an agent with intents, never through scopes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AllowRotation {
    pub by: Caller,
    pub job: CmekJobId,
    pub vault_key: Attested<VaultKey>,
    pub old: Fingerprint,
    pub new: Fingerprint,
    /// 24 hours from now at most.
    pub expires_at: Time,
}

/// Changes some values over: at most 100, and 2 MiB together. All or none.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rotate {
    pub grant: Attested<RotationGrant>,
    pub vault_key: Attested<VaultKey>,
    /// 32 bytes each; checked against the grant's fingerprints.
    pub old_key: Secret,
    pub new_key: Secret,
    pub values: Vec<(Label, Blob)>,
}

/// The same values in the same order, sealed again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rotated {
    pub values: Vec<Blob>,
}
