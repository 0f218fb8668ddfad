//! What the signer's root key wraps, wherever it is stored: read in pieces, and swapped for the same under another root.
//!
//! No permits: the signer says what may take the place of what, and nobody asks for it.

use domain::{Error, Result};
use signer_protocol::Attested;
use signer_protocol::root::Wrapped;
use sqlx::any::AnyRow;

use crate::row::Columns as _;
use crate::{Store, Tx, failed};

/// Where there is something that the root wraps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    VaultKeys,
    /// Of versions, also of those that are deleted and can be restored.
    SigningKeys,
    SecondFactors,
    WebhookKeys,
}

pub const PLACES: [Place; 4] =
    [Place::VaultKeys, Place::SigningKeys, Place::SecondFactors, Place::WebhookKeys];

/// A statement, and its row.
#[derive(Clone)]
pub struct Held {
    id: String,
    version: i64,
    pub statement: Wrapped,
}

const VAULT_KEYS: &str = "SELECT id, CAST(0 AS BIGINT) AS version, key AS statement FROM vaults \
                          WHERE deleted_at IS NULL AND id > $1 ORDER BY id LIMIT $2";
const SIGNING_KEYS: &str = "SELECT secret_id AS id, version, signing_key AS statement FROM secret_versions \
                            WHERE signing_key IS NOT NULL AND (secret_id > $1 OR (secret_id = $1 AND version > $3)) \
                            ORDER BY secret_id, version LIMIT $2";
const SECOND_FACTORS: &str = "SELECT user_id AS id, CAST(0 AS BIGINT) AS version, factor AS statement FROM second_factors \
                              WHERE factor IS NOT NULL AND user_id > $1 ORDER BY user_id LIMIT $2";
const WEBHOOK_KEYS: &str = "SELECT id, CAST(0 AS BIGINT) AS version, key AS statement FROM webhooks \
                            WHERE id > $1 ORDER BY id LIMIT $2";

/// Whoever has changed or erased it meanwhile has the last word.
const SWAP_VAULT_KEY: &str = "UPDATE vaults SET key = $3 WHERE id = $1 AND key = $2 AND deleted_at IS NULL";
const SWAP_SIGNING_KEY: &str =
    "UPDATE secret_versions SET signing_key = $3 WHERE secret_id = $1 AND version = $4 AND signing_key = $2";
const SWAP_SECOND_FACTOR: &str = "UPDATE second_factors SET factor = $3 WHERE user_id = $1 AND factor = $2";
const SWAP_WEBHOOK_KEY: &str = "UPDATE webhooks SET key = $3 WHERE id = $1 AND key = $2";

/// The statements of a place that come after one, at most so many.
pub async fn next(store: &Store, place: Place, after: Option<&Held>, most: i64) -> Result<Vec<Held>> {
    let (id, version) = after.map_or(("", 0), |held| (held.id.as_str(), held.version));
    let text = match place {
        Place::VaultKeys => VAULT_KEYS,
        Place::SigningKeys => SIGNING_KEYS,
        Place::SecondFactors => SECOND_FACTORS,
        Place::WebhookKeys => WEBHOOK_KEYS,
    };
    let mut next = sqlx::query(text).bind(id.to_owned()).bind(most);
    if place == Place::SigningKeys {
        next = next.bind(version);
    }
    let rows = next.fetch_all(&mut *store.read().await?).await.map_err(failed)?;
    rows.iter().map(|row| read(place, row)).collect()
}

/// Puts the same under another root in its place. `false`: it is not what it was any more.
pub async fn swap(tx: &mut Tx, old: &Held, new: &Wrapped, place: Place) -> Result<bool> {
    let text = match place {
        Place::VaultKeys => SWAP_VAULT_KEY,
        Place::SigningKeys => SWAP_SIGNING_KEY,
        Place::SecondFactors => SWAP_SECOND_FACTOR,
        Place::WebhookKeys => SWAP_WEBHOOK_KEY,
    };
    if std::mem::discriminant(&old.statement) != std::mem::discriminant(new) {
        return Err(Error::internal("the signer answered with a statement of another kind"));
    }
    let mut swap = sqlx::query(text)
        .bind(old.id.clone())
        .bind(old.statement.as_bytes().to_vec())
        .bind(new.as_bytes().to_vec());
    if place == Place::SigningKeys {
        swap = swap.bind(old.version);
    }
    Ok(swap.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1)
}

fn read(place: Place, row: &AnyRow) -> Result<Held> {
    let bytes = row.bytes("statement")?;
    let statement = match place {
        Place::VaultKeys => Wrapped::VaultKey(Attested::from_bytes(bytes)),
        Place::SigningKeys => Wrapped::SigningKey(Attested::from_bytes(bytes)),
        Place::SecondFactors => Wrapped::SecondFactor(Attested::from_bytes(bytes)),
        Place::WebhookKeys => Wrapped::WebhookKey(Attested::from_bytes(bytes)),
    };
    Ok(Held { id: row.text("id")?, version: row.number("version")?, statement })
}
