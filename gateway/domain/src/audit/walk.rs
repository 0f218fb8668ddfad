//! Walking a chain from one event to the next: what is right, and the first thing that isn't. The same walk is taken over
//! the database and over an exported file.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{GENESIS, Hash, Row};

/// An event as it is stored, and as a line of an export: every field that is hashed, exactly.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// 1 for the first event of the organisation.
    pub sequence: i64,
    pub id: String,
    pub org_id: String,
    /// Empty for the first.
    pub prev_event_id: String,
    pub action: String,
    pub actor_type: String,
    pub actor_id: String,
    pub resource_type: String,
    pub resource_id: String,
    /// JSON, as stored.
    pub details: String,
    pub ip_address: String,
    /// Milliseconds since 1970.
    pub created_at_ms: i64,
    /// SHA-256 in hex.
    pub integrity_hash: String,
}

impl Line {
    fn row(&self) -> Row<'_> {
        Row {
            sequence: self.sequence,
            id: &self.id,
            org: &self.org_id,
            action: &self.action,
            actor_type: &self.actor_type,
            actor_id: &self.actor_id,
            resource_type: &self.resource_type,
            resource_id: &self.resource_id,
            details: &self.details,
            address: &self.ip_address,
            created_at: self.created_at_ms,
        }
    }
}

/// What is wrong with a chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// The event, or the one before it, is not as it was written.
    Edited,
    /// The event is not there.
    Missing,
    /// An event that does not belong there.
    Inserted,
    /// Events are not in their order.
    Reordered,
    /// The chain ends before the event that its head or a checkpoint names.
    CutOff,
    /// The chain does not lead to its head.
    HeadMismatch,
    /// The chain does not lead to what was signed.
    CheckpointMismatch,
}

impl Problem {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Edited => "edited",
            Self::Missing => "missing",
            Self::Inserted => "inserted",
            Self::Reordered => "reordered",
            Self::CutOff => "cut_off",
            Self::HeadMismatch => "head_mismatch",
            Self::CheckpointMismatch => "checkpoint_mismatch",
        }
    }
}

/// The first thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, schemars::JsonSchema)]
pub struct Bad {
    pub sequence: i64,
    /// Of the event that stands there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    pub problem: Problem,
}

impl Bad {
    pub fn at(sequence: i64, problem: Problem) -> Self {
        Self { sequence, id: None, problem }
    }

    fn of(line: &Line, problem: Problem) -> Self {
        Self { sequence: line.sequence, id: Some(line.id.clone()), problem }
    }
}

/// Where in a chain one stands: after which event.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Place {
    /// 0 at the beginning.
    pub sequence: i64,
    pub event_id: String,
    #[serde(with = "hex_hash")]
    pub hash: Hash,
}

impl Place {
    pub fn genesis() -> Self {
        Self { sequence: 0, event_id: String::new(), hash: GENESIS }
    }

    /// Goes on to the next event.
    ///
    /// # Errors
    /// What is wrong with it. Where one stands is unchanged then.
    pub fn step(&mut self, line: &Line) -> Result<(), Bad> {
        let expected = self.sequence + 1;
        if line.sequence > expected {
            return Err(Bad::at(expected, Problem::Missing));
        }
        if line.sequence < expected {
            let again = if line.sequence == self.sequence { Problem::Inserted } else { Problem::Reordered };
            return Err(Bad::of(line, again));
        }
        let hash = line.row().hash(&self.hash);
        let (follows, whole) =
            (line.prev_event_id == self.event_id, line.integrity_hash == hex::encode(hash));
        match (follows, whole) {
            (true, true) => {
                *self = Self { sequence: line.sequence, event_id: line.id.clone(), hash };
                Ok(())
            }
            (false, false) => Err(Bad::of(line, Problem::Reordered)),
            _ => Err(Bad::of(line, Problem::Edited)),
        }
    }
}

/// 32 bytes as 64 hexadecimal digits.
pub mod hex_hash {
    use super::{Cow, Hash};
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub fn serialize<S: Serializer>(hash: &Hash, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(hash))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Hash, D::Error> {
        let text = Cow::<str>::deserialize(from)?;
        let mut hash = [0; 32];
        hex::decode_to_slice(text.as_bytes(), &mut hash)
            .map_err(|_| D::Error::custom("must be 64 hexadecimal digits"))?;
        Ok(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chain of so many events.
    fn chain(length: i64) -> Vec<Line> {
        let mut place = Place::genesis();
        let mut lines = Vec::new();
        for sequence in 1..=length {
            let mut line = Line {
                sequence,
                id: format!("event-{sequence}"),
                org_id: "org".into(),
                prev_event_id: place.event_id.clone(),
                action: "secret.read".into(),
                actor_type: "agent".into(),
                actor_id: "a".into(),
                resource_type: "secret".into(),
                resource_id: format!("r{sequence}"),
                details: "{}".into(),
                ip_address: "127.0.0.1".into(),
                created_at_ms: sequence,
                integrity_hash: String::new(),
            };
            line.integrity_hash = hex::encode(line.row().hash(&place.hash));
            place.step(&line).unwrap();
            lines.push(line);
        }
        lines
    }

    fn walk(lines: &[Line]) -> Result<Place, Bad> {
        let mut place = Place::genesis();
        lines.iter().try_for_each(|line| place.step(line))?;
        Ok(place)
    }

    #[test]
    fn whatever_is_changed_shows_where_it_was_changed() {
        let good = chain(6);
        assert_eq!(walk(&good).unwrap().sequence, 6);
        let changed = |change: &dyn Fn(&mut Vec<Line>)| {
            let mut lines = good.clone();
            change(&mut lines);
            let bad = walk(&lines).unwrap_err();
            (bad.sequence, bad.problem)
        };
        assert_eq!(changed(&|l| l[2].actor_id = "b".into()), (3, Problem::Edited));
        assert_eq!(changed(&|l| l[2].prev_event_id = "x".into()), (3, Problem::Edited));
        assert_eq!(changed(&|l| l[2].integrity_hash = "00".into()), (3, Problem::Edited));
        assert_eq!(changed(&|l| drop(l.remove(2))), (3, Problem::Missing));
        assert_eq!(changed(&|l| l.insert(2, l[1].clone())), (2, Problem::Inserted));
        assert_eq!(changed(&|l| l.push(l[1].clone())), (2, Problem::Reordered));
        assert_eq!(
            changed(&|l| {
                l.swap(2, 3);
                (l[2].sequence, l[3].sequence) = (3, 4);
            }),
            (3, Problem::Reordered)
        );
        // Edited, and its own hash made anew: the next one doesn't follow any more.
        let rehashed = changed(&|l| {
            l[2].actor_id = "b".into();
            let before: Hash = hex::decode(&l[1].integrity_hash).unwrap().try_into().unwrap();
            l[2].integrity_hash = hex::encode(l[2].row().hash(&before));
        });
        assert_eq!(rehashed, (4, Problem::Edited));
    }
}
