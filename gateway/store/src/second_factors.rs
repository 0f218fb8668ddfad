//! People's second factors: opaque statements of the signer's, stored with the record that pins one.

use domain::access::{ChangeFactor, Permit};
use domain::{Result, UserId};
use signer_protocol::Attested;
use signer_protocol::mfa::{Mfa, PendingMfa};
use signer_protocol::record::Principal;

use crate::row::Columns as _;
use crate::{Store, Tx, failed, users};

const KEEP_PENDING: &str = "INSERT INTO second_factors (user_id, pending) VALUES ($1, $2) \
                            ON CONFLICT (user_id) DO UPDATE SET pending = excluded.pending";
const ENABLE: &str = "UPDATE second_factors SET factor = $2, pending = NULL WHERE user_id = $1";
const DISABLE: &str = "DELETE FROM second_factors WHERE user_id = $1";
const FIND: &str = "SELECT pending, factor FROM second_factors WHERE user_id = $1";

/// What is stored for a person.
#[derive(Default)]
pub struct SecondFactor {
    pub pending: Option<Attested<PendingMfa>>,
    pub factor: Option<Attested<Mfa>>,
}

/// The facts about a person's second factor, for the signer to check.
pub async fn facts(store: &Store, user: UserId) -> Result<SecondFactor> {
    let find = sqlx::query(FIND).bind(user.to_string());
    let Some(row) = find.fetch_optional(&mut *store.read().await?).await.map_err(failed)? else {
        return Ok(SecondFactor::default());
    };
    Ok(SecondFactor {
        pending: row.maybe_bytes("pending")?.map(Attested::from_bytes),
        factor: row.maybe_bytes("factor")?.map(Attested::from_bytes),
    })
}

/// Keeps a seed until its first code is shown; an earlier one is none any more.
pub async fn keep_pending(
    tx: &mut Tx,
    may: &Permit<ChangeFactor, UserId>,
    pending: &Attested<PendingMfa>,
) -> Result<()> {
    let keep = sqlx::query(KEEP_PENDING).bind(may.on().to_string()).bind(pending.as_bytes());
    keep.execute(tx.connection()).await.map_err(failed).map(drop)
}

/// Stores a factor and the record that pins it.
///
/// # Errors
/// `Conflict` if the person's record has changed since.
pub async fn enable(
    tx: &mut Tx,
    may: &Permit<ChangeFactor, UserId>,
    from: &Attested<Principal>,
    record: &Attested<Principal>,
    factor: &Attested<Mfa>,
) -> Result<()> {
    users::replace_record(tx, *may.on(), may.org(), from, record).await?;
    let enable = sqlx::query(ENABLE).bind(may.on().to_string()).bind(factor.as_bytes());
    enable.execute(tx.connection()).await.map_err(failed).map(drop)
}

/// Forgets a factor, and stores the record that pins none.
///
/// # Errors
/// `Conflict` if the person's record has changed since.
pub async fn disable(
    tx: &mut Tx,
    may: &Permit<ChangeFactor, UserId>,
    from: &Attested<Principal>,
    record: &Attested<Principal>,
) -> Result<()> {
    users::replace_record(tx, *may.on(), may.org(), from, record).await?;
    sqlx::query(DISABLE).bind(may.on().to_string()).execute(tx.connection()).await.map_err(failed).map(drop)
}
