//! Devices that ask to be let in. Each step is one statement that changes a row only from the state before it: of two
//! that answer at once, one does.

use domain::access::{AnswerDevice, Permit};
use domain::{DeviceGrantId, Result, Time, UserId};
use signer_protocol::Attested;
use signer_protocol::device::DeviceGrant;
use sqlx::any::AnyRow;

use crate::row::Columns as _;
use crate::{Store, Tx, failed};

pub struct Device {
    pub id: DeviceGrantId,
    pub code_hash: Vec<u8>,
    pub user_code: String,
    pub client_id: String,
    /// `pending`, `approved`, `denied` or `issued`.
    pub status: String,
    pub user: Option<UserId>,
    pub permission: Option<Attested<DeviceGrant>>,
    /// Whether the last poll came too soon.
    pub hurried: bool,
    pub expires_at: Time,
}

/// What a device is told when it asks.
pub struct NewDevice<'a> {
    pub id: DeviceGrantId,
    pub code_hash: &'a [u8],
    pub user_code: &'a str,
    pub client_id: &'a str,
    /// Seconds.
    pub interval: i64,
    pub created_at: Time,
    pub expires_at: Time,
}

const INSERT: &str = "INSERT INTO devices (id, code_hash, user_code, client_id, status, poll_interval, hurried, \
                      created_at, expires_at) VALUES ($1, $2, $3, $4, 'pending', $5, 0, $6, $7) \
                      ON CONFLICT (user_code) DO NOTHING";
const FORGET: &str = "DELETE FROM devices WHERE expires_at < $1";
/// Looks at the poll before this one: whoever does not wait, waits five seconds longer from then on (RFC 8628 §3.5). A
/// second is let pass, for the network's sake.
const POLL: &str = "UPDATE devices SET polled_at = $2, \
                    hurried = CASE WHEN polled_at > $2 - poll_interval * 1000 + 1000 THEN 1 ELSE 0 END, \
                    poll_interval = CASE WHEN polled_at > $2 - poll_interval * 1000 + 1000 THEN poll_interval + 5 \
                    ELSE poll_interval END \
                    WHERE code_hash = $1 AND expires_at > $2 RETURNING *";
const FIND_LIVE: &str = "SELECT * FROM devices WHERE user_code = $1 AND expires_at > $2";
const APPROVE: &str = "UPDATE devices SET status = 'approved', user_id = $2, permission = $3 \
                       WHERE id = $1 AND status = 'pending' AND expires_at > $4";
const DENY: &str = "UPDATE devices SET status = 'denied', user_id = $2 \
                    WHERE id = $1 AND status = 'pending' AND expires_at > $3";
const ISSUE: &str =
    "UPDATE devices SET status = 'issued', permission = NULL WHERE id = $1 AND status = 'approved'";

/// `false`: another device has this user code.
pub async fn insert(tx: &mut Tx, device: &NewDevice<'_>) -> Result<bool> {
    let insert = sqlx::query(INSERT)
        .bind(device.id.to_string())
        .bind(device.code_hash)
        .bind(device.user_code)
        .bind(device.client_id)
        .bind(device.interval)
        .bind(device.created_at.millis())
        .bind(device.expires_at.millis());
    Ok(insert.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1)
}

/// Forgets devices whose codes have ended before then.
pub async fn forget(tx: &mut Tx, before: Time) -> Result<()> {
    sqlx::query(FORGET).bind(before.millis()).execute(tx.connection()).await.map_err(failed).map(drop)
}

/// The device that asks with its code, and whether it asks too often. `None`: no such code, or it has ended.
pub async fn poll(tx: &mut Tx, code_hash: &[u8], now: Time) -> Result<Option<Device>> {
    let poll = sqlx::query(POLL).bind(code_hash).bind(now.millis());
    poll.fetch_optional(tx.connection()).await.map_err(failed)?.map(read).transpose()
}

/// The facts about the device that shows a user code.
pub async fn facts(store: &Store, user_code: &str, now: Time) -> Result<Option<Device>> {
    let find = sqlx::query(FIND_LIVE).bind(user_code).bind(now.millis());
    find.fetch_optional(&mut *store.read().await?).await.map_err(failed)?.map(read).transpose()
}

/// `false`: somebody has answered already, or the codes have ended.
pub async fn approve(
    tx: &mut Tx,
    may: &Permit<AnswerDevice, UserId>,
    id: DeviceGrantId,
    permission: &Attested<DeviceGrant>,
    now: Time,
) -> Result<bool> {
    let approve = sqlx::query(APPROVE)
        .bind(id.to_string())
        .bind(may.on().to_string())
        .bind(permission.as_bytes())
        .bind(now.millis());
    Ok(approve.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1)
}

/// `false`: somebody has answered already, or the codes have ended.
pub async fn deny(
    tx: &mut Tx,
    may: &Permit<AnswerDevice, UserId>,
    id: DeviceGrantId,
    now: Time,
) -> Result<bool> {
    let deny = sqlx::query(DENY).bind(id.to_string()).bind(may.on().to_string()).bind(now.millis());
    Ok(deny.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1)
}

/// `false`: its token was given out already.
pub async fn issue(tx: &mut Tx, id: DeviceGrantId) -> Result<bool> {
    let issue = sqlx::query(ISSUE).bind(id.to_string());
    Ok(issue.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1)
}

fn read(row: AnyRow) -> Result<Device> {
    let user = row.maybe_text("user_id")?.map(|id| id.parse()).transpose()?;
    Ok(Device {
        id: row.parsed("id")?,
        code_hash: row.bytes("code_hash")?,
        user_code: row.text("user_code")?,
        client_id: row.text("client_id")?,
        status: row.text("status")?,
        user,
        permission: row.maybe_bytes("permission")?.map(Attested::from_bytes),
        hurried: row.flag("hurried")?,
        expires_at: row.time("expires_at")?,
    })
}
