//! Letters that wait to be sent. Any gateway may send one; for each attempt it has the row to itself.

use domain::{MailId, Result, Time};
use sqlx::any::AnyRow;

use crate::row::Columns as _;
use crate::{Store, Tx, failed};

pub struct Mail {
    pub id: MailId,
    /// An email address.
    pub recipient: String,
    /// Which letter, as JSON.
    pub letter: String,
    /// Those begun so far.
    pub attempts: u64,
    pub gives_up_at: Time,
}

const QUEUE: &str = "INSERT INTO mails (id, recipient, letter, attempts, due_at, gives_up_at, created_at) \
                     VALUES ($1, $2, $3, 0, $4, $5, $4)";
const DUE: &str = "SELECT COUNT(*) AS due FROM mails WHERE due_at <= $1";
/// The outer condition is checked again once the row is ours: a letter that somebody else took meanwhile is not due.
const TAKE: &str = "UPDATE mails SET due_at = $2, attempts = attempts + 1 WHERE due_at <= $1 AND id IN \
                    (SELECT id FROM mails WHERE due_at <= $1 ORDER BY due_at, id LIMIT $3) RETURNING *";
const END: &str = "DELETE FROM mails WHERE id = $1 AND attempts = $2";
const DEFER: &str = "UPDATE mails SET due_at = $3 WHERE id = $1 AND attempts = $2";

/// Queues a letter, due at once.
pub async fn queue(tx: &mut Tx, mail: &Mail, at: Time) -> Result<()> {
    let queue = sqlx::query(QUEUE)
        .bind(mail.id.to_string())
        .bind(&mail.recipient)
        .bind(&mail.letter)
        .bind(at.millis())
        .bind(mail.gives_up_at.millis());
    queue.execute(tx.connection()).await.map_err(failed).map(drop)
}

/// Whether any letter is due.
pub async fn is_due(store: &Store, now: Time) -> Result<bool> {
    let due = sqlx::query(DUE).bind(now.millis()).fetch_one(&mut *store.read().await?).await;
    due.map_err(failed)?.flag("due")
}

/// Takes due letters for one attempt each. Nobody else gets them before `lease`.
pub async fn take(tx: &mut Tx, now: Time, lease: Time, most: i64) -> Result<Vec<Mail>> {
    let take = sqlx::query(TAKE).bind(now.millis()).bind(lease.millis()).bind(most);
    take.fetch_all(tx.connection()).await.map_err(failed)?.into_iter().map(read).collect()
}

/// Ends a letter that was delivered or is given up, unless somebody else has begun another attempt.
pub async fn end(tx: &mut Tx, mail: &Mail) -> Result<()> {
    let end = sqlx::query(END).bind(mail.id.to_string()).bind(attempts(mail)?);
    end.execute(tx.connection()).await.map_err(failed).map(drop)
}

/// Puts the next attempt off until then.
pub async fn defer(tx: &mut Tx, mail: &Mail, until: Time) -> Result<()> {
    let defer = sqlx::query(DEFER).bind(mail.id.to_string()).bind(attempts(mail)?).bind(until.millis());
    defer.execute(tx.connection()).await.map_err(failed).map(drop)
}

fn attempts(mail: &Mail) -> Result<i64> {
    i64::try_from(mail.attempts).map_err(domain::Error::internal)
}

fn read(row: AnyRow) -> Result<Mail> {
    Ok(Mail {
        id: row.parsed("id")?,
        recipient: row.text("recipient")?,
        letter: row.text("letter")?,
        attempts: row.count("attempts")?,
        gives_up_at: row.time("gives_up_at")?,
    })
}
