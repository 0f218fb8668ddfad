//! Asking for an approval: by the read that needs it, or ahead of it.

use std::time::Duration;

use domain::access::{self, AskToRead, Asked, Permit, Reading, SecretAt};
use domain::approval::{Approval, Risk, SecretVersion, Status, Target};
use domain::limit::Window;
use domain::{AgentId, ApprovalId, Error, OrMissing as _, Result, SecretPath, VaultId};
use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use store::approvals;
use store::secrets::{self, Version, versions};
use store::vaults::Vault;

use super::{ApprovalResponse, announce, details, letters, reason, waits_until};
use crate::access::{Agents, MayRead};
use crate::cx::Cx;
use crate::decode::{self, NothingElse};
use crate::operation::{Operation, Reply, Route};
use crate::ops::secrets::may_be_read;
use crate::throttle;
use crate::tool::{Effect, Tool, arg};

/// Whoever was denied asks nobody again for so long, neither by reading nor by a request.
const AFTER_A_NO: Duration = Duration::from_secs(60 * 60);
/// Requests of one principal: each is shown to people.
pub const REQUESTS: Window = Window::new(60, Duration::from_secs(60 * 60));
/// Somebody else may ask, decide or cancel at the same moment; more often than that is no accident.
const TRIES: u32 = 4;

/// A read that people must approve: leave for it where they have; else it is asked for, or found waiting, and refused.
///
/// # Errors
/// `Forbidden` of the type `approval_required`, with the id of the request that waits or was denied; else as reading it would be
/// refused with an approval.
pub async fn settle(cx: &Cx, asked: Asked, version: &Version) -> Result<MayRead> {
    // What can't be read anyway is asked of nobody.
    may_be_read(cx, version)?;
    let target = target(&asked, version);
    for _ in 0..TRIES {
        let standing = standing(cx, &asked, &target).await?;
        let of = |status: Status| standing.iter().find(|a| a.status == status && asked.is_for(a));
        if let Some(good) = standing.iter().find(|a| asked.is_for(a) && a.is_good(cx.now())) {
            let (id, number) = (good.id, target.version);
            let may = asked.granted(good, cx.now());
            return may
                .map(|may| MayRead::approved(may, id, number))
                .ok_or_else(|| Error::internal("a good approval grants nothing"));
        }
        if let Some(waiting) = of(Status::Pending).filter(|a| a.expires_at > cx.now()) {
            return Err(required(waiting));
        }
        if let Some(denied) = of(Status::Denied) {
            return Err(refused(denied));
        }
        if let Some(new) = request(cx, &asked, &target, version, &standing, None).await? {
            return Err(required(&new));
        }
    }
    Err(Error::conflict("This read's approval is being decided just now; try again."))
}

/// A read by an approval could not be counted: the approval, or the version's own count, was used up by another at the same time.
pub async fn again(cx: &Cx, vault: &Vault, version: &Version) -> Error {
    let settled = async {
        let policies = cx.policies().await?;
        match access::read(&cx.subject()?, &vault.facts(), &policies, version.path.clone())? {
            Reading::Now(_) => Ok(()),
            Reading::Asked(asked) => {
                let at = asked.may().on();
                let version =
                    versions::facts(cx.store(), at, version.version).await?.or_missing("version")?;
                settle(cx, asked, &version).await.map(drop)
            }
        }
    };
    settled.await.err().unwrap_or_else(|| {
        Error::conflict("The read could not be counted: what allows it changed just now. Try again.")
    })
}

fn target(asked: &Asked, version: &Version) -> SecretVersion {
    let SecretAt { vault, path } = asked.may().on().clone();
    SecretVersion { secret: version.id, version: version.version, vault, path }
}

async fn standing(cx: &Cx, asked: &Asked, target: &SecretVersion) -> Result<Vec<Approval>> {
    let recently = cx.now().minus(AFTER_A_NO);
    approvals::standing(cx.store(), asked.may(), target, cx.now(), recently).await
}

/// Asks. `None`: somebody else does at this moment.
async fn request(
    cx: &Cx,
    asked: &Asked,
    target: &SecretVersion,
    version: &Version,
    standing: &[Approval],
    reason: Option<String>,
) -> Result<Option<Approval>> {
    let may = asked.may();
    let (policy, terms) = asked.terms().ok_or_else(|| Error::internal("no policy asks for an approval"))?;
    let new = Approval {
        id: ApprovalId::new(),
        org: may.org(),
        requester: may.by(),
        target: Target::Secret(target.clone()),
        summary: format!("Read {}, version {}.", target.path, target.version),
        risk: Risk::of_reading(version.kind),
        reason,
        policy: Some(policy),
        terms,
        given_by: Vec::new(),
        status: Status::Pending,
        uses: 0,
        expires_at: waits_until(cx),
        decided_by: None,
        decision_reason: None,
        decided_at: None,
        created_at: cx.now(),
    };
    let letters = letters::of(cx, &new).await?;
    let mut act = cx.begin_as("approval.request", "approval").await?;
    if let Some(stale) = standing.iter().find(|a| a.status == Status::Pending) {
        end(cx, &mut act, may, stale).await?;
    }
    if !approvals::ask(&mut act, may, &new).await? {
        return Ok(None);
    }
    let (who, now) = (may.by().to_string(), cx.now());
    throttle::take_within(&mut act, "approvals", &[&who], REQUESTS, now).await?;
    for (key, value) in details(&new) {
        act.note(&key, value);
    }
    announce(&mut act, &new, now);
    letters.queue(&mut act, &new, now).await?;
    act.commit(new.id).await?;
    Ok(Some(new))
}

/// One that waits, but has run out, or is under terms that the policy has no more.
async fn end(
    cx: &Cx,
    act: &mut crate::cx::Act,
    may: &Permit<AskToRead, SecretAt>,
    stale: &Approval,
) -> Result<()> {
    if approvals::supersede(act, may, stale.id, cx.now()).await? {
        let ended = Approval { status: Status::Expired, ..stale.clone() };
        act.also("approval.expire", "approval", ended.id, details(&ended))?;
        announce(act, &ended, cx.now());
    }
    Ok(())
}

/// What a read that waits is told. The sentence is all that a model sees, so it names the request.
fn required(waiting: &Approval) -> Error {
    with_id(
        waiting,
        format!(
            "People must approve this read first. Approval request {} waits for an owner or admin until {}. Wait until it is \
             approved (GET /v1/approvals/{} or the events say so), then make the same call again.",
            waiting.id, waiting.expires_at, waiting.id
        ),
    )
}

fn refused(denied: &Approval) -> Error {
    with_id(
        denied,
        format!(
            "An owner or admin has denied this read (approval request {}). Don't repeat it; ask them, and tell why you need the \
             value. It can be asked for again from {}.",
            denied.id,
            denied.decided_at.unwrap_or(denied.created_at).plus(AFTER_A_NO)
        ),
    )
}

fn with_id(approval: &Approval, detail: String) -> Error {
    Error::forbidden(detail)
        .with("type", "approval_required")
        .with("approval_request_id", approval.id.to_string())
}

#[derive(Deserialize, JsonSchema)]
pub struct CreateApprovalRequest {
    vault_id: VaultId,
    secret_path: String,
    /// What the value is needed for: at most 500 characters. Whoever decides reads it.
    #[serde(default)]
    reason: Option<String>,
    #[serde(flatten)]
    _nothing_else: NothingElse,
}

/// Asks people to approve a read before it is made.
pub struct CreateApproval;

impl Operation for CreateApproval {
    const ROUTE: Route = Route::new(
        "createApproval",
        Method::POST,
        "/v1/approvals",
        201,
        "Asks owners and admins to approve that you read the newest version of a secret, where a policy of yours requires it. \
         200 where one waits, or is good, already; 403 for an hour after one was denied.",
    )
    .audited("approval.request", "approval")
    .tool(
        Tool::new(
            "request_approval",
            Effect::Adds,
            "Asks people to approve that you read a secret, ahead of reading it, and tells them why. Only where a read needs \
             it: get_secret asks by itself. Then check_approval until it is approved, and get_secret. If it says that no \
             approval is needed, just read; if one was denied, ask your user.",
        )
        .takes(&[arg("secret_path").about("As list_secrets gives it."), arg("vault_id"), arg("reason")]),
    );
    type Path = ();
    type Params = decode::From<CreateApprovalRequest>;
    type Output = ApprovalResponse;
    type Access = Agents;

    async fn run(
        cx: &Cx,
        _: AgentId,
        (): (),
        decode::From(wanted): Self::Params,
    ) -> Result<Reply<ApprovalResponse>> {
        let reason = reason(wanted.reason)?;
        let path = SecretPath::parse(&wanted.secret_path)?;
        let vault = cx.vault(wanted.vault_id).await?.or_missing("vault")?;
        let policies = cx.policies().await?;
        let asked = match access::read(&cx.subject()?, &vault.facts(), &policies, path)? {
            Reading::Asked(asked) => asked,
            Reading::Now(_) => {
                return Err(Error::invalid("secret_path", "needs no approval: read it"));
            }
        };
        let at = asked.may().on();
        let version = secrets::facts(cx.store(), at).await?.or_missing("secret")?;
        may_be_read(cx, &version)?;
        let target = target(&asked, &version);
        for _ in 0..TRIES {
            let standing = standing(cx, &asked, &target).await?;
            let counts =
                |a: &&Approval| asked.is_for(a) && a.expires_at > cx.now() && a.status != Status::Denied;
            if let Some(there) = standing.iter().find(counts) {
                return Ok(Reply::with(StatusCode::OK, ApprovalResponse::of_secret(there, cx.now())));
            }
            if let Some(denied) = standing.iter().find(|a| a.status == Status::Denied && asked.is_for(a)) {
                return Err(refused(denied));
            }
            if let Some(new) = request(cx, &asked, &target, &version, &standing, reason.clone()).await? {
                return Ok(Reply::of(ApprovalResponse::of_secret(&new, cx.now())));
            }
        }
        Err(Error::conflict("This approval is being decided just now; try again."))
    }
}
