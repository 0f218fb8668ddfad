//! What may be done again only after a while, exact across gateways.

use domain::{Result, Time};

use crate::row::Columns as _;
use crate::{Tx, failed};

/// What the while is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cooldown {
    /// A mail with a way into an account, to one address.
    Reset,
    /// An agent that asks to be enrolled with one address.
    Enrolment,
    /// A sign-up that is to be verified, with one address.
    Signup,
}

impl Cooldown {
    fn as_str(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Enrolment => "enrolment",
            Self::Signup => "signup",
        }
    }
}

/// One statement: of many at once, one begins it.
const BEGIN: &str = "INSERT INTO cooldowns (purpose, key_hash, ends_at) VALUES ($1, $2, $3) \
                     ON CONFLICT (purpose, key_hash) DO UPDATE SET ends_at = excluded.ends_at \
                     WHERE cooldowns.ends_at <= $4";
const ENDS: &str = "SELECT ends_at FROM cooldowns WHERE purpose = $1 AND key_hash = $2";
const FORGET: &str = "DELETE FROM cooldowns WHERE ends_at <= $1";

/// Begins one, unless one is under way: then, when that one ends.
pub async fn begin(
    tx: &mut Tx,
    what: Cooldown,
    key: &[u8; 32],
    now: Time,
    until: Time,
) -> Result<Option<Time>> {
    let begin = sqlx::query(BEGIN).bind(what.as_str()).bind(&key[..]).bind(until.millis()).bind(now.millis());
    if begin.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1 {
        return Ok(None);
    }
    let ends = sqlx::query(ENDS).bind(what.as_str()).bind(&key[..]);
    ends.fetch_one(tx.connection()).await.map_err(failed)?.time("ends_at").map(Some)
}

/// Forgets those that have ended.
pub async fn forget_ended(tx: &mut Tx, now: Time) -> Result<()> {
    sqlx::query(FORGET).bind(now.millis()).execute(tx.connection()).await.map_err(failed).map(drop)
}
