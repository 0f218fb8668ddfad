//! People's passkeys: opaque statements of the signer's, stored with the record that pins them.

use domain::access::{ChangeFactor, Permit};
use domain::{Result, UserId};
use signer_protocol::Attested;
use signer_protocol::passkey::{ChangedPasskeys, Passkeys, PendingPasskey};
use signer_protocol::record::Principal;

use crate::row::Columns as _;
use crate::{Store, Tx, failed, users};

const KEEP_PENDING: &str = "INSERT INTO passkeys (user_id, pending) VALUES ($1, $2) \
                            ON CONFLICT (user_id) DO UPDATE SET pending = excluded.pending";
const CHANGE: &str = "INSERT INTO passkeys (user_id, statement) VALUES ($1, $2) \
                      ON CONFLICT (user_id) DO UPDATE SET statement = excluded.statement, pending = NULL";
const FIND: &str = "SELECT pending, statement FROM passkeys WHERE user_id = $1";

/// What is stored for a person.
#[derive(Default)]
pub struct Stored {
    pub pending: Option<Attested<PendingPasskey>>,
    pub passkeys: Option<Attested<Passkeys>>,
}

/// The facts about a person's passkeys, for the signer to check.
pub async fn facts(store: &Store, user: UserId) -> Result<Stored> {
    let find = sqlx::query(FIND).bind(user.to_string());
    let Some(row) = find.fetch_optional(&mut *store.read().await?).await.map_err(failed)? else {
        return Ok(Stored::default());
    };
    Ok(Stored {
        pending: row.maybe_bytes("pending")?.map(Attested::from_bytes),
        passkeys: row.maybe_bytes("statement")?.map(Attested::from_bytes),
    })
}

/// Keeps a challenge until its passkey comes; an earlier one is none any more.
pub async fn keep_pending(
    tx: &mut Tx,
    may: &Permit<ChangeFactor, UserId>,
    pending: &Attested<PendingPasskey>,
) -> Result<()> {
    let keep = sqlx::query(KEEP_PENDING).bind(may.on().to_string()).bind(pending.as_bytes());
    keep.execute(tx.connection()).await.map_err(failed).map(drop)
}

/// Stores a person's passkeys and the record that pins them.
///
/// # Errors
/// `Conflict` if the person's record has changed since.
pub async fn change(
    tx: &mut Tx,
    may: &Permit<ChangeFactor, UserId>,
    from: &Attested<Principal>,
    changed: &ChangedPasskeys,
) -> Result<()> {
    users::replace_record(tx, *may.on(), may.org(), from, &changed.record).await?;
    let statement = changed.passkeys.as_ref().map(|passkeys| passkeys.as_bytes().to_vec());
    let change = sqlx::query(CHANGE).bind(may.on().to_string()).bind(statement);
    change.execute(tx.connection()).await.map_err(failed).map(drop)
}
