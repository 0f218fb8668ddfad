//! Approvals: what waits for people, and what becomes of it.
//!
//! `pending → approved | denied | expired | cancelled`. A pending one is taken apart by the step that ends it, so a step can't be
//! made twice; the store writes the step against the status that it was made from.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::access::{CancelApproval, DecideApproval, Permit};
use crate::{
    ApprovalId, Error, OrgId, PolicyId, PrincipalId, Result, SecretId, SecretPath, SecretType, Time, TxId,
    UserId, VaultId,
};

macro_rules! words {
    ($($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $value:ident = $text:literal),+ $(,)? })+) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$doc])* $value),+ }

        impl $name {
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$value => $text),+ }
            }
        }

        impl std::str::FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self> {
                match text {
                    $($text => Ok(Self::$value),)+
                    _ => Err(Error::invalid("status", concat!("must be one of", $(" ", $text),+))),
                }
            }
        }
    )+};
}

words! {
    /// What an approval is for.
    Kind {
        /// One version of a secret is read.
        SecretRead = "secret_read",
        /// A transaction is signed: exactly as its intent says.
        Transaction = "transaction",
    }
    Status {
        Pending = "pending",
        Approved = "approved",
        Denied = "denied",
        Expired = "expired",
        Cancelled = "cancelled",
    }
    /// How much harm it may do.
    Risk { Low = "low", Medium = "medium", High = "high" }
}

impl Risk {
    /// Of reading a secret of this type.
    pub fn of_reading(kind: SecretType) -> Self {
        match kind {
            SecretType::PrivateKey | SecretType::SshKey | SecretType::Certificate => Self::High,
            SecretType::Note => Self::Low,
            _ => Self::Medium,
        }
    }
}

/// What a policy's `require_approval` asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    /// So many different people must approve: 1 to 10.
    pub approvals: u32,
    /// From the last approval on: a minute to 30 days.
    pub valid_for: Duration,
    /// Good for one use, or for any number within its time.
    pub once: bool,
}

/// One person, one use, within the hour.
impl Default for Terms {
    fn default() -> Self {
        Self { approvals: 1, valid_for: Duration::from_secs(60 * 60), once: true }
    }
}

/// What an approval is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    Secret(SecretVersion),
    Transaction {
        tx: TxId,
        /// SHA-256 of what exactly is to be signed.
        intent_hash: [u8; 32],
    },
}

/// The version of a secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SecretVersion {
    pub secret: SecretId,
    pub version: u64,
    pub vault: VaultId,
    pub path: SecretPath,
}

impl Target {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Secret(_) => Kind::SecretRead,
            Self::Transaction { .. } => Kind::Transaction,
        }
    }

    pub fn secret(&self) -> Option<&SecretVersion> {
        match self {
            Self::Secret(version) => Some(version),
            Self::Transaction { .. } => None,
        }
    }

    pub fn transaction(&self) -> Option<TxId> {
        match self {
            Self::Secret(_) => None,
            Self::Transaction { tx, .. } => Some(*tx),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Approval {
    pub id: ApprovalId,
    pub org: OrgId,
    pub requester: PrincipalId,
    pub target: Target,
    pub summary: String,
    pub risk: Risk,
    pub reason: Option<String>,
    /// The policy that asks for it, as it was then; `None`: the agent's own (`tx_approval_policy`).
    pub policy: Option<PolicyId>,
    pub terms: Terms,
    pub given_by: Vec<UserId>,
    pub status: Status,
    pub uses: u64,
    pub expires_at: Time,
    pub decided_by: Option<UserId>,
    pub decision_reason: Option<String>,
    pub decided_at: Option<Time>,
    pub created_at: Time,
}

impl Approval {
    /// The status as it is now: what has run out is expired, though nobody has written it down yet.
    pub fn status_at(&self, now: Time) -> Status {
        if self.runs_out_at().is_some_and(|end| now >= end) { Status::Expired } else { self.status }
    }

    /// When something about it runs out; `None`: it has ended, or was good once and is used up.
    pub fn runs_out_at(&self) -> Option<Time> {
        let open = match self.status {
            Status::Pending => true,
            // One that was used is history.
            Status::Approved => !(self.terms.once && self.uses > 0),
            _ => false,
        };
        open.then_some(self.expires_at)
    }

    /// Whether it lets something through now.
    pub fn is_good(&self, now: Time) -> bool {
        self.status_at(now) == Status::Approved && !(self.terms.once && self.uses > 0)
    }

    /// What can still be decided.
    ///
    /// # Errors
    /// `Conflict`, saying what became of it.
    pub fn pending(self, now: Time) -> Result<Pending> {
        match self.status_at(now) {
            Status::Pending => Ok(Pending(self)),
            other => Err(Error::conflict(format!("This approval is {} already.", other.as_str()))),
        }
    }
}

/// An approval that waits.
pub struct Pending(Approval);

/// An approval after a step, ready to be stored.
pub struct Step(Approval);

impl Step {
    pub fn approval(&self) -> &Approval {
        &self.0
    }
}

impl Pending {
    pub fn approval(&self) -> &Approval {
        &self.0
    }

    /// The same with the yes of these people alone: nobody else who has given theirs may decide any more.
    pub fn by_those(self, still: &[UserId]) -> Self {
        let Self(mut approval) = self;
        approval.given_by.retain(|by| still.contains(by));
        Self(approval)
    }

    /// One person's yes; the last that is required approves.
    ///
    /// # Errors
    /// `Forbidden` for its requester, `Conflict` for somebody who has approved it before.
    pub fn approve(
        self,
        may: &Permit<DecideApproval, OrgId>,
        reason: Option<String>,
        now: Time,
    ) -> Result<Step> {
        let by = self.decider(may)?;
        let Self(mut approval) = self;
        approval.given(by)?;
        if approval.is_enough() {
            approval.status = Status::Approved;
            approval.expires_at = now.plus(approval.terms.valid_for);
            approval.decided(by, reason, now);
        }
        Ok(Step(approval))
    }

    /// One person's yes to a transaction, which the signer has taken. `enough`: it has all that it needs, by its own count. What
    /// is approved is used at once, for the one transaction.
    ///
    /// # Errors
    /// As [`Self::approve`].
    pub fn approve_counted(
        self,
        may: &Permit<DecideApproval, OrgId>,
        enough: bool,
        reason: Option<String>,
        now: Time,
    ) -> Result<Step> {
        let by = self.decider(may)?;
        let Self(mut approval) = self;
        approval.given(by)?;
        if enough {
            approval.status = Status::Approved;
            approval.uses = 1;
            approval.decided(by, reason, now);
        }
        Ok(Step(approval))
    }

    /// One person's no is enough.
    ///
    /// # Errors
    /// `Forbidden` for its requester.
    pub fn deny(
        self,
        may: &Permit<DecideApproval, OrgId>,
        reason: Option<String>,
        now: Time,
    ) -> Result<Step> {
        let by = self.decider(may)?;
        let Self(mut approval) = self;
        approval.status = Status::Denied;
        approval.decided(by, reason, now);
        Ok(Step(approval))
    }

    /// Its requester needs it no more.
    ///
    /// # Errors
    /// `Forbidden` for anybody else.
    pub fn cancel(self, may: &Permit<CancelApproval, OrgId>, now: Time) -> Result<Step> {
        let Self(mut approval) = self;
        if approval.requester != may.by() {
            return Err(Error::forbidden("Only who asked for an approval may cancel it; you may deny it."));
        }
        approval.status = Status::Cancelled;
        approval.decided_at = Some(now);
        Ok(Step(approval))
    }

    /// Who decides.
    ///
    /// # Errors
    /// `Forbidden` for its requester, and for agents.
    pub fn decider(&self, may: &Permit<DecideApproval, OrgId>) -> Result<UserId> {
        match may.by() {
            by if by == self.0.requester => {
                Err(Error::forbidden("You asked for this yourself; another owner or admin must decide."))
            }
            PrincipalId::User(user) => Ok(user),
            PrincipalId::Agent(_) => Err(Error::forbidden("People decide on approvals, never agents.")),
        }
    }
}

impl Approval {
    fn given(&mut self, by: UserId) -> Result<()> {
        if self.given_by.contains(&by) {
            return Err(Error::conflict(
                "You have approved this already; somebody else must approve it, too.",
            ));
        }
        self.given_by.push(by);
        Ok(())
    }

    fn is_enough(&self) -> bool {
        self.given_by.len() >= self.terms.approvals as usize
    }

    fn decided(&mut self, by: UserId, reason: Option<String>, now: Time) {
        self.decided_by = Some(by);
        self.decision_reason = reason;
        self.decided_at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Subject, org};
    use crate::{AgentId, Role};

    fn time(seconds: i64) -> Time {
        Time::from_seconds(seconds)
    }

    fn asked(place: OrgId, requester: PrincipalId, approvals: u32) -> Approval {
        Approval {
            id: ApprovalId::new(),
            org: place,
            requester,
            target: Target::Secret(SecretVersion {
                secret: SecretId::new(),
                version: 1,
                vault: VaultId::new(),
                path: SecretPath::parse("a/b").unwrap(),
            }),
            summary: String::new(),
            risk: Risk::Medium,
            reason: None,
            policy: Some(PolicyId::new()),
            terms: Terms { approvals, ..Terms::default() },
            given_by: Vec::new(),
            status: Status::Pending,
            uses: 0,
            expires_at: time(1000),
            decided_by: None,
            decision_reason: None,
            decided_at: None,
            created_at: time(0),
        }
    }

    fn somebody(place: OrgId, id: PrincipalId) -> Subject<'static> {
        Subject {
            id,
            org: place,
            role: matches!(id, PrincipalId::User(_)).then_some(Role::Owner),
            vault_ids: &[],
            scopes: &[],
            key: None,
            device: false,
            address: None,
            at: time(1),
        }
    }

    #[test]
    fn several_are_different_people_and_none_of_them_asked() {
        let place = OrgId::new();
        let people = [(); 3].map(|()| PrincipalId::User(UserId::new()));
        let [ada, bob, cleo] =
            people.map(|id| org::<DecideApproval>(&somebody(place, id)).unwrap_or_else(|e| panic!("{e}")));
        let first = asked(place, ada.by(), 2);
        let own = first.clone().pending(time(1)).unwrap().approve(&ada, None, time(1));
        assert!(own.err().unwrap().detail().contains("yourself"));
        assert!(first.clone().pending(time(1)).unwrap().deny(&ada, None, time(1)).is_err());
        let Step(half) = first.pending(time(1)).unwrap().approve(&bob, None, time(1)).unwrap();
        assert_eq!((half.status, half.given_by.len()), (Status::Pending, 1));
        assert!(half.clone().pending(time(2)).unwrap().approve(&bob, None, time(2)).is_err());
        // Whoever gave the first yes may decide no more.
        let alone = half.clone().pending(time(2)).unwrap().by_those(&[]);
        let Step(alone) = alone.approve(&cleo, None, time(2)).unwrap();
        assert_eq!((alone.status, alone.given_by.len()), (Status::Pending, 1));
        let PrincipalId::User(bobs) = bob.by() else { unreachable!("people decide") };
        let both = half.clone().pending(time(2)).unwrap().by_those(&[bobs, UserId::new()]);
        assert_eq!(both.approve(&cleo, None, time(2)).unwrap().approval().status, Status::Approved);
        let Step(whole) = half.pending(time(2)).unwrap().approve(&cleo, None, time(2)).unwrap();
        assert!(whole.is_good(time(3)) && !whole.is_good(time(2 + 3600)));
        assert_eq!(whole.status_at(time(2 + 3600)), Status::Expired);
        assert!(!Approval { uses: 1, ..whole.clone() }.is_good(time(3)));
        assert_eq!(Approval { uses: 1, ..whole.clone() }.status_at(time(9999)), Status::Approved);
        assert!(whole.pending(time(3)).err().unwrap().detail().contains("approved already"));
    }

    #[test]
    fn what_the_signer_has_counted_is_used_at_once() {
        let (place, bot) = (OrgId::new(), PrincipalId::Agent(AgentId::new()));
        let may = |id| org::<DecideApproval>(&somebody(place, id)).unwrap_or_else(|e| panic!("{e}"));
        let (ada, bob) = (may(PrincipalId::User(UserId::new())), may(PrincipalId::User(UserId::new())));
        let target = Target::Transaction { tx: TxId::new(), intent_hash: [7; 32] };
        let waiting = Approval { target, policy: None, ..asked(place, bot, 2) };
        let pending = || waiting.clone().pending(time(1)).unwrap();
        let Step(half) = pending().approve_counted(&ada, false, None, time(1)).unwrap();
        assert_eq!((half.status, half.runs_out_at()), (Status::Pending, Some(time(1000))));
        let Step(whole) = half.pending(time(1)).unwrap().approve_counted(&bob, true, None, time(1)).unwrap();
        assert_eq!((whole.status, whole.uses, whole.runs_out_at()), (Status::Approved, 1, None));
        assert_eq!(whole.status_at(time(9999)), Status::Approved);
        // The signer knows of a yes that was not written down here.
        let Step(told) = pending().approve_counted(&bob, true, None, time(1)).unwrap();
        assert_eq!((told.status, told.given_by.len()), (Status::Approved, 1));
    }

    #[test]
    fn what_ran_out_is_expired_and_only_the_requester_cancels() {
        let (place, bot) = (OrgId::new(), PrincipalId::Agent(AgentId::new()));
        let waiting = asked(place, bot, 1);
        assert!(waiting.clone().pending(time(1000)).err().unwrap().detail().contains("expired"));
        let cancel = |id| org::<CancelApproval>(&somebody(place, id)).unwrap_or_else(|e| panic!("{e}"));
        let other = cancel(PrincipalId::User(UserId::new()));
        assert!(waiting.clone().pending(time(1)).unwrap().cancel(&other, time(1)).is_err());
        let Step(ended) = waiting.pending(time(1)).unwrap().cancel(&cancel(bot), time(1)).unwrap();
        assert_eq!(ended.status, Status::Cancelled);
        assert!(org::<DecideApproval>(&somebody(place, bot)).is_err());
    }
}
