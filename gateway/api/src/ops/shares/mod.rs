//! Shares: one version of a secret for somebody who has no rights of their own there. ADR 15 says why.

mod access;
mod answer;
mod claim;
mod create;
mod list;
mod open;
mod sharer;

pub use answer::{AcceptShare, DeclineShare, RevokeShare};
pub use claim::claim;
pub use create::CreateShare;
pub use list::{ListInbound, ListOutbound};
pub use open::{OpenShare, PASSPHRASE};

use domain::{Error, PrincipalId, Result, Time};
use store::shares::{Share, State};
use store::users;

use crate::cx::Cx;

use sharer::stands;

/// The page at a share's link. It shows nothing and asks for nothing until somebody presses its button: so that whoever
/// follows the link without a click, as scanners of mail and previews do, spends no access.
pub const PAGE: &str = include_str!("share.html");

/// The principal whom a share names, as far as the caller is concerned: a share that goes to an address and that nobody
/// has claimed is the caller's if the address is. Whoever has its id has it from the mail, or from the sharer; the address
/// of an account alone, which nobody may have verified, does not lead to the id. See ADR 15.
async fn named(cx: &Cx, share: &Share) -> Result<Option<PrincipalId>> {
    let (None, Some(email)) = (share.to, &share.email) else { return Ok(share.to) };
    let PrincipalId::User(user) = cx.caller()?.principal().id else { return Ok(None) };
    let user = users::facts(cx.store(), user).await?;
    Ok(user.filter(|user| user.email == *email).map(|user| PrincipalId::User(user.id)))
}

/// A version that nobody can read any more is none to share, and opens for nobody it was shared with.
fn readable(state: &State, now: Time) -> Result<()> {
    let used_up = state.max_access_count.is_some_and(|most| state.access_count >= most);
    if state.deleted || used_up || state.expires_at.is_some_and(|end| now >= end) {
        return Err(gone());
    }
    Ok(())
}

fn gone() -> Error {
    Error::gone("What was shared is gone: the secret was deleted, has expired, or its reads are used up.")
}
