//! Agents' identity pairs: written with the agent, by the leave to make it, and by nothing else. They are read as any
//! secret is.

use domain::access::{CreateAgent, Permit, SecretAt};
use domain::policy::Policy;
use domain::{Error, OrgId, Result};

use crate::secrets::NewVersion;
use crate::vaults::Vault;
use crate::{Tx, policies, secrets, vaults};

/// A private half, where it belongs.
pub struct Half<'a> {
    pub at: SecretAt,
    pub version: NewVersion<'a>,
}

/// The organisation's vault of identities. `false`: somebody was faster, and what was sealed for this one is of no use.
pub async fn insert_vault(tx: &mut Tx, may: &Permit<CreateAgent, OrgId>, vault: &Vault) -> Result<bool> {
    vaults::write(tx, may.org(), vault).await
}

/// Both private halves, and the policy by which the agent reads them, if it gets one.
pub async fn insert(
    tx: &mut Tx,
    may: &Permit<CreateAgent, OrgId>,
    halves: &[Half<'_>; 2],
    policy: Option<&Policy>,
) -> Result<()> {
    for half in halves {
        if !secrets::write(tx, &half.at, may.by(), &half.version).await? {
            return Err(Error::internal(format!("there is something at {} already", half.at.path)));
        }
    }
    match policy {
        Some(policy) => policies::write(tx, policy.vault, policy).await,
        None => Ok(()),
    }
}
