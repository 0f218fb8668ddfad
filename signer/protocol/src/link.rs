//! Links that are mailed. Whoever follows one shows its ticket, which nobody stores; what it opens, and that it was mailed to
//! the address that the signer knows, the signer has attested. So nobody makes one by writing to the database.

use domain::{AgentId, InvitationId, Time, UserId};
use serde::{Deserialize, Serialize};

use crate::attested::{Attested, Statement};
use crate::people::Invitation;
use crate::record::Principal;
use crate::wire::{Blob, Secret};

/// One link, good until its time, and until what it opens was opened or has changed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Link {
    pub opens: Opens,
    /// SHA-256 of the ticket.
    pub ticket: Blob,
    /// SHA-256 of the address that it is mailed to, trimmed and lower-cased: what the person's record pins, or the invitation.
    pub email: Blob,
    pub expires_at: Time,
}

impl Statement for Link {
    const DOMAIN: &'static str = "talon/link/1";
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Opens {
    /// A new password, until the person's record has another epoch.
    Password {
        user: UserId,
        epoch: u64,
    },
    Invitation {
        id: InvitationId,
    },
    /// The first key of an enrolled agent.
    AgentKey {
        agent: AgentId,
    },
}

/// Asks for a link. How long it is good, the signer says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MakeLink {
    pub to: LinkTo,
    /// As in [`Link`]: where it is mailed to.
    pub email: Blob,
    /// SHA-256 of the ticket, 32 bytes.
    pub ticket: Blob,
}

/// What the link shall open, and thereby whose address must be the one that it goes to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum LinkTo {
    /// A new password of this person.
    Password(Attested<Principal>),
    Invitation(Attested<Invitation>),
    /// Mailed to the person who made the agent.
    AgentKey {
        person: Attested<Principal>,
        agent: Attested<Principal>,
    },
}

/// A link, and the ticket of whoever has followed it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Followed {
    pub link: Attested<Link>,
    pub ticket: Secret,
}
