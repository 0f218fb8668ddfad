//! Who acts: people and agents.

use serde::{Deserialize, Serialize};

use crate::{AgentId, Error, UserId};

/// A person's role in an organisation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Owner,
    Admin,
    Member,
}

impl std::str::FromStr for Role {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "owner" => Ok(Self::Owner),
            "admin" => Ok(Self::Admin),
            "member" => Ok(Self::Member),
            _ => Err(Error::invalid("role", "must be owner, admin or member")),
        }
    }
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Member => "member",
        }
    }

    /// Owners and admins manage what others made.
    pub fn manages(self) -> bool {
        matches!(self, Self::Owner | Self::Admin)
    }
}

/// A person or an agent. `user:<uuid>` or `agent:<uuid>` in a token's `sub`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum PrincipalId {
    User(UserId),
    Agent(AgentId),
}

impl PrincipalId {
    /// `user` or `agent`.
    pub fn kind(self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Agent(_) => "agent",
        }
    }

    /// The bare UUID, as `actor_id`, `principal_id` and `created_by` hold it.
    pub fn uuid(self) -> String {
        match self {
            Self::User(id) => id.to_string(),
            Self::Agent(id) => id.to_string(),
        }
    }

    /// Puts together what `kind` and `uuid` took apart.
    ///
    /// # Errors
    /// `Invalid`, naming `principal_type` or `principal_id`.
    pub fn from_parts(kind: &str, uuid: &str) -> Result<Self, Error> {
        let id = |_| Error::invalid("principal_id", "must be a UUID");
        match kind {
            "user" => uuid.parse().map(Self::User).map_err(id),
            "agent" => uuid.parse().map(Self::Agent).map_err(id),
            _ => Err(Error::invalid("principal_type", "must be user or agent")),
        }
    }
}

impl std::fmt::Display for PrincipalId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.kind(), self.uuid())
    }
}

impl From<PrincipalId> for String {
    fn from(id: PrincipalId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for PrincipalId {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        let (kind, uuid) = text
            .split_once(':')
            .ok_or_else(|| Error::invalid("sub", "must be user:<uuid> or agent:<uuid>"))?;
        Self::from_parts(kind, uuid)
    }
}
