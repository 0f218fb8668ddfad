//! Transactions: accepted against the guardrails, then signed.

use std::sync::Arc;

use domain::{AgentId, PrincipalId, Wei};
use signer_protocol::attested::Attested;
use signer_protocol::intent::{Fees, Intent, Release, Sign, SignedTransaction, Submit};
use signer_protocol::key::SigningKey;
use signer_protocol::record::{Guardrails, Principal};

use crate::approvals::reached;
use crate::authority::Authority;
use crate::ethereum::{Unsigned, fit};
use crate::guardrails::{self, Daily};
use crate::keys::KeyError;
use crate::ledger::{Hold, RecordMark, Signing, StoredSignature, expired};
use crate::refuse::{Result, conflict, guardrail, invalid, tampered};
use crate::statements::digest;
use crate::tally::Tally;

impl Authority {
    /// Checks token, key and every guardrail, and holds the value against the daily limit. The accepted intent is
    /// answered once the hold is durable.
    pub async fn submit(&self, request: Submit) -> Result<Attested<Intent>> {
        let by = self.caller(&request.by).await?;
        let agent = by.intents_agent()?;
        let key = self.statements.verify(&request.key).await?;
        if (key.vault, &key.path, key.version) != (request.at.vault, &request.at.path, request.at.version) {
            return Err(tampered("The key belongs to another place."));
        }
        by.reaches_vault(key.org, key.vault)?;
        by.reaches_path(&key.path)?;
        self.not_destroyed(key.org, key.vault)?;
        guardrails::well_formed(&request.transfer)?;
        let limits = &by.record().guardrails;
        let counts =
            guardrails::check(limits, &request.transfer, &request.transfer.fees, self.limits.max_fee)?;

        let approval = self.approval_needed(
            agent,
            limits.approval.as_ref(),
            key.address,
            &request.transfer,
            request.simulated,
        )?;
        let starts = approval.as_ref().map_or_else(|| self.clock.now(), |needed| needed.until);
        let intent = Intent {
            id: request.id,
            agent,
            org: by.org(),
            epoch: by.record().epoch,
            vault: key.vault,
            key_path: key.path.clone(),
            from: key.address,
            transfer: request.transfer,
            expires_at: starts.plus(self.limits.intent_lifetime),
            approval,
            derived: None,
        };
        let attested = self.statements.attest(&intent).await?;
        let mark = RecordMark { version: by.record().version, digest: digest(&request.by.record) };
        self.ledger.hold(hold(&intent, digest(&attested), counts, limits, mark)).await?;
        Ok(attested)
    }

    /// Signs an accepted intent, or answers again with what it was signed with.
    pub async fn sign(&self, request: Sign) -> Result<SignedTransaction> {
        let intent = self.statements.verify(&request.intent).await?;
        let id = digest(&request.intent);
        // Its value counts and its bytes were answered once: answering again gives away nothing, and lets a gateway
        // that lost the answer go on, even if the agent was stopped since.
        if let Some(stored) = self.ledger.signature(intent.id, id)? {
            return if stored.nonce == request.nonce {
                Ok(assembled(&intent, &stored))
            } else {
                Err(conflict("The intent was signed with another nonce."))
            };
        }
        // Before the agent's record: one that was rolled back must not keep the intent waiting for ever.
        if self.clock.now() >= intent.expires_at {
            return Err(expired());
        }
        let record = self.newest(&request.agent).await?;
        let counts = self.may_still(&intent, &record, &request.fees)?;
        // What is derived was asked about, if it moves anything, when the original was.
        if intent.derived.is_none() {
            self.approval_still(&intent, record.guardrails.approval.as_ref())?;
        }
        let key = self.statements.verify(&request.key).await?;
        belongs(&intent, &key)?;
        self.not_destroyed(intent.org, intent.vault)?;
        fees_within(&intent, &request.fees)?;
        let replaces = intent.derived.map(|derived| derived.nonce).or(intent.transfer.replaces);
        if replaces.is_some_and(|nonce| nonce != request.nonce) {
            return Err(invalid("nonce: is not the one that the intent replaces."));
        }

        let unsigned = Unsigned::new(&intent.transfer, request.nonce, &request.fees);
        let hash = unsigned.hash();
        let from = intent.from;
        let signature = self
            .pool
            .on_keys(move |keys| {
                let raw = keys.sign_digest(&key.wrapped.0, &hash)?;
                fit(&raw, hash, from)
                    .ok_or_else(|| KeyError::Rejected("the signature is not of the address's key".into()))
            })
            .await?;
        let mark = RecordMark { version: record.version, digest: digest(&request.agent) };
        let hold = hold(&intent, id, counts, &record.guardrails, mark);
        let signing = Signing {
            hold,
            nonce: request.nonce,
            fees: request.fees,
            hash,
            signature,
            approval: intent.approval.clone(),
            reached: reached(&intent.transfer),
        };
        let stored = self.ledger.sign(signing).await?;
        Ok(assembled(&intent, &stored))
    }

    /// Gives up an intent that was not signed.
    pub async fn release(&self, request: Release) -> Result<()> {
        let intent = self.statements.verify(&request.intent).await?;
        self.ledger.release(intent.id, digest(&request.intent)).await
    }

    pub async fn spent(&self, agent: AgentId) -> Result<Wei> {
        self.ledger.spent(agent).await
    }

    /// The agent must be as it was, and its guardrails as they are now must allow the transfer. Answers with what it
    /// counts for.
    fn may_still(&self, intent: &Intent, record: &Principal, fees: &Fees) -> Result<Tally> {
        if record.id != PrincipalId::Agent(intent.agent) || record.org != intent.org {
            return Err(tampered("The record is not the intent's agent."));
        }
        self.allows(intent, record, fees)
    }
}

pub fn hold(
    intent: &Intent,
    digest: [u8; 32],
    counts: Tally,
    limits: &Guardrails,
    record: RecordMark,
) -> Hold {
    let idle = intent.derived.is_some_and(|derived| derived.is_idle());
    Hold {
        intent: intent.id,
        digest,
        agent: intent.agent,
        org: intent.org,
        counts,
        expires_at: intent.expires_at.millis(),
        from: intent.from,
        chain_id: intent.transfer.chain_id,
        replaces: intent.transfer.replaces,
        derived: intent.derived,
        daily: if idle { Daily::of_fees(limits) } else { limits.into() },
        record,
    }
}

fn belongs(intent: &Intent, key: &Arc<SigningKey>) -> Result<()> {
    if (key.org, key.vault, &key.path, key.address)
        == (intent.org, intent.vault, &intent.key_path, intent.from)
    {
        Ok(())
    } else {
        Err(tampered("The key is not the one that the intent was accepted for."))
    }
}

fn fees_within(intent: &Intent, fees: &Fees) -> Result<()> {
    let within = match (*fees, intent.transfer.fees) {
        (Fees::Legacy { gas_price }, Fees::Legacy { gas_price: most }) => gas_price <= most,
        (
            Fees::Eip1559 { max_fee_per_gas, max_priority_fee_per_gas },
            Fees::Eip1559 { max_fee_per_gas: most, max_priority_fee_per_gas: most_priority },
        ) => max_fee_per_gas <= most && max_priority_fee_per_gas <= most_priority,
        _ => return Err(invalid("fees: are not of the kind that the intent was accepted with.")),
    };
    if !within {
        return Err(guardrail("tx_max_fee_eth", "the fees are above what the intent was accepted with."));
    }
    guardrails::well_formed_fees(fees)
}

/// The transaction, byte for byte as it was signed.
fn assembled(intent: &Intent, stored: &StoredSignature) -> SignedTransaction {
    Unsigned::new(&intent.transfer, stored.nonce, &stored.fees).signed(&stored.signature, intent.from)
}
