//! Agents that ask to be let in by a person whose address they know: on the gateway's word.

use domain::PrincipalId;
use signer_protocol::Attested;
use signer_protocol::people::{ArmAgent, EnrolAgent};
use signer_protocol::record::Principal;

use crate::authority::Authority;
use crate::callers::Usable as _;
use crate::principals::{newborn, successor};
use crate::refuse::{Result, conflict, forbidden};

/// Of an agent that has never had a key: what ends one raises it.
const FIRST_EPOCH: u64 = 1;

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

    /// The first key of an agent that was enrolled, and never of another.
    pub async fn arm_agent(&self, request: ArmAgent) -> Result<Attested<Principal>> {
        let base = self.newest(&request.agent).await?;
        let unarmed = matches!(base.id, PrincipalId::Agent(_))
            && base.verifier.is_none()
            && base.asserted.is_none()
            && base.epoch == FIRST_EPOCH;
        if !unarmed {
            return Err(conflict(
                "The agent has, or has had, a way to log in; its people give it a new one.",
            ));
        }
        if !base.usable(self.clock.now()) {
            return Err(forbidden("The agent was deactivated or has expired."));
        }
        let verifier = Some(self.enrol(base.id, &request.credential).await?);
        self.statements.attest(&Principal { verifier, ..successor(&base)? }).await
    }
}
