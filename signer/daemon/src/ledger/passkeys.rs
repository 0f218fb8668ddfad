//! Passkeys: what an operator has taken away, and what was made by one.

use domain::UserId;
use redb::ReadableTable as _;
use signer_protocol::{Reason, Refusal};

use super::Ledger;
use super::factors::ANY;
use super::tables::{FORGOTTEN_PASSKEYS, MADE};
use crate::refuse::Result;

impl Ledger {
    /// Takes all of a person's passkeys away.
    pub async fn forget_passkeys(&self, user: UserId) -> Result<()> {
        self.write(move |book| {
            book.change(FORGOTTEN_PASSKEYS)?.insert(user.as_bytes(), ANY)?;
            Ok(())
        })
        .await
    }

    /// As [`Ledger::forgotten`], of passkeys.
    pub async fn forgotten_passkeys(&self, user: UserId, which: [u8; 32]) -> Result<bool> {
        self.was_forgotten(FORGOTTEN_PASSKEYS, user, which).await
    }

    /// As [`Ledger::nothing_to_forget`], of passkeys.
    pub async fn no_passkeys_to_forget(&self, user: UserId) -> Result<()> {
        self.write(move |book| book.meant_another(FORGOTTEN_PASSKEYS, user)).await
    }

    /// How much the person has made by a passkey: agents that submit, API keys, invitations of owners and admins.
    pub fn made_by_passkey(&self, user: UserId) -> Result<u64> {
        self.read(|tx| Ok(tx.open_table(MADE)?.get(user.as_bytes())?.map_or(0, |made| made.value())))
    }

    /// One more, if there were so many before: what confirmed this one is used up.
    ///
    /// # Errors
    /// `PasskeyRequired(next)`: another was made meanwhile.
    pub async fn count_made(&self, user: UserId, before: u64, challenge: [u8; 32]) -> Result<()> {
        self.write(move |book| {
            let made = book.table(MADE)?.get(user.as_bytes())?.map_or(0, |made| made.value());
            if made != before {
                let detail = "Something else was made by this passkey's answer; confirm this anew.";
                return Err(Refusal::new(Reason::PasskeyRequired(challenge), detail).into());
            }
            book.change(MADE)?.insert(user.as_bytes(), before.saturating_add(1))?;
            Ok(())
        })
        .await
    }
}
