//! Who may do what to the installation itself.

use super::{BOUNDED, Permit, Subject};
use crate::{Error, OrgId, Result};

/// Something that is done to the installation itself, by those who operate it.
pub trait OperatorAction {
    const RULE: OperatorRule;
}

/// The installation as a whole: what a permit of an operator's is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Platform;

pub enum OperatorRule {
    /// Every person of the operators' organisation.
    Member,
    /// Its owners and admins.
    Manager,
}

actions! {
    OperatorAction(OperatorRule):
        SeePlatform = Member,
        ManageChains = Manager,
        ManageSettings = Manager;
}

/// Decides on the installation itself. `operators` is the organisation set at first start; before that, nobody may.
///
/// # Errors
/// `Forbidden`: for agents always, the operators' own too; for people of any other organisation, its owner too; and
/// for members, and for callers with scopes, where a manager is needed.
pub fn operator<A: OperatorAction>(
    subject: &Subject<'_>,
    operators: Option<OrgId>,
) -> Result<Permit<A, Platform>> {
    if subject.is_agent() || operators != Some(subject.org) {
        return Err(Error::forbidden(
            "This is for the people who operate this installation, and for nobody else.",
        ));
    }
    if matches!(A::RULE, OperatorRule::Manager) && subject.bounded() {
        return Err(Error::forbidden(BOUNDED));
    }
    let may = match A::RULE {
        OperatorRule::Member => subject.role.is_some(),
        OperatorRule::Manager => subject.manages(),
    };
    if may {
        Ok(Permit::new(subject, Platform))
    } else {
        Err(Error::forbidden(
            "Owners and admins of the operators' organisation may do this; ask one of them.",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Through;
    use crate::{AgentId, ApiKeyId, Kind, PathGlob, PrincipalId, Role, Time, UserId};

    #[test]
    fn only_people_of_the_operators_organisation_operate() {
        let org = OrgId::new();
        let person = |role| Subject {
            id: PrincipalId::User(UserId::new()),
            org,
            role,
            vault_ids: &[],
            scopes: &[],
            address: None,
            at: Time::from_seconds(1000),
            key: None,
            device: false,
        };
        let ours = Some(org);
        for role in [Role::Owner, Role::Admin] {
            let manager = person(Some(role));
            assert!(operator::<ManageChains>(&manager, ours).is_ok());
            assert!(operator::<ManageSettings>(&manager, ours).is_ok());
            let scopes = [PathGlob::parse("s", "keys/**").unwrap()];
            let held = Subject { key: Some(Through { id: ApiKeyId::new(), scopes: &scopes }), ..manager };
            assert!(operator::<ManageSettings>(&held, ours).is_err(), "a key for some paths");
            assert!(operator::<SeePlatform>(&manager, ours).is_ok());
            assert!(operator::<SeePlatform>(&manager, Some(OrgId::new())).is_err(), "another organisation's");
            assert!(operator::<SeePlatform>(&manager, None).is_err(), "before there are operators");
        }
        let member = person(Some(Role::Member));
        assert!(operator::<SeePlatform>(&member, ours).is_ok());
        assert_eq!(operator::<ManageChains>(&member, ours).err().unwrap().kind(), Kind::Forbidden);
        assert!(operator::<ManageSettings>(&member, ours).is_err());
        for role in [None, Some(Role::Owner)] {
            let bot = Subject { id: PrincipalId::Agent(AgentId::new()), ..person(role) };
            assert!(operator::<SeePlatform>(&bot, ours).is_err(), "an agent of the operators'");
            assert!(operator::<ManageChains>(&bot, ours).is_err());
        }
        assert!(operator::<SeePlatform>(&person(None), ours).is_err());
    }
}
