//! Organisations: founded once, ended once, and their agents stopped for a while.

use domain::OrgId;
use redb::ReadableTable as _;
use signer_protocol::{Reason, Refusal};

use super::tables::{self, ENDED, FLOORS, FOUNDED, SUSPENDED};
use super::writer::{Book, Stop};
use super::{Ledger, Seen};
use crate::refuse::{Result, conflict, forbidden};

impl Ledger {
    /// Founds an organisation with its first owner's record.
    pub async fn found(&self, owner: Seen) -> Result<()> {
        let org = *owner.org.as_bytes();
        self.write(move |book| {
            let known = book.table(FLOORS)?.get(&tables::principal(owner.id))?.is_some();
            if known || book.table(FOUNDED)?.get(&org)?.is_some() {
                return Err(conflict("The organisation or its owner exists.").into());
            }
            book.change(FOUNDED)?.insert(&org, ())?;
            book.see(&owner)
        })
        .await
    }

    /// Ends an organisation, for ever.
    pub async fn end(&self, org: OrgId) -> Result<()> {
        self.write(move |book| {
            book.change(ENDED)?.insert(org.as_bytes(), ())?;
            Ok(())
        })
        .await
    }

    pub fn ended(&self, org: OrgId) -> Result<bool> {
        self.read(|tx| Ok(tx.open_table(ENDED)?.get(org.as_bytes())?.is_some()))
    }

    /// Stops an organisation's agents, or lets them go on.
    pub async fn suspend(&self, org: OrgId, suspended: bool) -> Result<()> {
        self.write(move |book| {
            let mut table = book.change(SUSPENDED)?;
            if suspended {
                table.insert(org.as_bytes(), ())?;
            } else {
                table.remove(org.as_bytes())?;
            }
            Ok(())
        })
        .await
    }

    pub fn suspended(&self, org: OrgId) -> Result<bool> {
        self.read(|tx| Ok(tx.open_table(SUSPENDED)?.get(org.as_bytes())?.is_some()))
    }
}

impl Book<'_> {
    pub fn lives(&self, org: OrgId) -> Result<(), Stop> {
        let ended = self.table(ENDED)?.get(org.as_bytes())?.is_some();
        if ended { Err(over().into()) } else { Ok(()) }
    }

    /// Whether agents of the organisation may act at this moment.
    pub fn may_act(&self, org: OrgId) -> Result<(), Stop> {
        self.lives(org)?;
        let suspended = self.table(SUSPENDED)?.get(org.as_bytes())?.is_some();
        if suspended { Err(stopped().into()) } else { Ok(()) }
    }
}

/// Of an organisation that was ended.
pub fn over() -> Refusal {
    Refusal::new(Reason::Destroyed, "The organisation was ended: what it had is gone.")
}

/// Of agents while the kill switch is on.
pub fn stopped() -> Refusal {
    forbidden("The organisation's agents are suspended; an owner or admin lets them go on.")
}
