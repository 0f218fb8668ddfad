//! Customers' keys: which one is in force for a vault, and the jobs that change values over to another.

use domain::access::{ManageCmek, Permit, SecretAt};
use domain::audit::Event;
use domain::cmek::Fingerprint;
use domain::{CmekJobId, Error, OrgId, Result, SecretId, SecretPath, SecretType, Time, VaultId};
use signer_protocol::wire::Blob;
use sqlx::any::AnyRow;

use crate::row::Columns as _;
use crate::{Store, Tx, failed};

/// A vault's values on their way from one key to another.
#[derive(Clone)]
pub struct Job {
    pub id: CmekJobId,
    pub org: OrgId,
    pub vault: VaultId,
    pub old: Fingerprint,
    pub new: Fingerprint,
    pub status: Status,
    /// Versions to change over, and those that are.
    pub total: u64,
    pub processed: u64,
    pub error: Option<String>,
    /// Who sent the keys last holds the job.
    pub attempt: u64,
    pub started_at: Time,
    pub completed_at: Option<Time>,
    pub created_at: Time,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    Running,
    Completed,
    /// Sent again, the keys take it up where it stopped.
    Failed,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }
}

impl std::str::FromStr for Status {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        [Self::Running, Self::Completed, Self::Failed]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| Error::internal("a rotation's status is damaged"))
    }
}

/// What a job says whose gateway is gone, and the keys with it.
const INTERRUPTED: &str =
    "The gateway that held the keys was stopped. Nothing is lost: send the keys again to resume.";

/// A version to change over.
#[derive(Clone)]
pub struct Old {
    pub secret: SecretId,
    pub path: SecretPath,
    pub version: u64,
    pub kind: SecretType,
    pub sealed: Blob,
}

/// Where a job stands in the order in which it goes.
pub type Cursor = Option<(SecretId, u64)>;

const ENABLE: &str = "UPDATE vaults SET cmek_fingerprint = $3 WHERE id = $1 AND org_id = $2 AND deleted_at IS NULL \
                      AND (cmek_fingerprint IS NULL OR cmek_fingerprint = $3)";
const DISABLE: &str = "UPDATE vaults SET cmek_fingerprint = NULL WHERE id = $1 AND org_id = $2 AND deleted_at IS NULL \
                       AND cmek_fingerprint IS NOT NULL";
/// The new key is in force from here on; a writer that has checked a value against another is waited for. Whoever comes
/// here at the same time waits, too.
const PUT_IN_FORCE: &str = "UPDATE vaults SET cmek_fingerprint = $4 WHERE id = $1 AND org_id = $2 AND deleted_at IS NULL \
                            AND cmek_fingerprint = $3";
const EXPIRE: &str = "UPDATE cmek_jobs SET status = 'failed', error = $3 \
                      WHERE vault_id = $1 AND status = 'running' AND leased_until <= $2";
const RUNNING: &str = "SELECT * FROM cmek_jobs WHERE vault_id = $1 AND status = 'running'";
const UNFINISHED: &str = "SELECT * FROM cmek_jobs WHERE vault_id = $1 AND org_id = $2 AND old_fingerprint = $3 \
                          AND new_fingerprint = $4 AND status <> 'completed' ORDER BY id DESC LIMIT 1";
const FIND: &str = "SELECT * FROM cmek_jobs WHERE id = $1 AND vault_id = $2 AND org_id = $3";
const LEFT: &str = "SELECT COUNT(*) AS n FROM secret_versions v JOIN secrets s ON s.id = v.secret_id \
                    WHERE s.vault_id = $1 AND v.cmek_fingerprint = $2 AND v.sealed IS NOT NULL";
const BEGIN: &str = "INSERT INTO cmek_jobs (id, org_id, vault_id, old_fingerprint, new_fingerprint, status, total, \
                     processed, attempt, leased_until, started_at, created_at) \
                     VALUES ($1, $2, $3, $4, $5, 'running', $6, 0, 1, $7, $8, $8) \
                     ON CONFLICT (id) DO UPDATE SET status = 'running', error = NULL, attempt = cmek_jobs.attempt + 1, \
                     total = cmek_jobs.processed + excluded.total, leased_until = excluded.leased_until \
                     WHERE cmek_jobs.status <> 'completed' RETURNING *";
/// By size first: values of 1 MiB don't all go into memory to find out that they are too many.
const SIZES: &str = "SELECT LENGTH(v.sealed) AS bytes FROM secret_versions v JOIN secrets s ON s.id = v.secret_id \
                     WHERE s.vault_id = $1 AND v.cmek_fingerprint = $2 AND v.sealed IS NOT NULL \
                     AND (v.secret_id > $3 OR (v.secret_id = $3 AND v.version > $4)) \
                     ORDER BY v.secret_id, v.version LIMIT $5";
const NEXT: &str = "SELECT v.secret_id, s.path, v.version, v.type, v.sealed \
                    FROM secret_versions v JOIN secrets s ON s.id = v.secret_id \
                    WHERE s.vault_id = $1 AND v.cmek_fingerprint = $2 AND v.sealed IS NOT NULL \
                    AND (v.secret_id > $3 OR (v.secret_id = $3 AND v.version > $4)) \
                    ORDER BY v.secret_id, v.version LIMIT $5";
/// Whoever has changed, or purged, the version meanwhile has the last word.
const SWAP: &str = "UPDATE secret_versions SET sealed = $5, cmek_fingerprint = $6 WHERE secret_id = $1 AND version = $2 \
                    AND cmek_fingerprint = $3 AND sealed = $4";
/// Keeps the job, if it is still this attempt's.
const KEEP: &str = "UPDATE cmek_jobs SET processed = processed + $3, leased_until = $4 \
                    WHERE id = $1 AND attempt = $2 AND status = 'running'";
const END: &str = "UPDATE cmek_jobs SET status = $3, error = $4, completed_at = $5 \
                   WHERE id = $1 AND attempt = $2 AND status = 'running'";

/// `false`: another key is in force.
pub async fn enable(tx: &mut Tx, may: &Permit<ManageCmek, VaultId>, key: Fingerprint) -> Result<bool> {
    let enable =
        sqlx::query(ENABLE).bind(may.on().to_string()).bind(may.org().to_string()).bind(key.to_string());
    Ok(enable.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1)
}

/// `false`: none was in force.
pub async fn disable(tx: &mut Tx, may: &Permit<ManageCmek, VaultId>) -> Result<bool> {
    let disable = sqlx::query(DISABLE).bind(may.on().to_string()).bind(may.org().to_string());
    Ok(disable.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1)
}

/// Whether `key` is what is in force for the vault, which nobody changes before the transaction ends.
pub(crate) async fn in_force(tx: &mut Tx, at: &SecretAt, key: Option<Fingerprint>) -> Result<bool> {
    let hold = sqlx::query(tx.dialect().hold_vault()).bind(at.vault.to_string());
    let Some(row) = hold.fetch_optional(tx.connection()).await.map_err(failed)? else {
        return Err(Error::missing("vault"));
    };
    Ok(row.maybe_parsed("cmek_fingerprint")? == key)
}

/// A rotation between these keys that has not come to its end.
pub async fn unfinished(
    store: &Store,
    may: &Permit<ManageCmek, VaultId>,
    old: Fingerprint,
    new: Fingerprint,
) -> Result<Option<CmekJobId>> {
    let find = sqlx::query(UNFINISHED)
        .bind(may.on().to_string())
        .bind(may.org().to_string())
        .bind(old.to_string())
        .bind(new.to_string());
    let found = find.fetch_optional(&mut *store.read().await?).await.map_err(failed)?;
    found.map(|row| row.parsed("id")).transpose()
}

/// As it is now: without a gateway that holds its keys, a job has failed.
pub async fn find(
    store: &Store,
    may: &Permit<ManageCmek, VaultId>,
    id: CmekJobId,
    now: Time,
) -> Result<Option<Job>> {
    let find = sqlx::query(FIND).bind(id.to_string()).bind(may.on().to_string()).bind(may.org().to_string());
    let Some(row) = find.fetch_optional(&mut *store.read().await?).await.map_err(failed)? else {
        return Ok(None);
    };
    let job = read(&row)?;
    Ok(Some(match job.status {
        Status::Running if row.time("leased_until")? <= now => {
            Job { status: Status::Failed, error: Some(INTERRUPTED.to_owned()), ..job }
        }
        _ => job,
    }))
}

/// What came of an attempt to begin.
pub enum Begun {
    /// It is the caller's to do.
    Yours(Job),
    /// Another rotation runs.
    Busy(Job),
    /// Neither key is in force.
    OtherKey,
}

/// Puts the new key in force and begins the job; one that is `unfinished` it takes from whoever held it.
pub async fn begin(
    tx: &mut Tx,
    may: &Permit<ManageCmek, VaultId>,
    (job, unfinished): (CmekJobId, bool),
    (old, new): (Fingerprint, Fingerprint),
    (now, lease): (Time, Time),
) -> Result<Begun> {
    let (vault, org) = (may.on().to_string(), may.org().to_string());
    // From the old key to the new one; or the new one is in force already, and an earlier rotation has left something.
    let from_old = put_in_force(tx, may, old, new).await?;
    let held = from_old || put_in_force(tx, may, new, new).await?;
    let left = sqlx::query(LEFT).bind(&vault).bind(old.to_string()).fetch_one(tx.connection()).await;
    let left = left.map_err(failed)?.number("n")?;
    if !held || !(from_old || unfinished || left > 0) {
        return Ok(Begun::OtherKey);
    }
    let expire = sqlx::query(EXPIRE).bind(&vault).bind(now.millis()).bind(INTERRUPTED);
    expire.execute(tx.connection()).await.map_err(failed)?;
    let running = sqlx::query(RUNNING).bind(&vault).fetch_optional(tx.connection()).await.map_err(failed)?;
    if let Some(running) = running.as_ref().map(read).transpose()?
        && running.id != job
    {
        return Ok(Begun::Busy(running));
    }
    let begin = sqlx::query(BEGIN)
        .bind(job.to_string())
        .bind(&org)
        .bind(&vault)
        .bind(old.to_string())
        .bind(new.to_string())
        .bind(left)
        .bind(lease.millis())
        .bind(now.millis());
    let begun = begin.fetch_optional(tx.connection()).await.map_err(failed)?;
    let begun = begun.ok_or_else(|| Error::conflict("This rotation has just come to its end."))?;
    read(&begun).map(Begun::Yours)
}

async fn put_in_force(
    tx: &mut Tx,
    may: &Permit<ManageCmek, VaultId>,
    from: Fingerprint,
    to: Fingerprint,
) -> Result<bool> {
    let put = sqlx::query(PUT_IN_FORCE)
        .bind(may.on().to_string())
        .bind(may.org().to_string())
        .bind(from.to_string())
        .bind(to.to_string());
    Ok(put.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1)
}

/// The versions that come next: at most so many, and so many bytes, but one at least.
pub async fn next(store: &Store, job: &Job, after: Cursor, most: usize, bytes: u64) -> Result<Vec<Old>> {
    let (secret, version) = match after {
        Some((secret, version)) => (secret.to_string(), i64::try_from(version).map_err(Error::internal)?),
        None => (String::new(), 0),
    };
    let (vault, old) = (job.vault.to_string(), job.old.to_string());
    let most = i64::try_from(most).map_err(Error::internal)?;
    let mut connection = store.read().await?;
    let sizes = sqlx::query(SIZES).bind(&vault).bind(&old).bind(&secret).bind(version).bind(most);
    let sizes = sizes.fetch_all(&mut *connection).await.map_err(failed)?;
    let (mut count, mut sum) = (0, 0);
    for row in &sizes {
        sum += row.count("bytes")?;
        if count > 0 && sum > bytes {
            break;
        }
        count += 1;
    }
    if count == 0 {
        return Ok(Vec::new());
    }
    let next = sqlx::query(NEXT).bind(&vault).bind(&old).bind(&secret).bind(version).bind::<i64>(count);
    let rows = next.fetch_all(&mut *connection).await.map_err(failed)?;
    rows.iter().map(read_old).collect()
}

/// Changes versions over. `false`: somebody else has the job, and nothing may be committed.
pub async fn change_over(tx: &mut Tx, job: &Job, values: &[(Old, Blob)], lease: Time) -> Result<bool> {
    let keep = sqlx::query(KEEP)
        .bind(job.id.to_string())
        .bind(i64::try_from(job.attempt).map_err(Error::internal)?)
        .bind(i64::try_from(values.len()).map_err(Error::internal)?)
        .bind(lease.millis());
    if keep.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 0 {
        return Ok(false);
    }
    // A statement each: on neither database do bytes go into a list of VALUES by the same text.
    for (old, sealed) in values {
        sqlx::query(SWAP)
            .bind(old.secret.to_string())
            .bind(i64::try_from(old.version).map_err(Error::internal)?)
            .bind(job.old.to_string())
            .bind(old.sealed.0.as_slice())
            .bind(sealed.0.as_slice())
            .bind(job.new.to_string())
            .execute(tx.connection())
            .await
            .map_err(failed)?;
    }
    Ok(true)
}

/// The end, with its event; without an error, a good one. `false`: somebody else has the job.
pub async fn end(tx: &mut Tx, job: &Job, error: Option<&str>, event: Event, at: Time) -> Result<bool> {
    let status = if error.is_none() { Status::Completed } else { Status::Failed };
    let end = sqlx::query(END)
        .bind(job.id.to_string())
        .bind(i64::try_from(job.attempt).map_err(Error::internal)?)
        .bind(status.as_str())
        .bind(error)
        .bind(error.is_none().then(|| at.millis()));
    let ended = end.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1;
    if ended {
        tx.record(event);
    }
    Ok(ended)
}

fn read(row: &AnyRow) -> Result<Job> {
    Ok(Job {
        id: row.parsed("id")?,
        org: row.parsed("org_id")?,
        vault: row.parsed("vault_id")?,
        old: row.parsed("old_fingerprint")?,
        new: row.parsed("new_fingerprint")?,
        status: row.parsed("status")?,
        total: row.count("total")?,
        processed: row.count("processed")?,
        error: row.maybe_text("error")?,
        attempt: row.count("attempt")?,
        started_at: row.time("started_at")?,
        completed_at: row.maybe_time("completed_at")?,
        created_at: row.time("created_at")?,
    })
}

fn read_old(row: &AnyRow) -> Result<Old> {
    Ok(Old {
        secret: row.parsed("secret_id")?,
        path: SecretPath::parse(&row.text("path")?).map_err(|e| Error::internal(e.detail()))?,
        version: row.count("version")?,
        kind: row.parsed("type")?,
        sealed: Blob(row.bytes("sealed")?),
    })
}
