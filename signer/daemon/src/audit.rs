//! NOT BUILT YET.

use signer_protocol::audit::{SignHead, SignedHead};

use crate::authority::Authority;
use crate::refuse::{Result, unavailable};

impl Authority {
    pub async fn sign_head(&self, _: SignHead) -> Result<SignedHead> {
        Err(unavailable("Not built yet."))
    }
}
