//! The life of a transaction.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Each step is durable before the next begins: a crash between two of them loses and doubles nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
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
}

impl Status {
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Signed,
        Self::Broadcast,
        Self::Confirmed,
        Self::Reverted,
        Self::Replaced,
        Self::Failed,
        Self::SimulationFailed,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Signed => "signed",
            Self::Broadcast => "broadcast",
            Self::Confirmed => "confirmed",
            Self::Reverted => "reverted",
            Self::Replaced => "replaced",
            Self::Failed => "failed",
            Self::SimulationFailed => "simulation_failed",
        }
    }

    /// The steps that may follow. Whoever has the signed bytes can send them: nothing signed ever fails.
    pub fn next(self) -> &'static [Self] {
        match self {
            Self::Pending => &[Self::Signed, Self::Failed, Self::SimulationFailed],
            Self::Signed => &[Self::Broadcast, Self::Confirmed, Self::Reverted, Self::Replaced],
            Self::Broadcast => &[Self::Confirmed, Self::Reverted, Self::Replaced],
            Self::Confirmed => &[Self::Broadcast, Self::Reverted],
            Self::Reverted => &[Self::Broadcast, Self::Confirmed],
            Self::Replaced => &[Self::Broadcast],
            Self::Failed | Self::SimulationFailed => &[],
        }
    }

    pub fn may_become(self, next: Self) -> bool {
        self.next().contains(&next)
    }

    /// Whether it is at its end, unless the chain takes a block back.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Signed | Self::Broadcast)
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
