//! What one has shared, and what was shared with one.

use domain::access::{self, ListAllShares, ListShares, Permit};
use domain::{Error, OrgId, PrincipalId, RecipientType, Result, ShareId, ShareRef, Time};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::shares::{self, Page, Place, Share};
use store::users;

use super::access::facts;
use crate::access::InOrg;
use crate::cx::Cx;
use crate::decode;
use crate::operation::{Operation, Reply, Route};

#[derive(Serialize, JsonSchema)]
pub struct ShareListItem {
    /// Of what others have shared, a reference, by which an owner or admin takes the share back, and which opens nothing.
    id: String,
    secret_path: String,
    /// Who shares it.
    shared_by: String,
    /// `user` or `agent`
    shared_by_type: &'static str,
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
    fn new(share: Share, name: String, now: Time) -> Self {
        Self {
            id: name,
            secret_path: share.path.to_string(),
            shared_by: share.by.uuid(),
            shared_by_type: share.by.kind(),
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

/// The page, and one share more, which tells whether there is another.
fn page(limit: Option<u32>, cursor: Option<&str>) -> Result<Page> {
    let limit = limit.unwrap_or(MOST);
    if !(1..=MOST).contains(&limit) {
        return Err(Error::invalid("limit", format!("must be 1 to {MOST}")));
    }
    let place = |cursor| place(cursor).ok_or_else(|| Error::invalid("cursor", "must be a next_cursor"));
    Ok(Page { after: cursor.map(place).transpose()?, limit: limit + 1 })
}

/// Milliseconds, and what names a share and opens none.
fn cursor(share: &Share) -> String {
    format!("{}.{}", share.created_at.millis(), ShareRef::of(share.id))
}

fn place(cursor: &str) -> Option<Place> {
    let (at, named) = cursor.split_once('.')?;
    let (_, last) = ShareRef::in_place_of(named.parse::<ShareId>().ok()?)?.bounds();
    Some(Place { created_at: Time::from_millis(at.parse().ok()?), id: last })
}

#[derive(Serialize, JsonSchema)]
pub struct ShareListResponse {
    shares: Vec<ShareListItem>,
    /// There are more: ask for them with it as `cursor`.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

impl ShareListResponse {
    /// Those of a page that the caller's own bounds reach, each by its name for the caller.
    fn of(
        cx: &Cx,
        mut shares: Vec<Share>,
        page: &Page,
        name: impl Fn(&Share) -> String,
    ) -> Result<Reply<Self>> {
        let limit = page.limit as usize - 1;
        let more = shares.len() > limit;
        shares.truncate(limit);
        let next_cursor = shares.last().filter(|_| more).map(cursor);
        let subject = cx.subject()?;
        let within = shares.into_iter().filter(|share| facts(share, None).is_within(&subject));
        let shares = within.map(|share| (name(&share), share));
        let shares = shares.map(|(name, share)| ShareListItem::new(share, name, cx.now())).collect();
        Ok(Reply::of(Self { shares, next_cursor }))
    }
}

#[derive(Deserialize, JsonSchema)]
pub struct OutboundQuery {
    /// Those of the whole organisation: for owners and admins without scopes.
    #[serde(default)]
    all: bool,
    /// Shares on a page: 1 to 500, which it is when left out.
    #[serde(default)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    #[serde(default)]
    cursor: Option<String>,
}

/// What the caller has shared.
pub struct ListOutbound;

impl Operation for ListOutbound {
    const ROUTE: Route = Route::new(
        "listOutboundShares",
        Method::GET,
        "/v1/shares/outbound",
        200,
        "What you have shared and not taken back, newest first; a month after its end a share is forgotten. With all=true, what \
         everybody of your organisation has.",
    );
    type Path = ();
    type Params = decode::From<OutboundQuery>;
    type Output = ShareListResponse;
    type Access = InOrg<access::ListShares>;

    async fn run(
        cx: &Cx,
        may: Permit<ListShares, OrgId>,
        (): (),
        decode::From(query): Self::Params,
    ) -> Result<Reply<ShareListResponse>> {
        let page = page(query.limit, query.cursor.as_deref())?;
        if !query.all {
            let own = shares::outbound(cx.store(), &may, &page).await?;
            return ShareListResponse::of(cx, own, &page, |share| share.id.to_string());
        }
        let may_all = access::org::<ListAllShares>(&cx.subject()?)?;
        let all = shares::of_all(cx.store(), &may_all, &page).await?;
        ShareListResponse::of(cx, all, &page, |share| {
            if share.by == may.by() { share.id.to_string() } else { ShareRef::of(share.id).to_string() }
        })
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
        let page = page(query.limit, query.cursor.as_deref())?;
        let user = match may.by() {
            PrincipalId::User(id) => users::facts(cx.store(), id).await?,
            PrincipalId::Agent(_) => None,
        };
        let verified = user.filter(|user| user.email_verified).map(|user| user.email);
        let inbound = shares::inbound(cx.store(), &may, verified.as_deref(), cx.now(), &page).await?;
        ShareListResponse::of(cx, inbound, &page, |share| share.id.to_string())
    }
}
