//! Whether somebody may do something with a secret: decided once, here. The permit and the explanation both come from it.

use super::{Subject, VaultFacts};
use crate::approval::Terms;
use crate::policy::{Permission, Policy};
use crate::{PolicyId, SecretPath, Time};

/// What is decided on.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    pub subject: &'a Subject<'a>,
    pub vault: &'a VaultFacts,
    pub wanted: Permission,
    pub path: &'a SecretPath,
}

/// What decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// The vault's creator.
    Ownership,
    /// The first policy that gives it.
    Policy(PolicyId),
    /// Refused until people have approved the read: the policy that would give it then, of several the one that asks for the
    /// fewest of them.
    Approval(PolicyId),
    /// Refused: the vault is Talon's own.
    Reserved,
    /// Refused: the token is bound to other vaults.
    Binding,
    /// Refused: the path is not within the scopes.
    Scopes,
    /// Refused: nothing gives it.
    Nothing,
}

impl Decision {
    pub fn allows(self) -> bool {
        matches!(self, Self::Ownership | Self::Policy(_))
    }

    /// What decided, in a word.
    pub fn by(self) -> &'static str {
        match self {
            Self::Ownership => "ownership",
            Self::Policy(_) => "policy",
            Self::Approval(_) => "approval",
            Self::Reserved => "reserved",
            Self::Binding => "binding",
            Self::Scopes => "scopes",
            Self::Nothing => "none",
        }
    }

    pub fn policy(self) -> Option<PolicyId> {
        match self {
            Self::Policy(id) | Self::Approval(id) => Some(id),
            _ => None,
        }
    }
}

/// What a policy says to a question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Gives,
    OtherPath,
    OtherPermission,
    Expired(Time),
    /// All else holds, but for people's approval of the read.
    Awaits(Terms),
    /// The first condition that does not hold.
    Unmet(&'static str),
}

/// Each of them refuses by itself, whatever policies say; asked in this order.
const CEILINGS: [Decision; 3] = [Decision::Reserved, Decision::Binding, Decision::Scopes];

impl<'a> Question<'a> {
    /// Talon's own vault, then the token's vaults, then the scopes; then creatorship, then policies.
    pub fn decide(self, policies: &[Policy]) -> Decision {
        if let Some(refused) = CEILINGS.into_iter().find(|ceiling| !self.is_within(*ceiling)) {
            return refused;
        }
        if self.vault.is_of(self.subject) {
            return Decision::Ownership;
        }
        if let Some(policy) = self.own(policies).find(|policy| self.judge(policy) == Verdict::Gives) {
            return Decision::Policy(policy.id);
        }
        self.approvable(policies).first().map_or(Decision::Nothing, |(id, _)| Decision::Approval(*id))
    }

    /// The policies that would give it once people have approved it, and what each asks for: the fewest people first.
    pub(super) fn approvable(self, policies: &[Policy]) -> Vec<(PolicyId, Terms)> {
        let awaits = |policy: &Policy| match self.judge(policy) {
            Verdict::Awaits(terms) => Some((policy.id, terms)),
            _ => None,
        };
        let mut found: Vec<_> = self.own(policies).filter_map(awaits).collect();
        found.sort_by_key(|(id, terms)| (terms.approvals, *id));
        found
    }

    fn is_within(self, ceiling: Decision) -> bool {
        match ceiling {
            Decision::Reserved => !self.vault.reserved || self.wanted == Permission::Read,
            Decision::Binding => self.subject.bound_to(self.vault.id),
            Decision::Scopes => self.subject.ceiling_covers(self.path),
            Decision::Ownership | Decision::Policy(_) | Decision::Approval(_) | Decision::Nothing => true,
        }
    }

    /// The policies of this principal on this vault.
    fn own<'p>(self, policies: &'p [Policy]) -> impl Iterator<Item = &'p Policy> + use<'p> {
        let (vault, principal) = (self.vault.id, self.subject.id);
        policies.iter().filter(move |policy| policy.vault == vault && policy.principal == principal)
    }

    fn judge(self, policy: &Policy) -> Verdict {
        if !policy.covers(self.path) {
            return Verdict::OtherPath;
        }
        if !policy.allows(self.wanted) {
            return Verdict::OtherPermission;
        }
        let Subject { at, address, .. } = *self.subject;
        match policy.expires_at {
            Some(end) if policy.has_expired(at) => return Verdict::Expired(end),
            _ => {}
        }
        match policy.awaits(at, address) {
            Some(terms) if self.wanted == Permission::Read => Verdict::Awaits(terms),
            _ => policy.conditions.unmet(at, address).map_or(Verdict::Gives, Verdict::Unmet),
        }
    }

    /// Each step in a line, and each policy of this principal on this vault, with what it says and why.
    pub fn reasons(self, policies: &[Policy]) -> Vec<String> {
        let mut lines: Vec<String> = CEILINGS.map(|ceiling| self.about(ceiling)).into();
        lines.push(match self.vault.is_of(self.subject) {
            true => "ownership: the principal made this vault, which gives every permission".to_owned(),
            false => "ownership: the principal did not make this vault".to_owned(),
        });
        let count = lines.len();
        lines.extend(self.own(policies).map(|policy| self.line(policy)));
        if lines.len() == count {
            lines.push("policies: there is none for this principal in this vault".to_owned());
        }
        lines
    }

    fn about(self, ceiling: Decision) -> String {
        let text = match (ceiling, self.is_within(ceiling)) {
            (Decision::Reserved, true) => "the vault takes this action",
            (Decision::Reserved, false) => {
                "the vault is Talon's own: read by policy, written and deleted by nobody"
            }
            (Decision::Binding, true) => "the principal is not bound to other vaults",
            (Decision::Binding, false) => "the principal is bound to other vaults",
            (Decision::Scopes, true) => "no scopes, or the path is within them",
            (Decision::Scopes, false) => "the path is outside the principal's scopes",
            (_, true) => "passed",
            (_, false) => "refused",
        };
        format!("{}: {text}", ceiling.by())
    }

    fn line(self, policy: &Policy) -> String {
        let says = match self.judge(policy) {
            Verdict::Gives => format!("gives {}", self.wanted.as_str()),
            Verdict::OtherPath => "does not cover the path".to_owned(),
            Verdict::OtherPermission => format!("does not include {}", self.wanted.as_str()),
            Verdict::Expired(end) => format!("expired at {end}"),
            Verdict::Awaits(Terms { approvals: 1, .. }) => {
                "allows it once somebody has approved it".to_owned()
            }
            Verdict::Awaits(terms) => format!("allows it once {} people have approved it", terms.approvals),
            Verdict::Unmet(condition) => format!("its condition {condition} does not hold"),
        };
        format!("policy {} on {}: {says}", policy.id, policy.pattern)
    }
}

#[cfg(test)]
mod tests;
