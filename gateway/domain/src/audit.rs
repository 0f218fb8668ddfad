//! The audit trail: events in a hash chain, one for each organisation.

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::{EventId, OrgId, PrincipalId, Time};

pub mod walk;

/// Hash of the event before, and of an event: SHA-256.
pub type Hash = [u8; 32];

/// What the chain of an organisation starts from.
pub const GENESIS: Hash = [0; 32];

/// Whose chain holds what belongs to no organisation. No organisation has this id.
pub const SYSTEM: OrgId = OrgId::from_bytes([0; 16]);

/// Something that happened: a change of state, or a value that was read. Never holds a value or a credential.
#[derive(Clone, Debug)]
pub struct Event {
    pub id: EventId,
    pub org: OrgId,
    /// `secret.read`, `agent.register`, …
    pub action: &'static str,
    /// `None`: nobody who could prove an identity.
    pub actor: Option<PrincipalId>,
    /// `secret`, `agent`, …, and its id or path.
    pub resource: (&'static str, String),
    pub details: Map<String, Value>,
    pub address: Option<String>,
    pub at: Time,
}

/// An event's fields as they are stored, in the order in which they are hashed.
pub struct Row<'a> {
    /// 1 for the first event of the organisation.
    pub sequence: i64,
    pub id: &'a str,
    pub org: &'a str,
    pub action: &'a str,
    pub actor_type: &'a str,
    pub actor_id: &'a str,
    pub resource_type: &'a str,
    pub resource_id: &'a str,
    /// JSON, as stored.
    pub details: &'a str,
    pub address: &'a str,
    pub created_at: i64,
}

impl Row<'_> {
    /// SHA-256 over the previous hash and every field, each with its length in front (8 bytes, big-endian), so
    /// that no two rows have the same input.
    pub fn hash(&self, previous: &Hash) -> Hash {
        let mut hash = Sha256::new();
        hash.update(previous);
        let (sequence, at) = (self.sequence.to_be_bytes(), self.created_at.to_be_bytes());
        let fields: [&[u8]; 11] = [
            &sequence,
            self.id.as_bytes(),
            self.org.as_bytes(),
            self.action.as_bytes(),
            self.actor_type.as_bytes(),
            self.actor_id.as_bytes(),
            self.resource_type.as_bytes(),
            self.resource_id.as_bytes(),
            self.details.as_bytes(),
            self.address.as_bytes(),
            &at,
        ];
        for field in fields {
            hash.update((field.len() as u64).to_be_bytes());
            hash.update(field);
        }
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row<'static> {
        Row {
            sequence: 7,
            id: "id",
            org: "org",
            action: "secret.read",
            actor_type: "agent",
            actor_id: "a",
            resource_type: "secret",
            resource_id: "r",
            details: "{}",
            address: "127.0.0.1",
            created_at: 5,
        }
    }

    #[test]
    fn every_field_counts() {
        let base = row().hash(&GENESIS);
        let changed = [
            Row { sequence: 8, ..row() },
            Row { id: "ie", ..row() },
            Row { org: "orh", ..row() },
            Row { action: "secret.reae", ..row() },
            Row { actor_type: "user", ..row() },
            Row { actor_id: "b", ..row() },
            Row { resource_type: "vault", ..row() },
            Row { resource_id: "s", ..row() },
            Row { details: "{ }", ..row() },
            Row { address: "127.0.0.2", ..row() },
            Row { created_at: 6, ..row() },
            // The same bytes, cut elsewhere.
            Row { actor_id: "ase", resource_type: "cret", ..row() },
        ];
        for row in changed {
            assert_ne!(row.hash(&GENESIS), base);
        }
        assert_ne!(row().hash(&[1; 32]), base);
    }
}
