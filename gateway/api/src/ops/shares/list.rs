//! What one has shared, and what was shared with one.

use domain::access::{self, ListShares, Permit};
use domain::{Error, OrgId, PrincipalId, RecipientType, Result, ShareId, Time};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::shares::{self, Page, Place, Share};
use store::users;

use crate::access::InOrg;
use crate::cx::Cx;
use crate::decode;
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

/// Shares on one page, at most; so many, too, when nobody says how many.
const MOST: u32 = 500;

#[derive(Deserialize, JsonSchema)]
pub struct SharesQuery {
    /// Shares on a page: 1 to 500, which it is when left out.
    #[serde(default)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    #[serde(default)]
    cursor: Option<String>,
}

impl SharesQuery {
    /// The page, and one share more, which tells whether there is another.
    fn page(&self) -> Result<Page> {
        let limit = self.limit.unwrap_or(MOST);
        if !(1..=MOST).contains(&limit) {
            return Err(Error::invalid("limit", format!("must be 1 to {MOST}")));
        }
        let after = self
            .cursor
            .as_deref()
            .map(|cursor| place(cursor).ok_or_else(|| Error::invalid("cursor", "must be a next_cursor")));
        Ok(Page { after: after.transpose()?, limit: limit + 1 })
    }
}

/// Milliseconds and an id.
fn place(cursor: &str) -> Option<Place> {
    let (at, id) = cursor.split_once('.')?;
    Some(Place { created_at: Time::from_millis(at.parse().ok()?), id: id.parse().ok()? })
}

#[derive(Serialize, JsonSchema)]
pub struct ShareListResponse {
    shares: Vec<ShareListItem>,
    /// There are more: ask for them with it as `cursor`.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

impl ShareListResponse {
    fn of(mut shares: Vec<Share>, page: &Page, now: Time) -> Reply<Self> {
        let limit = page.limit as usize - 1;
        let more = shares.len() > limit;
        shares.truncate(limit);
        let last = shares.last().filter(|_| more);
        let next_cursor = last.map(|share| format!("{}.{}", share.created_at.millis(), share.id));
        let shares = shares.into_iter().map(|share| ShareListItem::new(share, now)).collect();
        Reply::of(Self { shares, next_cursor })
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
        "What you have shared and not taken back, newest first; a month after its end a share is forgotten.",
    );
    type Path = ();
    type Params = decode::From<SharesQuery>;
    type Output = ShareListResponse;
    type Access = InOrg<access::ListShares>;

    async fn run(
        cx: &Cx,
        may: Permit<ListShares, OrgId>,
        (): (),
        decode::From(query): Self::Params,
    ) -> Result<Reply<ShareListResponse>> {
        let page = query.page()?;
        let outbound = shares::outbound(cx.store(), &may, &page).await?;
        Ok(ShareListResponse::of(outbound, &page, cx.now()))
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
        "What was shared with you and has not ended, newest first. What goes to your address is listed once \
         the address is verified, or you have opened its link.",
    );
    type Path = ();
    type Params = decode::From<SharesQuery>;
    type Output = ShareListResponse;
    type Access = InOrg<access::ListShares>;

    async fn run(
        cx: &Cx,
        may: Permit<ListShares, OrgId>,
        (): (),
        decode::From(query): Self::Params,
    ) -> Result<Reply<ShareListResponse>> {
        let page = query.page()?;
        let user = match may.by() {
            PrincipalId::User(id) => users::facts(cx.store(), id).await?,
            PrincipalId::Agent(_) => None,
        };
        let verified = user.filter(|user| user.email_verified).map(|user| user.email);
        let inbound = shares::inbound(cx.store(), &may, verified.as_deref(), cx.now(), &page).await?;
        Ok(ShareListResponse::of(inbound, &page, cx.now()))
    }
}
