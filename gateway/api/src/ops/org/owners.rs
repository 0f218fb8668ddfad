//! Owners: an organisation keeps one, and the installation's operators keep theirs.

use domain::{Error, Result, Role, UserId};
use signer_protocol::record::Principal;
use store::users::User;

use crate::cx::Cx;

/// What a person's record says.
///
/// # Errors
/// `Internal` if it can't be read.
pub fn record(user: &User) -> Result<Principal> {
    let record = user.record.peek();
    record.map_err(|e| Error::internal(format!("person {}'s record is damaged: {e}", user.id)))
}

/// Whether somebody owns their organisation, and can still act.
pub fn is_owner(user: &User) -> Result<bool> {
    let record = record(user)?;
    Ok(record.active && record.role == Some(Role::Owner))
}

/// Whether of these people somebody else is an owner. They are to be [held](store::users::hold_people) meanwhile.
pub fn another(people: &[User], than: UserId) -> Result<bool> {
    let mut others = people.iter().filter(|person| person.id != than);
    others.try_fold(false, |found, person| Ok(found || is_owner(person)?))
}

/// For who is their organisation's last owner, before they go.
///
/// # Errors
/// `Conflict` where it operates the installation.
pub async fn operate_nothing(cx: &Cx, last: &User) -> Result<()> {
    if cx.gateway.installation.operators(cx.store()).await? != Some(last.org) {
        return Ok(());
    }
    Err(Error::conflict(
        "Your organisation operates this installation, and you are its last owner: nobody could operate it any more. \
         Make somebody else an owner first.",
    ))
}
