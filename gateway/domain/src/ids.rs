//! Identifiers: a type each, UUIDs on the wire (version 7, so that they sort by the time they were made).

use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// The 16 bytes that stand for this id wherever it is hashed or authenticated.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// The id that those bytes stand for.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text)
                    .map(Self)
                    .map_err(|_| crate::Error::invalid("id", "must be a UUID"))
            }
        }
    };
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        id!($(#[$doc])* $name);

        impl $name {
            /// A fresh id: 48 bits of milliseconds, 74 random bits (RFC 9562 §5.7).
            #[expect(clippy::new_without_default, reason = "a default would hide that each call gives another id")]
            pub fn new() -> Self {
                Self(fresh())
            }
        }
    )+};
}

ids! {
    /// An organisation: the tenant that everything belongs to.
    OrgId,
    UserId,
    AgentId,
    VaultId,
    SecretId,
    PolicyId,
    TxId,
    SimulationId,
    IntentId,
    ChainId,
    EventId,
    /// One access token (`jti`).
    TokenId,
    /// A personal API key.
    ApiKeyId,
    RequestId,
    InvitationId,
    DeviceGrantId,
    IpRuleId,
    MailId,
    ApprovalId,
    WebhookId,
    CmekJobId,
}

id!(
    /// A share: whoever has its id has the link.
    ShareId
);

impl ShareId {
    /// A fresh id that nobody can guess, and that doesn't tell when it was made: 122 random bits (RFC 9562 §5.4).
    pub fn unguessable() -> Self {
        Self(Uuid::new_v4())
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place where ids are made")]
fn fresh() -> Uuid {
    Uuid::now_v7()
}
