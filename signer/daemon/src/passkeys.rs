//! People's passkeys: added, taken away, and asked for where a person must have seen what they confirm.

use std::sync::Arc;
use std::time::Duration;

use domain::unseen::has_unseen;
use domain::{PrincipalId, UserId};
use signer_protocol::passkey::{
    AddPasskey, Asserted, BeginPasskey, ChangedPasskeys, Passkey, Passkeys, PendingPasskey, RemovePasskey,
    challenge_of_addition, challenge_of_removal,
};
use signer_protocol::record::Principal;
use signer_protocol::wire::Blob;
use signer_protocol::{Attested, Reason, Refusal};

use crate::authority::Authority;
use crate::callers::Checked;
use crate::principals::successor;
use crate::refuse::{Result, conflict, invalid, tampered, unavailable};
use crate::sealing::random;
use crate::statements::digest;
use crate::webauthn::{self, Origin};

/// How long a challenge waits for its new passkey.
const PENDING: Duration = Duration::from_secs(600);

/// Of one person.
const MOST: usize = 10;

/// Characters.
const MAX_NAME: usize = 64;

impl Authority {
    /// A challenge for a new passkey.
    pub async fn begin_passkey(&self, request: BeginPasskey) -> Result<Attested<PendingPasskey>> {
        let by = self.caller(&request.by).await?;
        let user = by.in_person()?;
        let rp_id = self.origin()?.rp_id().to_owned();
        let mut challenge = [0; 32];
        random(&mut challenge).map_err(|error| {
            tracing::error!(%error, "no challenge can be drawn");
            unavailable("The signer has no randomness; try again in a moment.")
        })?;
        let expires_at = self.clock.now().plus(PENDING);
        self.statements
            .attest(&PendingPasskey { user, challenge: Blob(challenge.to_vec()), rp_id, expires_at })
            .await
    }

    /// Adds what was made over the challenge. Whoever has passkeys confirms it with one of them.
    pub async fn add_passkey(&self, request: AddPasskey) -> Result<ChangedPasskeys> {
        let by = self.caller(&request.by).await?;
        let user = by.in_person()?;
        let pending = self.statements.verify(&request.pending).await?;
        if pending.user != user {
            return Err(tampered("The challenge is another person's."));
        }
        if self.clock.now() >= pending.expires_at {
            return Err(conflict("The challenge has expired; begin again."));
        }
        let name = request.name.trim();
        if !(1..=MAX_NAME).contains(&name.chars().count()) || has_unseen(name) {
            return Err(invalid(format!(
                "name: must be 1 to {MAX_NAME} characters, all of which can be seen."
            )));
        }
        let made = webauthn::made(
            self.origin()?,
            &pending.challenge.0,
            &request.client_data.0,
            &request.attestation.0,
        )
        .map_err(|wrong| invalid(format!("The new passkey {wrong}.")))?;
        let before = match self.pinned_passkeys(by.record()).await? {
            Some(pinned) => {
                let challenge = challenge_of_addition(&pinned, &request.attestation);
                self.confirm_by(&by, request.passkey.as_ref(), challenge).await?
            }
            None => None,
        };
        let mut keys = before.map_or_else(Vec::new, |before| before.keys.clone());
        if keys.iter().any(|key| key.id.0 == made.id) {
            return Err(conflict("This passkey is yours already."));
        }
        if keys.len() >= MOST {
            return Err(conflict(format!("You have {MOST} passkeys; take one away first.")));
        }
        self.ledger.no_passkeys_to_forget(user).await?;
        keys.push(Passkey {
            id: Blob(made.id),
            public_key: Blob(made.public_key),
            name: name.to_owned(),
            added_at: self.clock.now(),
        });
        self.with_passkeys(&by, user, keys).await
    }

    /// Takes one away, confirmed by any of them.
    pub async fn remove_passkey(&self, request: RemovePasskey) -> Result<ChangedPasskeys> {
        let by = self.caller(&request.by).await?;
        let user = by.in_person()?;
        let Some(pinned) = self.pinned_passkeys(by.record()).await? else {
            return Err(conflict("You have no passkey."));
        };
        let challenge = challenge_of_removal(&pinned, &request.id);
        let Some(before) = self.confirm_by(&by, request.passkey.as_ref(), challenge).await? else {
            return Err(conflict("You have no passkey."));
        };
        let keys: Vec<_> = before.keys.iter().filter(|key| key.id != request.id).cloned().collect();
        if keys.len() == before.keys.len() {
            return Err(conflict("You have no such passkey."));
        }
        self.with_passkeys(&by, user, keys).await
    }

    /// Whether the caller has confirmed `challenge` by a passkey. Whoever has one must; `demanded`: whoever has none is
    /// refused, too.
    ///
    /// # Errors
    /// `PasskeyRequired`, also for an answer to something else; `Tampered`, `Unavailable`.
    pub(crate) async fn confirmed_by_passkey(
        &self,
        by: &Checked,
        asserted: Option<&Asserted>,
        challenge: [u8; 32],
        demanded: bool,
    ) -> Result<bool> {
        match self.confirm_by(by, asserted, challenge).await? {
            Some(_) => Ok(true),
            None if demanded => {
                Err(required(challenge, "This needs a passkey; add one to your account first."))
            }
            None => Ok(false),
        }
    }

    /// Whoever has a passkey confirms what they make, each anew. `challenge` takes how much they have made so.
    ///
    /// # Errors
    /// As [`Authority::confirmed_by_passkey`].
    pub(crate) async fn makes_by_passkey(
        &self,
        by: &Checked,
        asserted: Option<&Asserted>,
        challenge: impl Fn(u64) -> [u8; 32],
    ) -> Result<()> {
        let user = by.user()?;
        let made = self.ledger.made_by_passkey(user)?;
        if self.confirmed_by_passkey(by, asserted, challenge(made), false).await? {
            self.ledger.count_made(user, made, challenge(made.saturating_add(1))).await?;
        }
        Ok(())
    }

    /// The caller's passkeys, one of which has signed the challenge; `None`: the caller has none.
    async fn confirm_by(
        &self,
        by: &Checked,
        asserted: Option<&Asserted>,
        challenge: [u8; 32],
    ) -> Result<Option<Arc<Passkeys>>> {
        let Some(pinned) = self.pinned_passkeys(by.record()).await? else { return Ok(None) };
        let origin = self.origin()?;
        let Some(Asserted { passkeys, assertion }) = asserted else {
            return Err(required(challenge, "Confirm this with a passkey of yours."));
        };
        let genuine = self.statements.verify(passkeys).await?;
        if PrincipalId::User(genuine.user) != by.record().id || pinned.0 != digest(passkeys) {
            return Err(tampered("The passkeys are not those that the record pins."));
        }
        let unknown = "is of none of your passkeys";
        let key = genuine.keys.iter().find(|key| key.id == assertion.id).ok_or(unknown);
        match key.and_then(|key| webauthn::asserted(origin, key, &challenge, assertion)) {
            Ok(()) => Ok(Some(genuine)),
            Err(wrong) => {
                Err(required(challenge, &format!("The passkey's answer {wrong}; confirm this anew.")))
            }
        }
    }

    /// The digest of the person's passkeys; `None` if there are none, or an operator took them away.
    async fn pinned_passkeys(&self, record: &Principal) -> Result<Option<Blob>> {
        let (PrincipalId::User(user), Some(pinned)) = (record.id, &record.passkeys) else { return Ok(None) };
        let digest = <[u8; 32]>::try_from(pinned.0.as_slice())
            .map_err(|_| tampered("The record pins no passkeys of this signer's."))?;
        let forgotten = self.ledger.forgotten_passkeys(user, digest).await?;
        Ok(if forgotten { None } else { Some(pinned.clone()) })
    }

    async fn with_passkeys(&self, by: &Checked, user: UserId, keys: Vec<Passkey>) -> Result<ChangedPasskeys> {
        let passkeys = if keys.is_empty() {
            None
        } else {
            Some(self.statements.attest(&Passkeys { user, keys }).await?)
        };
        let pinned = passkeys.as_ref().map(|passkeys| Blob(digest(passkeys).to_vec()));
        let record = Principal { passkeys: pinned, ..successor(by.record())? };
        Ok(ChangedPasskeys { record: self.statements.attest(&record).await?, passkeys })
    }

    fn origin(&self) -> Result<&Origin> {
        self.limits.origin.as_ref().ok_or_else(|| {
            conflict(
                "The signer does not know which site passkeys are for: an operator sets TALON_SIGNER_ORIGIN \
                 (https://HOST, a name).",
            )
        })
    }
}

fn required(challenge: [u8; 32], detail: &str) -> Refusal {
    Refusal::new(Reason::PasskeyRequired(challenge), detail)
}
