//! Why the signer says no.

use serde::{Deserialize, Serialize};

/// A refusal with a sentence for the caller. Never holds a value, a key or a credential.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{detail}")]
pub struct Refusal {
    pub reason: Reason,
    pub detail: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Reason {
    /// The request makes no sense: the gateway should not have let it through.
    Invalid,
    /// Wrong credential; a token that is bad, expired, revoked or of an earlier epoch.
    Unauthenticated,
    /// The principal may not do this.
    Forbidden,
    /// A passkey of the caller's must confirm it: the 32 bytes that it signs.
    PasskeyRequired([u8; 32]),
    /// People must approve it first, and have not.
    ApprovalRequired,
    /// A guardrail refuses the transfer; which one (`tx_daily_limit_eth`, …).
    Guardrail(String),
    /// A statement that the signer did not make, or that belongs to something else.
    Tampered,
    /// A record older than one that the signer has seen.
    RolledBack,
    /// The vault's key was destroyed.
    Destroyed,
    /// Used already: an organisation id, an intent; or given up.
    Conflict,
    /// Another transaction was signed at this nonce.
    NonceUsed,
    /// Too many wrong guesses; seconds until another is looked at.
    Locked(u64),
    /// The keystore or the ledger can't be used now.
    Unavailable,
}

impl Reason {
    /// The rule that somebody has run against; `None`: a mistake, a wrong credential or a bad moment.
    pub fn rule(&self) -> Option<&'static str> {
        match self {
            Self::Forbidden => Some("forbidden"),
            Self::Guardrail(_) => Some("guardrail"),
            Self::Tampered => Some("tampered"),
            Self::RolledBack => Some("rolled_back"),
            Self::Destroyed => Some("destroyed"),
            Self::NonceUsed => Some("nonce_used"),
            Self::PasskeyRequired(_) => Some("passkey_required"),
            Self::ApprovalRequired => Some("approval_required"),
            Self::Invalid | Self::Unauthenticated | Self::Conflict | Self::Locked(_) | Self::Unavailable => {
                None
            }
        }
    }
}

impl Refusal {
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}
