//! Webhooks, and how far each has got in its organisation's chain. One gateway has a webhook at a time, for its turn.

use domain::access::{EndWebhook, ManageWebhooks, Permit, SeeWebhooks};
use domain::webhook::EventPattern;
use domain::{Error, OrgId, Result, Time, UserId, WebhookId};
use signer_protocol::Attested;
use signer_protocol::webhook::WebhookKey;
use sqlx::any::AnyRow;

use crate::row::Columns as _;
use crate::{Store, Tx, failed, organisations};

pub struct Webhook {
    pub id: WebhookId,
    pub org: OrgId,
    pub url: String,
    pub events: Vec<EventPattern>,
    pub description: Option<String>,
    pub active: bool,
    pub key: Attested<WebhookKey>,
    pub progress: Progress,
    pub last_error: Option<String>,
    pub last_delivered_at: Option<Time>,
    pub created_by: UserId,
    pub created_at: Time,
    pub updated_at: Time,
}

/// How far it has got.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The event that is looked at next.
    pub next_sequence: i64,
    /// Failed attempts at it.
    pub attempts: u64,
    /// The next look.
    pub due_at: Time,
    /// Of whoever has it.
    pub turn: i64,
    pub event_failing_since: Option<Time>,
    pub failing_since: Option<Time>,
}

/// An event that did not arrive at the first attempt.
pub struct Trouble {
    pub sequence: i64,
    pub event_id: String,
    pub attempts: u64,
    /// `retrying`, `delivered` or `given_up`
    pub outcome: String,
    pub last_error: String,
    pub first_attempt_at: Time,
    pub last_attempt_at: Time,
}

const LIST: &str = "SELECT * FROM webhooks WHERE org_id = $1 ORDER BY id";
const FIND: &str = "SELECT * FROM webhooks WHERE org_id = $1 AND id = $2";
const COUNT: &str = "SELECT COUNT(*) AS n FROM webhooks WHERE org_id = $1";
/// From the next event on: what has happened before is not told.
const INSERT: &str = "INSERT INTO webhooks (id, org_id, url, events, description, active, key, next_sequence, attempts, \
                      due_at, turn, created_by, created_at, updated_at) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7, COALESCE((SELECT sequence FROM audit_heads WHERE org_id = $2), 0) \
                      + 1, 0, $8, 0, $9, $8, $8)";
/// The turn moves on, so that a delivery under way changes nothing any more. One that was off goes on from now.
const UPDATE: &str = "UPDATE webhooks SET url = $3, events = $4, description = $5, \
                      next_sequence = CASE WHEN active = 0 AND $6 = 1 \
                      THEN COALESCE((SELECT sequence FROM audit_heads WHERE org_id = $1), 0) + 1 ELSE next_sequence END, \
                      active = $6, attempts = 0, due_at = $7, turn = turn + 1, event_failing_since = NULL, \
                      failing_since = NULL, last_error = NULL, updated_at = $7 WHERE org_id = $1 AND id = $2";
const DELETE: &str = "DELETE FROM webhooks WHERE org_id = $1 AND id = $2";
const DELETE_TROUBLES: &str = "DELETE FROM webhook_troubles WHERE webhook_id = $1";
const DUE: &str = "SELECT webhooks.id, webhooks.org_id FROM webhooks JOIN audit_heads ON audit_heads.org_id = webhooks.org_id \
                   WHERE webhooks.active = 1 AND webhooks.due_at <= $1 AND webhooks.next_sequence <= audit_heads.sequence \
                   ORDER BY webhooks.due_at, webhooks.id LIMIT $2";
/// The conditions are looked at again with the row in hand: what somebody else took meanwhile is not due.
const TAKE: &str = "UPDATE webhooks SET due_at = $3, turn = turn + 1 WHERE id = $1 AND active = 1 AND due_at <= $2 RETURNING *";
const ADVANCE: &str = "UPDATE webhooks SET next_sequence = $3, attempts = 0, due_at = $4, event_failing_since = NULL \
                       WHERE id = $1 AND turn = $2";
const DELIVERED: &str = "UPDATE webhooks SET next_sequence = $3, attempts = 0, due_at = $4, event_failing_since = NULL, \
                         failing_since = NULL, last_error = NULL, last_delivered_at = $5 WHERE id = $1 AND turn = $2";
const FAILED: &str = "UPDATE webhooks SET attempts = attempts + 1, due_at = $3, last_error = $4, \
                      event_failing_since = COALESCE(event_failing_since, $5), failing_since = COALESCE(failing_since, $5) \
                      WHERE id = $1 AND turn = $2";
const DISABLE: &str =
    "UPDATE webhooks SET active = 0, last_error = $3, updated_at = $4 WHERE id = $1 AND turn = $2";
/// The turn moves on, so that a delivery under way is the last.
const SWITCH_OFF: &str = "UPDATE webhooks SET active = 0, turn = turn + 1, last_error = $3, updated_at = $4 \
                          WHERE org_id = $1 AND created_by = $2 AND active = 1 RETURNING id";
const TROUBLE: &str = "INSERT INTO webhook_troubles (webhook_id, sequence, event_id, attempts, outcome, last_error, \
                       first_attempt_at, last_attempt_at) VALUES ($1, $2, $3, 1, 'retrying', $4, $5, $5) \
                       ON CONFLICT (webhook_id, sequence) DO UPDATE SET attempts = webhook_troubles.attempts + 1, \
                       last_error = excluded.last_error, last_attempt_at = excluded.last_attempt_at";
const TROUBLE_ENDS: &str = "UPDATE webhook_troubles SET outcome = $3, last_attempt_at = $4 \
                            WHERE webhook_id = $1 AND sequence = $2";
const TROUBLES: &str = "SELECT * FROM webhook_troubles WHERE webhook_id = $1 ORDER BY sequence DESC LIMIT $2";
const FORGET_TROUBLES: &str =
    "DELETE FROM webhook_troubles WHERE outcome <> 'retrying' AND last_attempt_at < $1";

/// The organisation's, oldest first.
pub async fn list(store: &Store, may: &Permit<SeeWebhooks, OrgId>) -> Result<Vec<Webhook>> {
    let list = sqlx::query(LIST).bind(may.on().to_string());
    list.fetch_all(&mut *store.read().await?).await.map_err(failed)?.iter().map(read).collect()
}

pub async fn find(store: &Store, may: &Permit<SeeWebhooks, OrgId>, id: WebhookId) -> Result<Option<Webhook>> {
    let find = sqlx::query(FIND).bind(may.on().to_string()).bind(id.to_string());
    find.fetch_optional(&mut *store.read().await?).await.map_err(failed)?.as_ref().map(read).transpose()
}

/// How many there are; nobody adds one until the transaction ends.
pub async fn hold_count(tx: &mut Tx, may: &Permit<ManageWebhooks, OrgId>) -> Result<u64> {
    organisations::hold(tx, *may.on()).await?;
    let count = sqlx::query(COUNT).bind(may.on().to_string()).fetch_one(tx.connection()).await;
    count.map_err(failed)?.count("n")
}

pub async fn insert(tx: &mut Tx, may: &Permit<ManageWebhooks, OrgId>, new: &Webhook) -> Result<()> {
    sqlx::query(INSERT)
        .bind(new.id.to_string())
        .bind(may.on().to_string())
        .bind(&new.url)
        .bind(patterns(new)?)
        .bind(new.description.as_deref())
        .bind(i64::from(new.active))
        .bind(new.key.as_bytes().to_vec())
        .bind(new.created_at.millis())
        .bind(new.created_by.to_string())
        .execute(tx.connection())
        .await
        .map_err(failed)
        .map(drop)
}

/// The webhook, which nobody else changes until the transaction ends.
pub async fn take_to_change(
    tx: &mut Tx,
    may: &Permit<ManageWebhooks, OrgId>,
    id: WebhookId,
) -> Result<Option<Webhook>> {
    organisations::hold(tx, *may.on()).await?;
    let find = sqlx::query(FIND).bind(may.on().to_string()).bind(id.to_string());
    find.fetch_optional(tx.connection()).await.map_err(failed)?.as_ref().map(read).transpose()
}

/// Changes what people decide, and tries at once. `false`: there is none.
pub async fn update(
    tx: &mut Tx,
    may: &Permit<ManageWebhooks, OrgId>,
    new: &Webhook,
    at: Time,
) -> Result<bool> {
    let update = sqlx::query(UPDATE)
        .bind(may.on().to_string())
        .bind(new.id.to_string())
        .bind(&new.url)
        .bind(patterns(new)?)
        .bind(new.description.as_deref())
        .bind(i64::from(new.active))
        .bind(at.millis());
    Ok(update.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1)
}

/// `false`: there is none.
pub async fn delete(tx: &mut Tx, may: &Permit<EndWebhook, OrgId>, id: WebhookId) -> Result<bool> {
    let delete = sqlx::query(DELETE).bind(may.on().to_string()).bind(id.to_string());
    let deleted = delete.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1;
    if deleted {
        let troubles = sqlx::query(DELETE_TROUBLES).bind(id.to_string());
        troubles.execute(tx.connection()).await.map_err(failed)?;
    }
    Ok(deleted)
}

/// Webhooks for which there may be something, those that have waited longest first.
pub async fn due(store: &Store, now: Time, most: i64) -> Result<Vec<(WebhookId, OrgId)>> {
    let due = sqlx::query(DUE).bind(now.millis()).bind(most);
    let rows = due.fetch_all(&mut *store.read().await?).await.map_err(failed)?;
    rows.iter().map(|row| Ok((row.parsed("id")?, row.parsed("org_id")?))).collect()
}

/// Takes a webhook for a turn. `None`: somebody else has it, or it is not due any more.
pub async fn take(tx: &mut Tx, id: WebhookId, now: Time, lease: Time) -> Result<Option<Webhook>> {
    let take = sqlx::query(TAKE).bind(id.to_string()).bind(now.millis()).bind(lease.millis());
    take.fetch_optional(tx.connection()).await.map_err(failed)?.as_ref().map(read).transpose()
}

/// Goes on to another event, with nothing delivered. `false`: the turn is over.
pub async fn advance(tx: &mut Tx, hook: &Webhook, next: i64, due_at: Time) -> Result<bool> {
    let advance = sqlx::query(ADVANCE).bind(hook.id.to_string()).bind(hook.progress.turn).bind(next);
    let advance = advance.bind(due_at.millis()).execute(tx.connection()).await;
    Ok(advance.map_err(failed)?.rows_affected() == 1)
}

/// The event has arrived; goes on to the next one. `false`: the turn is over.
pub async fn delivered(tx: &mut Tx, hook: &Webhook, sequence: i64, due_at: Time, now: Time) -> Result<bool> {
    let delivered = sqlx::query(DELIVERED)
        .bind(hook.id.to_string())
        .bind(hook.progress.turn)
        .bind(sequence + 1)
        .bind(due_at.millis())
        .bind(now.millis());
    let ours = delivered.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1;
    if ours && hook.progress.attempts > 0 {
        ends(tx, hook, sequence, "delivered", now).await?;
    }
    Ok(ours)
}

/// The event has not arrived; it is tried again then. `false`: the turn is over.
pub async fn failed_at(
    tx: &mut Tx,
    hook: &Webhook,
    (sequence, event_id): (i64, &str),
    why: &str,
    due_at: Time,
    now: Time,
) -> Result<bool> {
    let fail = sqlx::query(FAILED)
        .bind(hook.id.to_string())
        .bind(hook.progress.turn)
        .bind(due_at.millis())
        .bind(why)
        .bind(now.millis());
    let ours = fail.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1;
    if ours {
        let trouble = sqlx::query(TROUBLE)
            .bind(hook.id.to_string())
            .bind(sequence)
            .bind(event_id)
            .bind(why)
            .bind(now.millis());
        trouble.execute(tx.connection()).await.map_err(failed)?;
    }
    Ok(ours)
}

/// The event is given up; goes on to the next one.
pub async fn give_up(tx: &mut Tx, hook: &Webhook, sequence: i64, now: Time) -> Result<bool> {
    let ours = advance(tx, hook, sequence + 1, now).await?;
    if ours {
        ends(tx, hook, sequence, "given_up", now).await?;
    }
    Ok(ours)
}

/// Switches it off. `false`: the turn is over.
pub async fn disable(tx: &mut Tx, hook: &Webhook, why: &str, now: Time) -> Result<bool> {
    let disable = sqlx::query(DISABLE).bind(hook.id.to_string()).bind(hook.progress.turn).bind(why);
    let disable = disable.bind(now.millis()).execute(tx.connection()).await;
    Ok(disable.map_err(failed)?.rows_affected() == 1)
}

/// Switches off all that somebody has set in an organisation. Which those are.
pub async fn switch_off(tx: &mut Tx, org: OrgId, by: UserId, why: &str, now: Time) -> Result<Vec<WebhookId>> {
    let off = sqlx::query(SWITCH_OFF).bind(org.to_string()).bind(by.to_string()).bind(why).bind(now.millis());
    let rows = off.fetch_all(tx.connection()).await.map_err(failed)?;
    rows.iter().map(|row| row.parsed("id")).collect()
}

async fn ends(tx: &mut Tx, hook: &Webhook, sequence: i64, outcome: &str, now: Time) -> Result<()> {
    let ends = sqlx::query(TROUBLE_ENDS).bind(hook.id.to_string()).bind(sequence).bind(outcome);
    ends.bind(now.millis()).execute(tx.connection()).await.map_err(failed).map(drop)
}

/// Events that did not arrive at the first attempt, newest first.
pub async fn troubles(store: &Store, hook: &Webhook, most: u32) -> Result<Vec<Trouble>> {
    let troubles = sqlx::query(TROUBLES).bind(hook.id.to_string()).bind(i64::from(most));
    let rows = troubles.fetch_all(&mut *store.read().await?).await.map_err(failed)?;
    rows.iter()
        .map(|row| {
            Ok(Trouble {
                sequence: row.number("sequence")?,
                event_id: row.text("event_id")?,
                attempts: row.count("attempts")?,
                outcome: row.text("outcome")?,
                last_error: row.text("last_error")?,
                first_attempt_at: row.time("first_attempt_at")?,
                last_attempt_at: row.time("last_attempt_at")?,
            })
        })
        .collect()
}

/// Forgets what came to an end before then.
pub async fn forget_troubles(tx: &mut Tx, before: Time) -> Result<()> {
    let forget = sqlx::query(FORGET_TROUBLES).bind(before.millis());
    forget.execute(tx.connection()).await.map_err(failed).map(drop)
}

fn patterns(hook: &Webhook) -> Result<String> {
    serde_json::to_string(&hook.events).map_err(Error::internal)
}

fn read(row: &AnyRow) -> Result<Webhook> {
    let events = serde_json::from_str(&row.text("events")?);
    Ok(Webhook {
        id: row.parsed("id")?,
        org: row.parsed("org_id")?,
        url: row.text("url")?,
        events: events.map_err(|_| Error::internal("a webhook's patterns are damaged"))?,
        description: row.maybe_text("description")?,
        active: row.flag("active")?,
        key: Attested::from_bytes(row.bytes("key")?),
        progress: Progress {
            next_sequence: row.number("next_sequence")?,
            attempts: row.count("attempts")?,
            due_at: row.time("due_at")?,
            turn: row.number("turn")?,
            event_failing_since: row.maybe_time("event_failing_since")?,
            failing_since: row.maybe_time("failing_since")?,
        },
        last_error: row.maybe_text("last_error")?,
        last_delivered_at: row.maybe_time("last_delivered_at")?,
        created_by: row.parsed("created_by")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
    })
}
