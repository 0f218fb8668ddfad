//! The answer of whom a share names, and its end.

use domain::access::{self, Permit};
use domain::{Error, Result, ShareId};
use http::Method;
use signer_protocol::sharing::EndShare;
use store::shares::{self, Share};

use super::access::{GrantedShare, OnShare};
use crate::cx::Cx;
use crate::operation::{Operation, Reply, Route};
use crate::ops::OfShare;

/// Takes a share up.
pub struct AcceptShare;

impl Operation for AcceptShare {
    const ROUTE: Route = Route::new(
        "acceptShare",
        Method::POST,
        "/v1/shares/{share_id}/accept",
        204,
        "Accepts what was shared with you: from then on you can open it.",
    )
    .audited("share.accept", "share");
    type Path = OfShare;
    type Params = ();
    type Output = ();
    type Access = OnShare<access::AnswerShare>;

    async fn run(
        cx: &Cx,
        granted: GrantedShare<access::AnswerShare>,
        _: OfShare,
        (): (),
    ) -> Result<Reply<()>> {
        answer(cx, granted, true).await
    }
}

/// Turns a share down.
pub struct DeclineShare;

impl Operation for DeclineShare {
    const ROUTE: Route = Route::new(
        "declineShare",
        Method::POST,
        "/v1/shares/{share_id}/decline",
        204,
        "Declines what was shared with you: it is gone for you, for good.",
    )
    .audited("share.decline", "share");
    type Path = OfShare;
    type Params = ();
    type Output = ();
    type Access = OnShare<access::AnswerShare>;

    async fn run(
        cx: &Cx,
        granted: GrantedShare<access::AnswerShare>,
        _: OfShare,
        (): (),
    ) -> Result<Reply<()>> {
        answer(cx, granted, false).await
    }
}

async fn answer(
    cx: &Cx,
    GrantedShare { may, share }: GrantedShare<access::AnswerShare>,
    yes: bool,
) -> Result<Reply<()>> {
    if cx.now() >= share.expires_at {
        return Err(Error::gone("This share has expired; ask for another."));
    }
    let mut act = cx.begin().await?;
    let answered = if yes {
        shares::accept(&mut act, &may, cx.now()).await?
    } else {
        shares::decline(&mut act, &may, cx.now()).await?
    };
    if !answered {
        return Err(Error::missing("share"));
    }
    // On the trail of whoever has shared it.
    act.within(share.org);
    act.commit(share.kind.shown(share.id)).await?;
    Ok(Reply::of(()))
}

/// Takes a share back.
pub struct RevokeShare;

impl Operation for RevokeShare {
    const ROUTE: Route = Route::new(
        "revokeShare",
        Method::DELETE,
        "/v1/share/{share_id}",
        204,
        "Takes a share back: its link is dead at once. For whoever shared it, and for owners and admins.",
    )
    .audited("share.revoke", "share");
    type Path = OfShare;
    type Params = ();
    type Output = ();
    type Access = OnShare<access::RevokeShare>;

    async fn run(
        cx: &Cx,
        GrantedShare { may, share }: GrantedShare<access::RevokeShare>,
        _: OfShare,
        (): (),
    ) -> Result<Reply<()>> {
        // The signer first: should the gateway die in between, nobody opens it, and asking again finishes it.
        end(cx, &share).await?;
        revoke(cx, &may, &share).await?;
        Ok(Reply::of(()))
    }
}

async fn end(cx: &Cx, share: &Share) -> Result<()> {
    let request = EndShare { by: cx.for_signer()?, grant: share.record.clone() };
    cx.signer(async |signer, context| signer.end_share(context, request).await).await
}

async fn revoke(cx: &Cx, may: &Permit<access::RevokeShare, ShareId>, share: &Share) -> Result<()> {
    let mut act = cx.begin().await?;
    if !shares::revoke(&mut act, may, cx.now()).await? {
        return Err(Error::missing("share"));
    }
    act.note("path", share.path.as_str());
    act.commit(share.kind.shown(share.id)).await
}
