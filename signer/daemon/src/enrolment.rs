//! Agents that ask to be let in by a person whose address they know: on the gateway's word.

use domain::PrincipalId;
use signer_protocol::Attested;
use signer_protocol::people::{ArmAgent, EnrolAgent};
use signer_protocol::record::Principal;

use crate::authority::Authority;
use crate::principals::{newborn, successor};
use crate::refuse::{Result, conflict, forbidden};

/// Of an agent that nobody has changed since it was enrolled.
const FIRST_VERSION: u64 = 1;

impl Authority {
    /// An agent that can't log in yet, submits nothing, and belongs to the person.
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

    /// The first key of an agent that was enrolled, and never of another; for the person whose it is, while they are in
    /// its organisation.
    pub async fn arm_agent(&self, request: ArmAgent) -> Result<Attested<Principal>> {
        let (person, user) = self.person(&request.person).await?;
        let base = self.newest(&request.agent).await?;
        if (base.org, base.created_by) != (person.org, Some(user)) {
            return Err(forbidden("The agent is not this person's."));
        }
        let as_enrolled = matches!(base.id, PrincipalId::Agent(_))
            && base.verifier.is_none()
            && base.asserted.is_none()
            && base.version == FIRST_VERSION;
        if !as_enrolled {
            return Err(conflict(
                "The agent has a way to log in, or was changed since it was enrolled; its people give it a new key.",
            ));
        }
        let verifier = Some(self.enrol(base.id, &request.credential).await?);
        self.statements.attest(&Principal { verifier, ..successor(&base)? }).await
    }
}
