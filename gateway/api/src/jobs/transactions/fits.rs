//! Whether a transaction can be in a block at all, as the chain is now. What can't is not signed: its nonce would be held
//! against everyone who shares the key.

use alloy_primitives::{Address, U256};
use chains::{Node, Quote};
use domain::{Error, Kind, OrMissing as _, Result, Wei};
use signer_protocol::intent::Fees;
use store::chains::Chain;
use store::transactions::Transaction;

use crate::gateway::Gateway;

/// What the chain lets into a block, and what the sender has.
pub struct Room<'a> {
    chain: &'a Chain,
    from: Address,
    /// In the latest block. What the sender's transactions that wait will take is still in it.
    balance: Wei,
    gas: Option<u64>,
}

impl<'a> Room<'a> {
    pub async fn of(chain: &'a Chain, node: &Node, from: Address) -> Result<Self> {
        let (balance, head) = tokio::join!(node.balance(from), node.head());
        // A node that tells nothing of its blocks bounds nothing.
        let gas = head.ok().and_then(|head| head.most_gas(chain.chain_id));
        Ok(Self { chain, from, balance: balance?, gas })
    }

    /// The margin on an estimate alone must not push a transaction over the limit.
    pub fn within(&self, estimated: u64) -> u64 {
        self.gas.map_or(estimated, |most| estimated.min(most))
    }

    /// # Errors
    /// `Invalid` for a gas limit that no block has.
    pub fn takes(&self, gas_limit: u64) -> Result<()> {
        match self.gas {
            Some(most) if gas_limit > most => {
                let rule =
                    format!("must be at most {most}: {} takes no more in one transaction", self.chain.name);
                Err(Error::invalid("gas_limit", rule))
            }
            _ => Ok(()),
        }
    }

    /// # Errors
    /// `Unprocessable` for what the sender can't pay.
    pub fn pays(&self, value: Wei, gas_limit: u64, fees: &Fees) -> Result<()> {
        let gas = U256::from(gas_limit).saturating_mul(U256::from(fees.cap()));
        let most = Wei(value.0.saturating_add(gas));
        if most.0 <= self.balance.0 {
            return Ok(());
        }
        let (chain, currency) = (&self.chain.name, &self.chain.native_currency);
        let (address, has) = (self.from.to_checksum(None), self.balance.to_ether());
        let detail = format!(
            "The address {address} has {has} {currency} on {chain}, and this takes up to {} {currency}, fees included.",
            most.to_ether()
        );
        Err(Error::new(Kind::Unprocessable, detail))
    }
}

/// Asks the chain again before a nonce is taken for what has waited for people.
///
/// # Errors
/// `Unprocessable` for what can be in no block any more, `Unavailable` while the node is away.
pub async fn now(gateway: &Gateway, tx: &Transaction) -> Result<()> {
    if tx.nonce.is_some() {
        return Ok(());
    }
    let chain = gateway.chains.find(&gateway.store, &tx.chain_id.to_string()).await?.or_missing("chain")?;
    let node = gateway.chains.node(&chain).await?;
    let quote = async { node.quote().await.map_err(Error::from) };
    let asked = tokio::try_join!(quote, Room::of(&chain, &node, tx.from));
    // Whatever a node answers instead, it is no word on the transaction.
    let (quote, room) = asked
        .map_err(|error| Error::unavailable("The node does not say what it takes now.").because(error))?;
    let fits = outbids(&tx.fees, quote)
        .and_then(|()| room.takes(tx.gas_limit))
        .and_then(|()| room.pays(tx.value, tx.gas_limit, &tx.fees));
    fits.map_err(|why| {
        let why = why.detail().trim_end_matches('.');
        Error::new(Kind::Unprocessable, format!("{why}; submit it anew."))
    })
}

fn outbids(fees: &Fees, quote: Quote) -> Result<()> {
    let field = match fees {
        Fees::Legacy { .. } => "gas_price",
        Fees::Eip1559 { .. } => "max_fee_per_gas",
    };
    match quote.base_fee_above(fees.cap()) {
        Some(base_fee) => Err(Error::new(
            Kind::Unprocessable,
            format!("{field} is {} wei, and the chain's base fee is {base_fee} wei now", fees.cap()),
        )),
        None => Ok(()),
    }
}
