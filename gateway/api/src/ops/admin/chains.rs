//! The registry of chains, as its operators keep it.

use domain::access::{self, Permit, Platform};
use domain::{ChainId, Error, OrMissing as _, Result, chain};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::chains::{self, Chain};
use store::transactions;

use super::patch::{self, UpdateChainRequest};
use crate::access::Operators;
use crate::cx::Cx;
use crate::decode;
use crate::operation::{Operation, Reply, Route};
use crate::ops::chains::ChainResponse;
use crate::ops::{OfAdminChain, name};

type May = Permit<access::ManageChains, Platform>;

#[derive(Serialize, JsonSchema)]
pub struct AdminChainResponse {
    #[serde(flatten)]
    chain: ChainResponse,
    /// Whether GET /v1/chains shows `rpc_url` and `ws_url` to anyone.
    urls_public: bool,
    /// The node's address comes from the configuration (`TALON_RPC_…`), over `rpc_url`. It is never shown.
    rpc_from_configuration: bool,
}

impl AdminChainResponse {
    /// Addresses of nodes may carry keys: they are for those who may change them.
    fn new(cx: &Cx, chain: &Chain, show_urls: bool) -> Self {
        Self {
            chain: ChainResponse::new(chain, show_urls),
            urls_public: chain.urls_public,
            rpc_from_configuration: cx.gateway.chains.is_configured(chain),
        }
    }
}

#[derive(Serialize, JsonSchema)]
pub struct AdminChainListResponse {
    chains: Vec<AdminChainResponse>,
}

/// Every chain.
pub struct AdminListChains;

impl Operation for AdminListChains {
    const ROUTE: Route = Route::new(
        "adminListChains",
        Method::GET,
        "/v1/admin/chains",
        200,
        "Every chain, enabled or not, for the installation's operators; their owners and admins see the nodes' \
         addresses.",
    );
    type Path = ();
    type Params = ();
    type Output = AdminChainListResponse;
    type Access = Operators<access::SeePlatform>;

    async fn run(
        cx: &Cx,
        _: Permit<access::SeePlatform, Platform>,
        (): (),
        (): (),
    ) -> Result<Reply<AdminChainListResponse>> {
        let show_urls = cx.operator::<access::ManageChains>().await.is_ok();
        let all = chains::list(cx.store()).await?;
        let chains = all.iter().map(|chain| AdminChainResponse::new(cx, chain, show_urls)).collect();
        Ok(Reply::of(AdminChainListResponse { chains }))
    }
}

#[derive(Deserialize, JsonSchema)]
pub struct CreateChainRequest {
    /// 1 to 64 lower-case letters, digits and hyphens; it can't be changed later.
    name: String,
    display_name: String,
    /// EIP-155, 1 to 2^53 − 1; it can't be changed later.
    chain_id: u64,
    /// The node's address, http or https. An address in the configuration is over it.
    #[serde(default)]
    rpc_url: Option<String>,
    /// ws or wss.
    #[serde(default)]
    ws_url: Option<String>,
    /// Whether anyone may see the two.
    #[serde(default)]
    urls_public: Option<bool>,
    #[serde(default)]
    explorer_url: Option<String>,
    /// `ETH` when left out.
    #[serde(default)]
    native_currency: Option<String>,
    #[serde(default)]
    is_testnet: Option<bool>,
    /// `true` when left out.
    #[serde(default)]
    is_enabled: Option<bool>,
}

/// Adds a chain.
pub struct CreateChain;

impl Operation for CreateChain {
    const ROUTE: Route = Route::new(
        "createChain",
        Method::POST,
        "/v1/admin/chains",
        201,
        "Adds a chain; transactions may go to it within a second. For owners and admins of the operators.",
    )
    .audited("chain.create", "chain");
    type Path = ();
    type Params = decode::From<CreateChainRequest>;
    type Output = AdminChainResponse;
    type Access = Operators<access::ManageChains>;

    async fn run(
        cx: &Cx,
        may: May,
        (): (),
        decode::From(new): Self::Params,
    ) -> Result<Reply<AdminChainResponse>> {
        let chain = Chain {
            id: ChainId::new(),
            name: chain::name(&new.name)?,
            display_name: name("display_name", &new.display_name)?,
            chain_id: chain::id(new.chain_id)?,
            rpc_url: new.rpc_url.as_deref().map(patch::rpc_url).transpose()?,
            ws_url: new.ws_url.as_deref().map(patch::ws_url).transpose()?,
            urls_public: new.urls_public.unwrap_or(false),
            explorer_url: new.explorer_url.as_deref().map(patch::explorer_url).transpose()?,
            native_currency: chain::currency(new.native_currency.as_deref().unwrap_or("ETH"))?,
            is_testnet: new.is_testnet.unwrap_or(false),
            is_enabled: new.is_enabled.unwrap_or(true),
            created_at: cx.now(),
            updated_at: cx.now(),
        };
        let mut act = cx.begin().await?;
        chains::insert(&mut act, &may, &chain).await?;
        note(&mut act, &chain);
        act.commit(chain.id).await?;
        cx.gateway.chains.forget().await;
        Ok(Reply::of(AdminChainResponse::new(cx, &chain, true)))
    }
}

/// Changes a chain.
pub struct UpdateChain;

impl Operation for UpdateChain {
    const ROUTE: Route = Route::new(
        "updateChain",
        Method::PUT,
        "/v1/admin/chains/{chain_id}",
        200,
        "Changes a chain, by its UUID or its chain id; what is left out stays, null clears an address. Disabled, it \
         takes no new transactions; those under way go on. For owners and admins of the operators.",
    )
    .audited("chain.update", "chain");
    type Path = OfAdminChain;
    type Params = decode::From<UpdateChainRequest>;
    type Output = AdminChainResponse;
    type Access = Operators<access::ManageChains>;

    async fn run(
        cx: &Cx,
        may: May,
        path: OfAdminChain,
        decode::From(change): Self::Params,
    ) -> Result<Reply<AdminChainResponse>> {
        let mut act = cx.begin().await?;
        let mut chain = chains::take(&mut act, &may, path.chain_id).await?.or_missing("chain")?;
        let changed = change.apply(&mut chain)?;
        chain.updated_at = cx.now();
        chains::update(&mut act, &may, &chain).await?;
        note(&mut act, &chain);
        act.note("changed", changed);
        act.commit(chain.id).await?;
        cx.gateway.chains.forget().await;
        Ok(Reply::of(AdminChainResponse::new(cx, &chain, true)))
    }
}

/// Takes a chain out.
pub struct DeleteChain;

impl Operation for DeleteChain {
    const ROUTE: Route = Route::new(
        "deleteChain",
        Method::DELETE,
        "/v1/admin/chains/{chain_id}",
        204,
        "Takes a chain out of the registry, by its UUID or its chain id, once no transaction on it is open. For \
         owners and admins of the operators.",
    )
    .audited("chain.delete", "chain");
    type Path = OfAdminChain;
    type Params = ();
    type Output = ();
    type Access = Operators<access::ManageChains>;

    async fn run(cx: &Cx, may: May, path: OfAdminChain, (): ()) -> Result<Reply<()>> {
        let mut act = cx.begin().await?;
        let chain = chains::take(&mut act, &may, path.chain_id).await?.or_missing("chain")?;
        match transactions::open_on(&mut act, &may, chain.chain_id).await? {
            0 => {}
            open => {
                return Err(Error::conflict(format!(
                    "{open} transactions on {} are still open, and need it. Set is_enabled to false, so that none are \
                     added, and delete it when they are done.",
                    chain.name
                )));
            }
        }
        chains::delete(&mut act, &may, chain.id).await?;
        note(&mut act, &chain);
        act.commit(chain.id).await?;
        cx.gateway.chains.forget().await;
        Ok(Reply::of(()))
    }
}

/// Addresses may hold keys: none of them is audited.
fn note(act: &mut crate::cx::Act, chain: &Chain) {
    act.note("name", chain.name.as_str());
    act.note("chain_id", chain.chain_id);
    act.note("is_enabled", chain.is_enabled);
    act.note("urls_public", chain.urls_public);
}
