//! Approvals: what waits for people, and what they decide.

mod decide;
mod letters;
mod request;
mod show;
mod shown;
mod wait;
pub mod waiting;
mod words;

pub use decide::{ApproveApproval, CancelApproval, DecideApproval, DenyApproval};
pub use letters::too_few;
pub use request::{CreateApproval, again, settle};
pub use show::{ApprovalResponse, GetApproval, ListApprovals};
pub use wait::WaitForApproval;

use domain::approval::{Approval, Status, Target};
use domain::unseen::has_unseen;
use domain::{Error, Result};
use serde_json::{Map, Value};
use store::Tx;
use store::events::News;

use crate::cx::Cx;

/// Of a reason, in characters.
const REASON: usize = 500;

/// Why somebody asks or decides: at most 500 characters on one line. An empty one says nothing.
fn reason(text: Option<String>) -> Result<Option<String>> {
    let text = text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    if text.as_deref().is_some_and(|t| t.chars().count() > REASON || has_unseen(t)) {
        return Err(Error::invalid(
            "reason",
            "must have at most 500 characters, none of them a control character, an invisible one or a mark of direction",
        ));
    }
    Ok(text)
}

/// Tells dashboards and waiting agents what became of an approval, when the transaction commits.
pub fn announce(tx: &mut Tx, approval: &Approval, now: domain::Time) {
    let event = match approval.status {
        Status::Pending => "approval.requested",
        Status::Approved => "approval.approved",
        Status::Denied => "approval.denied",
        Status::Expired => "approval.expired",
        Status::Cancelled => "approval.cancelled",
    };
    let mut data = Map::new();
    data.insert("id".into(), approval.id.to_string().into());
    data.insert("kind".into(), approval.target.kind().as_str().into());
    data.insert("status".into(), approval.status.as_str().into());
    if let Some(tx) = approval.target.transaction() {
        data.insert("transaction_id".into(), tx.to_string().into());
    }
    let concerns = approval.requester;
    tx.announce(News { org: approval.org, concerns, event, data, at: now });
}

/// What the trail says of an approval, whatever became of it.
pub fn details(approval: &Approval) -> Map<String, Value> {
    let mut details = Map::new();
    let mut note = |key: &str, value: Value| details.insert(key.to_owned(), value);
    note("kind", approval.target.kind().as_str().into());
    match &approval.target {
        Target::Secret(secret) => {
            note("vault_id", secret.vault.to_string().into());
            note("path", secret.path.as_str().into());
            note("version", secret.version.into());
        }
        Target::Transaction { tx, intent_hash } => {
            note("transaction_id", tx.to_string().into());
            note("intent_hash", hex::encode(intent_hash).into());
        }
    }
    note("requester", approval.requester.to_string().into());
    if let Some(policy) = approval.policy {
        note("policy_id", policy.to_string().into());
    }
    note("required", approval.terms.approvals.into());
    note("given", approval.given_by.len().into());
    note("status", approval.status.as_str().into());
    details
}

/// Until when a request waits.
fn waits_until(cx: &Cx) -> domain::Time {
    cx.now().plus(cx.gateway.settings.approval_wait)
}
