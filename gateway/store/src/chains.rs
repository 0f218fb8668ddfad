//! The registry of chains.

use domain::{ChainId, Result, Time};
use sqlx::any::AnyRow;

use crate::row::Columns as _;
use crate::{Store, Tx, failed};

#[derive(Clone)]
pub struct Chain {
    pub id: ChainId,
    /// `base-sepolia`
    pub name: String,
    pub display_name: String,
    /// EIP-155.
    pub chain_id: u64,
    pub rpc_url: Option<String>,
    pub ws_url: Option<String>,
    /// Whether the addresses may be shown to anyone.
    pub urls_public: bool,
    pub explorer_url: Option<String>,
    pub native_currency: String,
    pub is_testnet: bool,
    pub is_enabled: bool,
    pub created_at: Time,
    pub updated_at: Time,
}

const ADD: &str = "INSERT INTO chains (id, name, display_name, chain_id, rpc_url, ws_url, urls_public, explorer_url, \
                   native_currency, is_testnet, is_enabled, created_at, updated_at) \
                   VALUES ($1, $2, $3, $4, NULL, NULL, 0, $5, $6, $7, 1, $8, $8) ON CONFLICT DO NOTHING";
const LIST: &str = "SELECT * FROM chains ORDER BY chain_id";

/// Adds a chain to start with; one that is there already stays as it is.
pub async fn seed(tx: &mut Tx, chain: &Chain) -> Result<()> {
    sqlx::query(ADD)
        .bind(chain.id.to_string())
        .bind(&chain.name)
        .bind(&chain.display_name)
        .bind(i64::try_from(chain.chain_id).map_err(domain::Error::internal)?)
        .bind(chain.explorer_url.as_deref())
        .bind(&chain.native_currency)
        .bind(i64::from(chain.is_testnet))
        .bind(chain.created_at.millis())
        .execute(tx.connection())
        .await
        .map_err(failed)
        .map(drop)
}

pub async fn list(store: &Store) -> Result<Vec<Chain>> {
    let rows = sqlx::query(LIST).fetch_all(store.pool()).await.map_err(failed)?;
    rows.into_iter().map(read).collect()
}

fn read(row: AnyRow) -> Result<Chain> {
    Ok(Chain {
        id: row.parsed("id")?,
        name: row.text("name")?,
        display_name: row.text("display_name")?,
        chain_id: row.count("chain_id")?,
        rpc_url: row.maybe_text("rpc_url")?,
        ws_url: row.maybe_text("ws_url")?,
        urls_public: row.flag("urls_public")?,
        explorer_url: row.maybe_text("explorer_url")?,
        native_currency: row.text("native_currency")?,
        is_testnet: row.flag("is_testnet")?,
        is_enabled: row.flag("is_enabled")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
    })
}
