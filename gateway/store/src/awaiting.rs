//! Transactions that wait for people: they have no nonce, and nobody works on them.

use domain::access::{DecideTransaction, Permit};
use domain::transaction::Status;
use domain::{ApprovalId, Error, OrgId, Result, Time, TxId};
use signer_protocol::Attested;
use signer_protocol::intent::Intent;

use crate::row::Columns as _;
use crate::{Store, Tx, failed};

/// In the transaction that has made the row.
const WAIT: &str = "UPDATE transactions SET status = 'awaiting_approval', approval_id = $2 \
                    WHERE id = $1 AND status = 'pending' AND nonce IS NULL";
const INTENT: &str = "SELECT intent FROM transactions WHERE id = $1 AND org_id = $2";
const GO_ON: &str = "UPDATE transactions SET status = 'pending', lease_until = $4, updated_at = $5 \
                     WHERE id = $1 AND approval_id = $2 AND org_id = $3 AND status = 'awaiting_approval'";
const END: &str = "UPDATE transactions SET status = $4, error_message = $5, updated_at = $6 \
                   WHERE id = $1 AND approval_id = $2 AND org_id = $3 AND status = 'awaiting_approval'";

/// A transaction of an approval.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    pub tx: TxId,
    pub approval: ApprovalId,
    pub org: OrgId,
}

/// Has a transaction that was just stored wait.
pub async fn wait(tx: &mut Tx, id: TxId, approval: ApprovalId) -> Result<()> {
    let wait = sqlx::query(WAIT).bind(id.to_string()).bind(approval.to_string());
    match wait.execute(tx.connection()).await.map_err(failed)?.rows_affected() {
        1 => Ok(()),
        _ => Err(Error::internal("a transaction that was just stored is not pending")),
    }
}

/// What the signer has accepted, for whoever has it approved or denied.
pub async fn intent(
    store: &Store,
    may: &Permit<DecideTransaction, OrgId>,
    id: TxId,
) -> Result<Option<Attested<Intent>>> {
    let find = sqlx::query(INTENT).bind(id.to_string()).bind(may.on().to_string());
    let row = find.fetch_optional(&mut *store.read().await?).await.map_err(failed)?;
    row.map(|row| row.bytes("intent").map(Attested::from_bytes)).transpose()
}

/// `awaiting_approval → pending`, held by whoever carries it until `lease`.
///
/// # Errors
/// `Conflict` if it waits no more.
pub async fn go_on(tx: &mut Tx, which: Waiting, lease: Time, now: Time) -> Result<()> {
    let go_on = sqlx::query(GO_ON)
        .bind(which.tx.to_string())
        .bind(which.approval.to_string())
        .bind(which.org.to_string())
        .bind(lease.millis())
        .bind(now.millis());
    moved(go_on.execute(tx.connection()).await.map_err(failed)?.rows_affected())
}

/// `awaiting_approval → denied | failed`, for good.
///
/// # Errors
/// `Conflict` if it waits no more.
pub async fn end(tx: &mut Tx, which: Waiting, to: Status, why: &str, now: Time) -> Result<()> {
    moved(end_as(tx, which, to, why, now).await?)
}

async fn end_as(tx: &mut Tx, which: Waiting, to: Status, why: &str, now: Time) -> Result<u64> {
    if !Status::AwaitingApproval.may_become(to) || !to.is_final() {
        return Err(Error::internal(format!("a transaction that waits can't end as {}", to.as_str())));
    }
    let end = sqlx::query(END)
        .bind(which.tx.to_string())
        .bind(which.approval.to_string())
        .bind(which.org.to_string())
        .bind(to.as_str())
        .bind(why)
        .bind(now.millis());
    Ok(end.execute(tx.connection()).await.map_err(failed)?.rows_affected())
}

/// `awaiting_approval → expired`, where it still waits.
pub async fn expire(tx: &mut Tx, which: Waiting, now: Time) -> Result<()> {
    end_as(tx, which, Status::Expired, "Nobody approved it in time.", now).await.map(drop)
}

fn moved(rows: u64) -> Result<()> {
    match rows {
        1 => Ok(()),
        _ => Err(Error::conflict("The transaction waits for this approval no more; look at it again.")),
    }
}
