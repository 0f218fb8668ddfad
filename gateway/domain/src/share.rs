//! Shares: for whom they can be.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

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

    /// A share as the audit trail and logs name it: where whoever has the id can open it, its first eight digits, which tell
    /// shares apart and open none.
    pub fn shown(self, id: ShareId) -> String {
        let id = id.to_string();
        match self {
            Self::AnyoneWithLink => id.chars().take(8).chain(['…']).collect(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_opens_for_anyone_is_never_shown_whole() {
        let id = ShareId::unguessable();
        let shown = RecipientType::AnyoneWithLink.shown(id);
        assert_eq!(shown.chars().count(), 9);
        assert!(id.to_string().starts_with(shown.trim_end_matches('…')));
        assert_eq!(RecipientType::User.shown(id), id.to_string());
    }
}
