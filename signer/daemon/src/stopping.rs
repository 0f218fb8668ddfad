//! Who lets a stopped agent go on.

use domain::{Role, UserId};
use signer_protocol::record::{Change, Principal};

use crate::callers::Checked;
use crate::refuse::{Result, forbidden};

/// Whether an owner or admin has stopped the agent who did not make it, once it is changed so.
///
/// # Errors
/// `Forbidden` for whoever lets it go on and may not. To stop must be easy; to let go on is for a person who logged in, and
/// after an owner or admin has stopped it, not for its maker alone.
pub fn stopped_by_manager(by: &Checked, user: UserId, base: &Principal, change: &Change) -> Result<bool> {
    let manages = by.record().role.is_some_and(Role::manages);
    let (goes_on, stops, new_key) = match change {
        Change::Update(settings) => (settings.active, !settings.active, false),
        Change::Deactivate => (false, true, false),
        Change::RotateKey(_) => (false, false, true),
        Change::CreateAgent { .. } | Change::SetRole(_) => (false, false, false),
    };
    if goes_on && !base.active {
        by.in_person()?;
    }
    if base.stopped_by_manager && (goes_on || new_key) && !manages {
        return Err(forbidden("An owner or admin has stopped this agent: one of them lets it go on."));
    }
    // Also where it was stopped already: whoever says so again means it.
    let by_another = stops && manages && base.created_by != Some(user);
    Ok(by_another || (base.stopped_by_manager && !goes_on))
}
