//! Rotation of the root key: what the old root wraps is wrapped by the new one, statement by statement, until nothing is left
//! under the old one and an operator has it destroyed.
//!
//! Nobody's token is asked for: whoever asks gets nothing that he did not have, under a root that he can't reach.

use domain::Time;
use serde::{Deserialize, Serialize};

use crate::attested::Attested;
use crate::key::SigningKey;
use crate::mfa::Mfa;
use crate::sealing::VaultKey;
use crate::webhook::WebhookKey;

/// A statement with something in it that a root wraps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Wrapped {
    VaultKey(Attested<VaultKey>),
    SigningKey(Attested<SigningKey>),
    SecondFactor(Attested<Mfa>),
    WebhookKey(Attested<WebhookKey>),
}

impl Wrapped {
    /// As stored in the database.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::VaultKey(statement) => statement.as_bytes(),
            Self::SigningKey(statement) => statement.as_bytes(),
            Self::SecondFactor(statement) => statement.as_bytes(),
            Self::WebhookKey(statement) => statement.as_bytes(),
        }
    }
}

/// What became of one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Rewrapped {
    /// It is under the newest root already.
    AsItIs,
    /// The same under the newest root. The signer takes either for the other.
    Anew(Wrapped),
    /// Of a vault that was destroyed, or an organisation that has ended: it is never wrapped anew.
    Gone,
    /// The signer did not make it, or it is not its vault's own.
    Refused(String),
}

/// Where a rotation stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RootState {
    /// The root that wraps: 1 is the first.
    pub newest: u32,
    /// The one that is to go; `None`: no rotation is under way.
    pub older: Option<u32>,
    /// Since when the newest is in use.
    pub since: Time,
    /// Whether it was so for longer than any answer from before is under way: only what is looked at from then on shows that
    /// nothing is left.
    pub settled: bool,
    /// When nothing was left under the older one, and what was under the newest then.
    pub finished: Option<(Time, Count)>,
}

/// How many there are of each.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Count {
    pub vault_keys: u64,
    /// Of transactions that wait, too.
    pub signing_keys: u64,
    pub second_factors: u64,
    pub webhook_keys: u64,
}

/// Says that nothing is left under the older root.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct FinishRotation {
    /// The newest root, as [`RootState`] said.
    pub root: u32,
    /// What is under it.
    pub count: Count,
}
