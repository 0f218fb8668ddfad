//! NOT BUILT YET.

use signer_protocol::Attested;
use signer_protocol::cmek::{AllowRotation, Rotate, Rotated, RotationGrant};

use crate::authority::Authority;
use crate::refuse::{Result, unavailable};

impl Authority {
    pub async fn allow_rotation(&self, _: AllowRotation) -> Result<Attested<RotationGrant>> {
        Err(unavailable("Not built yet."))
    }

    pub async fn rotate(&self, _: Rotate) -> Result<Rotated> {
        Err(unavailable("Not built yet."))
    }
}
