//! Shares: answered by whom they name, ended by whoever gave them, and by owners and admins.

use super::{BOUNDED, Permit, Subject};
use crate::{Error, OrgId, PrincipalId, Result, SecretPath, ShareId, VaultId};

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
pub struct ShareFacts<'a> {
    pub id: ShareId,
    /// The organisation whose secret it is.
    pub org: OrgId,
    pub vault: VaultId,
    pub path: &'a SecretPath,
    pub by: PrincipalId,
    /// Whom it names; `None`: nobody in particular.
    pub to: Option<PrincipalId>,
}

impl ShareFacts<'_> {
    /// Whether the caller's own bounds reach what is shared. To know a share can be to open it: who is held to some paths or
    /// vaults knows none of others; what is another organisation's lies outside of all bounds. The signer opens by the same rule.
    pub fn is_within(&self, subject: &Subject<'_>) -> bool {
        if self.org == subject.org {
            subject.bound_to(self.vault) && subject.ceiling_covers(self.path)
        } else {
            subject.vault_ids.is_empty() && !subject.bounded()
        }
    }
}

/// Decides on a share.
///
/// # Errors
/// `Missing` for whom it is not about; `Forbidden` for scopes.
pub fn share<A: ShareAction>(subject: &Subject<'_>, share: &ShareFacts<'_>) -> Result<Permit<A, ShareId>> {
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
    if !may {
        return Err(Error::missing("share"));
    }
    if !share.is_within(subject) {
        return Err(Error::forbidden(OUTSIDE));
    }
    Ok(Permit::new(subject, share.id))
}

const OUTSIDE: &str =
    "This share is of a path outside your scopes or vaults. Use a key without scopes, or log in.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{AnswerShare, RevokeShare, Through};
    use crate::{ApiKeyId, Kind, PathGlob, Role, Time, UserId};

    #[test]
    fn who_is_held_to_some_paths_has_no_part_in_shares_of_others() {
        let (me, org, vault) = (PrincipalId::User(UserId::new()), OrgId::new(), VaultId::new());
        let scopes = [PathGlob::parse("scopes", "keys/**").unwrap()];
        let subject = |scopes, vaults| Subject {
            id: me,
            org,
            role: Some(Role::Owner),
            vault_ids: vaults,
            scopes: &[],
            key: Some(Through { id: ApiKeyId::new(), scopes }),
            device: false,
            address: None,
            at: Time::from_seconds(1000),
        };
        let (inside, outside) = (SecretPath::parse("keys/a").unwrap(), SecretPath::parse("prod/db").unwrap());
        let facts =
            |org, path| ShareFacts { id: ShareId::unguessable(), org, vault, path, by: me, to: Some(me) };
        let elsewhere = [VaultId::new()];
        for (by, own, foreign) in [
            (subject(&[], &[]), [true, true], true),
            (subject(&scopes, &[]), [true, false], false),
            (subject(&[], &elsewhere), [false, false], false),
        ] {
            for (path, may) in [&inside, &outside].into_iter().zip(own) {
                assert_eq!(share::<RevokeShare>(&by, &facts(org, path)).is_ok(), may, "{path}");
                let answered = share::<AnswerShare>(&by, &facts(org, path));
                assert_eq!(answered.as_ref().err().map(Error::kind), (!may).then_some(Kind::Forbidden));
            }
            assert_eq!(share::<AnswerShare>(&by, &facts(OrgId::new(), &inside)).is_ok(), foreign);
        }
    }
}
