//! People decide; the requester may cancel. Whoever comes second is told what became of it (409).

use domain::access::{self, Permit, SeeApprovals};
use domain::approval::{Approval, Pending, Status, Step};
use domain::{OrMissing as _, OrgId, Result, Role, UserId};
use http::Method;
use schemars::JsonSchema;
use serde::Deserialize;
use store::users::{self, User};
use store::{Tx, approvals};

use super::{ApprovalResponse, announce, details, reason, waiting};
use crate::access::InOrg;
use crate::cx::{Act, Cx};
use crate::decode::{self, NothingElse};
use crate::operation::{Operation, Reply, Route};
use crate::ops::OfApproval;

type May = Permit<access::DecideApproval, OrgId>;

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    Approve,
    Reject,
}

#[derive(Default, Deserialize, JsonSchema)]
pub struct DecisionReason {
    /// At most 500 characters; the requester reads it.
    #[serde(default)]
    reason: Option<String>,
    /// Of a transaction, as the approval showed it: then the decision is for that, and refused if there is something else by now.
    #[serde(default)]
    intent_hash: Option<String>,
    #[serde(flatten)]
    _nothing_else: NothingElse,
}

#[derive(Deserialize, JsonSchema)]
pub struct DecideApprovalRequest {
    decision: Decision,
    #[serde(flatten)]
    with: DecisionReason,
}

/// Approves.
pub struct ApproveApproval;

impl Operation for ApproveApproval {
    const ROUTE: Route = Route::new(
        "approveApproval",
        Method::POST,
        "/v1/approvals/{approval_id}/approve",
        200,
        "Approves, for owners and admins but the requester; where several are required, each of them once, and all of them may \
         still decide when the last one does.",
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
        decide(cx, &may, &path, Decision::Approve, given).await
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
        decide(cx, &may, &path, Decision::Reject, given).await
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
        decide(cx, &may, &path, given.decision, given.with).await
    }
}

async fn decide(
    cx: &Cx,
    may: &May,
    path: &OfApproval,
    decision: Decision,
    given: DecisionReason,
) -> Result<Reply<ApprovalResponse>> {
    let why = reason(given.reason)?;
    let found = approvals::look(cx.store(), may, path.approval_id).await?.or_missing("approval")?;
    if waiting::of(&found.approval).is_some() {
        let seen = given.intent_hash.as_deref();
        let decided = waiting::decide(cx, may, found, decision, why, seen).await?;
        return Ok(Reply::of(ApprovalResponse::whole(cx, &decided, cx.now()).await?));
    }
    let mut act = cx.begin().await?;
    let found = approvals::take(&mut act, may, path.approval_id).await?.or_missing("approval")?;
    let pending = found.pending(cx.now())?;
    let step = match decision {
        Decision::Approve => of_who_may_decide(&mut act, pending).await?.approve(may, why, cx.now())?,
        Decision::Reject => {
            act.instead("approval.deny");
            pending.deny(may, why, cx.now())?
        }
    };
    finish(cx, act, &step).await?;
    Ok(Reply::of(ApprovalResponse::of_secret(step.approval(), cx.now())))
}

/// A yes counts while whoever gave it is an active owner or admin: those of people who have left since, or were lowered or
/// ended, are void.
async fn of_who_may_decide(tx: &mut Tx, pending: Pending) -> Result<Pending> {
    let Approval { org, given_by, .. } = pending.approval();
    if given_by.is_empty() {
        return Ok(pending);
    }
    let decides = |user: &User| {
        user.record.peek().is_ok_and(|record| record.active && record.role.is_some_and(Role::manages))
    };
    let there = users::facts_among(tx, *org, given_by).await?;
    let still: Vec<UserId> = there.iter().filter(|user| decides(user)).map(|user| user.id).collect();
    Ok(pending.by_those(&still))
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
        waiting::cancel(&mut act, step.approval(), cx.now()).await?;
        finish(cx, act, &step).await?;
        waiting::release(&cx.gateway, step.approval()).await;
        let see = access::org::<SeeApprovals>(&cx.subject()?)?;
        let found = approvals::find(cx.store(), &see, path.approval_id).await?.or_missing("approval")?;
        Ok(Reply::of(ApprovalResponse::whole(cx, &found, cx.now()).await?))
    }
}

/// Stores the step, and tells.
pub async fn finish(cx: &Cx, mut act: Act, step: &Step) -> Result<()> {
    let after = step.approval();
    approvals::step(&mut act, step).await?;
    for (key, value) in details(after) {
        act.note(&key, value);
    }
    if after.status != Status::Pending {
        announce(&mut act, after, cx.now());
    }
    act.commit(after.id).await
}
