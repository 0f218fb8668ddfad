//! An agent that enrols itself with a person.

use std::marker::PhantomData;

use super::{CreateAgent, Permit};
use crate::{OrgId, PrincipalId, UserId};

/// Leave to make an agent with a person who has not been asked: it belongs to them, without a key, scopes or policies, and
/// the signer makes no other kind on nobody's token. A key it gets from the person's mail.
pub fn enrolment(with: UserId, org: OrgId) -> Permit<CreateAgent, OrgId> {
    Permit { org, by: PrincipalId::User(with), on: org, action: PhantomData }
}
