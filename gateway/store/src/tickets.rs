//! One-time links. A ticket is redeemed in the transaction that does what it is good for: both happen, or neither.

use std::str::FromStr;

use domain::ticket::{Purpose, TicketHash};
use domain::{Result, Time};
use signer_protocol::Attested;
use signer_protocol::link::Link;
use sqlx::any::AnyRow;

use crate::row::Columns as _;
use crate::{Store, Tx, failed};

/// A new ticket ends the older one of the same subject.
const ISSUE: &str = "INSERT INTO tickets (purpose, subject, hash, link, expires_at) VALUES ($1, $2, $3, $4, $5) \
                     ON CONFLICT (purpose, subject) DO UPDATE SET hash = excluded.hash, link = excluded.link, \
                     expires_at = excluded.expires_at";
const FIND: &str = "SELECT subject, link FROM tickets WHERE hash = $1 AND purpose = $2 AND expires_at > $3";
/// Whoever deletes the row has redeemed it: one at most, however many try.
const REDEEM: &str =
    "DELETE FROM tickets WHERE hash = $1 AND purpose = $2 AND expires_at > $3 RETURNING subject";
const WITHDRAW: &str = "DELETE FROM tickets WHERE purpose = $1 AND subject = $2";
const FORGET: &str = "DELETE FROM tickets WHERE expires_at <= $1";

/// Makes a ticket good from now on, and any earlier one of its purpose and subject worthless.
pub async fn issue(
    tx: &mut Tx,
    purpose: Purpose,
    subject: &str,
    ticket: &TicketHash,
    link: Option<&Attested<Link>>,
    expires_at: Time,
) -> Result<()> {
    let issue = sqlx::query(ISSUE)
        .bind(purpose.as_str())
        .bind(subject)
        .bind(&ticket.as_bytes()[..])
        .bind(link.map(Attested::as_bytes))
        .bind(expires_at.millis());
    issue.execute(tx.connection()).await.map_err(failed).map(drop)
}

/// The subject of a ticket that is good now. Only [`redeem`] says so for certain.
pub async fn find<T: FromStr>(
    store: &Store,
    purpose: Purpose,
    ticket: &TicketHash,
    now: Time,
) -> Result<Option<T>> {
    let row = good(store, purpose, ticket, now).await?;
    row.map(|row| row.parsed("subject")).transpose()
}

/// As [`find`], with what the signer attests of the link; a ticket without that is none.
pub async fn find_link<T: FromStr>(
    store: &Store,
    purpose: Purpose,
    ticket: &TicketHash,
    now: Time,
) -> Result<Option<(T, Attested<Link>)>> {
    let Some(row) = good(store, purpose, ticket, now).await? else { return Ok(None) };
    let Some(link) = row.maybe_bytes("link")? else { return Ok(None) };
    Ok(Some((row.parsed("subject")?, Attested::from_bytes(link))))
}

async fn good(store: &Store, purpose: Purpose, ticket: &TicketHash, now: Time) -> Result<Option<AnyRow>> {
    let find = sqlx::query(FIND).bind(&ticket.as_bytes()[..]).bind(purpose.as_str()).bind(now.millis());
    find.fetch_optional(&mut *store.read().await?).await.map_err(failed)
}

/// Spends a ticket. Its subject; `None`: it is no ticket for this, has expired, or is spent.
pub async fn redeem(tx: &mut Tx, purpose: Purpose, ticket: &TicketHash, now: Time) -> Result<Option<String>> {
    let redeem = sqlx::query(REDEEM).bind(&ticket.as_bytes()[..]).bind(purpose.as_str()).bind(now.millis());
    let row = redeem.fetch_optional(tx.connection()).await.map_err(failed)?;
    row.map(|row| row.text("subject")).transpose()
}

/// Ends a subject's ticket, if it has one.
pub async fn withdraw(tx: &mut Tx, purpose: Purpose, subject: &str) -> Result<()> {
    let withdraw = sqlx::query(WITHDRAW).bind(purpose.as_str()).bind(subject);
    withdraw.execute(tx.connection()).await.map_err(failed).map(drop)
}

/// Forgets tickets that have expired.
pub async fn forget_expired(tx: &mut Tx, now: Time) -> Result<()> {
    sqlx::query(FORGET).bind(now.millis()).execute(tx.connection()).await.map_err(failed).map(drop)
}
