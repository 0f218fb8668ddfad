//! Agents: seen by their organisation, managed by its people, and what each alone does.

use super::{BOUNDED, Permit, Subject};
use crate::{AgentId, Error, OrgId, PrincipalId, Result, UserId};

/// Something that is done to an agent.
pub trait AgentAction {
    const RULE: AgentRule;
}

pub enum AgentRule {
    /// The agent itself, and the people of its organisation.
    Seen,
    /// Owners and admins, and the person who made it. Never an agent, nor through scopes.
    Managed,
    /// The agent itself and nobody else.
    Itself,
    /// The agent itself, and who manages it.
    Steered,
}

/// What there is to know of an agent to decide.
#[derive(Clone, Copy, Debug)]
pub struct AgentFacts {
    pub id: AgentId,
    pub org: OrgId,
    pub created_by: Option<UserId>,
}

/// Decides on an agent.
///
/// # Errors
/// `Missing` for an agent of another organisation, or for another agent that an agent asks about; else `Forbidden`.
pub fn agent<A: AgentAction>(subject: &Subject<'_>, agent: &AgentFacts) -> Result<Permit<A, AgentId>> {
    let itself = subject.id == PrincipalId::Agent(agent.id);
    if agent.org != subject.org || (subject.is_agent() && !itself) {
        return Err(Error::missing("agent"));
    }
    let may = match A::RULE {
        AgentRule::Seen => true,
        AgentRule::Itself => itself,
        AgentRule::Steered if itself => true,
        AgentRule::Managed | AgentRule::Steered if subject.bounded() && !subject.is_agent() => {
            return Err(Error::forbidden(BOUNDED));
        }
        AgentRule::Managed | AgentRule::Steered => match subject.id {
            PrincipalId::User(user) => subject.manages() || agent.created_by == Some(user),
            PrincipalId::Agent(_) => false,
        },
    };
    if may {
        Ok(Permit::new(subject, agent.id))
    } else {
        Err(Error::forbidden(match A::RULE {
            AgentRule::Itself => "Only the agent itself may do this, with its own token.",
            AgentRule::Steered => "The agent, owners, admins and the person who registered it may do this.",
            _ => "Owners, admins and the person who registered the agent may do this; an agent never.",
        }))
    }
}
