//! What one has shared, and what was shared with one.

use domain::access::{self, ListShares, Permit};
use domain::{OrgId, PrincipalId, RecipientType, Result, ShareId, Time};
use http::Method;
use schemars::JsonSchema;
use serde::Serialize;
use store::shares::{self, Share};
use store::users;

use crate::access::InOrg;
use crate::cx::Cx;
use crate::operation::{Operation, Reply, Route};

#[derive(Serialize, JsonSchema)]
pub struct ShareListItem {
    id: ShareId,
    secret_path: String,
    recipient_type: RecipientType,
    #[serde(skip_serializing_if = "Option::is_none")]
    recipient_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recipient_email: Option<String>,
    access_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_access_count: Option<u64>,
    expires_at: Time,
    created_at: Time,
    is_expired: bool,
    is_accepted: bool,
}

impl ShareListItem {
    fn new(share: Share, now: Time) -> Self {
        Self {
            id: share.id,
            secret_path: share.path.to_string(),
            recipient_type: share.kind,
            recipient_id: share.to.map(PrincipalId::uuid),
            recipient_email: share.email,
            access_count: share.access_count,
            max_access_count: share.max_access_count,
            expires_at: share.expires_at,
            created_at: share.created_at,
            is_expired: now >= share.expires_at,
            is_accepted: share.accepted_at.is_some(),
        }
    }
}

#[derive(Serialize, JsonSchema)]
pub struct ShareListResponse {
    shares: Vec<ShareListItem>,
}

impl ShareListResponse {
    fn of(shares: Vec<Share>, now: Time) -> Reply<Self> {
        Reply::of(Self { shares: shares.into_iter().map(|share| ShareListItem::new(share, now)).collect() })
    }
}

/// What the caller has shared.
pub struct ListOutbound;

impl Operation for ListOutbound {
    const ROUTE: Route = Route::new(
        "listOutboundShares",
        Method::GET,
        "/v1/shares/outbound",
        200,
        "What you have shared and not taken back, newest first, at most 500; a month after its end a share is forgotten.",
    );
    type Path = ();
    type Params = ();
    type Output = ShareListResponse;
    type Access = InOrg<access::ListShares>;

    async fn run(
        cx: &Cx,
        may: Permit<ListShares, OrgId>,
        (): (),
        (): (),
    ) -> Result<Reply<ShareListResponse>> {
        Ok(ShareListResponse::of(shares::outbound(cx.store(), &may).await?, cx.now()))
    }
}

/// What was shared with the caller.
pub struct ListInbound;

impl Operation for ListInbound {
    const ROUTE: Route = Route::new(
        "listInboundShares",
        Method::GET,
        "/v1/shares/inbound",
        200,
        "What was shared with you and has not ended, newest first, at most 500. What goes to your address is listed once \
         the address is verified, or you have opened its link.",
    );
    type Path = ();
    type Params = ();
    type Output = ShareListResponse;
    type Access = InOrg<access::ListShares>;

    async fn run(
        cx: &Cx,
        may: Permit<ListShares, OrgId>,
        (): (),
        (): (),
    ) -> Result<Reply<ShareListResponse>> {
        let user = match may.by() {
            PrincipalId::User(id) => users::facts(cx.store(), id).await?,
            PrincipalId::Agent(_) => None,
        };
        let verified = user.filter(|user| user.email_verified).map(|user| user.email);
        let inbound = shares::inbound(cx.store(), &may, verified.as_deref(), cx.now()).await?;
        Ok(ShareListResponse::of(inbound, cx.now()))
    }
}
