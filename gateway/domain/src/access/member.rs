//! Members of an organisation: owners and admins manage them, and owners alone make or touch owners.

use super::{Permit, Subject, own};
use crate::{Error, OrMissing as _, Result, Role, UserId};

/// What there is to know of a member to decide.
#[derive(Clone, Copy, Debug)]
pub struct MemberFacts {
    pub id: UserId,
    pub role: Role,
}

/// Changing a member's role, or removing the member.
pub struct ManageMember;

/// Decides on a member of the caller's own organisation; `None`: there is no such person in it.
///
/// # Errors
/// `Forbidden`; to who may manage members, `Missing`.
pub fn member(subject: &Subject<'_>, member: Option<MemberFacts>) -> Result<Permit<ManageMember, UserId>> {
    manages_people(subject)?;
    let member = member.or_missing("member")?;
    role(subject, member.role)?;
    Ok(Permit::new(subject, member.id))
}

/// Decides on a role that somebody is to get, or has.
///
/// # Errors
/// `Forbidden`: owners alone make and touch owners.
pub fn role(subject: &Subject<'_>, role: Role) -> Result<()> {
    if role == Role::Owner && subject.role != Some(Role::Owner) {
        return Err(Error::forbidden("Only an owner may make, change or remove an owner."));
    }
    Ok(())
}

/// An owner or admin, who has logged in: a key that leaks must not lead to accounts.
pub(super) fn manages_people(subject: &Subject<'_>) -> Result<()> {
    own::in_person(subject)?;
    if subject.manages() && !subject.bounded() {
        Ok(())
    } else {
        Err(Error::forbidden(
            "Owners and admins of the organisation may do this, without scopes; ask one of them.",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{InviteMember, Through, org};
    use crate::{AgentId, ApiKeyId, Kind, OrgId, PrincipalId, Time};

    fn subject(org: OrgId, role: Option<Role>) -> Subject<'static> {
        let id = match role {
            Some(_) => PrincipalId::User(UserId::new()),
            None => PrincipalId::Agent(AgentId::new()),
        };
        Subject {
            id,
            org,
            role,
            vault_ids: &[],
            scopes: &[],
            key: None,
            device: false,
            address: None,
            at: Time::from_seconds(1000),
        }
    }

    #[test]
    fn owners_touch_everybody_admins_all_but_owners_members_nobody() {
        let place = OrgId::new();
        let roles = [Role::Owner, Role::Admin, Role::Member];
        for (by, may) in [
            (Some(Role::Owner), [true, true, true]),
            (Some(Role::Admin), [false, true, true]),
            (Some(Role::Member), [false; 3]),
            (None, [false; 3]),
        ] {
            let by = subject(place, by);
            for (of, may) in roles.into_iter().zip(may) {
                let facts = MemberFacts { id: UserId::new(), role: of };
                assert_eq!(member(&by, Some(facts)).is_ok(), may, "{:?} {of:?}", by.role);
                assert_eq!(org::<InviteMember>(&by).and_then(|_| role(&by, of)).is_ok(), may, "{of:?}");
            }
        }
    }

    #[test]
    fn strangers_are_missing_and_keys_no_login() {
        let place = OrgId::new();
        let owner = subject(place, Some(Role::Owner));
        assert_eq!(member(&owner, None).err().map(|e| e.kind()), Some(Kind::Missing));
        let key = Subject { key: Some(Through { id: ApiKeyId::new(), scopes: &[] }), ..owner };
        let own = Some(MemberFacts { id: UserId::new(), role: Role::Member });
        assert!(member(&owner, own).is_ok());
        assert_eq!(member(&key, own).err().map(|e| e.kind()), Some(Kind::Forbidden));
        assert_eq!(org::<InviteMember>(&key).err().map(|e| e.kind()), Some(Kind::Forbidden));
    }
}
