//! People's approval of transactions: what needs it is decided at submission and attested inside the intent; who gave it is
//! written into the signer's ledger, and nowhere else counts.

use domain::Time;
use serde::{Deserialize, Serialize};

use crate::attested::Attested;
use crate::intent::Intent;
use crate::passkey::Asserted;
use crate::token::Caller;

/// When people must approve a transaction before it is signed: each cause that holds asks for it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ApprovalPolicy {
    /// Every transaction.
    pub always: bool,
    /// Native value above this. `None`: of any value.
    pub above: Option<domain::Wei>,
    /// An address that nothing the agent had signed went to, on any chain: `to`, and the recipients inside calldata.
    pub new_recipient: bool,
    /// Any calldata.
    pub contract_call: bool,
    /// The simulation failed, or there was none: on the gateway's word, for the signer reaches no node.
    pub simulation: bool,
    /// So many different people: 1 to 10.
    pub approvals: u32,
    /// How long people have, in seconds: 60 to 604,800.
    pub wait_seconds: u32,
    /// Whether each of them must have a passkey, and use it.
    pub passkey: bool,
}

/// Why a transaction needs approval.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    Always,
    Above,
    NewRecipient,
    ContractCall,
    Simulation,
}

/// How the simulation of a transaction ended, by the gateway's word.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Simulated {
    #[default]
    None,
    Failed,
    Succeeded,
}

/// The approval that an intent needs: as the agent's policy was when it was submitted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Needed {
    /// So many different people.
    pub people: u32,
    pub passkey: bool,
    pub causes: Vec<Cause>,
    /// No yes counts later than that.
    pub until: Time,
}

/// One person's yes to exactly this intent. Said again, it is the same: each person counts once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ApproveIntent {
    /// An owner or admin of the intent's organisation, in person, without scopes.
    pub by: Caller,
    pub intent: Attested<Intent>,
    /// Over [`crate::passkey::challenge_of_intent`]; needed of whoever has a passkey.
    pub passkey: Option<Asserted>,
}

/// Where an intent stands after a yes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Approved {
    /// So many different people have said yes.
    pub given: u32,
    pub needed: u32,
}

impl Approved {
    pub fn is_enough(&self) -> bool {
        self.given >= self.needed
    }
}

/// One person's no: the intent is given up, and can't be signed any more. Said again, it is the same.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DenyIntent {
    /// As for [`ApproveIntent`].
    pub by: Caller,
    pub intent: Attested<Intent>,
}
