//! When people must approve an agent's transactions, as people write it and read it back.

use domain::{Error, Result, Wei};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use signer_protocol::approval::ApprovalPolicy;

/// A day.
const WAIT_SECONDS: u32 = 24 * 60 * 60;

/// When people must approve a transaction before it is signed: each cause that holds asks for it, and one at least is needed.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalPolicyEntry {
    /// Every transaction.
    #[serde(default)]
    always: bool,
    /// More native value than this, in ether.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    above_eth: Option<String>,
    /// An address, here or inside calldata, to which nothing that this agent had signed went yet.
    #[serde(default)]
    new_recipient: bool,
    /// Any calldata.
    #[serde(default)]
    contract_call: bool,
    /// The simulation failed, or there was none.
    #[serde(default)]
    simulation: bool,
    /// So many different people: 1 (when left out) to 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    approvals: Option<u32>,
    /// How long they have: 60 to 604,800; a day when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wait_seconds: Option<u32>,
    /// Whether each of them must have a passkey, and use it.
    #[serde(default)]
    require_passkey: bool,
}

impl ApprovalPolicyEntry {
    pub fn of(policy: &ApprovalPolicy) -> Self {
        Self {
            always: policy.always,
            above_eth: policy.above.map(Wei::to_ether),
            new_recipient: policy.new_recipient,
            contract_call: policy.contract_call,
            simulation: policy.simulation,
            approvals: Some(policy.approvals),
            wait_seconds: Some(policy.wait_seconds),
            require_passkey: policy.passkey,
        }
    }

    pub fn check(self) -> Result<ApprovalPolicy> {
        let field = |name: &str| format!("tx_approval_policy.{name}");
        let above = self.above_eth.map(|text| Wei::parse_ether(&field("above_eth"), &text)).transpose()?;
        let asks = self.always || self.new_recipient || self.contract_call || self.simulation;
        if !asks && above.is_none() {
            return Err(Error::invalid(
                "tx_approval_policy",
                "must say when people are asked: always, above_eth, new_recipient, contract_call or simulation; null asks nobody",
            ));
        }
        Ok(ApprovalPolicy {
            always: self.always,
            above,
            new_recipient: self.new_recipient,
            contract_call: self.contract_call,
            simulation: self.simulation,
            approvals: within(&field("approvals"), self.approvals, 1, 1, 10)?,
            wait_seconds: within(&field("wait_seconds"), self.wait_seconds, WAIT_SECONDS, 60, 604_800)?,
            passkey: self.require_passkey,
        })
    }
}

fn within(field: &str, given: Option<u32>, default: u32, least: u32, most: u32) -> Result<u32> {
    let given = given.unwrap_or(default);
    if (least..=most).contains(&given) {
        Ok(given)
    } else {
        Err(Error::invalid(field, format!("must be {least} to {most}")))
    }
}
