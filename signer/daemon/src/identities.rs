//! Agents' identity pairs. A private half exists in the clear here, while it is sealed, and wherever a caller who may
//! read it has it opened: the gateway sees none when an agent is made.
//!
//! The bytes are the system's (`getrandom`), with either keystore, as data keys are: what can be read is no HSM's object.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{AgentId, PrincipalId, SecretPath, SecretType, VaultId};
use p256::elliptic_curve::sec1::ToEncodedPoint as _;
use signer_protocol::identity::{Identity, MakeIdentity, Maker, NewIdentity, PublicHalves, SealedHalf};
use signer_protocol::record::Principal;
use signer_protocol::sealing::{Holds, Label, VaultKey};
use signer_protocol::wire::Blob;
use zeroize::Zeroizing;

use crate::authority::Authority;
use crate::callers::Checked;
use crate::keys::{Key, KeyError, Keystore};
use crate::refuse::{Result, conflict, forbidden, invalid};
use crate::sealing::{mark, random, seal};

/// Of 32 bytes in base64.
const BASE64: usize = 44;

impl Authority {
    /// Two fresh pairs for an agent that a person is about to make, or that enrols with one.
    pub async fn make_identity(&self, request: MakeIdentity) -> Result<NewIdentity> {
        let MakeIdentity { by, agent, vault, vault_key } = request;
        let by = self.maker(&by, vault).await?;
        if self.ledger.knows(PrincipalId::Agent(agent))? {
            return Err(conflict("agent: has had its identity, or none, since it was made."));
        }
        let vault_key = match vault_key {
            Some(key) => key,
            None => self.new_vault_key(&by, vault, Holds::Identities).await?,
        };
        let key = self.statements.verify(&vault_key).await?;
        if key.org != by.org {
            return Err(forbidden("The vault belongs to another organisation."));
        }
        if key.vault != vault || key.holds != Holds::Identities {
            return Err(forbidden("Identities are kept in the organisation's own vault for them."));
        }
        self.not_destroyed(key.org, key.vault)?;
        self.ledger.vault_key(mark(&key, &vault_key)).await?;
        let labels = [
            label(&key, agent, "ssh", SecretType::SshKey)?,
            label(&key, agent, "ecdh", SecretType::PrivateKey)?,
        ];
        let wrapped = key.wrapped.clone();
        let (halves, [ssh, ecdh]) = self.pool.on_keys(move |keys| pairs(keys, &wrapped.0, labels)).await?;
        let identity = self.statements.attest(&Identity { org: key.org, agent, halves }).await?;
        Ok(NewIdentity { vault_key, identity, ssh, ecdh })
    }

    /// The person for whom an agent's pairs are made in this vault.
    async fn maker(&self, by: &Maker, vault: VaultId) -> Result<Arc<Principal>> {
        match by {
            Maker::Caller(by) => {
                let by = self.caller(by).await?;
                by.user()?;
                by.unbounded()?;
                by.reaches_vault(by.org(), vault)?;
                Ok(by.into_record())
            }
            Maker::Enrolment(person) => Ok(self.person(person).await?.0),
        }
    }
}

/// In the vault of identities an agent opens its own halves alone, whatever policies it was given.
pub fn opens_its_own_alone(by: &Checked, key: &VaultKey, path: &SecretPath) -> Result<()> {
    match by.record().id {
        PrincipalId::Agent(id)
            if key.holds == Holds::Identities && !path.as_str().starts_with(&format!("agents/{id}/")) =>
        {
            Err(forbidden("An agent opens its own identity alone."))
        }
        _ => Ok(()),
    }
}

/// Where a private half is kept. Both types are keys: an agent with intents is refused them, whatever the gateway says.
fn label(key: &VaultKey, agent: AgentId, pair: &str, kind: SecretType) -> Result<Label> {
    let path = SecretPath::parse(&format!("agents/{agent}/{pair}/private_key"))
        .map_err(|error| invalid(error.detail()))?;
    Ok(Label { org: key.org, vault: key.vault, path, version: 1, kind })
}

fn pairs(
    keys: &dyn Keystore,
    vault_key: &[u8],
    [ssh, ecdh]: [Label; 2],
) -> Result<(PublicHalves, [SealedHalf; 2]), KeyError> {
    let (seed, ssh_public) = ed25519()?;
    let (scalar, ecdh_public) = p256()?;
    let kept = |label: Label, private: &Key| {
        let mut text = Zeroizing::new([0; BASE64]);
        STANDARD
            .encode_slice(**private, &mut *text)
            .map_err(|error| KeyError::Unavailable(format!("base64 failed: {error}")))?;
        let value = Blob(seal(keys, vault_key, &label, &*text)?);
        Ok::<_, KeyError>(SealedHalf { label, value })
    };
    let halves = PublicHalves { ssh: Blob(ssh_public), ecdh: Blob(ecdh_public) };
    Ok((halves, [kept(ssh, &seed)?, kept(ecdh, &scalar)?]))
}

/// A seed and its public key.
fn ed25519() -> Result<(Key, Vec<u8>), KeyError> {
    let mut seed = Key::default();
    random(&mut *seed)?;
    let public = ed25519_dalek::SigningKey::from_bytes(&seed).verifying_key();
    Ok((seed, public.to_bytes().to_vec()))
}

/// A scalar from 1 to n - 1, evenly drawn (FIPS 186-5 §A.2.2), and its point.
fn p256() -> Result<(Key, Vec<u8>), KeyError> {
    let mut scalar = Key::default();
    loop {
        random(&mut *scalar)?;
        // Of 2^32 draws, one is out of range.
        if let Ok(key) = p256::SecretKey::from_slice(&*scalar) {
            let point = key.public_key().to_encoded_point(false);
            return Ok((scalar, point.as_bytes().to_vec()));
        }
    }
}
