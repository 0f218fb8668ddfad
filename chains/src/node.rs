//! One node, over JSON-RPC (<https://ethereum.github.io/execution-apis/>).

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use domain::{AccessList, Wei};
use moka::future::Cache;
use reqwest::Client;
use serde::Serialize;
use serde::de::IgnoredAny;

use crate::address::NodeUrl;
use crate::broadcast::Broadcast;
use crate::error::NodeError;
use crate::fees::{BLOCKS, FeeHistory, GAS_CAP, Head, Header, PERCENTILE, Quote};
use crate::quantity::Quantity;
use crate::receipt::{Answer, Receipt};
use crate::rpc::Rpc;
use crate::simulate::{Token, Way};

/// Fees move once a block; within this time, any number of submissions ask once.
const HEAD_LASTS: Duration = Duration::from_secs(1);
/// What stands behind an address changes rarely, and by an operator's hand.
const CHAIN_ID_LASTS: Duration = Duration::from_secs(60);
/// A node that is renewed knows more; a token rarely changes its name.
const WAY_LASTS: Duration = Duration::from_secs(600);
/// How many tokens' names are kept.
const TOKENS: u64 = 1_000;
/// A transaction's intrinsic cost (EIP-2028). An estimate of just this runs no code, so it can't grow.
const INTRINSIC_GAS: u64 = 21_000;

type Result<T, E = NodeError> = std::result::Result<T, E>;

/// A chain's node. Cheap to clone; its address does not print.
#[derive(Clone)]
pub struct Node {
    pub(crate) rpc: Rpc,
    head: Cache<(), Head>,
    /// The best way to simulate that it has been seen to know.
    pub(crate) way: Cache<(), Way>,
    pub(crate) tokens: Cache<Address, Token>,
    chain_id: Cache<(), u64>,
}

/// What a call takes now, in gas.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gas {
    /// As the node says.
    pub needed: u64,
    /// With a margin, since the chain moves on until the call is in a block.
    pub limit: u64,
}

/// A transaction before it has nonce, gas and fees.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    pub from: Address,
    /// `None`: it creates a contract, with `data` as the code that does so.
    pub to: Option<Address>,
    pub value: Wei,
    pub data: Bytes,
    pub access_list: AccessList,
}

/// A call, as nodes are asked about it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CallRequest {
    from: Address,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Address>,
    value: U256,
    // Every node reads `data`; some older ones know no `input`.
    data: Bytes,
    // Nodes from before Berlin don't know it.
    #[serde(skip_serializing_if = "AccessList::is_empty")]
    access_list: AccessList,
    #[serde(skip_serializing_if = "Option::is_none")]
    gas: Option<U256>,
}

impl CallRequest {
    /// Without a gas limit, it may take what it takes.
    pub fn of(call: &Call, gas: Option<u64>) -> Self {
        let Call { from, to, value: Wei(value), data, access_list } = call.clone();
        Self { from, to, value, data, access_list, gas: gas.map(U256::from) }
    }
}

impl Node {
    pub(crate) fn new(client: Client, url: NodeUrl) -> Self {
        Self {
            rpc: Rpc::new(client, url),
            head: remembered(HEAD_LASTS),
            way: remembered(WAY_LASTS),
            tokens: Cache::builder().max_capacity(TOKENS).time_to_live(WAY_LASTS).build(),
            chain_id: remembered(CHAIN_ID_LASTS),
        }
    }

    /// The EIP-155 id of the chain that the node follows.
    pub async fn chain_id(&self) -> Result<u64> {
        let Quantity(id) = self.rpc.ask("eth_chainId", ()).await?;
        Ok(id)
    }

    /// Makes sure that the node follows this chain; asks once a minute at most. With another chain's nonces and
    /// receipts, a transaction would seem to be replaced.
    ///
    /// # Errors
    /// `Malformed` if it follows another chain.
    pub async fn expect_chain(&self, chain_id: u64) -> Result<()> {
        match self.chain_id.try_get_with((), self.chain_id()).await.map_err(Arc::unwrap_or_clone)? {
            id if id == chain_id => Ok(()),
            other => {
                // Once it is corrected, that shows at once.
                self.chain_id.invalidate(&()).await;
                Err(NodeError::Malformed(format!("it follows chain {other}, and not {chain_id}")))
            }
        }
    }

    /// The number of the latest block.
    pub async fn block_number(&self) -> Result<u64> {
        let Quantity(number) = self.rpc.ask("eth_blockNumber", ()).await?;
        Ok(number)
    }

    /// As of the latest block.
    pub async fn balance(&self, of: Address) -> Result<Wei> {
        self.rpc.ask("eth_getBalance", (of, "latest")).await.map(|Quantity(wei)| Wei(wei))
    }

    /// The nonce after those in blocks and in the node's pool.
    pub async fn next_nonce(&self, of: Address) -> Result<u64> {
        let Quantity(nonce) = self.rpc.ask("eth_getTransactionCount", (of, "pending")).await?;
        Ok(nonce)
    }

    /// The nonce after those in blocks.
    pub async fn mined_nonce(&self, of: Address) -> Result<u64> {
        let Quantity(nonce) = self.rpc.ask("eth_getTransactionCount", (of, "latest")).await?;
        Ok(nonce)
    }

    /// The gas that a call needs, with a fifth on top for what changes until it is in a block. A plain transfer
    /// costs what it costs.
    ///
    /// # Errors
    /// `Answered` with `revert` if the transaction would fail.
    pub async fn estimate_gas(&self, call: &Call) -> Result<Gas> {
        let request = CallRequest::of(call, None);
        let Quantity(gas) =
            self.rpc.ask("eth_estimateGas", (request,)).await.map_err(NodeError::about_a_transaction)?;
        Ok(Gas { needed: gas, limit: with_margin(gas)? })
    }

    /// What the chain asks for now, a second old at most.
    pub async fn quote(&self) -> Result<Quote> {
        self.head().await.map(|head| head.quote)
    }

    /// The latest block, a second old at most. Concurrent callers share one request.
    pub async fn head(&self) -> Result<Head> {
        self.head.try_get_with((), self.ask_head()).await.map_err(Arc::unwrap_or_clone)
    }

    async fn ask_head(&self) -> Result<Head> {
        let latest: Option<Header> = self.rpc.ask("eth_getBlockByNumber", ("latest", false)).await?;
        let latest = latest.ok_or_else(|| NodeError::Malformed("no latest block".to_owned()))?;
        // A chain whose blocks have no limit writes 0, or leaves it out.
        let gas_limit = latest.gas_limit.map(|Quantity(gas)| gas).filter(|gas| *gas > 0);
        Ok(Head { quote: self.ask_fees(&latest).await?, gas_limit })
    }

    async fn ask_fees(&self, latest: &Header) -> Result<Quote> {
        let Some(Quantity(base_fee)) = latest.base_fee_per_gas else {
            let Quantity(gas_price) = self.rpc.ask("eth_gasPrice", ()).await?;
            return Ok(Quote::Legacy { gas_price });
        };
        let history = self.rpc.ask("eth_feeHistory", (BLOCKS, "latest", [PERCENTILE])).await;
        let history: FeeHistory = optional(history)?.unwrap_or_default();
        let tip = match history.tip() {
            Some(tip) => tip,
            // Nobody has paid one of late: the node knows what its chain demands.
            None => self.suggested_tip().await?.unwrap_or_default(),
        };
        // Some nodes fill the history with zeros.
        let base_fee = history.next_base_fee().unwrap_or_default().max(base_fee);
        Ok(Quote::eip1559(base_fee, tip))
    }

    async fn suggested_tip(&self) -> Result<Option<u128>> {
        let answer = self.rpc.ask("eth_maxPriorityFeePerGas", ()).await;
        Ok(optional(answer)?.map(|Quantity(tip)| tip))
    }

    /// Hands signed bytes (EIP-2718) to the node. Sending the same bytes again does no harm.
    ///
    /// # Errors
    /// If the node did not say what it thinks of the transaction. It may have it, or not.
    pub async fn broadcast(&self, raw: &[u8]) -> Result<Broadcast> {
        match self.rpc.ask::<_, B256>("eth_sendRawTransaction", (Bytes::copy_from_slice(raw),)).await {
            Ok(hash) if hash == keccak256(raw) => Ok(Broadcast::Accepted),
            Ok(_) => Err(NodeError::Malformed("the hash of another transaction".to_owned())),
            Err(error) => Broadcast::refused(error),
        }
    }

    /// The receipt, once the transaction is in a block.
    pub async fn receipt(&self, hash: B256) -> Result<Option<Receipt>> {
        match self.rpc.ask::<_, Option<Answer>>("eth_getTransactionReceipt", (hash,)).await? {
            Some(answer) => answer.receipt(hash),
            None => Ok(None),
        }
    }

    /// Whether the node has the transaction, in its pool or in a block.
    pub async fn knows(&self, hash: B256) -> Result<bool> {
        let found: Option<IgnoredAny> = self.rpc.ask("eth_getTransactionByHash", (hash,)).await?;
        Ok(found.is_some())
    }
}

fn remembered<T: Clone + Send + Sync + 'static>(lasts: Duration) -> Cache<(), T> {
    Cache::builder().max_capacity(1).time_to_live(lasts).build()
}

/// What a node may lack or refuse, without being broken.
fn optional<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(NodeError::Answered { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn with_margin(gas: u64) -> Result<u64> {
    match gas {
        0 => Err(NodeError::Malformed("an estimate of no gas".to_owned())),
        1..=INTRINSIC_GAS => Ok(gas),
        _ => {
            let roomy = gas.saturating_add(gas / 5);
            // The margin alone must not push a transaction over the cap.
            Ok(if gas <= GAS_CAP { roomy.min(GAS_CAP) } else { roomy })
        }
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Node(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_margin_leaves_transfers_alone_and_stays_under_the_cap() {
        assert_eq!(with_margin(21_000), Ok(21_000));
        assert_eq!(with_margin(21_001), Ok(25_201));
        assert_eq!(with_margin(100_000), Ok(120_000));
        assert_eq!(with_margin(15_000_000), Ok(GAS_CAP));
        assert_eq!(with_margin(GAS_CAP), Ok(GAS_CAP));
        assert_eq!(with_margin(20_000_000), Ok(24_000_000), "a chain that has no such cap");
        assert_eq!(with_margin(u64::MAX), Ok(u64::MAX));
        assert!(with_margin(0).is_err(), "nothing runs for nothing");
    }
}
