//! Mail. A letter is queued in the transaction of what it tells of, so that neither is there without the other, and sent
//! by a job ([`crate::jobs::mail`]): no request waits for it, or fails with it.
//!
//! The queue holds no secret. A letter with a link says what the link is to be good for; its ticket is made when the
//! letter is sent, and only its hash is stored.

mod delivery;
mod letter;
mod text;

pub use delivery::{Outcome, Post, is_smtp_url, sender};
pub use letter::Letter;
pub use text::{Written, has_an_account, has_no_password, write};

use domain::{Error, MailId, Result, Time};
use store::Tx;
use store::mail::{self, Mail};

/// Queues a letter to an address, with whatever else the transaction does.
pub async fn queue(tx: &mut Tx, to: &str, letter: &Letter, now: Time) -> Result<()> {
    let mail = Mail {
        id: MailId::new(),
        recipient: to.to_owned(),
        letter: serde_json::to_string(letter).map_err(Error::internal)?,
        attempts: 0,
        gives_up_at: now.plus(letter.patience()),
    };
    mail::queue(tx, &mail, now).await
}
