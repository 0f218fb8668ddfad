//! The chains that this installation knows, and their nodes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chains::{Node, Nodes};
use domain::{ChainId, Error, Result, SecretText, Time};
use moka::future::Cache;
use store::Store;
use store::chains::Chain;

use crate::gateway::Settings;

/// Set once the registry has been filled.
const SEEDED: &str = "chains.seeded";
const FRESH: Duration = Duration::from_secs(1);

pub struct Registry {
    nodes: Nodes,
    /// Addresses from the configuration, over those in the database; never shown.
    configured: BTreeMap<String, SecretText>,
    chains: Cache<(), Arc<Vec<Chain>>>,
}

impl Registry {
    /// Seeds the registry on a first start; chains that are there stay as they are.
    pub async fn start(store: &Store, nodes: Nodes, settings: &Settings, now: Time) -> Result<Self> {
        if store::chains::list(store).await?.is_empty() {
            let mut tx = store.begin().await?;
            // Whoever has deleted them all gets none back.
            let first = store::settings::add(&mut tx, SEEDED, "true", now).await?;
            for seed in chains::registry::seeds().into_iter().filter(|_| first) {
                let chain = Chain {
                    id: ChainId::new(),
                    name: seed.name,
                    display_name: seed.display_name,
                    chain_id: seed.chain_id,
                    rpc_url: None,
                    ws_url: None,
                    urls_public: false,
                    explorer_url: seed.explorer_url,
                    native_currency: seed.native_currency,
                    is_testnet: seed.is_testnet,
                    is_enabled: true,
                    created_at: now,
                    updated_at: now,
                };
                store::chains::seed(&mut tx, &chain).await?;
            }
            tx.commit().await?;
        }
        let chains = Cache::builder().max_capacity(1).time_to_live(FRESH).build();
        Ok(Self { nodes, configured: settings.rpc.clone(), chains })
    }

    pub async fn all(&self, store: &Store) -> Result<Arc<Vec<Chain>>> {
        let look_up = async { store::chains::list(store).await.map(Arc::new) };
        self.chains.try_get_with((), look_up).await.map_err(Arc::unwrap_or_clone)
    }

    /// What an operator changes counts at once on the gateway that changes it.
    pub async fn forget(&self) {
        self.chains.invalidate(&()).await;
    }

    /// Whether the address of the chain's node comes from the configuration.
    pub fn is_configured(&self, chain: &Chain) -> bool {
        self.configured.contains_key(&chain.name)
    }

    /// A chain by name or by chain id.
    pub async fn find(&self, store: &Store, identifier: &str) -> Result<Option<Chain>> {
        let number = identifier.parse::<u64>().ok();
        let all = self.all(store).await?;
        Ok(all.iter().find(|c| c.name == identifier || Some(c.chain_id) == number).cloned())
    }

    /// The chain's node, asked whether it is of that chain: a node of another would have nonces and receipts of
    /// another world.
    ///
    /// # Errors
    /// `Unavailable` if no address is known, it is no node's, or the node is of another chain.
    pub async fn node(&self, chain: &Chain) -> Result<Node> {
        let configured = self.configured.get(&chain.name).map(SecretText::expose);
        let url = configured.or(chain.rpc_url.as_deref()).ok_or_else(|| {
            Error::unavailable(format!(
                "No node is configured for {}. An operator sets TALON_RPC_{} or the chain's rpc_url.",
                chain.name,
                chain.name.to_uppercase().replace('-', "_")
            ))
        })?;
        let wrong = |error: Error| {
            let detail = format!("The node of {} can't be used; an operator must look into it.", chain.name);
            Error::unavailable(detail).because(error)
        };
        let node = self.nodes.at(url).map_err(wrong)?;
        match node.expect_chain(chain.chain_id).await {
            Ok(()) => Ok(node),
            Err(error @ chains::NodeError::Unreachable(_)) => Err(error.into()),
            Err(error) => Err(wrong(error.into())),
        }
    }
}
