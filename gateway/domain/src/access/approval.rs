//! Reads that people must approve first. An approval opens nothing by itself: it stands in for the one condition
//! `require_approval`, and all else (organisation, binding, ceiling, the policy's end and its other conditions) is decided when the
//! value is read.

use super::{Decision, Permit, Question, ReadSecret, SecretAt, Subject, VaultFacts, secret};
use crate::approval::{Approval, SecretVersion, Terms};
use crate::policy::{Permission, Policy};
use crate::{PolicyId, Result, SecretPath, Time};

/// Asking people to approve a read.
pub struct AskToRead;

/// What a caller who wants a value gets.
pub enum Reading {
    /// A policy, or creatorship, allows it.
    Now(Permit<ReadSecret, SecretAt>),
    /// A policy would allow it once people have approved it.
    Asked(Asked),
}

/// A read that waits for an approval.
pub struct Asked {
    may: Permit<AskToRead, SecretAt>,
    /// The policies that would allow it, the one that asks for the fewest people first; never empty.
    under: Vec<(PolicyId, Terms)>,
}

/// Decides on reading a value: as [`secret`] does, and then whether an approval would help.
///
/// # Errors
/// As [`secret`].
pub fn read(
    subject: &Subject<'_>,
    vault: &VaultFacts,
    policies: &[Policy],
    path: SecretPath,
) -> Result<Reading> {
    let refused = match secret::<ReadSecret>(subject, vault, policies, path.clone()) {
        Ok(may) => return Ok(Reading::Now(may)),
        Err(refused) => refused,
    };
    let under = Question { subject, vault, wanted: Permission::Read, path: &path };
    let under = match under.decide(policies) {
        Decision::Approval(_) if vault.org == subject.org => under.approvable(policies),
        _ => return Err(refused),
    };
    Ok(Reading::Asked(Asked { may: Permit::new(subject, SecretAt { vault: vault.id, path }), under }))
}

/// Seeing what there is to know of a secret but its value.
pub struct DescribeSecret;

/// Decides on what a listing shows of one path: who may read it, or may once people have approved it, sees what to ask for.
///
/// # Errors
/// As [`secret`].
pub fn describe(
    subject: &Subject<'_>,
    vault: &VaultFacts,
    policies: &[Policy],
    path: SecretPath,
) -> Result<Permit<DescribeSecret, SecretAt>> {
    read(subject, vault, policies, path.clone())?;
    Ok(Permit::new(subject, SecretAt { vault: vault.id, path }))
}

/// Whether the caller sees its organisation's approvals, or its own alone: people see all, but for those who are held to some paths.
pub fn sees_all_approvals(subject: &Subject<'_>) -> bool {
    !subject.is_agent() && !subject.bounded()
}

impl Asked {
    pub fn may(&self) -> &Permit<AskToRead, SecretAt> {
        &self.may
    }

    /// The policy that asks for the fewest people, and what it asks for.
    pub fn terms(&self) -> Option<(PolicyId, Terms)> {
        self.under.first().copied()
    }

    /// Whether an approval is for exactly this read, under a policy that still asks for the same.
    pub fn is_for(&self, approval: &Approval) -> bool {
        let on = self.may.on();
        let here = |version: &SecretVersion| version.vault == on.vault && version.path == on.path;
        approval.org == self.may.org()
            && approval.requester == self.may.by()
            && approval.target.secret().is_some_and(here)
            && approval.policy.is_some_and(|policy| self.under.contains(&(policy, approval.terms)))
    }

    /// Leave to read, if the approval gives it now. Whoever reads must use the approval up in the transaction that records the
    /// read, and read no other version than the approval's.
    pub fn granted(self, approval: &Approval, now: Time) -> Option<Permit<ReadSecret, SecretAt>> {
        let Permit { org, by, .. } = self.may;
        let good = self.is_for(approval) && approval.is_good(now);
        good.then_some(Permit { org, by, on: self.may.on, action: std::marker::PhantomData })
    }
}

/// The caller's policies in this vault that would hold once people have approved it.
pub(super) fn awaiting<'a>(
    subject: &Subject<'_>,
    vault: &VaultFacts,
    policies: &'a [Policy],
) -> impl Iterator<Item = (&'a Policy, Terms)> + use<'a> {
    let (id, vault, at, address) = (subject.id, vault.id, subject.at, subject.address);
    let own = policies.iter().filter(move |p| p.vault == vault && p.principal == id);
    own.filter_map(move |p| Some((p, p.awaits(at, address)?)))
}
