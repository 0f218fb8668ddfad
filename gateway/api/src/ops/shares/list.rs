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
/// Looks for the shares of one page, each at so many: where more than 10,000 in a row are beyond the caller's bounds, the list ends.
const LOOKS: usize = 20;

#[derive(Deserialize, JsonSchema)]
pub struct SharesQuery {
    /// Shares on a page: 1 to 500, which it is when left out.
    #[serde(default)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    #[serde(default)]
    cursor: Option<String>,
}

fn page(limit: Option<u32>, cursor: Option<&str>) -> Result<Page> {
    let limit = limit.unwrap_or(MOST);
    if !(1..=MOST).contains(&limit) {
        return Err(Error::invalid("limit", format!("must be 1 to {MOST}")));
    }
    let place = |cursor| place(cursor).ok_or_else(|| Error::invalid("cursor", "must be a next_cursor"));
    Ok(Page { after: cursor.map(place).transpose()?, limit })
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

/// A page of those that the caller's own bounds reach. What they don't reach shows nowhere: the page is filled up, and its cursor
/// is of a share that is on it.
struct Filling {
    limit: usize,
    shares: Vec<Share>,
    /// What to look for next; `None`: there is no more, or enough.
    next: Option<Page>,
    looks: usize,
}

impl Filling {
    /// One share more tells whether there is another page.
    fn of(page: Page) -> Self {
        let next = Some(Page { limit: page.limit + 1, ..page });
        Self { limit: page.limit as usize, shares: Vec::new(), next, looks: 0 }
    }

    fn add(&mut self, cx: &Cx, asked: Page, found: Vec<Share>) -> Result<()> {
        let subject = cx.subject()?;
        let after = found.last().map(|share| Place { created_at: share.created_at, id: share.id });
        let is_end = found.len() < asked.limit as usize;
        self.shares.extend(found.into_iter().filter(|share| facts(share, None).is_within(&subject)));
        self.looks += 1;
        let is_done = is_end || self.shares.len() > self.limit || self.looks == LOOKS;
        self.next = (!is_done).then_some(Page { after, limit: MOST });
        Ok(())
    }

    /// Each by its name for the caller.
    fn reply(mut self, cx: &Cx, name: impl Fn(&Share) -> String) -> Reply<ShareListResponse> {
        let more = self.shares.len() > self.limit;
        self.shares.truncate(self.limit);
        let next_cursor = self.shares.last().filter(|_| more).map(cursor);
        let shares = self.shares.into_iter().map(|share| (name(&share), share));
        let shares = shares.map(|(name, share)| ShareListItem::new(share, name, cx.now())).collect();
        Reply::of(ShareListResponse { shares, next_cursor })
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
        let mut page = Filling::of(page(query.limit, query.cursor.as_deref())?);
        if !query.all {
            while let Some(part) = page.next {
                page.add(cx, part, shares::outbound(cx.store(), &may, &part).await?)?;
            }
            return Ok(page.reply(cx, |share| share.id.to_string()));
        }
        let may_all = access::org::<ListAllShares>(&cx.subject()?)?;
        while let Some(part) = page.next {
            page.add(cx, part, shares::of_all(cx.store(), &may_all, &part).await?)?;
        }
        Ok(page.reply(cx, |share| {
            if share.by == may.by() { share.id.to_string() } else { ShareRef::of(share.id).to_string() }
        }))
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
        let mut page = Filling::of(page(query.limit, query.cursor.as_deref())?);
        let user = match may.by() {
            PrincipalId::User(id) => users::facts(cx.store(), id).await?,
            PrincipalId::Agent(_) => None,
        };
        let verified = user.filter(|user| user.email_verified).map(|user| user.email);
        let email = verified.as_deref();
        while let Some(part) = page.next {
            page.add(cx, part, shares::inbound(cx.store(), &may, email, cx.now(), &part).await?)?;
        }
        Ok(page.reply(cx, |share| share.id.to_string()))
    }
}
