//! People's approval of intents.

use signer_protocol::approval::{ApproveIntent, Approved, DenyIntent};

use crate::authority::Authority;
use crate::refuse::{Result, unavailable};

impl Authority {
    pub async fn approve_intent(&self, _: ApproveIntent) -> Result<Approved> {
        Err(unavailable("Not built yet."))
    }

    pub async fn deny_intent(&self, _: DenyIntent) -> Result<()> {
        Err(unavailable("Not built yet."))
    }
}
