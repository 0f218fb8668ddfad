//! Shares: answered by whom they name, ended by whoever gave them, and by owners and admins.

use super::{BOUNDED, Permit, ShareSecret, Subject, VaultFacts, secret};
use crate::policy::Policy;
use crate::{Error, OrgId, PrincipalId, Result, SecretPath, ShareId};

/// Something that is done to a share.
pub trait ShareAction {
    const RULE: ShareRule;
}

pub enum ShareRule {
    /// Whom it names.
    Named,
    /// Whoever gave it; owners and admins of the organisation, without scopes.
    Given,
}

/// What there is to know of a share to decide.
#[derive(Clone, Copy, Debug)]
pub struct ShareFacts {
    pub id: ShareId,
    /// The organisation whose secret it is.
    pub org: OrgId,
    pub by: PrincipalId,
    /// Whom it names; `None`: nobody in particular.
    pub to: Option<PrincipalId>,
}

/// Whether whoever has shared a secret may still share it, though they are not there to be asked: what binds them, their scopes, and
/// their policies with their ends, hours and approvals count as they are now. From where they come, the share's own addresses
/// say instead.
pub fn still_shares(
    subject: &Subject<'_>,
    vault: &VaultFacts,
    policies: &[Policy],
    path: SecretPath,
) -> bool {
    let own = policies.iter().filter(|policy| policy.vault == vault.id).map(Policy::wherever);
    secret::<ShareSecret>(subject, vault, &own.collect::<Vec<_>>(), path).is_ok()
}

/// Decides on a share.
///
/// # Errors
/// `Missing` for whom it is not about; `Forbidden` for scopes.
pub fn share<A: ShareAction>(subject: &Subject<'_>, share: &ShareFacts) -> Result<Permit<A, ShareId>> {
    let own = share.org == subject.org && share.by == subject.id;
    let may = match A::RULE {
        ShareRule::Named => share.to == Some(subject.id),
        ShareRule::Given if own => true,
        ShareRule::Given if share.org == subject.org && subject.manages() => {
            if subject.bounded() {
                return Err(Error::forbidden(BOUNDED));
            }
            true
        }
        ShareRule::Given => false,
    };
    if may { Ok(Permit::new(subject, share.id)) } else { Err(Error::missing("share")) }
}
