//! What is looked up for every request, kept for a second.
//!
//! A second is what the contract gives a revocation to reach every gateway; on the gateway that makes the change
//! it is forgotten at once.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use domain::access::Subject;
use domain::policy::Policy;
use domain::{ApiKeyId, Error, OrgId, PrincipalId, Result, SecretText, Time, VaultId, secret};
use moka::future::Cache;
use signer_protocol::Attested;
use signer_protocol::api_key::ApiKey;
use signer_protocol::record::Principal;
use signer_protocol::token::Claims;
use store::Store;
use store::ip_rules::Gate;
use store::vaults::Vault;

const FRESH: Duration = Duration::from_millis(900);
/// A key presented directly is exchanged this often at least.
const EXCHANGED: Duration = Duration::from_secs(30);
const CAPACITY: u64 = 20_000;

/// A principal's record, as the database holds it.
pub struct KnownPrincipal {
    pub record: Attested<Principal>,
    pub principal: Principal,
}

impl KnownPrincipal {
    /// As somebody who has begun something and is not there now: their record is their bounds.
    pub fn absent(&self, at: Time) -> Subject<'_> {
        let Principal { id, org, role, ref vault_ids, ref scopes, .. } = self.principal;
        Subject { id, org, role, vault_ids, scopes, key: None, device: false, address: None, at }
    }
}

/// Stands for a bearer credential in a cache; the credential itself is not kept as a key.
pub type Digest = [u8; 32];

pub fn digest(text: &SecretText) -> Digest {
    secret::sha256(text.expose().as_bytes())
}

pub struct Known {
    /// Tokens that were good a moment ago: signature, expiry and revocation.
    pub tokens: Cache<Digest, Arc<Claims>>,
    /// Tokens that keys presented directly were exchanged for, by where they come from: it decides whether they get any.
    pub exchanged: Cache<(Digest, Option<IpAddr>), Arc<SecretText>>,
    /// What the signer's keystore said of itself.
    pub keystore: Cache<(), &'static str>,
    principals: Cache<PrincipalId, Arc<KnownPrincipal>>,
    api_keys: Cache<ApiKeyId, Arc<ApiKey>>,
    vaults: Cache<VaultId, Arc<Vault>>,
    policies: Cache<PrincipalId, Arc<Vec<Policy>>>,
    gates: Cache<OrgId, Arc<Gate>>,
}

fn cache<K, V>(lifetime: Duration) -> Cache<K, V>
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    Cache::builder().max_capacity(CAPACITY).time_to_live(lifetime).build()
}

impl Known {
    pub fn new() -> Self {
        Self {
            tokens: cache(FRESH),
            exchanged: cache(EXCHANGED),
            keystore: cache(FRESH),
            principals: cache(FRESH),
            api_keys: cache(FRESH),
            vaults: cache(FRESH),
            policies: cache(FRESH),
            gates: cache(FRESH),
        }
    }

    /// A principal's record, or `None` if there is no such principal in the organisation.
    pub async fn principal(
        &self,
        store: &Store,
        id: PrincipalId,
        org: OrgId,
    ) -> Result<Option<Arc<KnownPrincipal>>> {
        let look_up = async {
            let record = match id {
                PrincipalId::User(user) => store::users::facts(store, user).await?.map(|u| u.record),
                PrincipalId::Agent(agent) => store::agents::facts(store, agent).await?.map(|a| a.record),
            };
            let record = record.ok_or_else(|| Error::missing("principal"))?;
            let principal =
                record.peek().map_err(|e| Error::internal(format!("{id}'s record is damaged: {e}")))?;
            Ok::<_, Error>(Arc::new(KnownPrincipal { record, principal }))
        };
        let found = optional(self.principals.try_get_with(id, look_up).await)?;
        Ok(found.filter(|known| known.principal.org == org && known.principal.id == id))
    }

    /// What the database says of a personal API key: enough to tell that it has ended. Its scopes are in the token.
    pub async fn api_key(&self, store: &Store, id: ApiKeyId) -> Result<Option<Arc<ApiKey>>> {
        let look_up = async {
            let found = store::api_keys::facts(store, id).await?.ok_or_else(|| Error::missing("API key"))?;
            let record = found.record.peek();
            record
                .map(Arc::new)
                .map_err(|e| Error::internal(format!("API key {id}'s record is damaged: {e}")))
        };
        optional(self.api_keys.try_get_with(id, look_up).await)
    }

    pub async fn vault(&self, store: &Store, id: VaultId) -> Result<Option<Arc<Vault>>> {
        let look_up = async {
            store::vaults::facts(store, id).await?.map(Arc::new).ok_or_else(|| Error::missing("vault"))
        };
        optional(self.vaults.try_get_with(id, look_up).await)
    }

    pub async fn policies(&self, store: &Store, of: PrincipalId) -> Result<Arc<Vec<Policy>>> {
        let look_up = async { store::policies::for_principal(store, of).await.map(Arc::new) };
        self.policies.try_get_with(of, look_up).await.map_err(Arc::unwrap_or_clone)
    }

    /// What decides whether anybody of an organisation comes in.
    pub async fn gate(&self, store: &Store, of: OrgId) -> Result<Arc<Gate>> {
        let look_up = async { store::ip_rules::facts(store, of).await.map(Arc::new) };
        self.gates.try_get_with(of, look_up).await.map_err(Arc::unwrap_or_clone)
    }

    pub async fn forget_gate(&self, of: OrgId) {
        self.gates.invalidate(&of).await;
    }

    pub async fn forget_principal(&self, id: PrincipalId) {
        self.principals.invalidate(&id).await;
    }

    pub async fn forget_api_key(&self, id: ApiKeyId) {
        self.api_keys.invalidate(&id).await;
    }

    pub async fn forget_vault(&self, id: VaultId) {
        self.vaults.invalidate(&id).await;
        // Its policies are no facts any more.
        self.policies.invalidate_all();
    }

    /// After an organisation's end.
    pub fn forget_everything(&self) {
        self.tokens.invalidate_all();
        self.exchanged.invalidate_all();
        self.principals.invalidate_all();
        self.api_keys.invalidate_all();
        self.vaults.invalidate_all();
        self.policies.invalidate_all();
        self.gates.invalidate_all();
    }

    pub async fn forget_policies(&self, of: PrincipalId) {
        self.policies.invalidate(&of).await;
    }
}

/// Absence is not cached: what is made now is there at once.
fn optional<T>(found: Result<T, Arc<Error>>) -> Result<Option<T>> {
    match found {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == domain::Kind::Missing => Ok(None),
        Err(shared) => Err(Arc::unwrap_or_clone(shared)),
    }
}
