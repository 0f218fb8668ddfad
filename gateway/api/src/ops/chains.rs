//! The chains that transactions can go to.

use domain::{ChainId, OrMissing as _, Result, Time};
use http::Method;
use schemars::JsonSchema;
use serde::Serialize;
use store::chains::Chain;

use super::OfChain;
use crate::access::Public;
use crate::cx::Cx;
use crate::operation::{Operation, Reply, Route};
use crate::tool::{Effect, Tool};

#[derive(Serialize, JsonSchema)]
pub struct ChainResponse {
    id: ChainId,
    name: String,
    display_name: String,
    chain_id: u64,
    /// Only where an operator made it public.
    #[serde(skip_serializing_if = "Option::is_none")]
    rpc_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ws_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explorer_url: Option<String>,
    native_currency: String,
    is_testnet: bool,
    is_enabled: bool,
    created_at: Time,
    updated_at: Time,
}

impl From<&Chain> for ChainResponse {
    fn from(chain: &Chain) -> Self {
        Self::new(chain, chain.urls_public)
    }
}

impl ChainResponse {
    pub fn new(chain: &Chain, show_urls: bool) -> Self {
        let shown = |url: &Option<String>| url.clone().filter(|_| show_urls);
        Self {
            id: chain.id,
            name: chain.name.clone(),
            display_name: chain.display_name.clone(),
            chain_id: chain.chain_id,
            rpc_url: shown(&chain.rpc_url),
            ws_url: shown(&chain.ws_url),
            explorer_url: chain.explorer_url.clone(),
            native_currency: chain.native_currency.clone(),
            is_testnet: chain.is_testnet,
            is_enabled: chain.is_enabled,
            created_at: chain.created_at,
            updated_at: chain.updated_at,
        }
    }
}

#[derive(Serialize, JsonSchema)]
pub struct ChainListResponse {
    chains: Vec<ChainResponse>,
}

/// The chains that are known here.
pub struct ListChains;

impl Operation for ListChains {
    const ROUTE: Route =
        Route::new("listChains", Method::GET, "/v1/chains", 200, "The chains that are known here.").tool(Tool::new(
            "list_chains",
            Effect::Reads,
            "Lists the chains that transactions can go to: name, chain_id, currency, whether it is a testnet. Use a name from \
             here as chain. Whether you may use a chain, and to whom and how much you may send, whoami tells.",
        ));
    type Path = ();
    type Params = ();
    type Output = ChainListResponse;
    type Access = Public;

    async fn run(cx: &Cx, (): (), (): (), (): ()) -> Result<Reply<ChainListResponse>> {
        let all = cx.gateway.chains.all(cx.store()).await?;
        let enabled = all.iter().filter(|chain| chain.is_enabled);
        Ok(Reply::of(ChainListResponse { chains: enabled.map(ChainResponse::from).collect() }))
    }
}

/// One chain, by name or chain id.
pub struct GetChain;

impl Operation for GetChain {
    const ROUTE: Route = Route::new(
        "getChain",
        Method::GET,
        "/v1/chains/{identifier}",
        200,
        "One chain, by name or chain id.",
    );
    type Path = OfChain;
    type Params = ();
    type Output = ChainResponse;
    type Access = Public;

    async fn run(cx: &Cx, (): (), path: OfChain, (): ()) -> Result<Reply<ChainResponse>> {
        let chain = cx.gateway.chains.find(cx.store(), &path.identifier).await?.or_missing("chain")?;
        Ok(Reply::of(ChainResponse::from(&chain)))
    }
}
