//! People decide; the requester may cancel. Whoever comes second is told what became of it (409).

use domain::access::{self, Permit};
use domain::approval::{Status, Step};
use domain::{OrMissing as _, OrgId, Result};
use http::Method;
use schemars::JsonSchema;
use serde::Deserialize;
use store::approvals;

use super::{ApprovalResponse, announce, details, reason};
use crate::access::InOrg;
use crate::cx::{Act, Cx};
use crate::decode::{self, NothingElse};
use crate::operation::{Operation, Reply, Route};
use crate::ops::OfApproval;

type May = Permit<access::DecideApproval, OrgId>;

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Decision {
    Approve,
    Reject,
}

#[derive(Default, Deserialize, JsonSchema)]
pub struct DecisionReason {
    /// At most 500 characters; the requester reads it.
    #[serde(default)]
    reason: Option<String>,
    #[serde(flatten)]
    _nothing_else: NothingElse,
}

#[derive(Deserialize, JsonSchema)]
pub struct DecideApprovalRequest {
    decision: Decision,
    /// At most 500 characters; the requester reads it.
    #[serde(default)]
    reason: Option<String>,
    #[serde(flatten)]
    _nothing_else: NothingElse,
}

/// Approves.
pub struct ApproveApproval;

impl Operation for ApproveApproval {
    const ROUTE: Route = Route::new(
        "approveApproval",
        Method::POST,
        "/v1/approvals/{approval_id}/approve",
        200,
        "Approves, for owners and admins but the requester; where several are required, each of them once.",
    )
    .audited("approval.approve", "approval");
    type Path = OfApproval;
    type Params = decode::Maybe<DecisionReason>;
    type Output = ApprovalResponse;
    type Access = InOrg<access::DecideApproval>;

    async fn run(
        cx: &Cx,
        may: May,
        path: OfApproval,
        decode::Maybe(given): Self::Params,
    ) -> Result<Reply<ApprovalResponse>> {
        decide(cx, &may, &path, Decision::Approve, given.reason).await
    }
}

/// Denies.
pub struct DenyApproval;

impl Operation for DenyApproval {
    const ROUTE: Route = Route::new(
        "denyApproval",
        Method::POST,
        "/v1/approvals/{approval_id}/deny",
        200,
        "Denies, for owners and admins but the requester; one is enough.",
    )
    .audited("approval.deny", "approval");
    type Path = OfApproval;
    type Params = decode::Maybe<DecisionReason>;
    type Output = ApprovalResponse;
    type Access = InOrg<access::DecideApproval>;

    async fn run(
        cx: &Cx,
        may: May,
        path: OfApproval,
        decode::Maybe(given): Self::Params,
    ) -> Result<Reply<ApprovalResponse>> {
        decide(cx, &may, &path, Decision::Reject, given.reason).await
    }
}

/// Approves or denies, as newer clients say it.
pub struct DecideApproval;

impl Operation for DecideApproval {
    const ROUTE: Route = Route::new(
        "decideApproval",
        Method::POST,
        "/v1/approvals/{approval_id}/decide",
        200,
        "Approves or denies: decision is approve or reject.",
    )
    .audited("approval.approve", "approval");
    type Path = OfApproval;
    type Params = decode::From<DecideApprovalRequest>;
    type Output = ApprovalResponse;
    type Access = InOrg<access::DecideApproval>;

    async fn run(
        cx: &Cx,
        may: May,
        path: OfApproval,
        decode::From(given): Self::Params,
    ) -> Result<Reply<ApprovalResponse>> {
        decide(cx, &may, &path, given.decision, given.reason).await
    }
}

async fn decide(
    cx: &Cx,
    may: &May,
    path: &OfApproval,
    decision: Decision,
    why: Option<String>,
) -> Result<Reply<ApprovalResponse>> {
    let why = reason(why)?;
    let mut act = cx.begin().await?;
    let found = approvals::take(&mut act, may, path.approval_id).await?.or_missing("approval")?;
    let pending = found.pending(cx.now())?;
    let step = match decision {
        Decision::Approve => pending.approve(may, why, cx.now())?,
        Decision::Reject => {
            act.instead("approval.deny");
            pending.deny(may, why, cx.now())?
        }
    };
    finish(cx, act, &step).await
}

/// Takes a request back.
pub struct CancelApproval;

impl Operation for CancelApproval {
    const ROUTE: Route = Route::new(
        "cancelApproval",
        Method::POST,
        "/v1/approvals/{approval_id}/cancel",
        200,
        "Takes a request back that is needed no more; for its requester, while it waits.",
    )
    .audited("approval.cancel", "approval");
    type Path = OfApproval;
    type Params = ();
    type Output = ApprovalResponse;
    type Access = InOrg<access::CancelApproval>;

    async fn run(
        cx: &Cx,
        may: Permit<access::CancelApproval, OrgId>,
        path: OfApproval,
        (): (),
    ) -> Result<Reply<ApprovalResponse>> {
        let all = access::sees_all_approvals(&cx.subject()?);
        let mut act = cx.begin().await?;
        let found = approvals::take_own(&mut act, &may, path.approval_id).await?;
        // Whoever may not see it learns of nothing.
        let found = found.filter(|approval| all || approval.requester == may.by()).or_missing("approval")?;
        let step = found.pending(cx.now())?.cancel(&may, cx.now())?;
        finish(cx, act, &step).await
    }
}

async fn finish(cx: &Cx, mut act: Act, step: &Step) -> Result<Reply<ApprovalResponse>> {
    let after = step.approval();
    approvals::step(&mut act, step).await?;
    for (key, value) in details(after) {
        act.note(&key, value);
    }
    if after.status != Status::Pending {
        announce(&mut act, after, cx.now());
    }
    act.commit(after.id).await?;
    Ok(Reply::of(ApprovalResponse::of(after, cx.now())))
}
