//! Approvals. Each step is one `UPDATE` against the status that it was made from: of several at once, one wins.

use std::time::Duration;

use domain::access::{
    AskToRead, CancelApproval, DecideApproval, Permit, SecretAt, SeeApprovals, SubmitTransaction,
};
use domain::approval::{Approval, Kind, SecretVersion, Status, Step, Target, Terms};
use domain::{AgentId, ApprovalId, Error, OrgId, PrincipalId, Result, SecretPath, Time, TxId};
use signer_protocol::Attested;
use signer_protocol::intent::Intent;
use sqlx::any::AnyRow;

use crate::row::Columns as _;
use crate::{Store, Tx, failed};

/// Of several who ask for the same at once, one makes the row.
const INSERT: &str = "INSERT INTO approvals (id, org_id, kind, requester_type, requester_id, target_type, target_id, \
                      target_version, vault_id, secret_path, summary, risk_tier, reason, policy_id, required, \
                      valid_for_seconds, good_once, given_by, status, uses, expires_at, runs_out_at, created_at, \
                      intent_hash) \
                      VALUES ($1, $2, $3, $4, $5, $19, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, '', \
                      'pending', 0, $17, $17, $18, $20) ON CONFLICT DO NOTHING";
/// What lets a read through, or stands in its way: newest first.
const STANDING: &str = "SELECT * FROM approvals WHERE target_id = $1 AND target_version = $2 AND requester_id = $3 \
                        AND requester_type = $4 AND org_id = $5 AND kind = 'secret_read' AND (status = 'pending' \
                        OR (status = 'approved' AND expires_at > $6 AND (good_once = 0 OR uses = 0)) \
                        OR (status = 'denied' AND decided_at > $7)) ORDER BY id DESC LIMIT 100";
/// With what the signer was asked to accept, for whoever looks at it: a person is shown that, and nothing else.
const FIND: &str = "SELECT a.*, t.intent FROM approvals a LEFT JOIN transactions t ON t.id = a.target_id \
                    AND t.org_id = a.org_id AND a.kind = 'transaction' WHERE a.id = $1 AND a.org_id = $2";
const OF_TRANSACTION: &str = "SELECT a.*, t.intent FROM approvals a LEFT JOIN transactions t ON t.id = a.target_id \
                              AND t.org_id = a.org_id WHERE a.target_id = $1 AND a.org_id = $2 \
                              AND a.kind = 'transaction' ORDER BY a.id DESC LIMIT 1";
/// `$3`: a status or ''; `$4`: one requester's alone, or ''; `$5`: older than this one, or ''. What has run out is expired, though
/// nobody has written it down yet.
const LIST: &str = "SELECT a.*, t.intent FROM approvals a LEFT JOIN transactions t ON t.id = a.target_id \
                    AND t.org_id = a.org_id AND a.kind = 'transaction' WHERE a.org_id = $1 \
                    AND ($3 = '' OR (a.status = $3 AND (a.runs_out_at IS NULL OR a.runs_out_at > $2)) \
                    OR ($3 = 'expired' AND a.runs_out_at <= $2)) \
                    AND ($4 = '' OR a.requester_id = $4) AND ($5 = '' OR a.id < $5) ORDER BY a.id DESC LIMIT $6";
/// Locks the row: what is written back is made from what is read.
const TAKE: &str = "UPDATE approvals SET id = id WHERE id = $1 AND org_id = $2 RETURNING *";
const STEP: &str = "UPDATE approvals SET status = $3, given_by = $4, expires_at = $5, \
                    runs_out_at = $9, uses = $10, decided_by = $6, decision_reason = $7, decided_at = $8 WHERE id = $1 AND org_id = $2 AND status = 'pending'";
/// Waits under terms that count no more.
const SUPERSEDE: &str = "UPDATE approvals SET status = 'expired', runs_out_at = NULL, decided_at = $3 \
                         WHERE id = $1 AND org_id = $2 AND status = 'pending'";
/// Any gateway may do it; the outer condition is checked again once a row is ours.
const EXPIRE: &str = "UPDATE approvals SET status = 'expired', runs_out_at = NULL WHERE runs_out_at <= $1 AND id IN \
                      (SELECT id FROM approvals WHERE runs_out_at <= $1 ORDER BY runs_out_at, id LIMIT $2) RETURNING *";
const IS_DUE: &str = "SELECT COUNT(*) AS due FROM approvals WHERE runs_out_at <= $1";

/// Stores a request. `false`: one waits already for the same requester, secret and version.
pub async fn ask(tx: &mut Tx, may: &Permit<AskToRead, SecretAt>, new: &Approval) -> Result<bool> {
    insert(tx, may.org(), may.by(), new).await
}

/// Stores a transaction's request, with the transaction.
pub async fn ask_for_transaction(
    tx: &mut Tx,
    may: &Permit<SubmitTransaction, AgentId>,
    new: &Approval,
) -> Result<()> {
    match insert(tx, may.org(), may.by(), new).await? {
        true => Ok(()),
        false => Err(Error::internal("a new transaction has an approval already")),
    }
}

async fn insert(tx: &mut Tx, org: OrgId, by: PrincipalId, new: &Approval) -> Result<bool> {
    let (target_type, target_id, hash) = match &new.target {
        Target::Secret(secret) => ("secret", secret.secret.to_string(), None),
        Target::Transaction { tx, intent_hash } => {
            ("transaction", tx.to_string(), Some(intent_hash.to_vec()))
        }
    };
    let secret = new.target.secret();
    let asked = sqlx::query(INSERT)
        .bind(new.id.to_string())
        .bind(org.to_string())
        .bind(new.target.kind().as_str())
        .bind(by.kind())
        .bind(by.uuid())
        .bind(target_id)
        .bind(number(secret.map_or(0, |secret| secret.version))?)
        .bind(secret.map(|secret| secret.vault.to_string()))
        .bind(secret.map(|secret| secret.path.to_string()))
        .bind(&new.summary)
        .bind(new.risk.as_str())
        .bind(new.reason.as_deref())
        .bind(new.policy.map(|policy| policy.to_string()))
        .bind(i64::from(new.terms.approvals))
        .bind(number(new.terms.valid_for.as_secs())?)
        .bind(i64::from(new.terms.once))
        .bind(new.expires_at.millis())
        .bind(new.created_at.millis())
        .bind(target_type)
        .bind(hash);
    Ok(asked.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1)
}

/// What there is for this caller, secret and version: what waits, what is good, and what was denied since `recently`.
pub async fn standing(
    store: &Store,
    may: &Permit<AskToRead, SecretAt>,
    target: &SecretVersion,
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

/// An approval, and of a transaction's what exactly is to be signed: as the row says it, which anybody may have written who
/// writes to the database.
pub struct Found {
    pub approval: Approval,
    pub intent: Option<Attested<Intent>>,
}

/// One of the organisation's; who may see it is decided by its requester.
pub async fn find(store: &Store, may: &Permit<SeeApprovals, OrgId>, id: ApprovalId) -> Result<Option<Found>> {
    one(store, FIND, id.to_string(), *may.on()).await
}

/// That of a transaction.
pub async fn of_transaction(
    store: &Store,
    may: &Permit<SeeApprovals, OrgId>,
    tx: TxId,
) -> Result<Option<Found>> {
    one(store, OF_TRANSACTION, tx.to_string(), *may.on()).await
}

/// One that somebody is about to decide on.
pub async fn look(
    store: &Store,
    may: &Permit<DecideApproval, OrgId>,
    id: ApprovalId,
) -> Result<Option<Found>> {
    one(store, FIND, id.to_string(), *may.on()).await
}

async fn one(store: &Store, find: &'static str, id: String, org: OrgId) -> Result<Option<Found>> {
    let find = sqlx::query(find).bind(id).bind(org.to_string());
    find.fetch_optional(&mut *store.read().await?).await.map_err(failed)?.map(found).transpose()
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
) -> Result<Vec<Found>> {
    let list = sqlx::query(LIST)
        .bind(may.on().to_string())
        .bind(now.millis())
        .bind(which.status.map(Status::as_str).unwrap_or_default())
        .bind(which.of.map(PrincipalId::uuid).unwrap_or_default())
        .bind(which.before.map(|id| id.to_string()).unwrap_or_default())
        .bind(i64::from(which.limit));
    list.fetch_all(&mut *store.read().await?).await.map_err(failed)?.into_iter().map(found).collect()
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
        .bind(after.decided_at.map(Time::millis))
        .bind(after.runs_out_at().map(Time::millis))
        .bind(number(after.uses)?);
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

fn found(row: AnyRow) -> Result<Found> {
    let intent = row.maybe_bytes("intent")?.map(Attested::from_bytes);
    Ok(Found { approval: read(row)?, intent })
}

fn target(row: &AnyRow) -> Result<Target> {
    Ok(match row.parsed("kind")? {
        Kind::SecretRead => Target::Secret(SecretVersion {
            secret: row.parsed("target_id")?,
            version: row.count("target_version")?,
            vault: row.parsed("vault_id")?,
            path: SecretPath::parse(&row.text("secret_path")?).map_err(|e| Error::internal(e.detail()))?,
        }),
        Kind::Transaction => Target::Transaction {
            tx: row.parsed("target_id")?,
            intent_hash: row
                .bytes("intent_hash")?
                .try_into()
                .map_err(|_| Error::internal("an approval's intent_hash is not 32 bytes long"))?,
        },
    })
}

fn read(row: AnyRow) -> Result<Approval> {
    let given = row.text("given_by")?;
    let given = given.split(',').filter(|id| !id.is_empty());
    Ok(Approval {
        id: row.parsed("id")?,
        org: row.parsed("org_id")?,
        requester: row.principal("requester_type", "requester_id")?,
        target: target(&row)?,
        summary: row.text("summary")?,
        risk: row.parsed("risk_tier")?,
        reason: row.maybe_text("reason")?,
        policy: row.maybe_parsed("policy_id")?,
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
