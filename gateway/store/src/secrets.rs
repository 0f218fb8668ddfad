//! Secrets: a path, and its versions. Values are sealed by the signer before they come here.

pub mod deletion;
pub mod list;
pub mod versions;

use domain::access::{Permit, ReadSecret, SecretAt, WriteSecret};
use domain::cmek::Fingerprint;
use domain::{Error, PrincipalId, Result, SecretId, SecretPath, SecretType, Time};
use serde_json::{Map, Value};
use signer_protocol::Attested;
use signer_protocol::key::SigningKey;
use signer_protocol::wire::Blob;
use sqlx::any::AnyRow;

use crate::row::Columns as _;
use crate::{Store, Tx, cmek, failed};

/// A version without its value.
pub struct Version {
    pub id: SecretId,
    pub path: SecretPath,
    /// The highest number at the path, live or not.
    pub newest: u64,
    pub version: u64,
    pub kind: SecretType,
    pub metadata: Option<Map<String, Value>>,
    pub expires_at: Option<Time>,
    pub max_access_count: Option<u64>,
    pub access_count: u64,
    pub created_by: PrincipalId,
    pub created_at: Time,
    pub deleted_at: Option<Time>,
    pub disabled_at: Option<Time>,
    pub purged_at: Option<Time>,
    /// The customer's key that the value was encrypted with before it came here.
    pub cmek: Option<Fingerprint>,
}

/// What has become of a version. All but live: it is not read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    Live,
    /// Erased; nothing brings it back.
    Purged,
    Deleted,
    Disabled,
    Expired,
    UsedUp,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Purged => "purged",
            Self::Deleted => "deleted",
            Self::Disabled => "disabled",
            Self::Expired => "expired",
            Self::UsedUp => "used_up",
        }
    }
}

impl Version {
    /// Whether a key in it is in use. Limits of reads are for values; a key signs on.
    pub fn signs(&self, now: Time) -> bool {
        matches!(self.state(now), State::Live | State::UsedUp)
    }

    pub fn state(&self, now: Time) -> State {
        if self.purged_at.is_some() {
            State::Purged
        } else if self.deleted_at.is_some() {
            State::Deleted
        } else if self.disabled_at.is_some() {
            State::Disabled
        } else if self.expires_at.is_some_and(|end| now >= end) {
            State::Expired
        } else if self.max_access_count.is_some_and(|max| self.access_count >= max) {
            State::UsedUp
        } else {
            State::Live
        }
    }
}

/// A version with what was sealed.
pub struct SealedVersion {
    pub version: Version,
    /// `None`: a key that can be used and never read.
    pub sealed: Option<Blob>,
    pub signing_key: Option<Attested<SigningKey>>,
}

/// What a PUT writes.
pub struct NewVersion<'a> {
    pub id: SecretId,
    pub version: u64,
    pub kind: SecretType,
    pub metadata: Option<&'a Map<String, Value>>,
    pub rotation_policy: Option<&'a Map<String, Value>>,
    pub sealed: Option<&'a Blob>,
    pub signing_key: Option<&'a Attested<SigningKey>>,
    pub expires_at: Option<Time>,
    pub max_access_count: Option<u64>,
    /// As for a version that is read; the value was checked against it.
    pub cmek: Option<Fingerprint>,
    pub at: Time,
}

const LIVE: &str = "SELECT s.id, s.path, s.newest, v.* FROM secrets s \
                    JOIN secret_versions v ON v.secret_id = s.id AND v.version = s.live \
                    WHERE s.vault_id = $1 AND s.path = $2";
const FIRST: &str = "INSERT INTO secrets (id, vault_id, path, newest, live) VALUES ($1, $2, $3, 1, 1) \
                     ON CONFLICT (vault_id, path) DO NOTHING";
/// One version up, unless somebody else was faster.
const NEXT: &str =
    "UPDATE secrets SET newest = $3, live = $3 WHERE id = $1 AND vault_id = $2 AND newest = $3 - 1";
const INSERT: &str = "INSERT INTO secret_versions (secret_id, version, type, metadata, rotation_policy, sealed, \
                      signing_key, expires_at, max_access_count, access_count, created_by_type, created_by, created_at, \
                      cmek_fingerprint) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $10, $11, $12, $13)";

/// The version that a read of the path answers, value and all: the newest that is neither disabled nor deleted, else the
/// newest.
pub async fn reveal(store: &Store, may: &Permit<ReadSecret, SecretAt>) -> Result<Option<SealedVersion>> {
    let find = sqlx::query(LIVE).bind(may.on().vault.to_string()).bind(may.on().path.as_str());
    find.fetch_optional(&mut *store.read().await?).await.map_err(failed)?.map(read_sealed).transpose()
}

/// The facts about what is at a path, to decide with; no value.
pub async fn facts(store: &Store, at: &SecretAt) -> Result<Option<Version>> {
    let find = sqlx::query(LIVE).bind(at.vault.to_string()).bind(at.path.as_str());
    find.fetch_optional(&mut *store.read().await?).await.map_err(failed)?.as_ref().map(read).transpose()
}

/// Writes a version that was sealed for exactly this number. `false`: somebody else wrote that number first; seal
/// again for the next.
///
/// # Errors
/// `Conflict` if the value was checked against another customer's key than the one in force.
pub async fn put(tx: &mut Tx, may: &Permit<WriteSecret, SecretAt>, new: &NewVersion<'_>) -> Result<bool> {
    if !cmek::in_force(tx, may.on(), new.cmek).await? {
        return Err(Error::conflict(
            "The CMEK setting of this vault has just changed. Look at the vault, and write again as it demands.",
        ));
    }
    write(tx, may.on(), may.by(), new).await
}

pub(crate) async fn write(tx: &mut Tx, at: &SecretAt, by: PrincipalId, new: &NewVersion<'_>) -> Result<bool> {
    let vault = at.vault.to_string();
    let placed = if new.version == 1 {
        sqlx::query(FIRST).bind(new.id.to_string()).bind(vault).bind(at.path.as_str())
    } else {
        sqlx::query(NEXT).bind(new.id.to_string()).bind(vault).bind(number(new.version)?)
    };
    if placed.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query(INSERT)
        .bind(new.id.to_string())
        .bind(number(new.version)?)
        .bind(new.kind.as_str())
        .bind(new.metadata.map(serde_json::to_string).transpose().map_err(Error::internal)?)
        .bind(new.rotation_policy.map(serde_json::to_string).transpose().map_err(Error::internal)?)
        .bind(new.sealed.map(|blob| blob.0.as_slice()))
        .bind(new.signing_key.map(|key| key.as_bytes()))
        .bind(new.expires_at.map(Time::millis))
        .bind(new.max_access_count.map(number).transpose()?)
        .bind(by.kind())
        .bind(by.uuid())
        .bind(new.at.millis())
        .bind(new.cmek.map(|key| key.to_string()))
        .execute(tx.connection())
        .await
        .map_err(failed)?;
    Ok(true)
}

fn number(count: u64) -> Result<i64> {
    i64::try_from(count).map_err(|_| Error::invalid("max_access_count", "is too large"))
}

fn read_sealed(row: AnyRow) -> Result<SealedVersion> {
    Ok(SealedVersion {
        version: read(&row)?,
        sealed: row.maybe_bytes("sealed")?.map(Blob),
        signing_key: row.maybe_bytes("signing_key")?.map(Attested::from_bytes),
    })
}

pub(crate) fn read(row: &AnyRow) -> Result<Version> {
    Ok(Version {
        id: row.parsed("id")?,
        path: SecretPath::parse(&row.text("path")?).map_err(|e| Error::internal(e.detail()))?,
        newest: row.count("newest")?,
        version: row.count("version")?,
        kind: row.parsed("type")?,
        metadata: row.maybe_json("metadata")?,
        expires_at: row.maybe_time("expires_at")?,
        max_access_count: row.maybe_count("max_access_count")?,
        access_count: row.count("access_count")?,
        created_by: row.principal("created_by_type", "created_by")?,
        created_at: row.time("created_at")?,
        deleted_at: row.maybe_time("deleted_at")?,
        disabled_at: row.maybe_time("disabled_at")?,
        purged_at: row.maybe_time("purged_at")?,
        cmek: row.maybe_parsed("cmek_fingerprint")?,
    })
}
