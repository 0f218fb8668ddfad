//! Replacements and fillers: derived here from what was accepted before, so that whoever asks decides on fees alone.

use alloy_primitives::Bytes;
use domain::{IntentId, PrincipalId, Wei};
use signer_protocol::attested::Attested;
use signer_protocol::intent::{Fees, Intent, Transfer};
use signer_protocol::record::Principal;
use signer_protocol::replace::{Derived, Purpose, Replace, Replacement};
use signer_protocol::token::Caller;

use crate::authority::Authority;
use crate::callers::Usable as _;
use crate::guardrails;
use crate::intents::hold;
use crate::ledger::{RecordMark, StoredSignature};
use crate::principals::may_change;
use crate::refuse::{Result, conflict, forbidden, invalid, tampered};
use crate::statements::digest;
use crate::tally::Tally;

/// Gas of a transaction that does nothing.
const IDLE_GAS: u64 = 21_000;

/// Whose word it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asker {
    Agent,
    Person,
    /// Nobody's but the gateway's.
    Gateway,
}

impl Authority {
    /// Derives an intent from another, and holds what it counts for.
    pub async fn replace(&self, request: Replace) -> Result<Attested<Intent>> {
        let record = self.newest(&request.agent).await?;
        let original = self.statements.verify(&request.original).await?;
        if (record.id, record.org) != (PrincipalId::Agent(original.agent), original.org) {
            return Err(tampered("The record is not the intent's agent."));
        }
        let asker = self.asker(request.by.as_ref(), &original, &record).await?;
        self.not_destroyed(original.org, original.vault)?;
        let signed = self.ledger.signature(original.id, digest(&request.original))?;
        let derived = derive(&original, signed.as_ref(), request.replacement, &request.fees, asker, &record)?;
        let id = if derived.purpose == Purpose::Fill { original.id } else { request.id };
        let intent = Intent {
            epoch: record.epoch,
            transfer: transfer(&original, &derived, request.fees),
            expires_at: self.clock.now().plus(self.limits.intent_lifetime),
            derived: Some(derived),
            // What people approved is what is signed again; and what does nothing needs nobody.
            approval: None,
            ..successor(&original, id)
        };
        guardrails::well_formed(&intent.transfer)?;
        let counts = self.allows(&intent, &record, &request.fees)?;
        let attested = self.statements.attest(&intent).await?;
        let mark = RecordMark { version: record.version, digest: digest(&request.agent) };
        let held = hold(&intent, digest(&attested), counts, &record.guardrails, mark);
        self.ledger.hold(held).await?;
        Ok(attested)
    }

    async fn asker(&self, by: Option<&Caller>, of: &Intent, record: &Principal) -> Result<Asker> {
        let Some(by) = by else { return Ok(Asker::Gateway) };
        let by = self.caller(by).await?;
        match by.record().id {
            PrincipalId::Agent(_) if by.intents_agent()? == of.agent => Ok(Asker::Agent),
            PrincipalId::Agent(_) => Err(forbidden("The transaction is another agent's.")),
            PrincipalId::User(user) => {
                by.unbounded()?;
                may_change(&by, user, record).map(|()| Asker::Person)
            }
        }
    }

    /// Whether the agent's state and guardrails as they are now allow an intent, signed with `fees`. Answers with what it
    /// counts for.
    pub(crate) fn allows(&self, intent: &Intent, record: &Principal, fees: &Fees) -> Result<Tally> {
        let (limits, most) = (&record.guardrails, self.limits.max_fee);
        let Some(derived) = intent.derived.filter(Derived::is_idle) else {
            self.still_acts(intent, record)?;
            return guardrails::check(limits, &intent.transfer, fees, most);
        };
        match derived.purpose {
            // It ends what the agent began: whoever stopped the agent must be able to.
            Purpose::Cancel { by_person: true } => {}
            // For whoever shares the key: the agent that gave the nonce up may be stopped, and often was.
            Purpose::Fill => self.not_stopped(record)?,
            Purpose::Cancel { by_person: false } | Purpose::SpeedUp => self.still_acts(intent, record)?,
        }
        guardrails::check_idle(limits, &intent.transfer, fees, most)
    }

    /// The agent goes on, and is as it was when the intent was made.
    fn still_acts(&self, intent: &Intent, record: &Principal) -> Result<()> {
        self.not_stopped(record)?;
        if record.epoch != intent.epoch || !record.intents || !record.usable(self.clock.now()) {
            return Err(forbidden("The agent was stopped, or its key changed, after it submitted this."));
        }
        let bound = &record.vault_ids;
        let (reaches, scopes) = (bound.is_empty() || bound.contains(&intent.vault), &record.scopes);
        if !reaches || !(scopes.is_empty() || scopes.iter().any(|scope| scope.matches(&intent.key_path))) {
            return Err(forbidden("The agent's vaults or scopes do not reach the key any more."));
        }
        Ok(())
    }
}

/// What a replacement comes to: at which nonce, and for what.
fn derive(
    original: &Intent,
    signed: Option<&StoredSignature>,
    replacement: Replacement,
    fees: &Fees,
    asker: Asker,
    record: &Principal,
) -> Result<Derived> {
    let of = original.id;
    if std::mem::discriminant(fees) != std::mem::discriminant(&original.transfer.fees) {
        return Err(invalid("fees: must be of the kind that the transaction has."));
    }
    if let Replacement::Fill { nonce } = replacement {
        return match signed {
            Some(_) => Err(conflict("The intent was signed: it gave up no nonce.")),
            None if original.transfer.replaces.is_some() => {
                Err(conflict("The intent was to replace another: it had no nonce of its own."))
            }
            None => Ok(Derived { of, nonce, purpose: Purpose::Fill }),
        };
    }
    let signed =
        signed.ok_or_else(|| conflict("The transaction was not signed: there is nothing to replace."))?;
    if !fees.raises(&signed.fees) {
        return Err(conflict("A replacement raises its fees by 12.5 % at least."));
    }
    let idle = original.derived.is_some_and(|derived| derived.is_idle());
    let cancel = Purpose::Cancel { by_person: asker == Asker::Person };
    let purpose = match (replacement, asker) {
        (Replacement::Cancel, Asker::Gateway) => {
            return Err(forbidden("Only the agent and those who manage it cancel its transactions."));
        }
        (_, Asker::Gateway) if !record.guardrails.auto_bump => {
            return Err(forbidden("The agent's tx_auto_bump is not set: nobody asked for this."));
        }
        (Replacement::Cancel, _) => cancel,
        // The same again, and so no more than it was.
        _ if idle => cancel,
        // With another key the agent may be another's: what it submitted before is not sent on for it.
        _ if original.epoch != record.epoch => {
            return Err(forbidden("The agent was stopped, or its key changed, after it submitted this."));
        }
        _ => Purpose::SpeedUp,
    };
    Ok(Derived { of, nonce: signed.nonce, purpose })
}

fn transfer(original: &Intent, derived: &Derived, fees: Fees) -> Transfer {
    let replaces = Some(derived.nonce).filter(|_| derived.purpose != Purpose::Fill);
    if !derived.is_idle() {
        return Transfer { fees, replaces, ..original.transfer.clone() };
    }
    Transfer {
        chain_id: original.transfer.chain_id,
        to: Some(original.from),
        value: Wei::default(),
        data: Bytes::new(),
        gas_limit: IDLE_GAS,
        fees,
        replaces,
        access_list: domain::AccessList::default(),
    }
}

/// The original, under the id of what follows it.
fn successor(original: &Intent, id: IntentId) -> Intent {
    Intent { id, ..original.clone() }
}
