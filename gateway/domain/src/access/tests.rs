//! Who may do what, case by case.

use super::*;
use crate::PolicyId;
use crate::policy::Conditions;
use crate::{AgentId, UserId};

struct Case {
    org: OrgId,
    id: PrincipalId,
    vault: VaultFacts,
}

fn case() -> Case {
    let org = OrgId::new();
    let creator = PrincipalId::User(UserId::new());
    Case {
        org,
        id: PrincipalId::Agent(AgentId::new()),
        vault: VaultFacts { id: VaultId::new(), org, creator, reserved: false },
    }
}

fn policy(case: &Case, pattern: &str, permissions: &[Permission]) -> Policy {
    Policy {
        id: PolicyId::new(),
        vault: case.vault.id,
        pattern: PathGlob::parse("p", pattern).unwrap(),
        principal: case.id,
        permissions: permissions.to_vec(),
        conditions: Conditions::default(),
        expires_at: None,
        created_by: case.vault.creator,
        created_at: Time::from_millis(0),
    }
}

fn subject<'a>(case: &Case, vault_ids: &'a [VaultId], scopes: &'a [PathGlob]) -> Subject<'a> {
    let at = Time::from_seconds(1000);
    Subject {
        id: case.id,
        org: case.org,
        role: None,
        vault_ids,
        scopes,
        key: None,
        device: false,
        address: None,
        at,
    }
}

fn path(text: &str) -> SecretPath {
    SecretPath::parse(text).unwrap()
}

#[test]
fn no_policy_no_access_and_write_includes_delete() {
    let case = case();
    let me = subject(&case, &[], &[]);
    assert!(secret::<ReadSecret>(&me, &case.vault, &[], path("a")).is_err());
    let writes = [policy(&case, "keys/*", &[Permission::Write])];
    assert!(secret::<ReadSecret>(&me, &case.vault, &writes, path("keys/a")).is_err());
    assert!(secret::<WriteSecret>(&me, &case.vault, &writes, path("keys/a")).is_ok());
    assert!(secret::<DeleteSecret>(&me, &case.vault, &writes, path("keys/a")).is_ok());
    assert!(secret::<WriteSecret>(&me, &case.vault, &writes, path("other/a")).is_err());
}

#[test]
fn binding_and_ceiling_come_before_policies_and_creatorship() {
    let mut case = case();
    case.vault.creator = case.id;
    let elsewhere = [VaultId::new()];
    let scopes = [PathGlob::parse("s", "keys/**").unwrap()];
    let open = subject(&case, &[], &[]);
    assert!(secret::<ReadSecret>(&open, &case.vault, &[], path("any")).is_ok());
    assert!(secret::<ReadSecret>(&subject(&case, &elsewhere, &[]), &case.vault, &[], path("any")).is_err());
    assert!(secret::<ReadSecret>(&subject(&case, &[], &scopes), &case.vault, &[], path("any")).is_err());
    assert!(secret::<ReadSecret>(&subject(&case, &[], &scopes), &case.vault, &[], path("keys/a")).is_ok());
}

#[test]
fn expired_policies_and_other_principals_policies_grant_nothing() {
    let case = case();
    let me = subject(&case, &[], &[]);
    let mut expired = policy(&case, "**", &[Permission::Read]);
    expired.expires_at = Some(Time::from_seconds(1000));
    let mut others = policy(&case, "**", &[Permission::Read]);
    others.principal = PrincipalId::Agent(AgentId::new());
    let mut elsewhere = policy(&case, "**", &[Permission::Read]);
    elsewhere.vault = VaultId::new();
    assert!(secret::<ReadSecret>(&me, &case.vault, &[expired, others, elsewhere], path("a")).is_err());
}

#[test]
fn owners_manage_but_do_not_read_without_a_policy() {
    let mut case = case();
    case.id = PrincipalId::User(UserId::new());
    let owner = Subject { role: Some(Role::Owner), ..subject(&case, &[], &[]) };
    assert!(vault::<ManagePolicies>(&owner, &case.vault, &[]).is_ok());
    assert!(secret::<ReadSecret>(&owner, &case.vault, &[], path("a")).is_err());
    let member = Subject { role: Some(Role::Member), ..owner };
    assert!(vault::<SeeVault>(&member, &case.vault, &[]).is_err());
}

#[test]
fn a_reserved_vault_is_read_by_policy_and_nothing_else() {
    let mut case = case();
    case.id = PrincipalId::User(UserId::new());
    case.vault.creator = case.id;
    case.vault.reserved = true;
    let maker = Subject { role: Some(Role::Member), ..subject(&case, &[], &[]) };
    let owner = Subject { role: Some(Role::Owner), ..maker };
    assert!(secret::<ReadSecret>(&maker, &case.vault, &[], path("a")).is_err(), "made is not owned");
    assert!(!readable(&maker, &case.vault, &[]).covers(&path("a")));
    assert!(vault::<SeeVault>(&maker, &case.vault, &[]).is_err());
    assert!(vault::<ManagePolicies>(&maker, &case.vault, &[]).is_err());
    let all = [policy(&case, "**", &[Permission::Read, Permission::Write])];
    assert!(vault::<ManagePolicies>(&owner, &case.vault, &all).is_ok());
    assert!(secret::<ReadSecret>(&owner, &case.vault, &all, path("a")).is_ok());
    let told = [
        secret::<WriteSecret>(&owner, &case.vault, &all, path("a")).err(),
        secret::<DeleteSecret>(&owner, &case.vault, &all, path("a")).err(),
        vault::<DeleteVault>(&owner, &case.vault, &all).err(),
    ];
    assert!(told.into_iter().all(|error| error.unwrap().detail() == RESERVED));
}

#[test]
fn another_organisations_things_are_missing() {
    let case = case();
    let stranger = Subject { org: OrgId::new(), ..subject(&case, &[], &[]) };
    let vault_error = vault::<SeeVault>(&stranger, &case.vault, &[]).err().unwrap();
    assert_eq!(vault_error.kind(), crate::Kind::Missing);
    let facts = AgentFacts { id: AgentId::new(), org: case.org, created_by: None };
    assert_eq!(agent::<SeeAgent>(&stranger, &facts).err().unwrap().kind(), crate::Kind::Missing);
}

#[test]
fn what_is_managed_is_for_owners_and_admins_without_scopes() {
    let mut case = case();
    let scopes = [PathGlob::parse("s", "keys/**").unwrap()];
    let bot = Subject { role: Some(Role::Owner), ..subject(&case, &[], &[]) };
    assert!(org::<ManageIpRules>(&bot).is_err(), "an agent, whatever it says it is");
    case.id = PrincipalId::User(UserId::new());
    for role in [Role::Owner, Role::Admin] {
        let manager = Subject { role: Some(role), ..subject(&case, &[], &[]) };
        assert!(org::<ManageIpRules>(&manager).is_ok() && org::<SuspendAgents>(&manager).is_ok());
        assert!(org::<SuspendAgents>(&Subject { scopes: &scopes, ..manager }).is_err());
        let held = Subject { key: Some(Through { id: crate::ApiKeyId::new(), scopes: &scopes }), ..manager };
        assert!(org::<ManageIpRules>(&held).is_err(), "a key for some paths");
    }
    for role in [Some(Role::Member), None] {
        let other = Subject { role, ..subject(&case, &[], &[]) };
        assert!(org::<ManageIpRules>(&other).is_err() && org::<SuspendAgents>(&other).is_err());
    }
}
