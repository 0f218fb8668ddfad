//! A change of a chain: what may change, checked, and which of it did.

use domain::{Error, Result, chain};
use schemars::JsonSchema;
use serde::Deserialize;
use store::chains::Chain;

use crate::decode::Patch;
use crate::ops::name;

#[derive(Deserialize, JsonSchema)]
pub struct UpdateChainRequest {
    /// Can't be changed: it must be the chain's own, where it is given.
    #[serde(default)]
    name: Option<String>,
    /// Can't be changed: it must be the chain's own, where it is given.
    #[serde(default)]
    chain_id: Option<u64>,
    #[serde(default)]
    display_name: Option<String>,
    #[serde(default)]
    rpc_url: Patch<String>,
    #[serde(default)]
    ws_url: Patch<String>,
    #[serde(default)]
    urls_public: Option<bool>,
    #[serde(default)]
    explorer_url: Patch<String>,
    #[serde(default)]
    native_currency: Option<String>,
    #[serde(default)]
    is_testnet: Option<bool>,
    #[serde(default)]
    is_enabled: Option<bool>,
}

impl UpdateChainRequest {
    /// Changes the chain. Which fields are different now, by name: an address may hold a key, so no values.
    pub fn apply(self, chain: &mut Chain) -> Result<Vec<&'static str>> {
        let before = chain.clone();
        let fixed = "can't be changed: agents, keys and transactions go by it. Add another chain instead";
        if self.name.is_some_and(|name| name != chain.name) {
            return Err(Error::invalid("name", fixed));
        }
        if self.chain_id.is_some_and(|id| id != chain.chain_id) {
            return Err(Error::invalid("chain_id", fixed));
        }
        if let Some(text) = self.display_name {
            chain.display_name = name("display_name", &text)?;
        }
        if let Some(text) = self.native_currency {
            chain.native_currency = chain::currency(&text)?;
        }
        chain.rpc_url = self.rpc_url.try_map(|url| rpc_url(&url))?.over(chain.rpc_url.take());
        chain.ws_url = self.ws_url.try_map(|url| ws_url(&url))?.over(chain.ws_url.take());
        chain.explorer_url =
            self.explorer_url.try_map(|url| explorer_url(&url))?.over(chain.explorer_url.take());
        chain.urls_public = self.urls_public.unwrap_or(chain.urls_public);
        chain.is_testnet = self.is_testnet.unwrap_or(chain.is_testnet);
        chain.is_enabled = self.is_enabled.unwrap_or(chain.is_enabled);
        Ok(changed(&before, chain))
    }
}

fn changed(before: &Chain, after: &Chain) -> Vec<&'static str> {
    [
        ("display_name", before.display_name != after.display_name),
        ("rpc_url", before.rpc_url != after.rpc_url),
        ("ws_url", before.ws_url != after.ws_url),
        ("urls_public", before.urls_public != after.urls_public),
        ("explorer_url", before.explorer_url != after.explorer_url),
        ("native_currency", before.native_currency != after.native_currency),
        ("is_testnet", before.is_testnet != after.is_testnet),
        ("is_enabled", before.is_enabled != after.is_enabled),
    ]
    .into_iter()
    .filter_map(|(field, differs)| differs.then_some(field))
    .collect()
}

pub fn rpc_url(text: &str) -> Result<String> {
    chains::checked_address("rpc_url", text, ["https", "http"])
}

pub fn ws_url(text: &str) -> Result<String> {
    chains::checked_address("ws_url", text, ["wss", "ws"])
}

/// A page for everybody: a password in it would be everybody's.
pub fn explorer_url(text: &str) -> Result<String> {
    let url = chains::checked_address("explorer_url", text, ["https", "http"])?;
    if url.contains('@') {
        return Err(Error::invalid("explorer_url", "must hold no user and password: everybody sees it"));
    }
    Ok(url)
}
