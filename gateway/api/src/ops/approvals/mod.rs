//! Approvals: what waits for people, and what they decide.

mod decide;
mod letters;
mod request;
mod show;

pub use decide::{ApproveApproval, CancelApproval, DecideApproval, DenyApproval};
pub use request::{CreateApproval, again, settle};
pub use show::{ApprovalResponse, GetApproval, ListApprovals};

use domain::approval::{Approval, Status};
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
    if text.as_ref().is_some_and(|t| t.chars().count() > REASON || t.chars().any(super::is_unseen)) {
        return Err(Error::invalid(
            "reason",
            "must have at most 500 characters, none of them a control character or a mark of direction",
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
    let data = [
        ("id", approval.id.to_string()),
        ("kind", approval.kind.as_str().to_owned()),
        ("status", approval.status.as_str().to_owned()),
    ];
    let data = data.into_iter().map(|(key, text)| (key.to_owned(), Value::from(text)));
    let concerns = approval.requester;
    tx.announce(News { org: approval.org, concerns, event, data: data.collect(), at: now });
}

/// What the trail says of an approval, whatever became of it.
pub fn details(approval: &Approval) -> Map<String, Value> {
    let details = [
        ("kind", approval.kind.as_str().into()),
        ("vault_id", approval.target.vault.to_string().into()),
        ("path", approval.target.path.as_str().into()),
        ("version", approval.target.version.into()),
        ("requester", approval.requester.to_string().into()),
        ("policy_id", approval.policy.to_string().into()),
        ("required", approval.terms.approvals.into()),
        ("given", approval.given_by.len().into()),
        ("status", approval.status.as_str().into()),
    ];
    details.into_iter().map(|(key, value): (&str, Value)| (key.to_owned(), value)).collect()
}

/// Until when a request waits.
fn waits_until(cx: &Cx) -> domain::Time {
    cx.now().plus(cx.gateway.settings.approval_wait)
}
