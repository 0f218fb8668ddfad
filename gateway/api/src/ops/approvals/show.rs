//! What waits, and what became of it.

use domain::access::{self, Permit, SeeApprovals};
use domain::approval::{Approval, Kind, Risk, Status};
use domain::{
    ApprovalId, Error, OrMissing as _, OrgId, PrincipalId, Result, SecretId, Time, UserId, VaultId,
};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::approvals::{self, Which};

use crate::access::InOrg;
use crate::cx::Cx;
use crate::decode;
use crate::operation::{Operation, Reply, Route};
use crate::ops::OfApproval;
use crate::tool::{Effect, Tool, arg};

#[derive(Serialize, JsonSchema)]
pub struct ApprovalResponse {
    id: ApprovalId,
    kind: Kind,
    /// `secret`
    target_type: &'static str,
    target_id: SecretId,
    target_version: u64,
    summary: String,
    risk_tier: Risk,
    vault_id: VaultId,
    secret_path: String,
    requester_id: String,
    requester_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_id: Option<String>,
    reason: Option<String>,
    /// So many different people must approve.
    required: u32,
    /// So many have.
    given: usize,
    /// Who has, in their order.
    given_by: Vec<UserId>,
    status: Status,
    /// Whether it is good for one use, or for any number until it expires.
    once: bool,
    uses: u64,
    /// While it waits, the end of waiting; once approved, the end of its validity.
    expires_at: Time,
    decided_by: Option<UserId>,
    decision_reason: Option<String>,
    decided_at: Option<Time>,
    created_at: Time,
}

impl ApprovalResponse {
    pub fn of(approval: &Approval, now: Time) -> Self {
        Self {
            id: approval.id,
            kind: approval.kind,
            target_type: "secret",
            target_id: approval.target.secret,
            target_version: approval.target.version,
            summary: approval.summary.clone(),
            risk_tier: approval.risk,
            vault_id: approval.target.vault,
            secret_path: approval.target.path.to_string(),
            requester_id: approval.requester.uuid(),
            requester_type: approval.requester.kind(),
            agent_id: matches!(approval.requester, PrincipalId::Agent(_)).then(|| approval.requester.uuid()),
            reason: approval.reason.clone(),
            required: approval.terms.approvals,
            given: approval.given_by.len(),
            given_by: approval.given_by.clone(),
            status: approval.status_at(now),
            once: approval.terms.once,
            uses: approval.uses,
            expires_at: approval.expires_at,
            decided_by: approval.decided_by,
            decision_reason: approval.decision_reason.clone(),
            decided_at: approval.decided_at,
            created_at: approval.created_at,
        }
    }
}

#[derive(Deserialize, JsonSchema)]
pub struct ApprovalsQuery {
    #[serde(default)]
    status: Option<Status>,
    /// At most so many: 1 to 200, 50 if left out.
    #[serde(default)]
    limit: Option<u32>,
    /// As `next_cursor` of the page before gives it.
    #[serde(default)]
    cursor: Option<ApprovalId>,
}

#[derive(Serialize, JsonSchema)]
pub struct ApprovalListResponse {
    approvals: Vec<ApprovalResponse>,
    /// Where the next page begins; left out on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<ApprovalId>,
}

/// Approvals that the caller may see.
pub struct ListApprovals;

impl Operation for ListApprovals {
    const ROUTE: Route = Route::new(
        "listApprovals",
        Method::GET,
        "/v1/approvals",
        200,
        "Approvals, newest first: to people all of their organisation, to agents, and through scopes, one's own.",
    );
    type Path = ();
    type Params = decode::From<ApprovalsQuery>;
    type Output = ApprovalListResponse;
    type Access = InOrg<SeeApprovals>;

    async fn run(
        cx: &Cx,
        may: Permit<SeeApprovals, OrgId>,
        (): (),
        decode::From(query): Self::Params,
    ) -> Result<Reply<ApprovalListResponse>> {
        let limit = query.limit.unwrap_or(50);
        if !(1..=200).contains(&limit) {
            return Err(Error::invalid("limit", "must be 1 to 200"));
        }
        let of = (!access::sees_all_approvals(&cx.subject()?)).then_some(may.by());
        // One more tells whether there is another page.
        let which = Which { status: query.status, of, before: query.cursor, limit: limit + 1 };
        let found = approvals::list(cx.store(), &may, &which, cx.now()).await?;
        let page = &found[..found.len().min(limit as usize)];
        let next_cursor = page.last().filter(|_| found.len() > page.len()).map(|last| last.id);
        let shown = page.iter().map(|approval| ApprovalResponse::of(approval, cx.now()));
        Ok(Reply::of(ApprovalListResponse { approvals: shown.collect(), next_cursor }))
    }
}

/// One approval.
pub struct GetApproval;

impl Operation for GetApproval {
    const ROUTE: Route = Route::new(
        "getApproval",
        Method::GET,
        "/v1/approvals/{approval_id}",
        200,
        "One approval: for its requester, and for people of the organisation.",
    )
    .tool(
        Tool::new(
            "check_approval",
            Effect::Reads,
            "Tells what became of a request for approval: pending, approved, denied, expired, cancelled. While it is pending, do \
             something else, or look again in a minute; once approved, repeat what you asked for; if denied, ask your user.",
        )
        .takes(&[arg("approval_id").about("As the refusal, or request_approval, names it.")]),
    );
    type Path = OfApproval;
    type Params = ();
    type Output = ApprovalResponse;
    type Access = InOrg<SeeApprovals>;

    async fn run(
        cx: &Cx,
        may: Permit<SeeApprovals, OrgId>,
        path: OfApproval,
        (): (),
    ) -> Result<Reply<ApprovalResponse>> {
        let all = access::sees_all_approvals(&cx.subject()?);
        let found = approvals::find(cx.store(), &may, path.approval_id).await?;
        let seen = found.filter(|approval| all || approval.requester == may.by()).or_missing("approval")?;
        Ok(Reply::of(ApprovalResponse::of(&seen, cx.now())))
    }
}
