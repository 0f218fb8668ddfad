//! What waits, and what became of it.

use std::time::Duration;

use domain::access::{self, Permit, SeeApprovals};
use domain::approval::{Approval, Kind, Risk, Status, Target};
use domain::{ApprovalId, Error, OrgId, PrincipalId, Result, Time, UserId, VaultId};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::approvals::{self, Found, Which};
use store::chains::Chain;

use super::shown::{self, TransactionShown};
use super::wait::{Named, decided};
use super::words;
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
    /// `secret` or `transaction`
    target_type: &'static str,
    target_id: String,
    /// Of a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    target_version: Option<u64>,
    summary: String,
    risk_tier: Risk,
    #[serde(skip_serializing_if = "Option::is_none")]
    vault_id: Option<VaultId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_path: Option<String>,
    /// Of a transaction: SHA-256 of what exactly is signed, in hex. Sent with a decision, it is for this and nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    intent_hash: Option<String>,
    /// What exactly is signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction: Option<TransactionShown>,
    /// Which of the agent's tx_approval_policy ask for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    causes: Vec<&'static str>,
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
    /// With all that there is to know of it.
    pub async fn whole(cx: &Cx, found: &Found, now: Time) -> Result<Self> {
        let chains = chains(cx, std::slice::from_ref(found)).await?;
        Ok(Self::new(found, &chains, true, now))
    }

    /// Of a read.
    pub fn of_secret(approval: &Approval, now: Time) -> Self {
        let found = Found { approval: approval.clone(), intent: None };
        Self::new(&found, &[], true, now)
    }

    fn new(found: &Found, chains: &[Chain], whole: bool, now: Time) -> Self {
        let Found { approval, intent } = found;
        // What a person is shown is what the signer signs, whatever else stands in the row.
        let intent = intent.as_ref().and_then(|intent| intent.peek().ok());
        let (target_type, target_id, intent_hash) = match &approval.target {
            Target::Secret(secret) => ("secret", secret.secret.to_string(), None),
            Target::Transaction { tx, intent_hash } => {
                ("transaction", tx.to_string(), Some(hex::encode(intent_hash)))
            }
        };
        let secret = approval.target.secret();
        let needed = intent.as_ref().and_then(|intent| intent.approval.as_ref());
        Self {
            id: approval.id,
            kind: approval.target.kind(),
            target_type,
            target_id,
            target_version: secret.map(|secret| secret.version),
            summary: intent
                .as_ref()
                .map_or_else(|| approval.summary.clone(), |intent| shown::summary(intent, chains)),
            risk_tier: needed.map_or(approval.risk, words::risk),
            vault_id: secret.map(|secret| secret.vault),
            secret_path: secret.map(|secret| secret.path.to_string()),
            intent_hash,
            transaction: intent.as_ref().map(|intent| TransactionShown::of(intent, chains, whole)),
            causes: needed
                .into_iter()
                .flat_map(|needed| &needed.causes)
                .map(|cause| words::cause(*cause))
                .collect(),
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

/// The chains that are named, if any transaction is among these.
async fn chains(cx: &Cx, found: &[Found]) -> Result<std::sync::Arc<Vec<Chain>>> {
    match found.iter().any(|found| found.intent.is_some()) {
        true => cx.gateway.chains.all(cx.store()).await,
        false => Ok(std::sync::Arc::default()),
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
        let next_cursor = page.last().filter(|_| found.len() > page.len()).map(|last| last.approval.id);
        let chains = chains(cx, page).await?;
        let shown = page.iter().map(|found| ApprovalResponse::new(found, &chains, false, cx.now()));
        Ok(Reply::of(ApprovalListResponse { approvals: shown.collect(), next_cursor }))
    }
}

/// An answer takes at most 30 seconds, and this one is to be an answer.
const LONGEST: Duration = Duration::from_secs(28);

#[derive(Deserialize, JsonSchema)]
pub struct WaitQuery {
    /// Seconds to wait until it is decided, 0 to 30; what nobody has decided by then, or a moment before 30, is answered as it is.
    #[serde(default)]
    wait: Option<u64>,
}

/// One approval.
pub struct GetApproval;

impl Operation for GetApproval {
    const ROUTE: Route = Route::new(
        "getApproval",
        Method::GET,
        "/v1/approvals/{approval_id}",
        200,
        "One approval: for its requester, and for people of the organisation. With wait, the answer comes once it is decided.",
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
    type Params = decode::From<WaitQuery>;
    type Output = ApprovalResponse;
    type Access = InOrg<SeeApprovals>;

    async fn run(
        cx: &Cx,
        may: Permit<SeeApprovals, OrgId>,
        path: OfApproval,
        decode::From(query): Self::Params,
    ) -> Result<Reply<ApprovalResponse>> {
        let found = decided(cx, &may, Named::ById(path.approval_id), wait(query.wait)?).await?;
        Ok(Reply::of(ApprovalResponse::whole(cx, &found, cx.gateway.clock.now()).await?))
    }
}

fn wait(seconds: Option<u64>) -> Result<Duration> {
    match seconds.unwrap_or_default() {
        seconds @ 0..=30 => Ok(Duration::from_secs(seconds).min(LONGEST)),
        _ => Err(Error::invalid("wait", "must be 0 to 30 seconds")),
    }
}
