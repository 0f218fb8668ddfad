//! Agents that ask to be let in by a person whose address they know.

use std::sync::Arc;

use domain::{AgentId, PrincipalId, UserId};
use signer_protocol::Attested;
use signer_protocol::link::Opens;
use signer_protocol::people::{ArmAgent, EnrolAgent};
use signer_protocol::record::Principal;

use crate::authority::Authority;
use crate::principals::{newborn, successor};
use crate::refuse::{Result, conflict, forbidden};

/// Of an agent that nobody has changed since it was enrolled.
const FIRST_VERSION: u64 = 1;

/// An agent that waits for its first key, and whose it is.
pub struct Enrolled {
    pub person: Arc<Principal>,
    agent: Arc<Principal>,
    id: AgentId,
}

impl Enrolled {
    /// What the link to its first key opens.
    pub fn key(&self) -> Opens {
        Opens::AgentKey { agent: self.id }
    }
}

impl Authority {
    /// An agent that can't log in yet, submits nothing, and belongs to the person: on the gateway's word.
    pub async fn enrol_agent(&self, request: EnrolAgent) -> Result<Attested<Principal>> {
        let EnrolAgent { person, id, identity } = request;
        let (person, user) = self.person(&person).await?;
        let identity = self.identity_of(person.org, id, identity).await?;
        let id = PrincipalId::Agent(id);
        if self.ledger.knows(id)? {
            return Err(conflict("id: an agent has had it."));
        }
        let record = Principal { created_by: Some(user), identity, ..newborn(id, person.org) };
        self.statements.attest(&record).await
    }

    /// The first key of an agent that was enrolled, for who has followed the link that was mailed to its person.
    pub async fn arm_agent(&self, request: ArmAgent) -> Result<Attested<Principal>> {
        let enrolled = self.enrolled(&request.person, &request.agent).await?;
        self.followed(&request.followed, &enrolled.key()).await?;
        let verifier = Some(self.enrol(enrolled.agent.id, &request.credential).await?);
        self.statements.attest(&Principal { verifier, ..successor(&enrolled.agent)? }).await
    }

    /// An agent that was enrolled, and no other; with the person whose it is, while they are in its organisation.
    pub(crate) async fn enrolled(
        &self,
        person: &Attested<Principal>,
        agent: &Attested<Principal>,
    ) -> Result<Enrolled> {
        let (person, user): (_, UserId) = self.person(person).await?;
        let agent = self.newest(agent).await?;
        if (agent.org, agent.created_by) != (person.org, Some(user)) {
            return Err(forbidden("The agent is not this person's."));
        }
        match agent.id {
            PrincipalId::Agent(id) if !agent.has_login() && agent.version == FIRST_VERSION => {
                Ok(Enrolled { person, agent, id })
            }
            _ => Err(conflict(
                "The agent has a way to log in, or was changed since it was enrolled; its people give it a new key.",
            )),
        }
    }
}
