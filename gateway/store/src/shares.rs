//! Shares. What decides is the grant that the signer made; how often it is used, and whether it was accepted, is counted
//! here.

use domain::access::{AnswerShare, ListAllShares, ListShares, Permit, RevokeShare, SecretAt, ShareSecret};
use domain::{
    Error, OrgId, PrincipalId, RecipientType, Result, SecretId, SecretPath, SecretType, ShareId, ShareRef,
    Time, UserId, VaultId,
};
use signer_protocol::Attested;
use signer_protocol::sharing::ShareGrant;
use signer_protocol::wire::Blob;
use sqlx::any::AnyRow;

use crate::row::Columns as _;
use crate::{Store, Tx, failed};

#[derive(Clone)]
pub struct Share {
    pub id: ShareId,
    pub org: OrgId,
    pub vault: VaultId,
    pub secret: SecretId,
    pub version: u64,
    pub path: SecretPath,
    pub by: PrincipalId,
    pub kind: RecipientType,
    /// Who may open it; of a mail address whoever has claimed it. `None`: nobody yet, or anyone.
    pub to: Option<PrincipalId>,
    /// Folded.
    pub email: Option<String>,
    pub record: Attested<ShareGrant>,
    /// Argon2id's, of the passphrase; `None`: there is none.
    pub salt: Option<Vec<u8>>,
    pub max_access_count: Option<u64>,
    pub access_count: u64,
    pub created_at: Time,
    pub expires_at: Time,
    pub accepted_at: Option<Time>,
    /// Declined or revoked.
    pub ended: bool,
}

/// What a secret's newest version is, to decide whether it may be shared.
pub struct Shareable {
    pub id: SecretId,
    pub at: SecretAt,
    pub version: u64,
    pub kind: SecretType,
    pub state: State,
    /// `false`: a key that can be used and never read.
    pub readable: bool,
}

/// Whether a version can be read.
pub struct State {
    pub deleted: bool,
    pub expires_at: Option<Time>,
    pub max_access_count: Option<u64>,
    pub access_count: u64,
}

/// A version that was shared.
pub struct Shared {
    pub kind: SecretType,
    /// The value is encrypted with a key of the customer's.
    pub cmek: bool,
    pub sealed: Option<Blob>,
    pub state: State,
}

/// What became of an access.
pub enum Access {
    Counted(Counted),
    /// Revoked, declined or over since it was looked at.
    Ended,
    /// The version can't be read any more.
    Gone,
    /// The share's accesses are.
    UsedUp,
}

/// What a count comes to.
pub struct Counted {
    pub accesses: u64,
    /// Of them, those that the sharer was told of.
    pub told: u64,
}

/// A part of a list.
#[derive(Clone, Copy)]
pub struct Page {
    /// The one before the first.
    pub after: Option<Place>,
    pub limit: u32,
}

/// Where a share stands in a list: newest first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    pub created_at: Time,
    pub id: ShareId,
}

const SHAREABLE: &str = "SELECT s.id, s.vault_id, s.path, v.version, v.type, v.expires_at, v.max_access_count, \
                         v.access_count, COALESCE(v.deleted_at, v.disabled_at) AS gone_at, CASE WHEN v.sealed IS NULL THEN 0 ELSE 1 END AS readable \
                         FROM secrets s JOIN secret_versions v ON v.secret_id = s.id AND v.version = s.live \
                         WHERE s.id = $1";
const SHARED: &str = "SELECT v.type, v.sealed, v.cmek_fingerprint, v.expires_at, v.max_access_count, v.access_count, \
                      COALESCE(v.deleted_at, v.disabled_at) AS gone_at \
                      FROM secrets s JOIN secret_versions v ON v.secret_id = s.id \
                      WHERE s.id = $1 AND v.version = $2 AND s.vault_id = $3";
const INSERT: &str = "INSERT INTO shares (id, org_id, vault_id, secret_id, version, path, by_type, by_id, \
                      recipient_type, recipient_id, recipient_email, record, salt, max_access_count, access_count, \
                      told_count, created_at, expires_at) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 0, 0, $15, $16)";
const FIND: &str = "SELECT * FROM shares WHERE id = $1";
const OUTBOUND: &str = "SELECT * FROM shares WHERE org_id = $1 AND by_type = $2 AND by_id = $3 \
                        AND revoked_at IS NULL AND created_at <= $4 AND (created_at < $4 OR id > $5) \
                        ORDER BY created_at DESC, id LIMIT $6";
const OF_ALL: &str = "SELECT * FROM shares WHERE org_id = $1 AND revoked_at IS NULL AND created_at <= $2 \
                      AND (created_at < $2 OR id > $3) ORDER BY created_at DESC, id LIMIT $4";
/// Ids are spelt alike, so between two of them are those that begin alike, in any collation.
const ALIKE: &str = "SELECT * FROM shares WHERE id BETWEEN $1 AND $2 AND org_id = $3";
/// An address that is not known to be the caller's is given as an empty text, which no share has.
const INBOUND: &str = "SELECT * FROM shares WHERE (recipient_id = $1 OR (recipient_id IS NULL AND recipient_email = $2)) \
                       AND revoked_at IS NULL AND declined_at IS NULL AND expires_at > $3 \
                       AND created_at <= $4 AND (created_at < $4 OR id > $5) ORDER BY created_at DESC, id LIMIT $6";
const CLAIM: &str = "UPDATE shares SET recipient_id = $1, accepted_at = $3 \
                     WHERE recipient_email = $2 AND recipient_id IS NULL AND recipient_type = 'external_email' \
                     AND revoked_at IS NULL AND declined_at IS NULL AND expires_at > $3 RETURNING id, org_id";
/// Whoever was first to claim a share that goes to an address keeps it.
const ACCEPT: &str = "UPDATE shares SET recipient_id = $2, accepted_at = COALESCE(accepted_at, $3) \
                      WHERE id = $1 AND (recipient_id IS NULL OR recipient_id = $2) \
                      AND revoked_at IS NULL AND declined_at IS NULL AND expires_at > $3";
const DECLINE: &str = "UPDATE shares SET recipient_id = $2, declined_at = $3 \
                       WHERE id = $1 AND (recipient_id IS NULL OR recipient_id = $2) \
                       AND revoked_at IS NULL AND declined_at IS NULL";
const REVOKE: &str = "UPDATE shares SET revoked_at = $3 WHERE id = $1 AND org_id = $2 AND revoked_at IS NULL";
const COUNT: &str = "UPDATE shares SET access_count = access_count + 1 \
                     WHERE id = $1 AND revoked_at IS NULL AND declined_at IS NULL AND expires_at > $2 \
                     AND (max_access_count IS NULL OR access_count < max_access_count) \
                     RETURNING access_count, told_count";
/// There was nothing to count: whether the share has ended.
const HAS_ENDED: &str = "SELECT CASE WHEN revoked_at IS NULL AND declined_at IS NULL AND expires_at > $2 THEN 0 ELSE 1 END AS ended \
                         FROM shares WHERE id = $1";
/// A read of the version, counted where those are limited. The row is held in any case: whoever disables or deletes the version
/// meanwhile waits, or was first.
const COUNT_VERSION: &str = "UPDATE secret_versions SET access_count = access_count \
                             + CASE WHEN max_access_count IS NULL THEN 0 ELSE 1 END \
                             WHERE secret_id = $1 AND version = $2 AND deleted_at IS NULL AND disabled_at IS NULL \
                             AND (expires_at IS NULL OR expires_at > $3) \
                             AND (max_access_count IS NULL OR access_count < max_access_count)";
const TELL: &str = "UPDATE shares SET told_count = $2 WHERE id = $1";
const FORGET: &str = "DELETE FROM shares WHERE expires_at <= $1";

/// The facts about a secret that somebody wants to share.
pub async fn facts_of_secret(store: &Store, id: SecretId) -> Result<Option<Shareable>> {
    let find = sqlx::query(SHAREABLE).bind(id.to_string());
    let row = find.fetch_optional(&mut *store.read().await?).await.map_err(failed)?;
    row.map(|row| {
        Ok(Shareable {
            id: row.parsed("id")?,
            at: SecretAt { vault: row.parsed("vault_id")?, path: path(&row)? },
            version: row.count("version")?,
            kind: row.parsed("type")?,
            state: state(&row)?,
            readable: row.flag("readable")?,
        })
    })
    .transpose()
}

/// The facts about a share, to decide with.
pub async fn facts(store: &Store, id: ShareId) -> Result<Option<Share>> {
    let find = sqlx::query(FIND).bind(id.to_string());
    find.fetch_optional(&mut *store.read().await?).await.map_err(failed)?.map(read).transpose()
}

/// As [`facts`], by the name that an organisation's owners and admins have for its shares.
pub async fn facts_by_ref(store: &Store, org: OrgId, named: ShareRef) -> Result<Option<Share>> {
    let (from, to) = named.bounds();
    let find = sqlx::query(ALIKE).bind(from.to_string()).bind(to.to_string()).bind(org.to_string());
    let alike = find.fetch_all(&mut *store.read().await?).await.map_err(failed)?;
    let alike: Vec<Share> = alike.into_iter().map(read).collect::<Result<_>>()?;
    Ok(alike.into_iter().find(|share| ShareRef::of(share.id) == named))
}

/// The version that a share is about, if it is there still. The signer decides who gets what is sealed in it.
pub async fn facts_of_version(store: &Store, share: &Share) -> Result<Option<Shared>> {
    let find = sqlx::query(SHARED)
        .bind(share.secret.to_string())
        .bind(number(share.version)?)
        .bind(share.vault.to_string());
    let row = find.fetch_optional(&mut *store.read().await?).await.map_err(failed)?;
    row.map(|row| {
        Ok(Shared {
            kind: row.parsed("type")?,
            cmek: row.maybe_text("cmek_fingerprint")?.is_some(),
            sealed: row.maybe_bytes("sealed")?.map(Blob),
            state: state(&row)?,
        })
    })
    .transpose()
}

pub async fn insert(tx: &mut Tx, may: &Permit<ShareSecret, SecretAt>, share: &Share) -> Result<()> {
    sqlx::query(INSERT)
        .bind(share.id.to_string())
        .bind(may.org().to_string())
        .bind(may.on().vault.to_string())
        .bind(share.secret.to_string())
        .bind(number(share.version)?)
        .bind(may.on().path.as_str())
        .bind(may.by().kind())
        .bind(may.by().uuid())
        .bind(share.kind.as_str())
        .bind(share.to.map(PrincipalId::uuid))
        .bind(share.email.as_deref())
        .bind(share.record.as_bytes())
        .bind(share.salt.as_deref())
        .bind(share.max_access_count.map(number).transpose()?)
        .bind(share.created_at.millis())
        .bind(share.expires_at.millis())
        .execute(tx.connection())
        .await
        .map_err(failed)
        .map(drop)
}

/// What the caller has shared and not taken back, newest first.
pub async fn outbound(store: &Store, may: &Permit<ListShares, OrgId>, page: &Page) -> Result<Vec<Share>> {
    let (from, after) = page.begins();
    let list = sqlx::query(OUTBOUND)
        .bind(may.org().to_string())
        .bind(may.by().kind())
        .bind(may.by().uuid())
        .bind(from)
        .bind(after)
        .bind(i64::from(page.limit));
    list.fetch_all(&mut *store.read().await?).await.map_err(failed)?.into_iter().map(read).collect()
}

/// What the organisation's people and agents have shared and not taken back, newest first.
pub async fn of_all(store: &Store, may: &Permit<ListAllShares, OrgId>, page: &Page) -> Result<Vec<Share>> {
    let (from, after) = page.begins();
    let list =
        sqlx::query(OF_ALL).bind(may.org().to_string()).bind(from).bind(after).bind(i64::from(page.limit));
    list.fetch_all(&mut *store.read().await?).await.map_err(failed)?.into_iter().map(read).collect()
}

/// What is shared with the caller and can be opened or accepted, newest first. `email` is an address that they have shown to
/// be theirs.
pub async fn inbound(
    store: &Store,
    may: &Permit<ListShares, OrgId>,
    email: Option<&str>,
    now: Time,
    page: &Page,
) -> Result<Vec<Share>> {
    let (from, after) = page.begins();
    let list = sqlx::query(INBOUND)
        .bind(may.by().uuid())
        .bind(email.unwrap_or_default())
        .bind(now.millis())
        .bind(from)
        .bind(after)
        .bind(i64::from(page.limit));
    list.fetch_all(&mut *store.read().await?).await.map_err(failed)?.into_iter().map(read).collect()
}

/// Gives somebody what is shared with an address that is theirs. Which shares, and of which organisations.
pub async fn claim(tx: &mut Tx, by: UserId, email: &str, at: Time) -> Result<Vec<(ShareId, OrgId)>> {
    let claim = sqlx::query(CLAIM).bind(by.to_string()).bind(email).bind(at.millis());
    let rows = claim.fetch_all(tx.connection()).await.map_err(failed)?;
    rows.into_iter().map(|row| Ok((row.parsed("id")?, row.parsed("org_id")?))).collect()
}

/// Gives somebody the one share that they open, which goes to an address of theirs. `false`: it has ended, or somebody else
/// was faster.
pub async fn claim_one(tx: &mut Tx, id: ShareId, by: UserId, at: Time) -> Result<bool> {
    let claim = sqlx::query(ACCEPT).bind(id.to_string()).bind(by.to_string()).bind(at.millis());
    Ok(claim.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1)
}

/// `false`: it has ended, or somebody else has claimed it.
pub async fn accept(tx: &mut Tx, may: &Permit<AnswerShare, ShareId>, at: Time) -> Result<bool> {
    answer(tx, ACCEPT, may, at).await
}

/// `false`: it has ended, or somebody else has claimed it.
pub async fn decline(tx: &mut Tx, may: &Permit<AnswerShare, ShareId>, at: Time) -> Result<bool> {
    answer(tx, DECLINE, may, at).await
}

async fn answer(
    tx: &mut Tx,
    statement: &'static str,
    may: &Permit<AnswerShare, ShareId>,
    at: Time,
) -> Result<bool> {
    let answer = sqlx::query(statement).bind(may.on().to_string()).bind(may.by().uuid()).bind(at.millis());
    Ok(answer.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1)
}

/// `false`: it was revoked already.
pub async fn revoke(tx: &mut Tx, may: &Permit<RevokeShare, ShareId>, at: Time) -> Result<bool> {
    let revoke = sqlx::query(REVOKE).bind(may.on().to_string()).bind(may.org().to_string()).bind(at.millis());
    Ok(revoke.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1)
}

/// Counts an access, if the share and its version are still there. Whether it may be opened, the signer has said.
pub async fn count(tx: &mut Tx, share: &Share, at: Time) -> Result<Access> {
    let count = sqlx::query(COUNT).bind(share.id.to_string()).bind(at.millis());
    let Some(row) = count.fetch_optional(tx.connection()).await.map_err(failed)? else {
        return why(tx, share, at).await;
    };
    let version = sqlx::query(COUNT_VERSION)
        .bind(share.secret.to_string())
        .bind(number(share.version)?)
        .bind(at.millis());
    match version.execute(tx.connection()).await.map_err(failed)?.rows_affected() {
        0 => Ok(Access::Gone),
        _ => {
            let (accesses, told) = (row.count("access_count")?, row.count("told_count")?);
            Ok(Access::Counted(Counted { accesses, told }))
        }
    }
}

async fn why(tx: &mut Tx, share: &Share, at: Time) -> Result<Access> {
    let look = sqlx::query(HAS_ENDED).bind(share.id.to_string()).bind(at.millis());
    match look.fetch_optional(tx.connection()).await.map_err(failed)? {
        Some(row) if !row.flag("ended")? => Ok(Access::UsedUp),
        _ => Ok(Access::Ended),
    }
}

/// The sharer is told of so many accesses.
pub async fn tell(tx: &mut Tx, share: ShareId, accesses: u64) -> Result<()> {
    let tell = sqlx::query(TELL).bind(share.to_string()).bind(number(accesses)?);
    tell.execute(tx.connection()).await.map_err(failed).map(drop)
}

/// Forgets what expired before then.
pub async fn forget_expired(tx: &mut Tx, before: Time) -> Result<()> {
    sqlx::query(FORGET).bind(before.millis()).execute(tx.connection()).await.map_err(failed).map(drop)
}

impl Page {
    /// What the statements take: at this time after this id, or before this time.
    fn begins(&self) -> (i64, String) {
        match self.after {
            Some(Place { created_at, id }) => (created_at.millis(), id.to_string()),
            None => (i64::MAX, String::new()),
        }
    }
}

fn number(count: u64) -> Result<i64> {
    i64::try_from(count).map_err(|_| Error::invalid("max_access_count", "is too large"))
}

fn path(row: &AnyRow) -> Result<SecretPath> {
    SecretPath::parse(&row.text("path")?).map_err(|error| Error::internal(error.detail()))
}

fn state(row: &AnyRow) -> Result<State> {
    Ok(State {
        deleted: row.maybe_time("gone_at")?.is_some(),
        expires_at: row.maybe_time("expires_at")?,
        max_access_count: row.maybe_count("max_access_count")?,
        access_count: row.count("access_count")?,
    })
}

fn read(row: AnyRow) -> Result<Share> {
    let kind: RecipientType = row.parsed("recipient_type")?;
    let recipient = row.maybe_text("recipient_id")?;
    let named = if kind == RecipientType::Agent { "agent" } else { "user" };
    let to = recipient.map(|id| PrincipalId::from_parts(named, &id)).transpose();
    Ok(Share {
        id: row.parsed("id")?,
        org: row.parsed("org_id")?,
        vault: row.parsed("vault_id")?,
        secret: row.parsed("secret_id")?,
        version: row.count("version")?,
        path: path(&row)?,
        by: row.principal("by_type", "by_id")?,
        kind,
        to: to.map_err(|error| Error::internal(error.detail()))?,
        email: row.maybe_text("recipient_email")?,
        record: Attested::from_bytes(row.bytes("record")?),
        salt: row.maybe_bytes("salt")?,
        max_access_count: row.maybe_count("max_access_count")?,
        access_count: row.count("access_count")?,
        created_at: row.time("created_at")?,
        expires_at: row.time("expires_at")?,
        accepted_at: row.maybe_time("accepted_at")?,
        ended: row.maybe_time("declined_at")?.is_some() || row.maybe_time("revoked_at")?.is_some(),
    })
}
