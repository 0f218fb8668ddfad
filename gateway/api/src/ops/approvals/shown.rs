//! A transaction as whoever decides on it is shown it: what the intent says, which is what the signer signs.

use schemars::JsonSchema;
use serde::Serialize;
use signer_protocol::intent::{Fees, Intent};
use store::chains::Chain;

use super::words;
use crate::ops::transactions::AccessListEntry;

/// Of calldata that a list shows, in bytes.
const BRIEF: usize = 256;

#[derive(Serialize, JsonSchema)]
pub struct TransactionShown {
    chain: String,
    chain_id: u64,
    from: String,
    /// Left out where it creates a contract.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    /// Decimal, in the chain's own currency.
    value: String,
    value_wei: String,
    /// Calldata in hex; left out of a list where it is long.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    /// Of the calldata.
    data_bytes: usize,
    /// What the calldata says, of the commonest calls of tokens; of others, which function it is; of a new contract, how
    /// much code it is and its Keccak-256.
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<String>,
    gas_limit: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    gas_price: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_fee_per_gas: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_priority_fee_per_gas: Option<String>,
    /// What it costs at most beside its value, in the chain's own currency.
    max_fees: String,
    /// The nonce whose transaction it replaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    access_list: Vec<AccessListEntry>,
}

impl TransactionShown {
    /// `whole`: with its calldata, however long it is.
    pub fn of(intent: &Intent, chains: &[Chain], whole: bool) -> Self {
        let transfer = &intent.transfer;
        let (gas_price, max_fee, priority) = match transfer.fees {
            Fees::Legacy { gas_price } => (Some(gas_price), None, None),
            Fees::Eip1559 { max_fee_per_gas, max_priority_fee_per_gas } => {
                (None, Some(max_fee_per_gas), Some(max_priority_fee_per_gas))
            }
        };
        Self {
            chain: names(intent, chains).0,
            chain_id: transfer.chain_id,
            from: intent.from.to_checksum(None),
            to: transfer.to.map(|to| to.to_checksum(None)),
            value: transfer.value.to_ether(),
            value_wei: transfer.value.to_string(),
            data: (whole || transfer.data.len() <= BRIEF).then(|| transfer.data.to_string()),
            data_bytes: transfer.data.len(),
            call: words::does(transfer),
            gas_limit: transfer.gas_limit,
            gas_price: gas_price.map(|fee| fee.to_string()),
            max_fee_per_gas: max_fee.map(|fee| fee.to_string()),
            max_priority_fee_per_gas: priority.map(|fee| fee.to_string()),
            max_fees: words::most_fees(intent).to_ether(),
            replaces: transfer.replaces,
            access_list: AccessListEntry::of(&transfer.access_list),
        }
    }
}

/// In words.
pub fn summary(intent: &Intent, chains: &[Chain]) -> String {
    let (chain, currency) = names(intent, chains);
    words::summary(intent, &chain, &currency)
}

/// The chain's name and its currency's; of one that is not there any more, its number.
fn names(intent: &Intent, chains: &[Chain]) -> (String, String) {
    let id = intent.transfer.chain_id;
    chains.iter().find(|chain| chain.chain_id == id).map_or_else(
        || (id.to_string(), "ether".to_owned()),
        |chain| (chain.name.clone(), chain.native_currency.clone()),
    )
}
