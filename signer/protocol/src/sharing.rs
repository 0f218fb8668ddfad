//! Values that somebody shares: a grant that the signer makes stands in for the reader's own rights.

use std::net::IpAddr;

use domain::{AgentId, OrgId, PrincipalId, SecretPath, SecretType, ShareId, Time, UserId, VaultId};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::attested::{Attested, Statement};
use crate::record::{Principal, Verifier};
use crate::sealing::{Label, VaultKey};
use crate::token::Caller;
use crate::wire::{Blob, Secret};

/// Leave to read one version of one secret, on terms. Whoever writes to the database can't make or loosen one; how
/// often it was used is counted by the gateway.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ShareGrant {
    pub id: ShareId,
    pub org: OrgId,
    pub vault: VaultId,
    pub path: SecretPath,
    pub version: u64,
    pub kind: SecretType,
    pub by: PrincipalId,
    pub recipient: Recipient,
    /// HMAC over the Argon2id output of the passphrase and whose it is (this grant's); `None`: there is none.
    pub passphrase: Option<Verifier>,
    /// Addresses that it is good from. Empty: any. The gateway names the address, so this holds against readers and not
    /// against a compromised gateway.
    pub addresses: Vec<IpNet>,
    pub expires_at: Time,
}

impl Statement for ShareGrant {
    const DOMAIN: &'static str = "talon/share-grant/1";
}

impl ShareGrant {
    /// Whether it may be opened from there.
    pub fn admits(&self, address: Option<IpAddr>) -> bool {
        let named = |address: IpAddr| self.addresses.iter().any(|net| net.contains(&address.to_canonical()));
        self.addresses.is_empty() || address.is_some_and(named)
    }
}

/// For whom it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recipient {
    /// A person, of any organisation, who must be signed in.
    User(UserId),
    /// An agent of the same organisation, which must be signed in. Of an agent with intents never a key.
    Agent(AgentId),
    /// Whoever the gateway says has shown that the mail address is theirs: SHA-256 of it, folded. They must be signed
    /// in.
    Email([u8; 32]),
    /// Whoever has the link. Never of a `private_key` or `ssh_key`.
    Anyone,
}

/// Asks for a grant. The caller must be able to open the value themselves; an agent with intents never shares a key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Share {
    pub by: Caller,
    pub id: ShareId,
    pub vault_key: Attested<VaultKey>,
    pub label: Label,
    pub recipient: Recipient,
    /// Argon2id output over the passphrase: 32 bytes.
    pub passphrase: Option<Secret>,
    pub addresses: Vec<IpNet>,
    pub expires_at: Time,
}

/// Opens a shared value. Needs a live grant that was not ended, the vault alive, the sharer still somebody who may act,
/// the recipient signed in where there is one, the passphrase where there is one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OpenShared {
    pub grant: Attested<ShareGrant>,
    /// The sharer's record, as it is now: their end ends what they shared.
    pub sharer: Attested<Principal>,
    pub vault_key: Attested<VaultKey>,
    pub sealed: Blob,
    /// Who reads; `None`: nobody signed in.
    pub by: Option<Caller>,
    /// As in [`Share`].
    pub passphrase: Option<Secret>,
    pub address: Option<IpAddr>,
}

/// Ends a grant for ever: its sharer, and owners and admins of its organisation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EndShare {
    pub by: Caller,
    pub grant: Attested<ShareGrant>,
}
