//! Walks the chain as the database holds it, to its head and past the last checkpoint, and asks the signer whether it knows
//! another one.

use domain::access::{Permit, ReadAudit};
use domain::audit::walk::{Bad, Place, Problem};
use domain::{Error, Kind, OrgId, Result, Time};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use signer_protocol::audit::{ForgottenHead, Heads};
use store::audit::trail;

use crate::access::InOrg;
use crate::checkpoint::Checkpoint;
use crate::cx::Cx;
use crate::decode;
use crate::jobs;
use crate::operation::{Operation, Reply, Route};

/// Events that are read at once.
const BATCH: u32 = 1000;

#[derive(Deserialize, JsonSchema)]
pub struct VerifyQuery {
    /// Whether to begin at the last checkpoint, not at the first event.
    #[serde(default)]
    from_checkpoint: bool,
}

#[derive(Serialize, JsonSchema)]
pub struct Head {
    sequence: i64,
    /// In hex.
    hash: String,
}

#[derive(Serialize, JsonSchema)]
pub struct VerifyResponse {
    valid: bool,
    /// How many were looked at.
    events: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_bad: Option<Bad>,
    /// Where the chain stands, as the database says.
    head: Head,
    /// The last one: of a chain that is valid, made just now.
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<Checkpoint>,
    /// Where the history was broken, oldest first: what the signer had signed of another one, until an operator had it forgotten.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    breaks: Vec<Break>,
}

/// The last event of a history that is not this one, though it may begin as this one does.
#[derive(Serialize, JsonSchema)]
pub struct Break {
    sequence: u64,
    /// In hex.
    hash: String,
    signed_at: Time,
    forgotten_at: Time,
}

impl From<ForgottenHead> for Break {
    fn from(head: ForgottenHead) -> Self {
        let ForgottenHead { sequence, hash, signed_at, forgotten_at } = head;
        Self { sequence, hash: hex::encode(hash), signed_at, forgotten_at }
    }
}

/// Whether the trail is what was written.
pub struct VerifyAudit;

impl Operation for VerifyAudit {
    const ROUTE: Route = Route::new(
        "verifyAudit",
        Method::GET,
        "/v1/audit/verify",
        200,
        "Verifies your organisation's audit trail from its first event, or from the last checkpoint, to its end, and says what is \
         wrong first.",
    );
    type Path = ();
    type Params = decode::From<VerifyQuery>;
    type Output = VerifyResponse;
    type Access = InOrg<ReadAudit>;

    async fn run(
        cx: &Cx,
        may: Permit<ReadAudit, OrgId>,
        (): (),
        decode::From(query): Self::Params,
    ) -> Result<Reply<VerifyResponse>> {
        let org = *may.on();
        let _once = cx.gateway.walks.begin(org)?;
        // In this order: what is signed and appended meanwhile is past the head.
        let Heads { last: signed, forgotten } = jobs::checkpoints::last(&cx.gateway, org).await?;
        let checkpoint = signed.map(Checkpoint::from);
        let last = trail::last(cx.store(), org).await?;
        let head = trail::head(cx.store(), org).await?;
        let mut walk = Walk { cx, org, head, events: 0 };
        let found = walk.all(last, checkpoint.as_ref(), query.from_checkpoint).await?;
        let (first_bad, checkpoint) = match found {
            Some(bad) => (Some(bad), checkpoint),
            None => match jobs::checkpoints::sign(&cx.gateway, org).await {
                Ok(taken) => (None, taken.map(Checkpoint::from)),
                // The database agrees with itself, and not with what the signer remembers.
                Err(error) if error.kind() == Kind::Conflict => {
                    (Some(Bad::at(walk.head.sequence, Problem::CheckpointMismatch)), checkpoint)
                }
                Err(error) => return Err(error),
            },
        };
        if let Some(bad) = &first_bad {
            tracing::error!(%org, sequence = bad.sequence, problem = bad.problem.as_str(), "an audit trail is not what was written");
        }
        let head = Head { sequence: walk.head.sequence, hash: hex::encode(walk.head.hash) };
        let valid = first_bad.is_none();
        let breaks = forgotten.into_iter().map(Break::from).collect();
        Ok(Reply::of(VerifyResponse { valid, events: walk.events, first_bad, head, checkpoint, breaks }))
    }
}

struct Walk<'a> {
    cx: &'a Cx,
    org: OrgId,
    head: Place,
    events: i64,
}

impl Walk<'_> {
    /// The first thing that is wrong, if any is.
    async fn all(
        &mut self,
        last: i64,
        checkpoint: Option<&Checkpoint>,
        from_checkpoint: bool,
    ) -> Result<Option<Bad>> {
        if last > self.head.sequence {
            return Ok(Some(Bad::at(self.head.sequence + 1, Problem::Inserted)));
        }
        let mut place = Place::genesis();
        let mut signed = None;
        if let Some(checkpoint) = checkpoint {
            let sequence = i64::try_from(checkpoint.sequence).map_err(Error::internal)?;
            let key = &self.cx.gateway.signer_info().await?.0.token_public_key;
            if !checkpoint.is_signed_by(&key.0) {
                return Ok(Some(Bad::at(sequence, Problem::CheckpointMismatch)));
            }
            if sequence > self.head.sequence {
                return Ok(Some(Bad::at(self.head.sequence + 1, Problem::CutOff)));
            }
            signed = Some((sequence, checkpoint.hash));
            if from_checkpoint {
                let at = trail::onwards(self.cx.store(), self.org, sequence - 1, sequence, 1).await?.pop();
                match at {
                    None => return Ok(Some(Bad::at(sequence, Problem::Missing))),
                    Some(line) if line.integrity_hash != hex::encode(checkpoint.hash) => {
                        return Ok(Some(Bad::at(sequence, Problem::CheckpointMismatch)));
                    }
                    Some(line) => place = Place { sequence, event_id: line.id, hash: checkpoint.hash },
                }
            }
        }
        self.walk(place, signed).await
    }

    /// Batches are short: a walk holds no connection, and nobody up.
    async fn walk(&mut self, mut place: Place, signed: Option<(i64, [u8; 32])>) -> Result<Option<Bad>> {
        loop {
            let up_to = self.head.sequence;
            let lines = trail::onwards(self.cx.store(), self.org, place.sequence, up_to, BATCH).await?;
            if lines.is_empty() {
                break;
            }
            for line in &lines {
                if let Err(bad) = place.step(line) {
                    return Ok(Some(bad));
                }
                self.events += 1;
                if signed.is_some_and(|(sequence, hash)| sequence == place.sequence && hash != place.hash) {
                    return Ok(Some(Bad::at(place.sequence, Problem::CheckpointMismatch)));
                }
            }
        }
        if place.sequence < self.head.sequence {
            return Ok(Some(Bad::at(place.sequence + 1, Problem::CutOff)));
        }
        Ok((place != self.head).then(|| Bad::at(place.sequence, Problem::HeadMismatch)))
    }
}
