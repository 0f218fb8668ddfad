//! The life of a transaction.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Each step is durable before the next begins: a crash between two of them loses and doubles nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Accepted by the signer; people must approve it before it is signed. It has no nonce yet.
    AwaitingApproval,
    /// Accepted by the signer; not signed yet.
    Pending,
    /// Signed bytes are stored; not yet known to a node.
    Signed,
    /// A node has it.
    Broadcast,
    /// In a block, and it did what it should. A chain may take a block back: then it is broadcast again.
    Confirmed,
    /// In a block, and it reverted: gas was paid, nothing moved.
    Reverted,
    /// Another transaction took its nonce.
    Replaced,
    /// Not signed, and it never will be.
    Failed,
    SimulationFailed,
    /// People did not approve it: it never will be signed.
    Denied,
    /// Nobody approved it in time.
    Expired,
}

impl Status {
    pub const ALL: [Self; 11] = [
        Self::AwaitingApproval,
        Self::Pending,
        Self::Signed,
        Self::Broadcast,
        Self::Confirmed,
        Self::Reverted,
        Self::Replaced,
        Self::Failed,
        Self::SimulationFailed,
        Self::Denied,
        Self::Expired,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::AwaitingApproval => "awaiting_approval",
            Self::Pending => "pending",
            Self::Signed => "signed",
            Self::Broadcast => "broadcast",
            Self::Confirmed => "confirmed",
            Self::Reverted => "reverted",
            Self::Replaced => "replaced",
            Self::Failed => "failed",
            Self::SimulationFailed => "simulation_failed",
            Self::Denied => "denied",
            Self::Expired => "expired",
        }
    }

    /// The steps that may follow. Whoever has the signed bytes can send them: nothing signed ever fails.
    pub fn next(self) -> &'static [Self] {
        match self {
            Self::AwaitingApproval => &[Self::Pending, Self::Denied, Self::Expired, Self::Failed],
            Self::Pending => &[Self::Signed, Self::Failed, Self::SimulationFailed],
            Self::Signed => &[Self::Broadcast, Self::Confirmed, Self::Reverted, Self::Replaced],
            Self::Broadcast => &[Self::Confirmed, Self::Reverted, Self::Replaced],
            Self::Confirmed => &[Self::Broadcast, Self::Reverted],
            Self::Reverted => &[Self::Broadcast, Self::Confirmed],
            Self::Replaced => &[Self::Broadcast],
            Self::Failed | Self::SimulationFailed | Self::Denied | Self::Expired => &[],
        }
    }

    pub fn may_become(self, next: Self) -> bool {
        self.next().contains(&next)
    }

    /// Whether it is at its end, unless the chain takes a block back.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::AwaitingApproval | Self::Pending | Self::Signed | Self::Broadcast)
    }
}

impl std::str::FromStr for Status {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|s| s.as_str() == text)
            .ok_or_else(|| Error::internal(format!("unknown transaction status {text:?} in the database")))
    }
}
