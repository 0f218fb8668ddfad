//! Counters that are exact across gateways: windows, and wrong guesses. A key is a hash; what it stands for is not kept.
//! Each function is a whole step for a transaction of its own: the row is held from the moment that it is looked at.

use domain::limit::{Throttle, Window, too_many, until};
use domain::{Error, Result, Time};
use sqlx::any::AnyRow;

use crate::row::Columns as _;
use crate::{Store, Tx, failed};

const WRONG_TRIES: &str = "Too many wrong tries.";
/// Makes the row, or takes it: either way it is this transaction's until the commit.
const HOLD_WINDOW: &str = "INSERT INTO limits (key, taken, forget_at) VALUES ($1, '', $2) \
                           ON CONFLICT (key) DO UPDATE SET key = excluded.key RETURNING taken";
const SET_WINDOW: &str = "UPDATE limits SET taken = $2, forget_at = $3 WHERE key = $1";
const HOLD_THROTTLE: &str = "INSERT INTO throttles (key, guesses, blocked_until, forget_at) VALUES ($1, 0, 0, $2) \
                             ON CONFLICT (key) DO UPDATE SET key = excluded.key \
                             RETURNING guesses, blocked_until, forget_at";
const BLOCKED: &str =
    "SELECT blocked_until FROM throttles WHERE key = $1 AND blocked_until > $2 AND forget_at > $2";
const SET_THROTTLE: &str =
    "UPDATE throttles SET guesses = $2, blocked_until = $3, forget_at = $4 WHERE key = $1";
/// Whoever came later may have set a pause of their own, which stays.
const GIVE_BACK: &str = "UPDATE throttles SET guesses = guesses - 1, \
                         blocked_until = CASE WHEN blocked_until = $2 THEN 0 ELSE blocked_until END \
                         WHERE key = $1 AND guesses > 0";
const CLEAR: &str = "DELETE FROM throttles WHERE key = $1";
const LEARN: &str = "INSERT INTO familiar_places (key, forget_at) VALUES ($1, $2) \
                     ON CONFLICT (key) DO UPDATE SET forget_at = excluded.forget_at";
const IS_FAMILIAR: &str = "SELECT COUNT(*) AS found FROM familiar_places WHERE key = $1 AND forget_at > $2";
const SWEEP: [&str; 3] = [
    "DELETE FROM limits WHERE forget_at <= $1",
    "DELETE FROM throttles WHERE forget_at <= $1",
    "DELETE FROM familiar_places WHERE forget_at <= $1",
];

/// Takes one of what a window allows.
///
/// # Errors
/// `TooManyRequests` with the time until there is room.
pub async fn take(tx: &mut Tx, key: &str, window: Window, now: Time) -> Result<()> {
    let forget_at = now.plus(window.length).millis();
    let held = sqlx::query(HOLD_WINDOW).bind(key).bind(forget_at);
    let text = held.fetch_one(tx.connection()).await.map_err(failed)?.text("taken")?;
    let mut taken = times(&text)?;
    window.take(&mut taken, now)?;
    let text = taken.iter().map(|at| at.millis().to_string()).collect::<Vec<_>>().join(",");
    let set = sqlx::query(SET_WINDOW).bind(key).bind(text).bind(forget_at);
    set.execute(tx.connection()).await.map_err(failed).map(drop)
}

fn times(text: &str) -> Result<Vec<Time>> {
    let parts = text.split(',').filter(|part| !part.is_empty());
    let read = parts.map(|part| part.parse().map(Time::from_millis));
    read.collect::<Result<_, _>>().map_err(|_| Error::internal("limits.taken holds no times"))
}

/// A guess that is counted as wrong until it is given back or cleared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guess {
    pub key: String,
    /// The pause that it began: milliseconds since 1970, 0 for none.
    pub blocked_until: i64,
}

/// Whether a guess would be refused anyway: a look that costs no turn to write, for floods.
///
/// # Errors
/// As [`guess`] would.
pub async fn is_open(store: &Store, key: &str, now: Time) -> Result<()> {
    let find = sqlx::query(BLOCKED).bind(key).bind(now.millis());
    match find.fetch_optional(&mut *store.read().await?).await.map_err(failed)? {
        Some(row) => Err(too_many(WRONG_TRIES, until(now, row.time("blocked_until")?))),
        None => Ok(()),
    }
}

/// Counts a guess before it is looked at, so that guesses that come at once don't pass together.
///
/// # Errors
/// `TooManyRequests` with the time until the next guess is taken. Nothing is counted then.
pub async fn guess(tx: &mut Tx, key: &str, throttle: &Throttle, now: Time) -> Result<Guess> {
    let forget_at = now.plus(throttle.forget).millis();
    let hold = sqlx::query(HOLD_THROTTLE).bind(key).bind(forget_at);
    let row = hold.fetch_one(tx.connection()).await.map_err(failed)?;
    let (guesses, blocked_until) = standing(&row, now)?;
    if blocked_until > now {
        return Err(too_many(WRONG_TRIES, until(now, blocked_until)));
    }
    let guesses = guesses.saturating_add(1);
    let pause = throttle.pause(guesses);
    let blocked_until = if pause.is_zero() { 0 } else { now.plus(pause).millis() };
    let set =
        sqlx::query(SET_THROTTLE).bind(key).bind(i64::from(guesses)).bind(blocked_until).bind(forget_at);
    set.execute(tx.connection()).await.map_err(failed)?;
    Ok(Guess { key: key.to_owned(), blocked_until })
}

/// Wrong guesses so far, and until when nobody may guess. What is too old counts no more.
fn standing(row: &AnyRow, now: Time) -> Result<(u32, Time)> {
    if row.time("forget_at")? <= now {
        return Ok((0, now));
    }
    let guesses = u32::try_from(row.count("guesses")?).unwrap_or(u32::MAX);
    Ok((guesses, row.time("blocked_until")?))
}

/// It was no wrong guess after all.
pub async fn give_back(tx: &mut Tx, guess: &Guess) -> Result<()> {
    let back = sqlx::query(GIVE_BACK).bind(&guess.key).bind(guess.blocked_until);
    back.execute(tx.connection()).await.map_err(failed).map(drop)
}

/// All is forgotten: whoever it is has shown that they know.
pub async fn clear(tx: &mut Tx, key: &str) -> Result<()> {
    sqlx::query(CLEAR).bind(key).execute(tx.connection()).await.map_err(failed).map(drop)
}

/// Remembers a place from where somebody has logged in.
pub async fn learn(tx: &mut Tx, place: &str, until: Time) -> Result<()> {
    let learn = sqlx::query(LEARN).bind(place).bind(until.millis());
    learn.execute(tx.connection()).await.map_err(failed).map(drop)
}

pub async fn is_familiar(store: &Store, place: &str, now: Time) -> Result<bool> {
    let find = sqlx::query(IS_FAMILIAR).bind(place).bind(now.millis());
    find.fetch_one(&mut *store.read().await?).await.map_err(failed)?.flag("found")
}

/// Forgets what counts no more.
pub async fn sweep(tx: &mut Tx, now: Time) -> Result<()> {
    for sweep in SWEEP {
        sqlx::query(sweep).bind(now.millis()).execute(tx.connection()).await.map_err(failed)?;
    }
    Ok(())
}
