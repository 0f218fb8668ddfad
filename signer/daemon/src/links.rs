//! Links that are mailed: made for the address that the signer knows, and followed by whoever shows the ticket.

use std::sync::Arc;

use domain::ticket::Purpose;
use signer_protocol::Attested;
use signer_protocol::link::{Followed, Link, LinkTo, MakeLink, Opens};
use subtle::ConstantTimeEq as _;

use crate::authority::Authority;
use crate::encoding::sha256;
use crate::people::has_password;
use crate::refuse::{Result, conflict, invalid, tampered};

impl Authority {
    /// Who asks has shown nothing: all that comes of it goes to an address that the signer knew before.
    pub async fn make_link(&self, request: MakeLink) -> Result<Attested<Link>> {
        let MakeLink { to, email, ticket } = request;
        if ticket.0.len() != 32 || email.0.len() != 32 {
            return Err(invalid("email, ticket: must each be a SHA-256."));
        }
        let (opens, own, purpose) = match to {
            LinkTo::Password(person) => {
                let (person, user) = self.person(&person).await?;
                has_password(&person)?;
                let opens = Opens::Password { user, epoch: person.epoch };
                (opens, person.email.clone(), Purpose::ResetPassword)
            }
            LinkTo::Invitation(invitation) => {
                let invitation = self.statements.verify(&invitation).await?;
                let opens = Opens::Invitation { id: invitation.id };
                (opens, Some(invitation.email.clone()), Purpose::Invitation)
            }
            LinkTo::AgentKey { person, agent } => {
                let enrolled = self.enrolled(&person, &agent).await?;
                (enrolled.key(), enrolled.person.email.clone(), Purpose::AgentKey)
            }
        };
        // A person from before records had addresses has none.
        if own.is_some_and(|own| own != email) {
            return Err(tampered("The link would go to another address than the one that the signer knows."));
        }
        let expires_at = self.clock.now().plus(purpose.lifetime());
        self.statements.attest(&Link { opens, ticket, email, expires_at }).await
    }

    /// Whether somebody has followed a link that opens just this.
    pub(crate) async fn followed(&self, followed: &Followed, opens: &Opens) -> Result<Arc<Link>> {
        let link = self.statements.verify(&followed.link).await?;
        if link.opens != *opens {
            return Err(match (&link.opens, opens) {
                (Opens::Password { user: of, .. }, Opens::Password { user, .. }) if of == user => {
                    conflict("The account was changed since the link was mailed; ask for a new one.")
                }
                _ => tampered("The link opens something else."),
            });
        }
        if !bool::from(sha256(followed.ticket.expose()).as_slice().ct_eq(&link.ticket.0)) {
            return Err(tampered("The ticket is not the link's."));
        }
        if self.clock.now() >= link.expires_at {
            return Err(conflict("The link has expired; ask for a new one."));
        }
        Ok(link)
    }
}
