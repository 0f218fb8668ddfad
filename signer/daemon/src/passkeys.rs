//! People's passkeys.

use signer_protocol::Attested;
use signer_protocol::passkey::{AddPasskey, BeginPasskey, ChangedPasskeys, PendingPasskey, RemovePasskey};

use crate::authority::Authority;
use crate::refuse::{Result, unavailable};

impl Authority {
    pub async fn begin_passkey(&self, _: BeginPasskey) -> Result<Attested<PendingPasskey>> {
        Err(unavailable("Not built yet."))
    }

    pub async fn add_passkey(&self, _: AddPasskey) -> Result<ChangedPasskeys> {
        Err(unavailable("Not built yet."))
    }

    pub async fn remove_passkey(&self, _: RemovePasskey) -> Result<ChangedPasskeys> {
        Err(unavailable("Not built yet."))
    }
}
