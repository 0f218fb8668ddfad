//! Signing keys at rest.

use alloy_primitives::Address;
use domain::{OrgId, SecretPath, VaultId};
use serde::{Deserialize, Serialize};

use crate::attested::Statement;
use crate::wire::Blob;

/// A signing key, wrapped, and all that it is bound to: swapping rows is refused.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SigningKey {
    pub org: OrgId,
    pub vault: VaultId,
    pub path: SecretPath,
    pub version: u64,
    pub curve: Curve,
    /// Uncompressed, 65 bytes (SEC 1 §2.3.3).
    pub public_key: Blob,
    pub address: Address,
    pub wrapped: Blob,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Curve {
    Secp256k1,
}

impl Statement for SigningKey {
    const DOMAIN: &'static str = "talon/signing-key/1";
}
