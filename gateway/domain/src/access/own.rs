//! What is a person's own: credentials, which no role reaches, and the API keys that stand for the person.

use super::{Permit, Subject};
use crate::{ApiKeyId, Error, PathGlob, PrincipalId, Result, UserId};

/// A personal API key in use.
#[derive(Clone, Copy, Debug)]
pub struct Through<'a> {
    pub id: ApiKeyId,
    /// One more ceiling over paths; empty: none.
    pub scopes: &'a [PathGlob],
}

/// Something that a person does with what is theirs alone.
pub trait PersonAction {
    const RULE: PersonRule;
}

pub enum PersonRule {
    /// However they signed in.
    Any,
    /// With a login of their own, not through an API key or a device: what leaks must not lead to other credentials.
    InPerson,
}

/// Decides on what is a person's own.
///
/// # Errors
/// `Forbidden`.
pub fn person<A: PersonAction>(subject: &Subject<'_>) -> Result<Permit<A, UserId>> {
    match A::RULE {
        PersonRule::Any => human(subject),
        PersonRule::InPerson => in_person(subject),
    }
    .map(|user| Permit::new(subject, user))
}

/// A person with a login of their own.
pub(super) fn in_person(subject: &Subject<'_>) -> Result<UserId> {
    let user = human(subject)?;
    match (subject.key, subject.device) {
        (None, false) => Ok(user),
        (Some(_), _) => Err(Error::forbidden(
            "A token that came from an API key may not do this; log in with your password.",
        )),
        (None, true) => Err(Error::forbidden(
            "A token that came from a device's login may not do this; log in with your password.",
        )),
    }
}

/// Decides on a personal API key: its person may end it, and so may whoever holds the key itself. Whose key it is, the
/// store checks by the permit.
///
/// # Errors
/// `Forbidden`, whether there is such a key or not.
pub fn api_key(subject: &Subject<'_>, id: ApiKeyId) -> Result<Permit<RevokeApiKey, ApiKeyId>> {
    human(subject)?;
    if subject.device {
        in_person(subject)?;
    }
    match subject.key {
        Some(key) if key.id != id => {
            Err(Error::forbidden("With an API key you end that key alone; log in to end others."))
        }
        _ => Ok(Permit::new(subject, id)),
    }
}

/// Ending a personal API key.
pub struct RevokeApiKey;

fn human(subject: &Subject<'_>) -> Result<UserId> {
    match subject.id {
        PrincipalId::User(id) => Ok(id),
        PrincipalId::Agent(_) => Err(Error::forbidden("This is for people; an agent's token won't do.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::*;
    use crate::{AgentId, OrgId, Role, SecretPath, Time, VaultId};

    fn glob(text: &str) -> PathGlob {
        PathGlob::parse("scopes", text).unwrap()
    }

    #[test]
    fn an_api_key_is_a_second_ceiling_and_no_way_around_it() {
        let (me, org, id) = (UserId::new(), OrgId::new(), ApiKeyId::new());
        let creator = PrincipalId::User(me);
        let place = VaultFacts { id: VaultId::new(), org, creator, reserved: false };
        let (own, keys) = ([glob("keys/**")], [glob("*/a")]);
        let through = |scopes| Subject {
            id: creator,
            org,
            role: Some(Role::Owner),
            vault_ids: &[],
            scopes: &own,
            key: Some(Through { id, scopes }),
            device: false,
            address: None,
            at: Time::from_seconds(1000),
        };
        let (scoped, free) = (through(&keys), through(&[]));
        let read = |subject: &Subject<'_>, at: &str| {
            let path = SecretPath::parse(at).unwrap();
            let listed = readable(subject, &place, &[]).covers(&path);
            assert_eq!(listed, secret::<ReadSecret>(subject, &place, &[], path).is_ok(), "{at}");
            listed
        };
        assert!(read(&scoped, "keys/a") && read(&free, "keys/b"));
        assert!(!read(&scoped, "keys/b") && !read(&scoped, "other/a") && !read(&free, "other/a"));
        for (given, within) in [("keys/a", true), ("keys/*", false), ("*/a", false)] {
            assert_eq!(pattern(&scoped, &glob(given)).is_ok(), within, "{given}");
        }
        let wide = Subject { scopes: &[], ..free };
        let agent_of = AgentFacts { id: AgentId::new(), org, created_by: Some(me) };
        for (by, may) in [(&scoped, false), (&Subject { scopes: &[], ..scoped }, false), (&wide, true)] {
            assert_eq!(crate::access::org::<CreateAgent>(by).is_ok(), may);
            assert_eq!(agent::<ChangeAgent>(by, &agent_of).is_ok(), may);
            assert_eq!(vault::<DeleteVault>(by, &place, &[]).is_ok(), may);
            assert!(vault::<ManagePolicies>(by, &place, &[]).is_ok());
            assert!(person::<CreateApiKey>(by).is_err() && person::<ListApiKeys>(by).is_ok());
            assert!(api_key(by, id).is_ok() && api_key(by, ApiKeyId::new()).is_err());
        }
        let in_person = Subject { key: None, ..wide };
        assert!(person::<CreateApiKey>(&in_person).is_ok() && api_key(&in_person, id).is_ok());
        let tv = Subject { device: true, ..in_person };
        assert!(person::<ListApiKeys>(&tv).is_ok() && person::<CreateApiKey>(&tv).is_err());
        assert!(api_key(&tv, id).is_err());
        let bot = Subject { id: PrincipalId::Agent(AgentId::new()), ..in_person };
        assert!(person::<ListApiKeys>(&bot).is_err() && api_key(&bot, id).is_err());
    }
}
