//! Who may do what. A [`Permit`] is the proof of it: private fields, made here alone, and demanded by the store,
//! which uses the ids that the permit carries. Forgetting a check does not compile.

use std::marker::PhantomData;
use std::net::IpAddr;

use crate::policy::{Permission, Policy};
use crate::{Error, OrgId, PathGlob, PrincipalId, Result, Role, SecretPath, Time, VaultId};

mod agent;
mod approval;
mod decision;
mod enrolment;
mod member;
mod own;
mod share;

pub use agent::{AgentAction, AgentFacts, AgentRule, agent};
pub use approval::{AskToRead, Asked, DescribeSecret, Reading, describe, read, sees_all_approvals};
pub use decision::{Decision, Question};
pub use enrolment::enrolment;
pub use member::{ManageMember, MemberFacts, member, role};
pub use own::{PersonAction, PersonRule, RevokeApiKey, Through, api_key, person};
pub use share::{ShareAction, ShareFacts, ShareRule, share};

/// Leave to do `A` to the resource `R`, for one principal, now. It says what it is for:
///
/// ```
/// # use talon_domain::access::{Permit, ReadSecret, SecretAt};
/// fn reveal(may: &Permit<ReadSecret, SecretAt>) -> &SecretAt {
///     may.on()
/// }
/// ```
///
/// Nobody makes one but this module:
///
/// ```compile_fail
/// # use talon_domain::access::{Permit, ReadSecret, SecretAt};
/// # use talon_domain::{OrgId, PrincipalId, UserId};
/// fn forge(on: SecretAt) -> Permit<ReadSecret, SecretAt> {
///     Permit { org: OrgId::new(), by: PrincipalId::User(UserId::new()), on, action: std::marker::PhantomData }
/// }
/// ```
pub struct Permit<A, R> {
    org: OrgId,
    by: PrincipalId,
    on: R,
    action: PhantomData<fn() -> A>,
}

impl<A, R> Permit<A, R> {
    fn new(subject: &Subject<'_>, on: R) -> Self {
        Self { org: subject.org, by: subject.id, on, action: PhantomData }
    }

    /// The organisation in which it was given.
    pub fn org(&self) -> OrgId {
        self.org
    }

    /// The principal to whom it was given.
    pub fn by(&self) -> PrincipalId {
        self.by
    }

    pub fn on(&self) -> &R {
        &self.on
    }
}

/// A caller, as far as access goes.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub id: PrincipalId,
    pub org: OrgId,
    pub role: Option<Role>,
    /// The vaults that the token is bound to; empty: any.
    pub vault_ids: &'a [VaultId],
    /// The explicit ceiling over paths; empty: none.
    pub scopes: &'a [PathGlob],
    /// The personal API key that the token came from.
    pub key: Option<Through<'a>>,
    /// Whether a device's login led to the token.
    pub device: bool,
    pub address: Option<IpAddr>,
    pub at: Time,
}

impl<'a> Subject<'a> {
    fn manages(&self) -> bool {
        self.role.is_some_and(Role::manages)
    }

    fn is_agent(&self) -> bool {
        matches!(self.id, PrincipalId::Agent(_))
    }

    fn bound_to(&self, vault: VaultId) -> bool {
        self.vault_ids.is_empty() || self.vault_ids.contains(&vault)
    }

    /// The principal's own scopes, and those of the key. Each is a ceiling.
    fn ceilings(&self) -> impl Iterator<Item = &'a [PathGlob]> + use<'a> {
        std::iter::once(self.scopes).chain(self.key.map(|key| key.scopes)).filter(|scopes| !scopes.is_empty())
    }

    fn ceiling_covers(&self, path: &SecretPath) -> bool {
        self.ceilings().all(|scopes| scopes.iter().any(|glob| glob.matches(path)))
    }

    /// Whoever is held to some paths gets no way around them: no agent to act through, no vault as a whole.
    fn bounded(&self) -> bool {
        self.ceilings().next().is_some()
    }
}

/// What there is to know of a vault to decide.
#[derive(Clone, Copy, Debug)]
pub struct VaultFacts {
    pub id: VaultId,
    pub org: OrgId,
    pub creator: PrincipalId,
    /// Talon's own: read by policy, written and deleted by nobody.
    pub reserved: bool,
}

impl VaultFacts {
    /// Whoever happened to be the first to need a reserved vault has no rights from it.
    fn is_of(&self, subject: &Subject<'_>) -> bool {
        !self.reserved && self.creator == subject.id
    }
}

/// A path of a vault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SecretAt {
    pub vault: VaultId,
    pub path: SecretPath,
}

macro_rules! actions {
    ($($kind:ident($rule:ident): $($(#[$doc:meta])* $name:ident = $value:ident),+;)+) => {$($(
        $(#[$doc])*
        pub struct $name;
        impl $kind for $name {
            const RULE: $rule = $rule::$value;
        }
    )+)+};
}

mod operator;
pub use operator::{
    ManageChains, ManageSettings, OperatorAction, OperatorRule, Platform, SeePlatform, operator,
};

/// Something that is done to a secret; its rule is the permission that it needs.
pub trait SecretAction {
    const RULE: Permission;
}

/// Something that is done to a vault as a whole.
pub trait VaultAction {
    const RULE: VaultRule;
}

/// Something that is done in an organisation.
pub trait OrgAction {
    const RULE: OrgRule;
}

pub enum VaultRule {
    /// Owners and admins, the creator, whoever a policy names.
    Reachable,
    /// Owners and admins, and the vault's creator.
    Managed,
    /// The same, without scopes: it tells what others may.
    Overseen,
    /// The same, without scopes: what is in it goes with it. A reserved vault nobody.
    Whole,
}

pub enum OrgRule {
    /// Every principal of the organisation.
    Anyone,
    /// People, never agents; nor through scopes, which would bind no agent that they make.
    People,
    /// Owners and admins, never agents; nor through scopes.
    Managers,
    /// Owners and admins who have logged in, without scopes: it leads to accounts.
    ManagersInPerson,
}

actions! {
    SecretAction(Permission):
        ReadSecret = Read,
        ShareSecret = Read,
        WriteSecret = Write,
        DeleteSecret = Delete;
    VaultAction(VaultRule):
        SeeVault = Reachable,
        ListSecrets = Reachable,
        DeleteVault = Whole,
        ExplainAccess = Overseen,
        ManageCmek = Whole,
        ManagePolicies = Managed;
    OrgAction(OrgRule):
        CreateVault = Anyone,
        ListVaults = Anyone,
        CreateAgent = People,
        ListAgents = Anyone,
        ChangeProfile = People,
        ListShares = Anyone,
        ListAllShares = Managers,
        ListMembers = People,
        InviteMember = ManagersInPerson,

        SeeIpRules = Managers,
        ManageIpRules = ManagersInPerson,
        SuspendAgents = Managers,
        SeeApprovals = Anyone,
        CancelApproval = Anyone,
        DecideApproval = Managers,
        /// Moves money: no API key and no device does it.
        DecideTransaction = ManagersInPerson,
        ReadAudit = Managers,
        SeeWebhooks = Managers,
        EndWebhook = Managers,
        ManageWebhooks = ManagersInPerson;
    ShareAction(ShareRule):
        AnswerShare = Named,
        RevokeShare = Given;
    PersonAction(PersonRule):
        ListApiKeys = Any,
        CreateApiKey = InPerson,
        ChangePassword = InPerson,
        DeleteAccount = InPerson,
        JoinOrganisation = InPerson,
        SeeFactor = Any,
        ChangeFactor = InPerson,
        AnswerDevice = InPerson;
    AgentAction(AgentRule):
        SeeAgent = Seen,
        ChangeAgent = Managed,
        SubmitTransaction = Itself,
        ReplaceTransaction = Steered,
        SeeTransactions = Seen;
}

/// Decides on one path: organisation, vault binding, ceiling, then policies, then creatorship.
///
/// # Errors
/// `Missing` for a vault of another organisation; else the same `Forbidden` whether the path exists or not.
pub fn secret<A: SecretAction>(
    subject: &Subject<'_>,
    vault: &VaultFacts,
    policies: &[Policy],
    path: SecretPath,
) -> Result<Permit<A, SecretAt>> {
    own(subject, vault)?;
    match (Question { subject, vault, wanted: A::RULE, path: &path }).decide(policies) {
        Decision::Ownership | Decision::Policy(_) => {
            Ok(Permit::new(subject, SecretAt { vault: vault.id, path }))
        }
        Decision::Reserved => Err(Error::forbidden(RESERVED)),
        Decision::Approval(_) | Decision::Binding | Decision::Scopes | Decision::Nothing => {
            Err(Error::forbidden(format!(
                "No {} permission on this path. Ask an owner or admin, or the vault's creator, for a policy that gives it.",
                A::RULE.as_str()
            )))
        }
    }
}

/// Whether somebody may do still what they have begun, though they are not there to be asked: what binds them, their scopes, and
/// their policies with their ends, hours and approvals count as they are now. From where they come can't be asked.
pub fn still<A: SecretAction>(
    subject: &Subject<'_>,
    vault: &VaultFacts,
    policies: &[Policy],
    path: SecretPath,
) -> bool {
    let own = policies.iter().filter(|policy| policy.vault == vault.id).map(Policy::wherever);
    secret::<A>(subject, vault, &own.collect::<Vec<_>>(), path).is_ok()
}

/// The paths of a vault that the subject may read: what a listing may show.
pub struct Readable {
    everything: bool,
    patterns: Vec<PathGlob>,
    ceilings: Vec<Vec<PathGlob>>,
}

impl Readable {
    pub fn covers(&self, path: &SecretPath) -> bool {
        self.ceilings.iter().all(|scopes| scopes.iter().any(|glob| glob.matches(path)))
            && (self.everything || self.patterns.iter().any(|glob| glob.matches(path)))
    }
}

/// Which paths the subject may read, at once or when people have approved it: who is to ask must see for what.
pub fn readable(subject: &Subject<'_>, vault: &VaultFacts, policies: &[Policy]) -> Readable {
    Readable {
        everything: vault.is_of(subject),
        patterns: live(subject, vault, policies)
            .chain(approval::awaiting(subject, vault, policies).map(|(policy, _)| policy))
            .filter(|policy| policy.allows(Permission::Read))
            .map(|policy| policy.pattern.clone())
            .collect(),
        ceilings: subject.ceilings().map(<[_]>::to_vec).collect(),
    }
}

/// Decides on a vault as a whole.
///
/// # Errors
/// `Missing` for a vault of another organisation, else `Forbidden`.
pub fn vault<A: VaultAction>(
    subject: &Subject<'_>,
    vault: &VaultFacts,
    policies: &[Policy],
) -> Result<Permit<A, VaultId>> {
    own(subject, vault)?;
    let managed = subject.manages() || vault.is_of(subject);
    let may = subject.bound_to(vault.id)
        && match A::RULE {
            VaultRule::Managed => managed,
            VaultRule::Whole if vault.reserved => return Err(Error::forbidden(RESERVED)),
            VaultRule::Whole | VaultRule::Overseen => managed && !subject.bounded(),
            VaultRule::Reachable => {
                managed
                    || live(subject, vault, policies).next().is_some()
                    || approval::awaiting(subject, vault, policies).any(|(p, _)| p.allows(Permission::Read))
            }
        };
    if may { Ok(Permit::new(subject, vault.id)) } else { Err(Error::forbidden(VAULT_REFUSED)) }
}

const RESERVED: &str = "This vault is Talon's own: what is in it was made by the signer; it is read by policy, and neither written nor deleted.";

const VAULT_REFUSED: &str = "You may not do this with this vault. Owners, admins and its creator may; ask one of them, or for a policy.";
const BOUNDED: &str = "A caller with scopes may not do this: it reaches further than paths. Use a key without scopes, or log in.";

/// Decides on a policy's pattern: who is held to some paths gives nobody leave beyond them.
///
/// # Errors
/// `Forbidden`.
pub fn pattern(subject: &Subject<'_>, pattern: &PathGlob) -> Result<()> {
    if subject.ceilings().all(|scopes| scopes.iter().any(|scope| scope.includes(pattern))) {
        Ok(())
    } else {
        Err(Error::forbidden(
            "The pattern reaches further than your scopes do; policies must stay within them.",
        ))
    }
}

/// Decides on something done in the caller's own organisation.
///
/// # Errors
/// `Forbidden`.
pub fn org<A: OrgAction>(subject: &Subject<'_>) -> Result<Permit<A, OrgId>> {
    match A::RULE {
        OrgRule::Anyone => {}
        OrgRule::ManagersInPerson => member::manages_people(subject)?,
        OrgRule::People | OrgRule::Managers if subject.is_agent() => {
            return Err(Error::forbidden("Agents may not do this; a person of the organisation must."));
        }
        OrgRule::Managers if !subject.manages() => {
            return Err(Error::forbidden(
                "Owners and admins of the organisation may do this; ask one of them.",
            ));
        }
        OrgRule::People | OrgRule::Managers if subject.bounded() => return Err(Error::forbidden(BOUNDED)),
        OrgRule::People | OrgRule::Managers => {}
    }
    Ok(Permit::new(subject, subject.org))
}

fn own(subject: &Subject<'_>, vault: &VaultFacts) -> Result<()> {
    if vault.org == subject.org { Ok(()) } else { Err(Error::missing("vault")) }
}

/// The policies that count: this vault's, this principal's, in force now.
fn live<'a>(
    subject: &Subject<'_>,
    vault: &VaultFacts,
    policies: &'a [Policy],
) -> impl Iterator<Item = &'a Policy> + use<'a> {
    let (id, vault, at, address) = (subject.id, vault.id, subject.at, subject.address);
    policies.iter().filter(move |p| p.vault == vault && p.principal == id && p.holds(at, address))
}

#[cfg(test)]
mod tests;
