//! A webhook tells all that happens to whoever set it, so it works for as long as they look after the organisation.

use domain::{Error, OrgId, PrincipalId, Result, Role, UserId};
use serde_json::json;
use store::users::User;
use store::{Tx, users, webhooks};

use crate::cx::{Act, Cx};
use crate::ops::org::owners;

const NO_MORE: &str = "whoever set it is no owner or admin of the organisation any more";

/// Switches off what somebody has set who is no owner or admin from this transaction on.
pub async fn switch_off(cx: &Cx, act: &mut Act, org: OrgId, user: UserId) -> Result<()> {
    for id in webhooks::switch_off(act, org, user, NO_MORE, cx.now()).await? {
        let details = json!({ "reason": NO_MORE, "active": { "from": true, "to": false } });
        act.also("webhook.disable", "webhook", id, details.as_object().cloned().unwrap_or_default())?;
    }
    Ok(())
}

/// Whoever lost their role while they asked sets nothing: nobody's role changes until the transaction ends.
///
/// # Errors
/// `Forbidden`.
pub async fn hold(tx: &mut Tx, org: OrgId, by: PrincipalId) -> Result<()> {
    let manages = |person: &User| {
        let record = owners::record(person)?;
        Ok::<_, Error>(
            PrincipalId::User(person.id) == by && record.active && record.role.is_some_and(Role::manages),
        )
    };
    let people = users::hold_people(tx, org).await?;
    if people.iter().try_fold(false, |found, person| Ok::<_, Error>(found || manages(person)?))? {
        return Ok(());
    }
    Err(Error::forbidden("You are no owner or admin of this organisation any more."))
}
