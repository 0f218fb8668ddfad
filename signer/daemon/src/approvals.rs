//! People's approval of intents: when it is needed, who gives it, and how it is taken back.
//!
//! What an intent needs is decided when it is submitted, and attested in it. Who has said yes or no is in the ledger, which
//! looks at it in the same change that counts the signature.

use std::collections::BTreeSet;

use alloy_primitives::Address;
use domain::{AgentId, UserId};
use signer_protocol::approval::{
    ApprovalPolicy, ApproveIntent, Approved, Cause, DenyIntent, Needed, Simulated,
};
use signer_protocol::intent::{Intent, Transfer};
use signer_protocol::passkey::challenge_of_intent;

use crate::authority::Authority;
use crate::calldata::{Call, Does, calls};
use crate::callers::Checked;
use crate::ledger::{Decision, Yes};
use crate::refuse::{Result, conflict, forbidden, guardrail, invalid};
use crate::statements::digest;

/// People who must agree, at most.
const MOST_PEOPLE: u32 = 10;

/// Seconds that people have: a minute to a week.
const WAIT: std::ops::RangeInclusive<u32> = 60..=7 * 24 * 60 * 60;

impl Authority {
    /// One person's yes, durable when it is answered.
    pub async fn approve_intent(&self, request: ApproveIntent) -> Result<Approved> {
        let by = self.caller(&request.by).await?;
        let user = decides(&by)?;
        let intent = self.statements.verify(&request.intent).await?;
        let needed = asked_of(&by, &intent)?;
        let challenge = challenge_of_intent(&request.intent);
        let passkey =
            self.confirmed_by_passkey(&by, request.passkey.as_ref(), challenge, needed.passkey).await?;
        let decision = decision(&intent, digest(&request.intent), needed, user, &by);
        let given = self.ledger.approve(decision, Yes { by: user, passkey }).await?;
        Ok(Approved { given, needed: needed.people })
    }

    /// One person's no: it needs no passkey, since it moves nothing.
    pub async fn deny_intent(&self, request: DenyIntent) -> Result<()> {
        let by = self.caller(&request.by).await?;
        let user = decides(&by)?;
        let intent = self.statements.verify(&request.intent).await?;
        let needed = asked_of(&by, &intent)?;
        self.ledger.deny(decision(&intent, digest(&request.intent), needed, user, &by)).await
    }

    /// What the agent's policy asks of this transfer, when it is submitted.
    pub(crate) fn approval_needed(
        &self,
        agent: AgentId,
        policy: Option<&ApprovalPolicy>,
        from: Address,
        transfer: &Transfer,
        simulated: Simulated,
    ) -> Result<Option<Needed>> {
        let Some(policy) = policy else { return Ok(None) };
        let mut causes = self.causes(agent, policy, from, transfer)?;
        if policy.simulation && simulated != Simulated::Succeeded {
            causes.push(Cause::Simulation);
        }
        if causes.is_empty() {
            return Ok(None);
        }
        let until = self.clock.now().plus(std::time::Duration::from_secs(policy.wait_seconds.into()));
        Ok(Some(Needed { people: policy.approvals, passkey: policy.passkey, causes, until }))
    }

    /// What was accepted must be no less than what the policy asks now: a policy that was tightened counts for what waits.
    /// How the simulation ended is not asked again.
    ///
    /// # Errors
    /// The guardrail `tx_approval_policy`.
    pub(crate) fn approval_still(&self, intent: &Intent, policy: Option<&ApprovalPolicy>) -> Result<()> {
        let Some(policy) = policy else { return Ok(()) };
        let enough = match &intent.approval {
            Some(needed) => needed.people >= policy.approvals && (needed.passkey || !policy.passkey),
            None => self.causes(intent.agent, policy, intent.from, &intent.transfer)?.is_empty(),
        };
        if enough {
            Ok(())
        } else {
            Err(guardrail("tx_approval_policy", "was tightened after this was submitted: submit it anew."))
        }
    }

    fn causes(
        &self,
        agent: AgentId,
        policy: &ApprovalPolicy,
        from: Address,
        transfer: &Transfer,
    ) -> Result<Vec<Cause>> {
        let mut causes = Vec::new();
        if policy.always {
            causes.push(Cause::Always);
        }
        if policy.above.is_some_and(|most| transfer.value > most) {
            causes.push(Cause::Above);
        }
        if policy.new_recipient && self.reaches_somebody_new(agent, from, transfer)? {
            causes.push(Cause::NewRecipient);
        }
        if policy.contract_call && !transfer.data.is_empty() {
            causes.push(Cause::ContractCall);
        }
        Ok(causes)
    }

    fn reaches_somebody_new(&self, agent: AgentId, from: Address, transfer: &Transfer) -> Result<bool> {
        // A contract that is not there yet is new.
        let Some(to) = transfer.to else { return Ok(true) };
        let calls = calls(to, &transfer.data);
        // Where it goes can't be read: it may be anywhere.
        if calls.iter().any(|call| matches!(call.does, Does::Opaque | Does::Malformed)) {
            return Ok(true);
        }
        let mut reached = recipients(&calls);
        reached.remove(&from);
        self.ledger.any_unknown(agent, &reached)
    }
}

/// Everybody whom a transfer names: contracts that it calls, recipients, spenders. Nobody, where it creates a contract.
pub fn reached(transfer: &Transfer) -> BTreeSet<Address> {
    transfer.to.map(|to| recipients(&calls(to, &transfer.data))).unwrap_or_default()
}

fn recipients(calls: &[Call]) -> BTreeSet<Address> {
    let mut reached = BTreeSet::new();
    for call in calls {
        reached.insert(call.contract);
        if let Does::Moves(moves) = &call.does {
            reached.extend(moves.iter().map(|one| one.to));
        }
    }
    reached
}

/// A policy that asks for something, of so many people as there may be.
pub fn check_policy(policy: &ApprovalPolicy) -> Result<()> {
    let ApprovalPolicy { always, above, new_recipient, contract_call, simulation, .. } = policy;
    if !(*always || above.is_some() || *new_recipient || *contract_call || *simulation) {
        return Err(invalid("tx_approval_policy: must name when people approve; null if they never do."));
    }
    if !(1..=MOST_PEOPLE).contains(&policy.approvals) {
        return Err(invalid(format!("tx_approval_policy: approvals must be from 1 to {MOST_PEOPLE}.")));
    }
    if !WAIT.contains(&policy.wait_seconds) {
        let (least, most) = WAIT.into_inner();
        return Err(invalid(format!("tx_approval_policy: wait_seconds must be from {least} to {most}.")));
    }
    Ok(())
}

/// An owner or admin without scopes, in person.
fn decides(by: &Checked) -> Result<UserId> {
    by.in_person()?;
    by.manages()
}

fn asked_of<'i>(by: &Checked, intent: &'i Intent) -> Result<&'i Needed> {
    if by.org() != intent.org {
        return Err(forbidden("The transaction belongs to another organisation."));
    }
    intent.approval.as_ref().ok_or_else(|| conflict("The transaction needs no approval."))
}

fn decision(intent: &Intent, digest: [u8; 32], needed: &Needed, user: UserId, by: &Checked) -> Decision {
    Decision {
        intent: intent.id,
        digest,
        org: intent.org,
        needed: needed.clone(),
        expires_at: intent.expires_at.millis(),
        by: user,
        role: by.record().role,
    }
}
