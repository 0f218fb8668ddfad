//! The pairs that an agent gets with its record: made and sealed in the signer, stored with the agent.

use domain::access::{self, Permit, SecretAt};
use domain::policy::{Conditions, Permission, Policy};
use domain::{AgentId, OrgId, PathGlob, PolicyId, PrincipalId, Result, SecretId, VaultId};
use serde_json::{Map, Value};
use signer_protocol::identity::{MakeIdentity, Maker, NewIdentity, SealedHalf};
use store::identities::{self, Half};
use store::secrets::NewVersion;
use store::vaults::{self, AGENT_KEYS, Vault};

use crate::cx::{Act, Cx};

/// The vault's name, as the contract has it.
const NAME: &str = "__agent-keys";
const DESCRIPTION: &str = "The agents' identity pairs, made by the signer.";

/// Pairs that are not stored yet.
pub struct Born {
    pub made: NewIdentity,
    vault: VaultId,
    /// The organisation has no vault for them yet.
    is_first: bool,
}

/// Has the signer make the pairs, on `by`'s word.
pub async fn make(
    cx: &Cx,
    may: &Permit<access::CreateAgent, OrgId>,
    by: Maker,
    agent: AgentId,
) -> Result<Born> {
    let known = vaults::agent_keys(cx.store(), may).await?;
    let is_first = known.is_none();
    let (vault, vault_key) = known.map_or_else(|| (VaultId::new(), None), |v| (v.id, Some(v.key)));
    let request = MakeIdentity { by, agent, vault, vault_key };
    let made = cx.signer(async |signer, context| signer.make_identity(context, request).await).await?;
    Ok(Born { made, vault, is_first })
}

impl Born {
    /// Stores them, and lets an agent that `reads` them do so. `false`: somebody made the organisation's vault in the
    /// meantime; nothing may be committed, and other pairs must be made for that one.
    pub async fn store(
        &self,
        cx: &Cx,
        act: &mut Act,
        may: &Permit<access::CreateAgent, OrgId>,
        agent: AgentId,
        reads: bool,
    ) -> Result<bool> {
        if self.is_first && !self.store_vault(cx, act, may).await? {
            return Ok(false);
        }
        let policy = if reads { Some(self.policy(cx, may, agent)?) } else { None };
        let halves = [&self.made.ssh, &self.made.ecdh].map(|half| Half {
            at: SecretAt { vault: self.vault, path: half.label.path.clone() },
            version: version(cx, half),
        });
        identities::insert(act, may, &halves, policy.as_ref()).await?;
        for Half { at, version } in &halves {
            let details = details([
                ("path", at.path.as_str().into()),
                ("version", version.version.into()),
                ("type", version.kind.as_str().into()),
                ("vault_id", at.vault.to_string().into()),
            ]);
            act.also("secret.write", "secret", version.id, details)?;
        }
        if let Some(policy) = policy {
            let details = details([
                ("vault_id", policy.vault.to_string().into()),
                ("pattern", policy.pattern.as_str().into()),
                ("principal", policy.principal.to_string().into()),
                ("permissions", vec![Permission::Read.as_str()].into()),
            ]);
            act.also("policy.create", "policy", policy.id, details)?;
        }
        Ok(true)
    }

    async fn store_vault(
        &self,
        cx: &Cx,
        act: &mut Act,
        may: &Permit<access::CreateAgent, OrgId>,
    ) -> Result<bool> {
        let vault = Vault {
            id: self.vault,
            org: may.org(),
            name: NAME.to_owned(),
            description: Some(DESCRIPTION.to_owned()),
            creator: may.by(),
            key: self.made.vault_key.clone(),
            purpose: Some(AGENT_KEYS.to_owned()),
            cmek: None,
            created_at: cx.now(),
        };
        if !identities::insert_vault(act, may, &vault).await? {
            return Ok(false);
        }
        act.also("vault.create", "vault", vault.id, details([("name", NAME.into())]))?;
        Ok(true)
    }

    fn policy(&self, cx: &Cx, may: &Permit<access::CreateAgent, OrgId>, agent: AgentId) -> Result<Policy> {
        Ok(Policy {
            id: PolicyId::new(),
            vault: self.vault,
            pattern: PathGlob::parse("pattern", &format!("agents/{agent}/**"))?,
            principal: PrincipalId::Agent(agent),
            permissions: vec![Permission::Read],
            conditions: Conditions::default(),
            expires_at: None,
            created_by: may.by(),
            created_at: cx.now(),
        })
    }
}

fn version<'a>(cx: &Cx, half: &'a SealedHalf) -> NewVersion<'a> {
    NewVersion {
        id: SecretId::new(),
        version: half.label.version,
        kind: half.label.kind,
        metadata: None,
        rotation_policy: None,
        sealed: Some(&half.value),
        // Not even the P-256 half signs transactions.
        signing_key: None,
        expires_at: None,
        max_access_count: None,
        cmek: None,
        at: cx.now(),
    }
}

fn details<const N: usize>(pairs: [(&str, Value); N]) -> Map<String, Value> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}
