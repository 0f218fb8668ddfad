//! Transactions that wait for people: asked for with their submission, decided in the signer, then carried.

use domain::access::{self, DecideTransaction, Permit};
use domain::approval::{Approval, Status, Target, Terms};
use domain::transaction;
use domain::{AgentId, ApprovalId, Error, Kind, OrMissing as _, OrgId, PrincipalId, Result, Time, TxId};
use sha2::{Digest as _, Sha256};
use signer_protocol::approval::{ApproveIntent, DenyIntent};
use signer_protocol::intent::{Intent, Release};
use signer_protocol::{Attested, Reason, Refusal};
use store::approvals::{self, Found};
use store::awaiting::{self, Waiting};
use store::chains::Chain;
use store::nonces;
use store::transactions::{self, Accepted, LEASE, Transaction};

use super::decide::Decision;
use super::letters::{self, Letters};
use super::request::REQUESTS;
use super::{announce, details, words};
use crate::cx::{Act, Cx};
use crate::gateway::Gateway;
use crate::jobs::transactions::{carry, still};
use crate::notes::APPROVAL;
use crate::{refusal, throttle};

type May = Permit<access::DecideApproval, OrgId>;

/// A transaction's request, ready to be stored with it.
pub struct Request {
    new: Approval,
    letters: Letters,
}

/// What people are asked about an accepted transaction; `None`: it needs nobody.
pub async fn request(
    cx: &Cx,
    tx: TxId,
    accepted: &Attested<Intent>,
    chain: &Chain,
) -> Result<Option<Request>> {
    // Whoever has no such policy is not kept waiting for the intent to be read.
    if cx.caller()?.principal().guardrails.approval.is_none() {
        return Ok(None);
    }
    let intent = accepted.peek().map_err(Error::internal)?;
    let Some(needed) = &intent.approval else { return Ok(None) };
    let new = Approval {
        id: ApprovalId::new(),
        org: intent.org,
        requester: PrincipalId::Agent(intent.agent),
        target: Target::Transaction { tx, intent_hash: hash(accepted)? },
        summary: words::summary(&intent, &chain.name, &chain.native_currency),
        risk: words::risk(needed),
        reason: None,
        policy: None,
        terms: Terms { approvals: needed.people, valid_for: std::time::Duration::ZERO, once: true },
        given_by: Vec::new(),
        status: Status::Pending,
        uses: 0,
        expires_at: needed.until,
        decided_by: None,
        decision_reason: None,
        decided_at: None,
        created_at: cx.now(),
    };
    let letters = letters::of(cx, &new).await?;
    Ok(Some(Request { new, letters }))
}

impl Request {
    /// With its transaction, which was just stored.
    pub async fn store(
        self,
        cx: &Cx,
        act: &mut Act,
        may: &Permit<access::SubmitTransaction, AgentId>,
        tx: &mut Transaction,
    ) -> Result<()> {
        let (new, now) = (self.new, cx.now());
        approvals::ask_for_transaction(act, may, &new).await?;
        awaiting::wait(act, tx.id, new.id).await?;
        throttle::take_within(act, "approvals", &[&new.requester.to_string()], REQUESTS, now).await?;
        act.also("approval.request", "approval", new.id, details(&new))?;
        announce(act, &new, now);
        self.letters.queue(act, &new, now).await?;
        (tx.status, tx.approval) = (transaction::Status::AwaitingApproval, Some(new.id));
        Ok(())
    }
}

/// SHA-256 of what exactly is to be signed.
pub fn hash(intent: &Attested<Intent>) -> Result<[u8; 32]> {
    let (_, body) = intent.parts().ok_or_else(|| Error::internal("an intent that is too short"))?;
    Ok(Sha256::digest(body).into())
}

/// Whether a row says what its intent does. The intent is what is signed; but nobody shall have read something else.
fn agree(row: &Transaction, intent: &Attested<Intent>) -> bool {
    intent.peek().is_ok_and(|intent| {
        let transfer = &intent.transfer;
        (row.org, row.agent, row.from) == (intent.org, intent.agent, intent.from)
            && (row.chain_id, row.to, row.value) == (transfer.chain_id, transfer.to, transfer.value)
            && (row.gas_limit, row.fees) == (transfer.gas_limit, transfer.fees)
            && row.access_list == transfer.access_list
    })
}

/// A transaction of an approval, if the approval is for one.
pub fn of(approval: &Approval) -> Option<Waiting> {
    let tx = approval.target.transaction()?;
    Some(Waiting { tx, approval: approval.id, org: approval.org })
}

/// One person's answer: the signer takes it first, and what it says counts. `seen`: the hash of what the person was shown, in hex.
///
/// A gateway that dies in between leaves the approval as it was; the same person's answer, given again, is written down then.
pub async fn decide(
    cx: &Cx,
    may: &May,
    found: Found,
    decision: Decision,
    why: Option<String>,
    seen: Option<&str>,
) -> Result<Found> {
    let in_person = access::org::<DecideTransaction>(&cx.subject()?)?;
    let (id, target) = (found.approval.id, found.approval.target.clone());
    let Target::Transaction { tx, intent_hash } = target else {
        return Err(Error::internal("an approval of no transaction"));
    };
    found.approval.pending(cx.now())?.decider(may)?;
    let intent = awaiting::intent(cx.store(), &in_person, tx).await?.or_missing("transaction")?;
    let row = transactions::by_id(cx.store(), tx).await?.or_missing("transaction")?;
    let belongs = row.approval == Some(id) && hash(&intent).ok() == Some(intent_hash);
    if !belongs || !agree(&row, &intent) {
        let tampered = "The approval, the transaction and its intent say different things.";
        return Err(refused(cx, id, Refusal::new(Reason::Tampered, tampered)).await);
    }
    if seen.is_some_and(|seen| !seen.eq_ignore_ascii_case(&hex::encode(intent_hash))) {
        return Err(Error::conflict(
            "intent_hash: is not this transaction's; look at the approval again before you decide.",
        ));
    }
    let enough = match decision {
        Decision::Approve => {
            can_be_signed(cx, &row).await?;
            approve(cx, id, &intent).await?
        }
        Decision::Reject => deny(cx, id, &intent).await.map(|()| false)?,
    };
    let mut act = cx.begin().await?;
    let now = approvals::take(&mut act, may, id).await?.or_missing("approval")?;
    if now.target != target {
        return Err(Error::conflict("The approval was changed just now; look at it again."));
    }
    if decision == Decision::Reject && now.status == Status::Approved {
        drop(act);
        return Err(crossed(cx, id, tx).await?);
    }
    let pending = now.pending(cx.now())?;
    let step = match decision {
        Decision::Approve => pending.approve_counted(may, enough, why, cx.now())?,
        Decision::Reject => pending.deny(may, why, cx.now())?,
    };
    let after = step.approval().clone();
    let waiting = Waiting { tx, approval: id, org: after.org };
    match after.status {
        Status::Approved => go_on(cx, &mut act, waiting, &intent).await?,
        Status::Denied => {
            act.instead("approval.deny");
            let why = match &after.decision_reason {
                Some(reason) => format!("An owner or admin has denied it: {reason}"),
                None => "An owner or admin has denied it.".to_owned(),
            };
            awaiting::end(&mut act, waiting, transaction::Status::Denied, &why, cx.now()).await?;
        }
        _ => {}
    }
    super::decide::finish(cx, act, &step).await?;
    if after.status == Status::Approved {
        set_off(&cx.gateway, tx).await;
    }
    Ok(Found { approval: after, intent: Some(intent) })
}

/// Nobody is let say yes where the key is out of use, or the agent may not use it. The signer has the last word on all else.
async fn can_be_signed(cx: &Cx, tx: &Transaction) -> Result<()> {
    let accepted = transactions::accepted(cx.store(), tx.id).await?.or_missing("transaction")?;
    let agent = cx.gateway.known.principal(cx.store(), PrincipalId::Agent(tx.agent), tx.org).await?;
    let key = still::key(&cx.gateway, &accepted, &*agent.or_missing("agent")?).await;
    key.map(drop).map_err(|error| match error.kind() {
        Kind::Gone | Kind::Forbidden => {
            let detail = error.detail();
            Error::conflict(format!("{detail} Deny it, unless you give the agent its key back first."))
        }
        _ => error,
    })
}

/// A no and the last yes crossed: here it is approved, but the signer took the no first, and signs nothing.
async fn crossed(cx: &Cx, id: ApprovalId, tx: TxId) -> Result<Error> {
    let mut act = cx.begin_as("approval.deny", "approval").await?;
    act.note("outcome", "approved at the same moment; the signer took the no, and signs nothing");
    act.commit(id).await?;
    set_off(&cx.gateway, tx).await;
    Ok(Error::conflict(
        "It was approved at the same moment; but your no reached the signer, and nothing is signed: the transaction fails.",
    ))
}

/// Whether it has now all that it needs. What was said before, and lost here, the signer counts once.
async fn approve(cx: &Cx, id: ApprovalId, intent: &Attested<Intent>) -> Result<bool> {
    let passkey = cx.passkey().await?;
    let request = ApproveIntent { by: cx.for_signer()?, intent: intent.clone(), passkey };
    let answer =
        cx.gateway.signer.call(async |signer, context| signer.approve_intent(context, request).await);
    match answer.await {
        Ok(approved) => Ok(approved.is_enough()),
        Err(refusal) => Err(refused(cx, id, refusal).await),
    }
}

async fn deny(cx: &Cx, id: ApprovalId, intent: &Attested<Intent>) -> Result<()> {
    let request = DenyIntent { by: cx.for_signer()?, intent: intent.clone() };
    let answer = cx.gateway.signer.call(async |signer, context| signer.deny_intent(context, request).await);
    match answer.await {
        Ok(()) => Ok(()),
        Err(refusal) => Err(refused(cx, id, refusal).await),
    }
}

/// The signer took somebody's answer to an approval for none: on the trail as any refusal of its, with the approval.
async fn refused(cx: &Cx, id: ApprovalId, refusal: Refusal) -> Error {
    cx.refused(refusal).await.with(APPROVAL, id.to_string())
}

/// `awaiting_approval → pending`, with the nonce of the transaction that it replaces; another's is reserved when it is signed.
async fn go_on(cx: &Cx, act: &mut Act, waiting: Waiting, intent: &Attested<Intent>) -> Result<()> {
    let now = cx.gateway.clock.now();
    awaiting::go_on(act, waiting, now.plus(LEASE), now).await?;
    let replaces = intent.peek().map_err(Error::internal)?.transfer.replaces;
    match replaces {
        Some(nonce) => nonces::share(act, nonce, waiting.tx).await,
        None => Ok(()),
    }
}

/// Signs and sends what was approved. Who approved is not told what comes of it: it is the transaction's state.
async fn set_off(gateway: &Gateway, tx: TxId) {
    let carried = async {
        let tx = transactions::by_id(&gateway.store, tx).await?.or_missing("transaction")?;
        carry(gateway, tx).await
    };
    if let Err(error) = carried.await {
        match error.kind() {
            Kind::Unavailable | Kind::Internal => {
                tracing::warn!(%error, transaction = %tx, "approved, and carried further as soon as possible");
            }
            _ => tracing::info!(%error, transaction = %tx, "approved, and not signed"),
        }
    }
}

/// Takes a request back: its transaction is never signed.
pub async fn cancel(act: &mut Act, approval: &Approval, now: Time) -> Result<()> {
    let why = "The agent took it back before people had decided.";
    match of(approval) {
        Some(waiting) => awaiting::end(act, waiting, transaction::Status::Failed, why, now).await,
        None => Ok(()),
    }
}

/// Has the signer let go of what nobody approved; if that fails, it does by itself when the intent expires.
pub async fn release(gateway: &Gateway, approval: &Approval) {
    let Some(Waiting { tx, .. }) = of(approval) else { return };
    let released = async {
        let Accepted { intent, .. } =
            transactions::accepted(&gateway.store, tx).await?.or_missing("transaction")?;
        let request = Release { intent };
        let released = gateway.signer.call(async |signer, context| signer.release(context, request).await);
        released.await.map_err(refusal::error)
    };
    if let Err(error) = released.await {
        tracing::warn!(%error, transaction = %tx, "an intent was not released");
    }
}
