//! What people have said of intents that wait for them, and to whom agents have sent before.

use std::collections::BTreeSet;

use alloy_primitives::{Address, B256};
use domain::{AgentId, IntentId, OrgId, Role, UserId};
use redb::ReadableTable as _;
use serde::{Deserialize, Serialize};
use signer_protocol::approval::Needed;
use signer_protocol::{Reason, Refusal};

use super::Ledger;
use super::spending::{expired, read, written};
use super::tables::{self, APPROVALS, RECIPIENTS, SEATS, SIGNED};
use super::writer::{Book, Stop};
use crate::refuse::{Result, conflict, forbidden};

/// A person's word on an intent.
#[derive(Clone, Debug)]
pub struct Decision {
    pub intent: IntentId,
    /// SHA-256 of the intent's statement: what is said counts for this one alone.
    pub digest: [u8; 32],
    pub org: OrgId,
    pub needed: Needed,
    /// Of the intent, in milliseconds.
    pub expires_at: i64,
    pub by: UserId,
    /// Theirs, by the record that was checked.
    pub role: Option<Role>,
}

/// A yes, and whether a passkey confirmed it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Yes {
    pub by: UserId,
    pub passkey: bool,
}

/// What was said of one intent.
#[derive(Serialize, Deserialize)]
pub(super) struct Said {
    digest: B256,
    /// Of the intent: nothing that was said is asked for later than that.
    pub expires_at: i64,
    yes: Vec<Yes>,
    denied: bool,
}

impl Said {
    pub fn read(bytes: &[u8]) -> Result<Self, redb::Error> {
        read(bytes).map_err(redb::Error::from)
    }
}

impl Ledger {
    /// Writes a yes down, and answers how many there are that count. Said again by the same person, it counts once.
    ///
    /// # Errors
    /// `Conflict`: it was denied, given up, signed, or the time for it is over; `Forbidden`: the
    /// person may not decide any more.
    pub async fn approve(&self, decision: Decision, yes: Yes) -> Result<u32> {
        self.write(move |book| {
            let mut said = book.open_to(&decision)?;
            if book.now >= decision.needed.until.millis() {
                return Err(conflict("The time to approve the transaction is over.").into());
            }
            // Said again, it counts once: a gateway that lost the answer asks for it so. With a passkey it may be worth more.
            match said.yes.iter_mut().find(|one| one.by == yes.by) {
                Some(before) => before.passkey |= yes.passkey,
                None => said.yes.push(yes),
            }
            book.seated(&decision)?;
            let given = book.that_count(&said, &decision.needed, decision.org)?;
            book.change(APPROVALS)?.insert(decision.intent.as_bytes(), written(&said)?.as_slice())?;
            Ok(given)
        })
        .await
    }

    /// Gives the intent up by a no. Said again, it is the same.
    ///
    /// # Errors
    /// `Conflict`: it was given up otherwise, or signed; `Forbidden`: the person may not decide any more.
    pub async fn deny(&self, decision: Decision) -> Result<()> {
        self.write(move |book| {
            book.still_decides(&decision)?;
            let id = *decision.intent.as_bytes();
            if book.said(&id, decision.digest)?.is_some_and(|said| said.denied) {
                return Ok(());
            }
            let said = Said { denied: true, ..book.open_to(&decision)? };
            book.give_up(&id, decision.digest)?;
            book.change(APPROVALS)?.insert(&id, written(&said)?.as_slice())?;
            Ok(())
        })
        .await
    }

    /// Whether nothing that the agent has had signed reached one of these.
    pub fn any_unknown(&self, agent: AgentId, reached: &BTreeSet<Address>) -> Result<bool> {
        self.read(|tx| {
            let known = tx.open_table(RECIPIENTS)?;
            for address in reached {
                if known.get(tables::recipient(agent, *address))?.is_none() {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }
}

impl Book<'_> {
    /// Enough people's yes to this very intent, each of whom may still decide.
    pub(super) fn approved(
        &self,
        id: &[u8; 16],
        digest: [u8; 32],
        needed: &Needed,
        org: OrgId,
    ) -> Result<(), Stop> {
        let said = self.said(id, digest)?;
        let given = said.map_or(Ok(0), |said| self.that_count(&said, needed, org))?;
        if given >= needed.people {
            return Ok(());
        }
        let detail = format!("{given} of {} people have approved the transaction.", needed.people);
        Err(Refusal::new(Reason::ApprovalRequired, detail).into())
    }

    /// A no gives up what the intent holds: it is told from one that has expired.
    pub(super) fn not_denied(&self, id: &[u8; 16], digest: [u8; 32]) -> Result<(), Stop> {
        match self.said(id, digest)? {
            Some(said) if said.denied => Err(denied().into()),
            _ => Ok(()),
        }
    }

    /// Keeps to whom a signed transaction went.
    pub(super) fn reached(&mut self, agent: AgentId, reached: &BTreeSet<Address>) -> Result<(), Stop> {
        let mut known = self.change(RECIPIENTS)?;
        for address in reached {
            known.insert(tables::recipient(agent, *address), ())?;
        }
        Ok(())
    }

    /// What was said of an intent that still waits.
    fn open_to(&self, decision: &Decision) -> Result<Said, Stop> {
        self.still_decides(decision)?;
        let id = decision.intent.as_bytes();
        if self.table(SIGNED)?.get(id)?.is_some() {
            return Err(conflict("The transaction was approved and signed already.").into());
        }
        self.not_denied(id, decision.digest)?;
        let said = self.said(id, decision.digest)?;
        let waits =
            self.held(id)?.is_some_and(|held| held.digest == decision.digest && self.now < held.expires_at);
        if !waits {
            return Err(expired().into());
        }
        let (digest, expires_at) = (decision.digest.into(), decision.expires_at);
        Ok(said.unwrap_or(Said { digest, expires_at, yes: Vec::new(), denied: false }))
    }

    /// The record that was checked may have a successor by now.
    fn still_decides(&self, decision: &Decision) -> Result<(), Stop> {
        let Decision { by, org, role, .. } = *decision;
        let may = match self.seat(by)? {
            Some(seat) => manages(seat, org),
            None => role.is_some_and(Role::manages),
        };
        if may { Ok(()) } else { Err(forbidden("You may not decide this any more.").into()) }
    }

    fn seat(&self, person: UserId) -> Result<Option<([u8; 16], u8)>, Stop> {
        Ok(self.table(SEATS)?.get(person.as_bytes())?.map(|seat| seat.value()))
    }

    /// Gives their seat to somebody who was last seen before there were any.
    fn seated(&mut self, decision: &Decision) -> Result<(), Stop> {
        let Decision { by, org, role, .. } = *decision;
        if self.seat(by)?.is_none() {
            self.change(SEATS)?.insert(by.as_bytes(), (*org.as_bytes(), tables::rank(role)))?;
        }
        Ok(())
    }

    fn that_count(&self, said: &Said, needed: &Needed, org: OrgId) -> Result<u32, Stop> {
        if said.denied {
            return Ok(0);
        }
        let mut given = 0;
        for yes in &said.yes {
            let counts =
                (yes.passkey || !needed.passkey) && self.seat(yes.by)?.is_some_and(|seat| manages(seat, org));
            given += u32::from(counts);
        }
        Ok(given)
    }

    fn said(&self, id: &[u8; 16], digest: [u8; 32]) -> Result<Option<Said>, Stop> {
        let found: Option<Said> = match self.table(APPROVALS)?.get(id)? {
            Some(said) => Some(read(said.value())?),
            None => None,
        };
        Ok(found.filter(|said| said.digest == digest))
    }

    /// Whether people have said something of an intent with this id: no other gets it.
    pub(super) fn was_spoken_of(&self, id: &[u8; 16]) -> Result<bool, Stop> {
        Ok(self.table(APPROVALS)?.get(id)?.is_some())
    }
}

fn manages((of, rank): ([u8; 16], u8), org: OrgId) -> bool {
    of == *org.as_bytes() && rank >= tables::rank(Some(Role::Admin))
}

fn denied() -> Refusal {
    conflict("An owner or admin has denied the transaction.")
}
