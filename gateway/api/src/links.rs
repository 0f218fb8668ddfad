//! Links that are mailed and open what the signer guards: made by it for the address that it knows, and shown to it by
//! whoever has followed one.

use std::str::FromStr;

use domain::ticket::{Purpose, Ticket, TicketHash};
use domain::{Error, Result, SecretText};
use signer_protocol::link::{Followed, Link, LinkTo, MakeLink};
use signer_protocol::wire::{Blob, Secret};
use signer_protocol::{Attested, Client, Refusal};
use store::{Tx, tickets};

use crate::cx::Cx;
use crate::ops::org::addressed_to;

/// The signer's word on a ticket that is about to be mailed.
///
/// # Errors
/// Its refusal: `Tampered` where it knows another address than this.
pub async fn attest(
    signer: &Client,
    ticket: &Ticket,
    to: LinkTo,
    email: &str,
) -> Result<Attested<Link>, Refusal> {
    let ticket = Blob(ticket.hash().as_bytes().to_vec());
    let request = MakeLink { to, email: addressed_to(email), ticket };
    signer.call(async |signer, context| signer.make_link(context, request).await).await
}

/// Makes a ticket good, and any earlier one of its purpose and subject worthless; until when, the signer says.
pub async fn issue(
    tx: &mut Tx,
    purpose: Purpose,
    subject: &str,
    ticket: &Ticket,
    link: &Attested<Link>,
) -> Result<()> {
    let expires_at = link.peek().map_err(Error::internal)?.expires_at;
    tickets::issue(tx, purpose, subject, &ticket.hash(), Some(link), expires_at).await
}

/// What a link stands for that somebody has followed, and what shows that to the signer. `None`: it is none of this purpose,
/// has expired, or was used.
pub async fn followed<T: FromStr>(
    cx: &Cx,
    purpose: Purpose,
    ticket: &SecretText,
) -> Result<Option<(T, Followed)>> {
    let found = tickets::find_link(cx.store(), purpose, &TicketHash::of(ticket), cx.now()).await?;
    Ok(found.map(|(subject, link)| (subject, Followed { link, ticket: Secret::from(ticket) })))
}
