//! Shares: for whom they can be.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::{Builder, Uuid};

use crate::{Error, Result, ShareId};

/// Whom a share names: a person or an agent of the organisation by id, whoever shows that a mail address is theirs, whoever has
/// the link, or the person who registered the agent that shares.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecipientType {
    User,
    Agent,
    ExternalEmail,
    AnyoneWithLink,
    Creator,
}

impl RecipientType {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Agent => "agent",
            Self::ExternalEmail => "external_email",
            Self::AnyoneWithLink => "anyone_with_link",
            Self::Creator => "creator",
        }
    }

    /// A share as the audit trail and logs name it: where whoever has the id can open it, be it after a sign-up with the
    /// address that is meant, its first eight digits, which tell shares apart and open none.
    pub fn shown(self, id: ShareId) -> String {
        let id = id.to_string();
        match self {
            Self::AnyoneWithLink | Self::ExternalEmail => id.chars().take(8).chain(['…']).collect(),
            _ => id,
        }
    }
}

impl FromStr for RecipientType {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        [Self::User, Self::Agent, Self::ExternalEmail, Self::AnyoneWithLink, Self::Creator]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| Error::invalid("recipient_type", "is none that is known"))
    }
}

/// Names a share for whoever looks after it and did not make it: it begins as the id does (and as the trail shows it), the rest is a
/// hash. It lists and ends a share, and opens none: of the id, 90 bits stay unknown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShareRef(Uuid);

impl ShareRef {
    pub fn of(id: ShareId) -> Self {
        let hash = Sha256::new_with_prefix(b"talon share reference").chain_update(id.as_bytes()).finalize();
        let mut bytes = [0; 16];
        for (to, from) in bytes.iter_mut().zip(id.as_bytes().iter().take(4).chain(hash.iter())) {
            *to = *from;
        }
        // Version 8 (RFC 9562 §5.8), so it is no share's id, which are of version 4.
        Self(Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// What stands where an id can: a reference, if its version says so.
    pub fn in_place_of(id: ShareId) -> Option<Self> {
        let given = Uuid::from_bytes(*id.as_bytes());
        (given.get_version_num() == 8).then_some(Self(given))
    }

    /// The first and the last id that it can stand for.
    pub fn bounds(self) -> (ShareId, ShareId) {
        let from_fifth = |rest| {
            let mut bytes = [rest; 16];
            for (to, from) in bytes.iter_mut().zip(self.0.as_bytes().iter().take(4)) {
                *to = *from;
            }
            ShareId::from_bytes(bytes)
        };
        (from_fifth(0), from_fifth(u8::MAX))
    }
}

impl std::fmt::Display for ShareRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_begins_as_the_id_and_is_none() {
        let id = ShareId::unguessable();
        let named = ShareRef::of(id);
        let (from, to) = named.bounds();
        assert!(from <= id && id <= to);
        assert_ne!(named.to_string(), id.to_string());
        assert_eq!(ShareRef::in_place_of(named.to_string().parse().unwrap()), Some(named));
        assert_eq!(ShareRef::in_place_of(id), None);
        assert_ne!(named, ShareRef::of(ShareId::unguessable()));
    }

    #[test]
    fn a_link_that_opens_for_anyone_or_for_an_address_is_never_shown_whole() {
        let id = ShareId::unguessable();
        for kind in [RecipientType::AnyoneWithLink, RecipientType::ExternalEmail] {
            let shown = kind.shown(id);
            assert_eq!(shown.chars().count(), 9);
            assert!(id.to_string().starts_with(shown.trim_end_matches('…')));
        }
        assert_eq!(RecipientType::User.shown(id), id.to_string());
    }
}
