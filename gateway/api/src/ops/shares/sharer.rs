//! A share gives no more than whoever made it has: once they may not read the secret any more, it opens for nobody.

use std::time::Duration;

use domain::access::{self, ShareSecret};
use domain::limit::Window;
use domain::{Error, OrMissing as _, Result};
use store::shares::Share;

use crate::cx::Cx;
use crate::known::KnownPrincipal;
use crate::throttle;

/// Refusals of one share that are on the trail: whoever has a link may try it as often as they like.
const TOLD: Window = Window::new(20, Duration::from_secs(60 * 60));

/// Whether the share's maker may read still what they have shared.
///
/// # Errors
/// `Missing`, as for a share that was taken back; it is on the trail of whose secret it is.
pub async fn stands(cx: &Cx, share: &Share, sharer: &KnownPrincipal) -> Result<()> {
    let vault = cx.vault(share.vault).await?.or_missing("share")?;
    let policies = cx.gateway.known.policies(cx.store(), share.by).await?;
    let subject = sharer.absent(cx.now());
    if access::still::<ShareSecret>(&subject, &vault.facts(), &policies, share.path.clone()) {
        return Ok(());
    }
    record(cx, share).await?;
    Err(Error::missing("share"))
}

async fn record(cx: &Cx, share: &Share) -> Result<()> {
    let mut act = cx.begin_as("share.refuse", "share").await?;
    if !throttle::has_room_within(&mut act, "share.refused", &[&share.id.to_string()], TOLD, cx.now()).await?
    {
        return Ok(());
    }
    act.within(share.org);
    act.note("path", share.path.as_str());
    act.note("version", share.version);
    act.note("vault_id", share.vault.to_string());
    act.note("shared_by", share.by.to_string());
    act.note("why", "whoever has shared it may not read it any more");
    act.commit(share.kind.shown(share.id)).await
}
