//! Transactions that nobody submits anew: the same one at higher fees, one that does nothing in its place, and one that does
//! nothing where a nonce was given up. The signer derives each from an intent of its own; the gateway chooses fees alone.

use domain::IntentId;
use serde::{Deserialize, Serialize};

use crate::attested::Attested;
use crate::intent::{Fees, Intent};
use crate::record::Principal;
use crate::token::Caller;

/// Asks for an intent that takes the place of another. It is signed like any other ([`crate::intent::Sign`]).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Replace {
    /// The agent, an owner or admin of its organisation, or the member who made it. `None`: the gateway by itself, which
    /// speeds up where the agent's guardrails say so, and fills gaps.
    pub by: Option<Caller>,
    /// Of the new intent; that of [`Replacement::Fill`] takes over the original's.
    pub id: IntentId,
    pub original: Attested<Intent>,
    /// The record now of the original's agent.
    pub agent: Attested<Principal>,
    pub replacement: Replacement,
    /// Of the kind that the original has; in place of one that was signed, each at least an eighth higher.
    pub fees: Fees,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Replacement {
    /// What was signed, at higher fees.
    SpeedUp,
    /// In place of what was signed: nothing.
    Cancel,
    /// The original was accepted and never will be signed; others that are signed wait behind the nonce that it was to have.
    Fill { nonce: u64 },
}

/// How an intent came about that no agent submitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Derived {
    /// The intent in whose place it is.
    pub of: IntentId,
    /// The one nonce that it is signed with.
    pub nonce: u64,
    pub purpose: Purpose,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// The original's transfer.
    SpeedUp,
    /// 0 to the sender itself.
    Cancel {
        /// A person's word, which counts where the agent's own would not any more.
        by_person: bool,
    },
    /// 0 to the sender itself, where nothing was signed.
    Fill,
}

impl Derived {
    /// Whether it moves nothing, and costs its fees alone.
    pub fn is_idle(&self) -> bool {
        !matches!(self.purpose, Purpose::SpeedUp)
    }

    /// Whether it is signed even where its agent was stopped.
    pub fn outlives_its_agent(&self) -> bool {
        matches!(self.purpose, Purpose::Cancel { by_person: true })
    }
}

#[cfg(test)]
mod tests {
    use crate::intent::Intent;

    /// What was accepted before there were replacements is signed after an upgrade.
    #[test]
    fn an_intent_from_before_was_submitted_by_its_agent() {
        let text = r#"{"id":"01890000-0000-7000-8000-000000000000","agent":"01890000-0000-7000-8000-000000000001",
            "org":"01890000-0000-7000-8000-000000000002","epoch":1,"vault":"01890000-0000-7000-8000-000000000003",
            "key_path":"keys/a","from":"0x1111111111111111111111111111111111111111","transfer":{"chain_id":1,
            "to":"0x1111111111111111111111111111111111111111","value":"1","data":"0x","gas_limit":21000,
            "fees":{"Legacy":{"gas_price":1}},"replaces":null},"expires_at":"2030-01-01T00:00:00Z"}"#;
        assert!(serde_json::from_str::<Intent>(text).unwrap().derived.is_none());
    }
}
