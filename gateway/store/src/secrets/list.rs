//! What is in a vault, in the order of the paths' bytes.

use domain::access::{ListSecrets, Permit};
use domain::{Result, SecretPath, Time, VaultId};

use super::{Version, read};
use crate::dialect::Dialect;
use crate::{Store, failed};

macro_rules! list {
    ($path:literal, $which:literal) => {
        concat!(
            "SELECT s.id, s.path, s.newest, v.version, v.type, v.metadata, v.expires_at, v.max_access_count, \
             v.access_count, v.created_by_type, v.created_by, v.created_at, v.deleted_at, v.disabled_at, v.purged_at, v.cmek_fingerprint \
             FROM secrets s JOIN secret_versions v ON v.secret_id = s.id AND v.version = s.live WHERE s.vault_id = $1 AND ",
            $path, " >= $2 AND ", $path, " < $3 AND ", $which, " ORDER BY ", $path, " LIMIT $5"
        )
    };
}

/// The parameter says the same of any value: both statements take the same ones.
macro_rules! live {
    ($path:literal) => {
        list!($path, "v.deleted_at IS NULL AND v.disabled_at IS NULL AND $4 = 0")
    };
}
macro_rules! restorable {
    ($path:literal) => {
        list!($path, "v.deleted_at > $4 AND v.purged_at IS NULL")
    };
}

/// PostgreSQL's own order is its locale's; the index that it takes here is made by [`Dialect::index`].
fn statement(dialect: Dialect, deleted: bool) -> &'static str {
    match (dialect, deleted) {
        (Dialect::Sqlite, false) => live!("s.path"),
        (Dialect::Sqlite, true) => restorable!("s.path"),
        (Dialect::Postgres, false) => live!("s.path COLLATE \"C\""),
        (Dialect::Postgres, true) => restorable!("s.path COLLATE \"C\""),
    }
}

/// A part of a vault.
#[derive(Clone, Copy)]
pub struct Part<'a> {
    /// Characters of paths alone.
    pub prefix: &'a str,
    /// The path before the first one.
    pub after: Option<&'a SecretPath>,
    /// `None`: what is live. Else what was deleted after then and can be restored.
    pub deleted_after: Option<Time>,
    pub limit: usize,
}

/// The live version of each path of a part, by path, without values.
pub async fn list(store: &Store, may: &Permit<ListSecrets, VaultId>, part: Part<'_>) -> Result<Vec<Version>> {
    // '!' comes before every character of a path, '~' after all of them.
    let after = part.after.map(|path| format!("{path}!")).unwrap_or_default();
    let from = after.max(part.prefix.to_owned());
    let rows = sqlx::query(statement(store.dialect(), part.deleted_after.is_some()))
        .bind(may.on().to_string())
        .bind(from)
        .bind(format!("{}~", part.prefix))
        .bind(part.deleted_after.map_or(0, Time::millis))
        .bind(i64::try_from(part.limit).unwrap_or(i64::MAX))
        .fetch_all(&mut *store.read().await?)
        .await
        .map_err(failed)?;
    rows.iter().map(read).collect()
}
