//! Values: sealed when written, opened when read.

use domain::{OrgId, PrincipalId, SecretPath, SecretType, VaultId};
use serde::{Deserialize, Serialize};

use crate::attested::{Attested, Statement};
use crate::key::SigningKey;
use crate::passkey::Asserted;
use crate::token::Caller;
use crate::wire::{Blob, Secret};

/// A vault's key, wrapped by the root key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VaultKey {
    pub org: OrgId,
    pub vault: VaultId,
    /// Who made the vault: besides owners and admins, the only one who may have it destroyed.
    pub creator: PrincipalId,
    #[serde(default)]
    pub holds: Holds,
    pub wrapped: Blob,
}

/// What a vault is for.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holds {
    /// Whatever its users put into it.
    #[default]
    Values,
    /// Agents' private halves: made by [`crate::identity::MakeIdentity`], stored by nothing else, never destroyed.
    Identities,
}

impl Statement for VaultKey {
    const DOMAIN: &'static str = "talon/vault-key/1";
}

/// What a sealed value is bound to (the AAD, each part length-prefixed): it opens nowhere else.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Label {
    pub org: OrgId,
    pub vault: VaultId,
    pub path: SecretPath,
    pub version: u64,
    pub kind: SecretType,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MakeVaultKey {
    pub by: Caller,
    pub vault: VaultId,
}

/// From then on the signer refuses the vault's key, for ever.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DestroyVaultKey {
    pub by: Caller,
    pub key: Attested<VaultKey>,
    /// Over [`crate::passkey::challenge_of_destruction`]: needed of whoever has a passkey.
    pub passkey: Option<Asserted>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Seal {
    pub by: Caller,
    pub vault_key: Attested<VaultKey>,
    pub label: Label,
    pub value: Secret,
    /// `metadata.signing_only`: the key can be used and never read, by anybody.
    pub signing_only: bool,
}

/// A value at rest. Of a `private_key` that is a valid secp256k1 key there is a signing key too.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sealed {
    /// `None` for `signing_only`.
    pub value: Option<Blob>,
    pub signing_key: Option<Attested<SigningKey>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Open {
    pub by: Caller,
    pub vault_key: Attested<VaultKey>,
    pub label: Label,
    pub sealed: Blob,
}
