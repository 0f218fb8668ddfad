//! The letters that there are.

use std::time::Duration;

use domain::{AgentId, ApprovalId, InvitationId, ShareId, UserId};
use serde::{Deserialize, Serialize};

/// One letter, as it waits in the queue. A new one is a line here, one in `jobs/mail.rs` if it carries a link, and its text
/// in [`super::write`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "letter", rename_all = "snake_case")]
pub enum Letter {
    /// Somebody has an account now.
    Welcome,
    /// The same, for who logs in with Google.
    WelcomeWithGoogle,
    /// Somebody signed up with this address: with the link they show that it is theirs. Whoever has an account already
    /// is told that instead.
    Verification {
        signup: UserId,
    },
    /// Somebody invites whoever reads this into their organisation.
    Invitation {
        invitation: InvitationId,
        organisation: String,
        by: String,
    },
    /// Somebody who had an account has moved into an organisation.
    Joined {
        organisation: String,
    },
    /// An agent has asked to be enrolled with this person: the link shows its key, once.
    AgentCredentials {
        agent: AgentId,
        name: String,
    },
    PasswordChanged,
    /// Somebody asked for a new password for this address. If it has an account, its person gets the link.
    PasswordReset,
    ApiKeyCreated {
        name: String,
    },
    /// The second factor was switched on or off.
    SecondFactor {
        on: bool,
    },
    /// A passkey was added or taken away.
    Passkey {
        name: String,
        added: bool,
    },
    AccountDeleted,
    /// Somebody needs an owner's or admin's approval.
    ApprovalRequested {
        approval: ApprovalId,
        by: String,
        path: String,
    },
    /// An agent wants to have a transaction signed that people must approve.
    TransactionWaits {
        approval: ApprovalId,
        by: String,
        /// What it does.
        summary: String,
    },
    /// Somebody shares a secret with whoever reads this. Its link opens for a recipient who is signed in.
    Shared {
        share: ShareId,
        by: String,
    },
    /// What whoever reads this has shared was opened so many times since the last such letter.
    ShareAccessed {
        path: String,
        times: u64,
        in_all: u64,
    },
}

const HOUR: u64 = 60 * 60;

impl Letter {
    /// What it is called in logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Welcome | Self::WelcomeWithGoogle => "welcome",
            Self::Verification { .. } => "verification",
            Self::Invitation { .. } => "invitation",
            Self::Joined { .. } => "joined",
            Self::AgentCredentials { .. } => "agent credentials",
            Self::PasswordChanged => "password changed",
            Self::PasswordReset => "password reset",
            Self::ApiKeyCreated { .. } => "API key created",
            Self::SecondFactor { .. } => "second factor",
            Self::Passkey { .. } => "passkey",
            Self::AccountDeleted => "account deleted",
            Self::ApprovalRequested { .. } => "approval requested",
            Self::TransactionWaits { .. } => "transaction waits",
            Self::Shared { .. } => "share",
            Self::ShareAccessed { .. } => "share accessed",
        }
    }

    /// How long it is tried to send it. Nobody waits for a new password longer than an hour.
    pub fn patience(&self) -> Duration {
        Duration::from_secs(match self {
            Self::PasswordReset => HOUR,
            Self::Verification { .. } | Self::ApprovalRequested { .. } | Self::TransactionWaits { .. } => {
                24 * HOUR
            }
            _ => 72 * HOUR,
        })
    }
}
