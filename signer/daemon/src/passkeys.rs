//! People's passkeys.

use signer_protocol::passkey::{
    AddPasskey, Asserted, BeginPasskey, ChangedPasskeys, PendingPasskey, RemovePasskey,
};
use signer_protocol::{Attested, Reason, Refusal};

use crate::authority::Authority;
use crate::callers::Checked;
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

    /// Whether the caller has confirmed `challenge` by a passkey. Whoever has one must; `demanded`: whoever has none is
    /// refused, too.
    ///
    /// # Errors
    /// `PasskeyRequired`.
    pub(crate) async fn confirmed_by_passkey(
        &self,
        by: &Checked,
        _: Option<&Asserted>,
        challenge: [u8; 32],
        demanded: bool,
    ) -> Result<bool> {
        if by.record().passkeys.is_none() && !demanded {
            return Ok(false);
        }
        Err(Refusal::new(Reason::PasskeyRequired(challenge), "Confirm this with a passkey of yours."))
    }
}
