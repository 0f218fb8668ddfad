//! What people hand out that is good once: invitations, and grants for devices.

use domain::{DeviceGrantId, OrgId, Role, Time, UserId};
use redb::ReadableTable as _;
use signer_protocol::people::Invitation;

use super::Ledger;
use super::tables::{self, GRANTS, INVITATIONS, SEATS};
use super::writer::{Book, Stop};
use crate::refuse::{Result, conflict, forbidden};

/// How an invitation was taken up.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    pub by: UserId,
    /// The version of the record that moves; 0 for a new person.
    pub from: u64,
}

impl Ledger {
    /// Uses an invitation up. Repeated from the same record it is good again, until that record has a successor: it brings
    /// nobody back who has come in and gone on from there. Whoever gave it must still be one who may.
    pub async fn take_up(&self, invitation: &Invitation, taken: Taken) -> Result<()> {
        let Invitation { id, org, role, by, .. } = *invitation;
        self.write(move |book| {
            book.lives(org)?;
            book.still_invites(by, org, role)?;
            let taken = (*taken.by.as_bytes(), taken.from);
            let before = book.table(INVITATIONS)?.get(id.as_bytes())?.map(|taken| taken.value());
            match before {
                Some(before) if before == taken => Ok(()),
                Some(_) => Err(conflict("The invitation was taken up; ask for another.").into()),
                None => {
                    book.change(INVITATIONS)?.insert(id.as_bytes(), taken)?;
                    Ok(())
                }
            }
        })
        .await
    }

    /// Uses a device's grant up.
    pub async fn use_grant(&self, id: DeviceGrantId, expires_at: Time) -> Result<()> {
        self.write(move |book| {
            if book.table(GRANTS)?.get(id.as_bytes())?.is_some() {
                return Err(conflict("The device has got its token already.").into());
            }
            book.change(GRANTS)?.insert(id.as_bytes(), expires_at.millis())?;
            Ok(())
        })
        .await
    }
}

impl Book<'_> {
    fn still_invites(&self, by: UserId, org: OrgId, role: Role) -> Result<(), Stop> {
        let seat = self.table(SEATS)?.get(by.as_bytes())?.map(|seat| seat.value());
        // Without a seat: an owner who was last seen before there were any others.
        let Some((seat_org, rank)) = seat else { return Ok(()) };
        let needed = if role == Role::Owner { Role::Owner } else { Role::Admin };
        if seat_org == *org.as_bytes() && rank >= tables::rank(Some(needed)) {
            Ok(())
        } else {
            Err(forbidden("Whoever gave this invitation may not invite any more; ask for another.").into())
        }
    }
}
