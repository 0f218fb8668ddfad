//! Agents' identity pairs: born in the signer, sealed there, and never on the socket in the clear.

use domain::{AgentId, OrgId, VaultId};
use serde::{Deserialize, Serialize};

use crate::attested::{Attested, Statement};
use crate::record::Principal;
use crate::sealing::{Label, VaultKey};
use crate::token::Caller;
use crate::wire::Blob;

/// The public halves of an agent's two pairs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PublicHalves {
    /// Ed25519 (RFC 8032 §5.1.5): 32 bytes.
    pub ssh: Blob,
    /// P-256, uncompressed (SEC 1 §2.3.3): 65 bytes.
    pub ecdh: Blob,
}

/// Which public halves were made for an agent: what the signer takes into the agent's record, from itself alone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Identity {
    pub org: OrgId,
    pub agent: AgentId,
    pub halves: PublicHalves,
}

impl Statement for Identity {
    const DOMAIN: &'static str = "talon/identity/1";
}

/// On whose word an agent's pairs are made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Maker {
    /// A person, as for [`crate::record::Change::CreateAgent`].
    Caller(Caller),
    /// The person with whom an agent enrols, as for [`crate::people::EnrolAgent`].
    Enrolment(Attested<Principal>),
}

/// Makes the two pairs of an agent that is about to be made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MakeIdentity {
    pub by: Maker,
    /// An id that no agent has had.
    pub agent: AgentId,
    /// The organisation's vault of identities.
    pub vault: VaultId,
    /// Its key; `None`: the organisation has no such vault yet, so its key is made too. Such a key comes from here
    /// alone, and values come into its vault from here alone.
    pub vault_key: Option<Attested<VaultKey>>,
}

/// What a private half came to at rest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SealedHalf {
    /// Where it belongs: the only place where it opens.
    pub label: Label,
    /// 32 bytes in base64, sealed.
    pub value: Blob,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewIdentity {
    pub vault_key: Attested<VaultKey>,
    /// For [`crate::record::Change::CreateAgent`].
    pub identity: Attested<Identity>,
    /// Ed25519's seed: an `ssh_key` at `agents/<id>/ssh/private_key`.
    pub ssh: SealedHalf,
    /// P-256's scalar, big-endian: a `private_key` at `agents/<id>/ecdh/private_key`. It signs no transaction.
    pub ecdh: SealedHalf,
}
