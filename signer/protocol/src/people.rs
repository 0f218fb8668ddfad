//! People: how they come into an organisation, what they log in with, and how they leave it.

use domain::{AgentId, InvitationId, OrgId, Role, Time, UserId};
use serde::{Deserialize, Serialize};

use crate::attested::{Attested, Statement};
use crate::identity::Identity;
use crate::link::Followed;
use crate::passkey::Asserted;
use crate::record::{Assertion, Credential, Principal};
use crate::token::Caller;
use crate::wire::Blob;

/// What somebody will log in with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Login {
    /// Proof that the signer checks itself: a `Password` credential.
    Proof(Credential),
    /// An identity that the gateway vouches for. It is pinned in the record: no other will do.
    Asserted(Assertion),
}

/// Somebody's leave to come into an organisation, given by one of its owners or admins.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Invitation {
    pub id: InvitationId,
    pub org: OrgId,
    pub role: Role,
    /// SHA-256 of the address that it goes to, trimmed and lower-cased: no other is mailed its link, nor takes it up.
    pub email: Blob,
    pub by: UserId,
    /// What a new person's id will be: so an invitation makes one person, however often it is presented.
    pub user: UserId,
    pub expires_at: Time,
}

impl Statement for Invitation {
    const DOMAIN: &'static str = "talon/invitation/1";
}

/// Asks for an invitation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Invite {
    /// An owner or admin, in person; an owner, to make an owner.
    pub by: Caller,
    pub id: InvitationId,
    pub user: UserId,
    pub role: Role,
    /// As in [`Invitation`], 32 bytes.
    pub email: Blob,
    pub expires_at: Time,
    /// Over [`crate::passkey::challenge_of_invitation`], to make an owner or admin: needed of whoever has a passkey.
    pub passkey: Option<Asserted>,
}

/// Takes up an invitation. It is good once: for the new person that it names, or for one who exists.
///
/// The answer counts, as a changed record does, when it is first seen or confirmed; asked again from the same record, it is
/// the same.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Join {
    pub invitation: Attested<Invitation>,
    /// [`Opens::Invitation`](crate::link::Opens::Invitation).
    pub followed: Followed,
    pub who: Newcomer,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Newcomer {
    /// A person with the id that the invitation names.
    New(Login),
    /// A person who leaves their organisation for the one that invites: who has just logged in. Their tokens end, and
    /// what their record was bound to is the old organisation's.
    Existing(Caller),
}

/// A new password. Earlier tokens of the person end, those of API keys included.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChangePassword {
    /// The person, in person.
    pub by: Caller,
    pub current: Credential,
    pub new: Credential,
}

/// A new password for somebody who reads the mail of their account. The second factor, where there is one, stays. Refused for
/// people who log in with an asserted identity.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ResetPassword {
    pub record: Attested<Principal>,
    /// [`Opens::Password`](crate::link::Opens::Password).
    pub followed: Followed,
    pub new: Credential,
}

/// Ends an organisation: its principals, its tokens and its vaults' keys, for ever.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EndOrganisation {
    /// An owner, in person.
    pub by: Caller,
    /// Over [`crate::passkey::challenge_of_ending`]: needed of whoever has a passkey.
    pub passkey: Option<Asserted>,
}

/// The kill switch: while it is on, no agent of the organisation gets a token, uses one, or has anything signed, be it
/// accepted already.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SuspendAgents {
    /// Any person who manages the organisation, without scopes; in person, to end the suspension.
    pub by: Caller,
    pub suspended: bool,
}

/// An agent that asks to be enrolled with a person whose address it knows: on the gateway's word. It can't submit
/// transactions, has no scopes, and can't log in until [`ArmAgent`] gives it a key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EnrolAgent {
    /// Who will have made it.
    pub person: Attested<Principal>,
    pub id: AgentId,
    pub identity: Option<Attested<Identity>>,
}

/// The first key of an enrolled agent, while its person is where they were. An agent that was changed since it was enrolled
/// gets none this way: people may have given it rights since then.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ArmAgent {
    /// Who made it.
    pub person: Attested<Principal>,
    pub agent: Attested<Principal>,
    /// [`Opens::AgentKey`](crate::link::Opens::AgentKey).
    pub followed: Followed,
    pub credential: Credential,
}
