//! Holds, signatures, nonces: what an agent may still sign, and what it has.

use std::collections::BTreeSet;

use alloy_primitives::{Address, B256};
use domain::{AgentId, IntentId, OrgId, PrincipalId, Wei};
use redb::ReadableTable as _;
use serde::{Deserialize, Serialize};
use signer_protocol::approval::Needed;
use signer_protocol::intent::Fees;
use signer_protocol::replace::{Derived, Purpose};
use signer_protocol::{Reason, Refusal};

use super::tables::{self, FLOORS, HOLDS, NONCES, NonceKey, SIGNED, SPENT};
use super::window::Window;
use super::writer::{Book, Stop};
use super::{Ledger, rolled_back};
use crate::ethereum::TxSignature;
use crate::guardrails::Daily;
use crate::refuse::{Result, conflict};
use crate::tally::{Meter, Tally};

/// A transfer to hold against the daily limits.
#[derive(Clone, Debug)]
pub struct Hold {
    pub intent: IntentId,
    /// SHA-256 of the intent's statement: only this one is signed with the hold.
    pub digest: [u8; 32],
    pub agent: AgentId,
    pub org: OrgId,
    /// What it counts for.
    pub counts: Tally,
    /// Milliseconds.
    pub expires_at: i64,
    pub from: Address,
    pub chain_id: u64,
    /// The nonce to be replaced.
    pub replaces: Option<u64>,
    /// How it came about, if its agent did not submit it.
    pub derived: Option<Derived>,
    pub daily: Daily,
    /// The agent's record that was checked. If another has taken its place by the time of the change, the change
    /// does not happen: nothing is signed after a deactivation was confirmed.
    pub record: RecordMark,
}

/// Which record was looked at.
#[derive(Clone, Copy, Debug)]
pub struct RecordMark {
    pub version: u64,
    pub digest: [u8; 32],
}

/// A held transfer with its signature, to be counted before the signature leaves.
#[derive(Clone, Debug)]
pub struct Signing {
    pub hold: Hold,
    pub nonce: u64,
    pub fees: Fees,
    pub hash: B256,
    pub signature: TxSignature,
    /// People's approval, if the intent needs it.
    pub approval: Option<Needed>,
    /// Everybody whom it reaches.
    pub reached: BTreeSet<Address>,
}

/// What was signed with an intent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StoredSignature {
    pub nonce: u64,
    pub fees: Fees,
    pub signature: TxSignature,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Held {
    pub agent: AgentId,
    pub digest: B256,
    pub counted: Tally,
    pub expires_at: i64,
}

#[derive(Serialize, Deserialize)]
struct Signed {
    digest: B256,
    stored: StoredSignature,
}

/// The transaction that was signed last at a nonce.
#[derive(Serialize, Deserialize)]
struct Used {
    agent: AgentId,
    intent: IntentId,
    hash: B256,
    fees: Fees,
    /// The largest amounts signed at this nonce.
    counted: Tally,
    at: i64,
}

impl Held {
    pub fn read(bytes: &[u8]) -> Result<Self, redb::Error> {
        read(bytes).map_err(redb::Error::from)
    }
}

pub(super) fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, redb::StorageError> {
    serde_json::from_slice(bytes).map_err(|error| redb::StorageError::Corrupted(error.to_string()))
}

pub(super) fn written<T: Serialize>(entry: &T) -> Result<Vec<u8>, redb::StorageError> {
    serde_json::to_vec(entry).map_err(|error| redb::StorageError::Corrupted(error.to_string()))
}

impl Ledger {
    /// Holds what a transfer counts for, if the daily limits leave room for it. Exact: no two changes run at once.
    pub async fn hold(&self, hold: Hold) -> Result<()> {
        self.write(move |book| {
            book.still_newest(&hold)?;
            let id = *hold.intent.as_bytes();
            let before = book.held(&id)?;
            let fills = hold.fills().is_some();
            // A filler takes over the id of what it is in place of.
            let taken = !fills && (before.is_some() || book.was_spoken_of(&id)?);
            if taken || book.table(SIGNED)?.get(&id)?.is_some() {
                return Err(conflict("id: an intent has it.").into());
            }
            book.waits_for(&hold)?;
            let used = match hold.replaces {
                None => None,
                Some(nonce) => book.used(&tables::nonce(hold.from, hold.chain_id, nonce))?,
            };
            in_place_of(used.as_ref(), &hold)?;
            let counted = added(used.as_ref(), &hold, book.now)?;
            let agent = hold.agent.as_bytes();
            let sums = book.window.sums(agent, book.now);
            hold.daily.check(&counted, |meter| sums.spent_and_held(meter))?;
            let held =
                Held { agent: hold.agent, digest: hold.digest.into(), counted, expires_at: hold.expires_at };
            if let Some(before) = before {
                book.window.forget_hold(before.agent.as_bytes(), &id, before.expires_at);
            }
            book.change(HOLDS)?.insert(&id, written(&held)?.as_slice())?;
            book.window.hold(agent, id, hold.expires_at, held.counted);
            Ok(())
        })
        .await
    }

    /// What this very intent was signed with, if it was.
    pub fn signature(&self, intent: IntentId, digest: [u8; 32]) -> Result<Option<StoredSignature>> {
        let found = self.read(|tx| {
            Ok(match tx.open_table(SIGNED)?.get(intent.as_bytes())? {
                Some(signed) => Some(read::<Signed>(signed.value())?),
                None => None,
            })
        })?;
        Ok(found.filter(|signed| signed.digest == digest).map(|signed| signed.stored))
    }

    /// Uses up the nonce and turns the hold into spend, in one change. Answers with the signature that counts: the
    /// one stored before, if another request for the same was quicker.
    pub async fn sign(&self, signing: Signing) -> Result<StoredSignature> {
        self.write(move |book| book.sign(&signing)).await
    }

    /// Gives up a hold. Nothing held any more, by expiry or an earlier release, is as good.
    pub async fn release(&self, intent: IntentId, digest: [u8; 32]) -> Result<()> {
        self.write(move |book| {
            let id = *intent.as_bytes();
            if book.table(SIGNED)?.get(&id)?.is_some() {
                return Err(conflict("The intent was signed: its transaction may be out.").into());
            }
            book.give_up(&id, digest)
        })
        .await
    }

    /// The native value that the agent has spent in the last 24 hours, and holds.
    pub async fn spent(&self, agent: AgentId) -> Result<Wei> {
        self.write(move |book| {
            Ok(Wei(book.window.sums(agent.as_bytes(), book.now).spent_and_held(Meter::Value)))
        })
        .await
    }
}

impl Book<'_> {
    /// The record is still its agent's newest, and no agent of its organisation was stopped.
    fn still_newest(&self, hold: &Hold) -> Result<(), Stop> {
        let key = tables::principal(PrincipalId::Agent(hold.agent));
        let floor = self.table(FLOORS)?.get(&key)?.map(|floor| floor.value());
        let RecordMark { version, digest } = hold.record;
        if floor != Some((version, digest)) {
            return Err(rolled_back().into());
        }
        match hold.derived {
            Some(derived) if derived.outlives_its_agent() => self.lives(hold.org),
            _ => self.may_act(hold.org),
        }
    }

    /// Nothing is signed at the nonce that a filler is for, and something above it is: else nobody waits for it.
    fn waits_for(&self, hold: &Hold) -> Result<(), Stop> {
        let Some(nonce) = hold.fills() else { return Ok(()) };
        let key = |nonce| tables::nonce(hold.from, hold.chain_id, nonce);
        let last = key(u64::MAX);
        let from = key(nonce);
        let nonces = self.table(NONCES)?;
        let mut above = nonces.range(from..=last)?.map(|entry| entry.map(|(key, _)| key.value()));
        match above.next().transpose()? {
            Some(used) if used == from => {
                Err(Refusal::new(Reason::NonceUsed, "The nonce was used by another transaction.").into())
            }
            Some(_) => Ok(()),
            None => Err(conflict("Nothing that was signed waits behind this nonce.").into()),
        }
    }

    /// Gives back what this very intent holds, if it does.
    pub(super) fn give_up(&mut self, id: &[u8; 16], digest: [u8; 32]) -> Result<(), Stop> {
        let Some(held) = self.held(id)?.filter(|held| held.digest == digest) else { return Ok(()) };
        self.change(HOLDS)?.remove(id)?;
        self.window.forget_hold(held.agent.as_bytes(), id, held.expires_at);
        Ok(())
    }

    pub(super) fn held(&self, id: &[u8; 16]) -> Result<Option<Held>, Stop> {
        Ok(match self.table(HOLDS)?.get(id)? {
            Some(held) => Some(read(held.value())?),
            None => None,
        })
    }

    fn used(&self, nonce: &NonceKey) -> Result<Option<Used>, Stop> {
        Ok(match self.table(NONCES)?.get(nonce)? {
            Some(used) => Some(read(used.value())?),
            None => None,
        })
    }

    fn signed(&self, id: &[u8; 16]) -> Result<Option<Signed>, Stop> {
        Ok(match self.table(SIGNED)?.get(id)? {
            Some(signed) => Some(read(signed.value())?),
            None => None,
        })
    }

    fn sign(&mut self, signing: &Signing) -> Result<StoredSignature, Stop> {
        let Signing { ref hold, nonce, fees, hash, signature, ref approval, ref reached } = *signing;
        let id = *hold.intent.as_bytes();
        if let Some(signed) = self.signed(&id)? {
            if signed.digest == hold.digest && signed.stored.nonce == nonce {
                return Ok(signed.stored);
            }
            return Err(conflict("The intent was signed with another nonce.").into());
        }
        self.still_newest(hold)?;
        let held = self.held(&id)?.filter(|held| held.digest == hold.digest && self.now < held.expires_at);
        let Some(held) = held else {
            self.not_denied(&id, hold.digest)?;
            return Err(expired().into());
        };
        if let Some(needed) = approval {
            self.approved(&id, hold.digest, needed, hold.org)?;
        }
        let key = tables::nonce(hold.from, hold.chain_id, nonce);
        let used = self.used(&key)?;
        may_use(used.as_ref(), hold, nonce, &fees)?;
        in_place_of(used.as_ref(), hold)?;
        self.waits_for(hold)?;
        // The hold was counted at submission. Asked again, against what was really spent, since the limit may have
        // been lowered, or what a replacement builds on may have left the window.
        let agent = hold.agent.as_bytes();
        let asked = added(used.as_ref(), hold, self.now)?;
        let sums = self.window.sums(agent, self.now);
        hold.daily.check(&asked, |meter| sums.spent(meter))?;

        let counts = || hold.counts.clone();
        let counted = used.as_ref().map_or_else(counts, |used| used.counted.larger(&hold.counts));
        let stored = StoredSignature { nonce, fees, signature };
        let at = self.now;
        self.change(HOLDS)?.remove(&id)?;
        self.window.forget_hold(agent, &id, held.expires_at);
        if let Some(used) = &used {
            self.change(SPENT)?.remove(&tables::spend(agent, used.at, &key))?;
            self.window.forget_spend(agent, used.at, &key);
        }
        self.change(SPENT)?.insert(&tables::spend(agent, at, &key), written(&counted)?.as_slice())?;
        self.window.spend(agent, at, key, counted.clone());
        let used = Used { agent: hold.agent, intent: hold.intent, hash, fees, counted, at };
        self.change(NONCES)?.insert(&key, written(&used)?.as_slice())?;
        let signed = Signed { digest: hold.digest.into(), stored };
        self.change(SIGNED)?.insert(&id, written(&signed)?.as_slice())?;
        self.reached(hold.agent, reached)?;
        Ok(stored)
    }
}

pub fn expired() -> Refusal {
    conflict("The intent has expired or was given up: submit it anew.")
}

/// What a transfer adds to its agent's window: at a nonce that it replaces, only what exceeds the amounts counted
/// there. All of it, once that has left the window: the older transaction can still be mined.
fn added(used: Option<&Used>, hold: &Hold, now: i64) -> Result<Tally> {
    let Some(used) = used else { return Ok(hold.counts.clone()) };
    if used.agent != hold.agent {
        return Err(conflict("The nonce was used by another agent."));
    }
    let counted = used.counted.larger(&hold.counts);
    Ok(if Window::counts(used.at, now) { counted.above(&used.counted) } else { counted })
}

impl Hold {
    /// The nonce that it fills.
    fn fills(&self) -> Option<u64> {
        self.derived.filter(|derived| derived.purpose == Purpose::Fill).map(|derived| derived.nonce)
    }
}

/// What was derived takes the place of what it was derived from, and of nothing that came in between: who has cancelled a
/// transaction does not find it sped up.
fn in_place_of(used: Option<&Used>, hold: &Hold) -> Result<()> {
    let (Some(used), Some(derived)) = (used, hold.derived) else { return Ok(()) };
    if used.intent == derived.of {
        return Ok(());
    }
    Err(conflict("Another transaction has taken its place at the nonce: replace that one."))
}

/// A used nonce is free for its own agent's replacement with higher fees, and for nobody else.
fn may_use(used: Option<&Used>, hold: &Hold, nonce: u64, fees: &Fees) -> Result<()> {
    let Some(used) = used else { return Ok(()) };
    if hold.replaces != Some(nonce) || used.agent != hold.agent {
        return Err(Refusal::new(Reason::NonceUsed, "The nonce was used by another transaction."));
    }
    if !fees.raises(&used.fees) {
        return Err(conflict("A replacement raises its fees by 12.5 % at least."));
    }
    Ok(())
}
