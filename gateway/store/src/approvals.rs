//! Approvals. Each step is one `UPDATE` against the status that it was made from: of several at once, one wins.

use std::time::Duration;

use domain::access::{AskToRead, CancelApproval, DecideApproval, Permit, SecretAt, SeeApprovals};
use domain::approval::{Approval, Status, Step, Target, Terms};
use domain::{ApprovalId, Error, OrgId, PrincipalId, Result, SecretPath, Time};
use sqlx::any::AnyRow;

use crate::row::Columns as _;
use crate::{Store, Tx, failed};

/// Of several who ask for the same at once, one makes the row.
const INSERT: &str = "INSERT INTO approvals (id, org_id, kind, requester_type, requester_id, target_type, target_id, \
                      target_version, vault_id, secret_path, summary, risk_tier, reason, policy_id, required, \
                      valid_for_seconds, good_once, given_by, status, uses, expires_at, created_at) \
                      VALUES ($1, $2, $3, $4, $5, 'secret', $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, '', \
                      'pending', 0, $17, $18) ON CONFLICT DO NOTHING";
/// What lets a read through, or stands in its way: newest first.
const STANDING: &str = "SELECT * FROM approvals WHERE target_id = $1 AND target_version = $2 AND requester_id = $3 \
                        AND requester_type = $4 AND org_id = $5 AND kind = 'secret_read' AND (status = 'pending' \
                        OR (status = 'approved' AND expires_at > $6 AND (good_once = 0 OR uses = 0)) \
                        OR (status = 'denied' AND decided_at > $7)) ORDER BY id DESC LIMIT 100";
const FIND: &str = "SELECT * FROM approvals WHERE id = $1 AND org_id = $2";
/// `$3`: a status or ''; `$4`: one requester's alone, or ''; `$5`: older than this one, or ''. What has run out is expired, though
/// nobody has written it down yet.
const LIST: &str = "SELECT * FROM approvals WHERE org_id = $1 \
                    AND ($3 = '' OR (status = $3 AND NOT (status IN ('pending', 'approved') AND expires_at <= $2 \
                    AND NOT (status = 'approved' AND good_once = 1 AND uses > 0))) \
                    OR ($3 = 'expired' AND status IN ('pending', 'approved') AND expires_at <= $2 \
                    AND NOT (status = 'approved' AND good_once = 1 AND uses > 0))) \
                    AND ($4 = '' OR requester_id = $4) AND ($5 = '' OR id < $5) ORDER BY id DESC LIMIT $6";
/// Locks the row: what is written back is made from what is read.
const TAKE: &str = "UPDATE approvals SET id = id WHERE id = $1 AND org_id = $2 RETURNING *";
const STEP: &str = "UPDATE approvals SET status = $3, given_by = $4, expires_at = $5, decided_by = $6, \
                    decision_reason = $7, decided_at = $8 WHERE id = $1 AND org_id = $2 AND status = 'pending'";
/// Waits under terms that count no more.
const SUPERSEDE: &str = "UPDATE approvals SET status = 'expired', decided_at = $3 WHERE id = $1 AND org_id = $2 AND status = 'pending'";
/// Any gateway may do it; the outer condition is checked again once a row is ours.
const EXPIRE: &str = "UPDATE approvals SET status = 'expired' WHERE status IN ('pending', 'approved') AND expires_at <= $1 \
                      AND NOT (status = 'approved' AND good_once = 1 AND uses > 0) AND id IN \
                      (SELECT id FROM approvals WHERE status IN ('pending', 'approved') AND expires_at <= $1 \
                      AND NOT (status = 'approved' AND good_once = 1 AND uses > 0) ORDER BY id LIMIT $2) RETURNING *";
const IS_DUE: &str = "SELECT COUNT(*) AS due FROM approvals WHERE status IN ('pending', 'approved') AND expires_at <= $1 \
                      AND NOT (status = 'approved' AND good_once = 1 AND uses > 0)";

/// Stores a request. `false`: one waits already for the same requester, secret and version.
pub async fn ask(tx: &mut Tx, may: &Permit<AskToRead, SecretAt>, new: &Approval) -> Result<bool> {
    let asked = sqlx::query(INSERT)
        .bind(new.id.to_string())
        .bind(may.org().to_string())
        .bind(new.kind.as_str())
        .bind(may.by().kind())
        .bind(may.by().uuid())
        .bind(new.target.secret.to_string())
        .bind(number(new.target.version)?)
        .bind(may.on().vault.to_string())
        .bind(may.on().path.as_str())
        .bind(&new.summary)
        .bind(new.risk.as_str())
        .bind(new.reason.as_deref())
        .bind(new.policy.to_string())
        .bind(i64::from(new.terms.approvals))
        .bind(number(new.terms.valid_for.as_secs())?)
        .bind(i64::from(new.terms.once))
        .bind(new.expires_at.millis())
        .bind(new.created_at.millis());
    Ok(asked.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1)
}

/// What there is for this caller, secret and version: what waits, what is good, and what was denied since `recently`.
pub async fn standing(
    store: &Store,
    may: &Permit<AskToRead, SecretAt>,
    target: &Target,
    now: Time,
    recently: Time,
) -> Result<Vec<Approval>> {
    let find = sqlx::query(STANDING)
        .bind(target.secret.to_string())
        .bind(number(target.version)?)
        .bind(may.by().uuid())
        .bind(may.by().kind())
        .bind(may.org().to_string())
        .bind(now.millis())
        .bind(recently.millis());
    find.fetch_all(&mut *store.read().await?).await.map_err(failed)?.into_iter().map(read).collect()
}

/// One of the organisation's; who may see it is decided by its requester.
pub async fn find(
    store: &Store,
    may: &Permit<SeeApprovals, OrgId>,
    id: ApprovalId,
) -> Result<Option<Approval>> {
    let find = sqlx::query(FIND).bind(id.to_string()).bind(may.on().to_string());
    find.fetch_optional(&mut *store.read().await?).await.map_err(failed)?.map(read).transpose()
}

/// Which ones a list shows.
pub struct Which {
    pub status: Option<Status>,
    /// One requester's alone.
    pub of: Option<PrincipalId>,
    /// Older than this one.
    pub before: Option<ApprovalId>,
    pub limit: u32,
}

/// The organisation's, newest first.
pub async fn list(
    store: &Store,
    may: &Permit<SeeApprovals, OrgId>,
    which: &Which,
    now: Time,
) -> Result<Vec<Approval>> {
    let list = sqlx::query(LIST)
        .bind(may.on().to_string())
        .bind(now.millis())
        .bind(which.status.map(Status::as_str).unwrap_or_default())
        .bind(which.of.map(PrincipalId::uuid).unwrap_or_default())
        .bind(which.before.map(|id| id.to_string()).unwrap_or_default())
        .bind(i64::from(which.limit));
    list.fetch_all(&mut *store.read().await?).await.map_err(failed)?.into_iter().map(read).collect()
}

/// One that somebody decides on, held until the transaction ends.
pub async fn take(
    tx: &mut Tx,
    may: &Permit<DecideApproval, OrgId>,
    id: ApprovalId,
) -> Result<Option<Approval>> {
    hold(tx, *may.on(), id).await
}

/// One of the caller's own that it cancels, held until the transaction ends.
pub async fn take_own(
    tx: &mut Tx,
    may: &Permit<CancelApproval, OrgId>,
    id: ApprovalId,
) -> Result<Option<Approval>> {
    hold(tx, *may.on(), id).await
}

async fn hold(tx: &mut Tx, org: OrgId, id: ApprovalId) -> Result<Option<Approval>> {
    let take = sqlx::query(TAKE).bind(id.to_string()).bind(org.to_string());
    take.fetch_optional(tx.connection()).await.map_err(failed)?.map(read).transpose()
}

/// Stores a step that was made from a pending one.
///
/// # Errors
/// `Conflict` if somebody was faster.
pub async fn step(tx: &mut Tx, step: &Step) -> Result<()> {
    let after = step.approval();
    let given: Vec<String> = after.given_by.iter().map(ToString::to_string).collect();
    let update = sqlx::query(STEP)
        .bind(after.id.to_string())
        .bind(after.org.to_string())
        .bind(after.status.as_str())
        .bind(given.join(","))
        .bind(after.expires_at.millis())
        .bind(after.decided_by.map(|by| by.to_string()))
        .bind(after.decision_reason.as_deref())
        .bind(after.decided_at.map(Time::millis));
    match update.execute(tx.connection()).await.map_err(failed)?.rows_affected() {
        1 => Ok(()),
        _ => Err(Error::conflict("This approval was decided just now.")),
    }
}

/// Ends one that waits under terms that its policy has no more. `false`: it waits no more.
pub async fn supersede(
    tx: &mut Tx,
    may: &Permit<AskToRead, SecretAt>,
    id: ApprovalId,
    now: Time,
) -> Result<bool> {
    let end = sqlx::query(SUPERSEDE).bind(id.to_string()).bind(may.org().to_string()).bind(now.millis());
    Ok(end.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1)
}

/// Whether any has run out.
pub async fn is_due(store: &Store, now: Time) -> Result<bool> {
    let due = sqlx::query(IS_DUE).bind(now.millis()).fetch_one(&mut *store.read().await?).await;
    due.map_err(failed)?.flag("due")
}

/// Ends what has run out: those that waited in vain, and those that were good for a time that is over.
pub async fn expire(tx: &mut Tx, now: Time, most: i64) -> Result<Vec<Approval>> {
    let expire = sqlx::query(EXPIRE).bind(now.millis()).bind(most);
    expire.fetch_all(tx.connection()).await.map_err(failed)?.into_iter().map(read).collect()
}

fn number(count: u64) -> Result<i64> {
    i64::try_from(count).map_err(Error::internal)
}

fn read(row: AnyRow) -> Result<Approval> {
    let given = row.text("given_by")?;
    let given = given.split(',').filter(|id| !id.is_empty());
    Ok(Approval {
        id: row.parsed("id")?,
        org: row.parsed("org_id")?,
        kind: row.parsed("kind")?,
        requester: row.principal("requester_type", "requester_id")?,
        target: Target {
            secret: row.parsed("target_id")?,
            version: row.count("target_version")?,
            vault: row.parsed("vault_id")?,
            path: SecretPath::parse(&row.text("secret_path")?).map_err(|e| Error::internal(e.detail()))?,
        },
        summary: row.text("summary")?,
        risk: row.parsed("risk_tier")?,
        reason: row.maybe_text("reason")?,
        policy: row.parsed("policy_id")?,
        terms: Terms {
            approvals: u32::try_from(row.count("required")?).map_err(Error::internal)?,
            valid_for: Duration::from_secs(row.count("valid_for_seconds")?),
            once: row.flag("good_once")?,
        },
        given_by: given.map(str::parse).collect::<Result<_>>().map_err(Error::internal)?,
        status: row.parsed("status")?,
        uses: row.count("uses")?,
        expires_at: row.time("expires_at")?,
        decided_by: row
            .maybe_text("decided_by")?
            .map(|id| id.parse())
            .transpose()
            .map_err(|e: Error| Error::internal(e))?,
        decision_reason: row.maybe_text("decision_reason")?,
        decided_at: row.maybe_time("decided_at")?,
        created_at: row.time("created_at")?,
    })
}
