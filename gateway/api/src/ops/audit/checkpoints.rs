//! Checkpoints: kept elsewhere, they show later what has happened to the trail. They are no events: each would call for
//! another one.

use domain::access::{Permit, ReadAudit};
use domain::{Error, OrMissing as _, OrgId, Result};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::checkpoints;

use crate::access::InOrg;
use crate::checkpoint::Checkpoint;
use crate::cx::Cx;
use crate::decode;
use crate::jobs;
use crate::operation::{Operation, Reply, Route};

const MOST: u32 = 1000;

#[derive(Deserialize, JsonSchema)]
pub struct CheckpointsQuery {
    /// 1 to 1,000; 100 when left out
    #[serde(default)]
    limit: Option<u32>,
}

#[derive(Serialize, JsonSchema)]
pub struct CheckpointsResponse {
    checkpoints: Vec<Checkpoint>,
}

/// A checkpoint of this moment.
pub struct TakeCheckpoint;

impl Operation for TakeCheckpoint {
    const ROUTE: Route = Route::new(
        "takeCheckpoint",
        Method::POST,
        "/v1/audit/checkpoints",
        200,
        "Has the signer sign where your organisation's audit trail stands now; keep the answer where Talon's operators can't reach it.",
    );
    type Path = ();
    type Params = ();
    type Output = Checkpoint;
    type Access = InOrg<ReadAudit>;

    async fn run(cx: &Cx, may: Permit<ReadAudit, OrgId>, (): (), (): ()) -> Result<Reply<Checkpoint>> {
        let taken = jobs::checkpoints::take(&cx.gateway, *may.on()).await?;
        Ok(Reply::of(taken.or_missing("event to sign")?.into()))
    }
}

/// The checkpoints that were taken.
pub struct ListCheckpoints;

impl Operation for ListCheckpoints {
    const ROUTE: Route = Route::new(
        "listCheckpoints",
        Method::GET,
        "/v1/audit/checkpoints",
        200,
        "Signed checkpoints of your organisation's audit trail, newest first.",
    );
    type Path = ();
    type Params = decode::From<CheckpointsQuery>;
    type Output = CheckpointsResponse;
    type Access = InOrg<ReadAudit>;

    async fn run(
        cx: &Cx,
        may: Permit<ReadAudit, OrgId>,
        (): (),
        decode::From(query): Self::Params,
    ) -> Result<Reply<CheckpointsResponse>> {
        let limit = query.limit.unwrap_or(100);
        if !(1..=MOST).contains(&limit) {
            return Err(Error::invalid("limit", format!("must be 1 to {MOST}")));
        }
        let found = checkpoints::list(cx.store(), *may.on(), limit).await?;
        let checkpoints = found.into_iter().map(Checkpoint::from).collect();
        Ok(Reply::of(CheckpointsResponse { checkpoints }))
    }
}
