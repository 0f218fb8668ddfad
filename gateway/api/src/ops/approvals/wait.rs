//! Waiting for people, for those who can't listen to events.

use std::time::Duration;

use domain::access::{self, Permit, SeeApprovals};
use domain::approval::{Approval, Kind, Status};
use domain::{ApprovalId, Error, OrMissing as _, OrgId, Result, Time, TxId};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::approvals::{self, Found};
use tokio::time::Instant;

use super::ApprovalResponse;
use crate::access::InOrg;
use crate::cx::Cx;
use crate::decode;
use crate::operation::{Operation, Reply, Route};
use crate::streams;
use crate::tool::{Default as Or, Effect, Tool, arg};

/// In seconds: less than a request may take.
const MOST: u64 = 25;

#[derive(Deserialize, JsonSchema)]
pub struct WaitQuery {
    #[serde(default)]
    approval_id: Option<ApprovalId>,
    /// A transaction that awaits approval, in place of approval_id.
    #[serde(default)]
    tx_id: Option<TxId>,
    /// 0 to 25; 20 when left out.
    #[serde(default)]
    timeout_seconds: Option<u64>,
}

#[derive(Serialize, JsonSchema)]
pub struct WaitResponse {
    /// Whether people have decided, or nobody will any more.
    decided: bool,
    /// What to do now.
    next: &'static str,
    approval: ApprovalResponse,
}

/// Waits until people have decided.
pub struct WaitForApproval;

impl Operation for WaitForApproval {
    const ROUTE: Route = Route::new(
        "waitForApproval",
        Method::GET,
        "/v1/approvals/wait",
        200,
        "Waits until people have decided on an approval, at most 25 seconds; then says what to do next. For its requester, and for \
         people of the organisation.",
    )
    .tool(
        Tool::new(
            "wait_for_approval",
            Effect::Reads,
            "Waits for people to decide on a transaction that awaits their approval, or on a read of a secret that does: answers \
             as soon as they have, else after timeout_seconds. decided tells which, and next what to do. People may take hours: \
             call it again as long as it makes sense, or go on with other work and come back.",
        )
        .takes(&[
            arg("tx_id").about("The id of a transaction whose status is awaiting_approval."),
            arg("approval_id").about("Or the id of the approval itself."),
            arg("timeout_seconds").or(Or::Number(20)).about("0 to 25."),
        ]),
    );
    type Path = ();
    type Params = decode::From<WaitQuery>;
    type Output = WaitResponse;
    type Access = InOrg<SeeApprovals>;

    async fn run(
        cx: &Cx,
        may: Permit<SeeApprovals, OrgId>,
        (): (),
        decode::From(query): Self::Params,
    ) -> Result<Reply<WaitResponse>> {
        let seconds = query.timeout_seconds.unwrap_or(20);
        if seconds > MOST {
            return Err(Error::invalid("timeout_seconds", format!("must be 0 to {MOST}")));
        }
        let named = match (query.approval_id, query.tx_id) {
            (Some(id), None) => Named::ById(id),
            (None, Some(tx)) => Named::ByTransaction(tx),
            _ => return Err(Error::invalid("approval_id", "or tx_id must be given, and not both")),
        };
        let found = decided(cx, &may, named, Duration::from_secs(seconds)).await?;
        let now = cx.gateway.clock.now();
        let status = found.approval.status_at(now);
        let next = next(found.approval.target.kind(), status);
        let approval = ApprovalResponse::whole(cx, &found, now).await?;
        Ok(Reply::of(WaitResponse { decided: status != Status::Pending, next, approval }))
    }
}

/// How an approval is named.
#[derive(Clone, Copy)]
pub enum Named {
    ById(ApprovalId),
    /// By the transaction that waits for it.
    ByTransaction(TxId),
}

/// One that the caller may see.
pub async fn seen(cx: &Cx, may: &Permit<SeeApprovals, OrgId>, named: Named) -> Result<Found> {
    let found = match named {
        Named::ById(id) => approvals::find(cx.store(), may, id).await?,
        Named::ByTransaction(tx) => approvals::of_transaction(cx.store(), may, tx).await?,
    };
    let all = access::sees_all_approvals(&cx.subject()?);
    found.filter(|found| all || found.approval.requester == may.by()).or_missing("approval")
}

/// As [`seen`], once it is decided, or the time is over.
pub async fn decided(
    cx: &Cx,
    may: &Permit<SeeApprovals, OrgId>,
    named: Named,
    at_most: Duration,
) -> Result<Found> {
    if at_most.is_zero() {
        return seen(cx, may, named).await;
    }
    let end = Instant::now() + at_most;
    // First listen, then look at what there is.
    let mut news = cx.gateway.streams.news_for(may.by(), may.org())?;
    loop {
        let Found { approval, .. } = seen(cx, may, named).await?;
        let now = cx.gateway.clock.now();
        // Nobody tells of what runs out by itself.
        let until = end.min(Instant::now() + left(&approval, now));
        if approval.status_at(now) != Status::Pending {
            break;
        }
        let id = approval.id.to_string();
        let told = tokio::select! {
            told = news.about(&id, until) => told,
            () = cx.hung_up() => false,
        };
        if !told {
            break;
        }
    }
    // Who was shut out meanwhile is told as little as by a request of now.
    streams::still_let_in(&cx.gateway, cx.caller()?, cx.address).await?;
    seen(cx, may, named).await
}

/// Until it expires.
fn left(approval: &Approval, now: Time) -> Duration {
    let left = approval.expires_at.millis().saturating_sub(now.millis());
    Duration::from_millis(u64::try_from(left).unwrap_or_default())
}

fn next(kind: Kind, status: Status) -> &'static str {
    match (kind, status) {
        (_, Status::Pending) => "People have not decided yet. Call this again, or come back later.",
        (Kind::Transaction, Status::Approved) => {
            "People have approved it, and it is being sent: ask get_transaction what became of it. Don't submit it again."
        }
        (Kind::SecretRead, Status::Approved) => "People have approved it: make the same read again.",
        (_, Status::Denied) => {
            "People have denied it, for good. Read decision_reason, and don't ask for the same thing again unless they tell you to."
        }
        (_, Status::Expired) => "Nobody decided in time. Ask again if it is still needed.",
        (_, Status::Cancelled) => "It was taken back. Ask again if it is needed after all.",
    }
}
