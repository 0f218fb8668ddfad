//! Second factors: what was used, what was guessed, and what an operator has taken away.

use std::time::Duration;

use domain::limit::come_again;
use domain::{Time, TokenId, UserId};
use redb::{ReadableTable as _, TableDefinition};
use signer_protocol::{Reason, Refusal};

use super::Ledger;
use super::tables::{FORGOTTEN, GUESSES, GuessKey, RECOVERY, REVOKED, STEPS};
use super::writer::{Book, Stop};
use crate::refuse::{Result, unauthenticated};

const FIRST_LOCK: Duration = Duration::from_secs(15 * 60);
const LONGEST_LOCK: Duration = Duration::from_secs(24 * 60 * 60);

/// Stands for "whichever it is" until a factor is seen.
pub(super) const ANY: [u8; 32] = [0; 32];

/// What an operator took away: whose, and the digest of which.
type Forgotten = TableDefinition<'static, [u8; 16], [u8; 32]>;

/// What is guessed at, and where. They are counted apart: whoever has stolen a token and guesses with it, at the password
/// or a code, keeps nobody from logging in with a code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Guessed {
    /// At login.
    Code,
    Password,
    /// By somebody who has a session, to switch the second factor on or off.
    SessionCode,
    /// Of a share, by whoever has its link.
    Passphrase,
}

impl Guessed {
    /// Wrong guesses in a row until no more are looked at for a while; after as many again, for twice as long. Strangers may
    /// have a share's link, and should not lock its recipient out too easily; a passphrase has more to guess than a code.
    fn at_once(self) -> u32 {
        match self {
            Self::Code | Self::Password | Self::SessionCode => 5,
            Self::Passphrase => 20,
        }
    }
}

/// A code that was right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Factor {
    /// Of this time step.
    Step(u64),
    /// The recovery code with this HMAC.
    Recovery([u8; 32]),
}

impl Ledger {
    /// Counts a guess as wrong, before it is looked at: so no number of guesses at once is more than the limit.
    ///
    /// # Errors
    /// `Locked`.
    pub async fn guess(&self, whose: [u8; 16], what: Guessed) -> Result<()> {
        let key = guess_key(whose, what);
        self.write(move |book| {
            let (before, until) = book.table(GUESSES)?.get(&key)?.map_or((0, 0), |kept| kept.value());
            if book.now < until {
                return Err(locked(until - book.now).into());
            }
            let wrong = before.saturating_add(1);
            let until = if wrong.is_multiple_of(what.at_once()) {
                Time::from_millis(book.now).plus(lock(wrong / what.at_once())).millis()
            } else {
                0
            };
            book.change(GUESSES)?.insert(&key, (wrong, until))?;
            Ok(())
        })
        .await
    }

    /// A guess was right: earlier ones don't count any more.
    pub async fn guessed_right(&self, whose: [u8; 16], what: Guessed) -> Result<()> {
        self.write(move |book| {
            book.change(GUESSES)?.remove(&guess_key(whose, what))?;
            Ok(())
        })
        .await
    }

    /// Uses up a code that was right, and the token that it was shown with: each once.
    ///
    /// # Errors
    /// `Unauthenticated`: one of them was used.
    pub async fn use_factor(
        &self,
        user: UserId,
        factor: Factor,
        what: Guessed,
        with: Option<(TokenId, Time)>,
    ) -> Result<()> {
        self.write(move |book| {
            if let Some((jti, _)) = with
                && book.table(REVOKED)?.get(jti.as_bytes())?.is_some()
            {
                return Err(wrong_code().into());
            }
            book.unused(user, factor)?;
            match factor {
                Factor::Step(step) => {
                    book.change(STEPS)?.insert(user.as_bytes(), step)?;
                }
                Factor::Recovery(code) => {
                    book.change(RECOVERY)?.insert(&code, ())?;
                }
            }
            if let Some((jti, expires_at)) = with {
                book.change(REVOKED)?.insert(jti.as_bytes(), expires_at.millis())?;
            }
            book.change(GUESSES)?.remove(&guess_key(*user.as_bytes(), what))?;
            Ok(())
        })
        .await
    }

    /// Takes a person's second factor away; guesses at it are forgotten too.
    pub async fn forget_second_factor(&self, user: UserId) -> Result<()> {
        self.write(move |book| {
            book.change(FORGOTTEN)?.insert(user.as_bytes(), ANY)?;
            for what in [Guessed::Code, Guessed::SessionCode] {
                book.change(GUESSES)?.remove(&guess_key(*user.as_bytes(), what))?;
            }
            Ok(())
        })
        .await
    }

    /// Whether this second factor was taken away by an operator. The first one asked about after his command is the one
    /// that he meant; one that is set up later counts.
    pub async fn forgotten(&self, user: UserId, factor: [u8; 32]) -> Result<bool> {
        self.was_forgotten(FORGOTTEN, user, factor).await
    }

    /// A person sets a second factor up: what an operator took away was an earlier one, or none at all.
    pub async fn nothing_to_forget(&self, user: UserId) -> Result<()> {
        self.write(move |book| book.meant_another(FORGOTTEN, user)).await
    }

    pub(super) async fn was_forgotten(&self, of: Forgotten, user: UserId, which: [u8; 32]) -> Result<bool> {
        let found = self.read(|tx| Ok(tx.open_table(of)?.get(user.as_bytes())?.map(|kept| kept.value())))?;
        match found {
            None => Ok(false),
            Some(ANY) => self.write(move |book| book.forget(of, user, which)).await,
            Some(forgotten) => Ok(forgotten == which),
        }
    }
}

impl Book<'_> {
    fn unused(&self, user: UserId, factor: Factor) -> Result<(), Stop> {
        let unused = match factor {
            Factor::Step(step) => {
                self.table(STEPS)?.get(user.as_bytes())?.is_none_or(|last| last.value() < step)
            }
            Factor::Recovery(code) => self.table(RECOVERY)?.get(&code)?.is_none(),
        };
        if unused { Ok(()) } else { Err(wrong_code().into()) }
    }

    fn forget(&mut self, of: Forgotten, user: UserId, which: [u8; 32]) -> Result<bool, Stop> {
        let found = self.table(of)?.get(user.as_bytes())?.map(|kept| kept.value());
        if found == Some(ANY) {
            self.change(of)?.insert(user.as_bytes(), which)?;
            return Ok(true);
        }
        Ok(found == Some(which))
    }

    pub(super) fn meant_another(&mut self, of: Forgotten, user: UserId) -> Result<(), Stop> {
        let found = self.table(of)?.get(user.as_bytes())?.map(|kept| kept.value());
        if found == Some(ANY) {
            self.change(of)?.remove(user.as_bytes())?;
        }
        Ok(())
    }
}

fn guess_key(whose: [u8; 16], what: Guessed) -> GuessKey {
    let mut key = [what as u8; 17];
    key[1..].copy_from_slice(&whose);
    key
}

/// How long no guess is looked at, after so many times too many wrong ones.
fn lock(times: u32) -> Duration {
    let doubled = 1_u32.checked_shl(times.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST_LOCK.saturating_mul(doubled).min(LONGEST_LOCK)
}

fn locked(millis: i64) -> Refusal {
    let seconds = u64::try_from(millis).unwrap_or_default().div_ceil(1000);
    Refusal::new(Reason::Locked(seconds), come_again("Too many wrong guesses.", seconds))
}

/// Alike for a code that is wrong, was used, or is another's.
pub fn wrong_code() -> Refusal {
    unauthenticated("The code is wrong or was used; wait for the next one.")
}
