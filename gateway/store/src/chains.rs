//! The registry of chains.

use domain::access::{ManageChains, Permit, Platform};
use domain::{ChainId, Error, Result, Time};
use sqlx::any::AnyRow;

use crate::row::Columns as _;
use crate::{Store, Tx, failed, is_duplicate};

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
const TAKEN: &str = "SELECT name FROM chains WHERE name = $1 OR chain_id = $2 ORDER BY chain_id LIMIT 1";
const INSERT: &str = "INSERT INTO chains (id, name, display_name, chain_id, rpc_url, ws_url, urls_public, \
                      explorer_url, native_currency, is_testnet, is_enabled, created_at, updated_at) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12)";
/// Locks the row, and waits for the submissions that hold it.
const TAKE: &str = "UPDATE chains SET id = id WHERE id = $1 RETURNING *";
const TAKE_BY_NUMBER: &str = "UPDATE chains SET id = id WHERE chain_id = $1 RETURNING *";
const UPDATE: &str = "UPDATE chains SET display_name = $2, rpc_url = $3, ws_url = $4, urls_public = $5, \
                      explorer_url = $6, native_currency = $7, is_testnet = $8, is_enabled = $9, updated_at = $10 \
                      WHERE id = $1";
const DELETE: &str = "DELETE FROM chains WHERE id = $1";

/// What an operator names a chain by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChainRef {
    Id(ChainId),
    /// EIP-155.
    Number(u64),
}

/// Adds a chain to start with; one that is there already stays as it is.
pub async fn seed(tx: &mut Tx, chain: &Chain) -> Result<()> {
    sqlx::query(ADD)
        .bind(chain.id.to_string())
        .bind(&chain.name)
        .bind(&chain.display_name)
        .bind(number(chain.chain_id)?)
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
    let rows = sqlx::query(LIST).fetch_all(&mut *store.read().await?).await.map_err(failed)?;
    rows.into_iter().map(read).collect()
}

/// Adds a chain.
///
/// # Errors
/// `Conflict` if its name or its chain id is taken.
pub async fn insert(tx: &mut Tx, _: &Permit<ManageChains, Platform>, chain: &Chain) -> Result<()> {
    let number = number(chain.chain_id)?;
    let taken = sqlx::query(TAKEN).bind(&chain.name).bind(number);
    if let Some(row) = taken.fetch_optional(tx.connection()).await.map_err(failed)? {
        let what = if row.text("name")? == chain.name { "name" } else { "chain id" };
        return Err(Error::conflict(format!("There is a chain with this {what} already; change that one.")));
    }
    let insert = sqlx::query(INSERT)
        .bind(chain.id.to_string())
        .bind(&chain.name)
        .bind(&chain.display_name)
        .bind(number)
        .bind(chain.rpc_url.as_deref())
        .bind(chain.ws_url.as_deref())
        .bind(i64::from(chain.urls_public))
        .bind(chain.explorer_url.as_deref())
        .bind(&chain.native_currency)
        .bind(i64::from(chain.is_testnet))
        .bind(i64::from(chain.is_enabled))
        .bind(chain.created_at.millis());
    match insert.execute(tx.connection()).await {
        Ok(_) => Ok(()),
        // Somebody else's commit came in between.
        Err(error) if is_duplicate(&error) => {
            Err(Error::conflict("There is a chain with this name or chain id already; change that one."))
        }
        Err(error) => Err(failed(error)),
    }
}

/// A chain, held until the transaction ends: no submission gets in between.
pub async fn take(tx: &mut Tx, _: &Permit<ManageChains, Platform>, named: ChainRef) -> Result<Option<Chain>> {
    let take = match named {
        ChainRef::Id(id) => sqlx::query(TAKE).bind(id.to_string()),
        // No chain has an id that does not fit.
        ChainRef::Number(id) => sqlx::query(TAKE_BY_NUMBER).bind(i64::try_from(id).unwrap_or(-1)),
    };
    take.fetch_optional(tx.connection()).await.map_err(failed)?.map(read).transpose()
}

/// Stores what may change of a chain that was taken.
pub async fn update(tx: &mut Tx, _: &Permit<ManageChains, Platform>, chain: &Chain) -> Result<()> {
    sqlx::query(UPDATE)
        .bind(chain.id.to_string())
        .bind(&chain.display_name)
        .bind(chain.rpc_url.as_deref())
        .bind(chain.ws_url.as_deref())
        .bind(i64::from(chain.urls_public))
        .bind(chain.explorer_url.as_deref())
        .bind(&chain.native_currency)
        .bind(i64::from(chain.is_testnet))
        .bind(i64::from(chain.is_enabled))
        .bind(chain.updated_at.millis())
        .execute(tx.connection())
        .await
        .map_err(failed)
        .map(drop)
}

pub async fn delete(tx: &mut Tx, _: &Permit<ManageChains, Platform>, id: ChainId) -> Result<()> {
    sqlx::query(DELETE).bind(id.to_string()).execute(tx.connection()).await.map_err(failed).map(drop)
}

/// Whether transactions may go to the chain, true until the transaction ends: whoever takes the chain waits. What
/// was read before may be a second old, or another gateway's.
pub async fn hold_enabled(tx: &mut Tx, chain_id: u64) -> Result<bool> {
    let hold = sqlx::query(tx.dialect().hold_chain()).bind(number(chain_id)?);
    Ok(hold.fetch_optional(tx.connection()).await.map_err(failed)?.is_some())
}

fn number(chain_id: u64) -> Result<i64> {
    i64::try_from(chain_id).map_err(Error::internal)
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
