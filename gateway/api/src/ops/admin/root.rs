//! How far a rotation of the root key has come.

use domain::access::{self, Permit, Platform};
use domain::{Result, Time};
use http::Method;
use schemars::JsonSchema;
use serde::Serialize;

use crate::access::Operators;
use crate::cx::Cx;
use crate::jobs::roots;
use crate::operation::{Operation, Reply, Route};

#[derive(Serialize, JsonSchema)]
pub struct RootResponse {
    /// The root that wraps; 1 is the first.
    root: u32,
    /// Absent before the first rotation.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Time>,
    /// The root that is still there for what it wraps; absent: no rotation is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    older: Option<u32>,
    /// When nothing was left under the older one; absent: something may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<Time>,
    /// What was under the newest root then.
    #[serde(skip_serializing_if = "Option::is_none")]
    wrapped: Option<Wrapped>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "WrappedByRoot")]
pub struct Wrapped {
    vault_keys: u64,
    /// Of transactions that wait, too.
    signing_keys: u64,
    second_factors: u64,
    webhook_keys: u64,
}

/// Which root key wraps.
pub struct AdminGetRoot;

impl Operation for AdminGetRoot {
    const ROUTE: Route = Route::new(
        "adminGetRoot",
        Method::GET,
        "/v1/admin/root",
        200,
        "Which root key of the signer's wraps, and how far a rotation has come. For the installation's operators.",
    );
    type Path = ();
    type Params = ();
    type Output = RootResponse;
    type Access = Operators<access::SeePlatform>;

    async fn run(
        cx: &Cx,
        _: Permit<access::SeePlatform, Platform>,
        (): (),
        (): (),
    ) -> Result<Reply<RootResponse>> {
        let state = roots::state(&cx.gateway).await?;
        let finished = state.finished.filter(|_| state.older.is_some());
        Ok(Reply::of(RootResponse {
            root: state.newest,
            since: (state.newest > 1).then_some(state.since),
            older: state.older,
            finished_at: finished.map(|(at, _)| at),
            wrapped: finished.map(|(_, count)| Wrapped {
                vault_keys: count.vault_keys,
                signing_keys: count.signing_keys,
                second_factors: count.second_factors,
                webhook_keys: count.webhook_keys,
            }),
        }))
    }
}
