//! A transaction, as callers see it.

use alloy_primitives::Address;
use domain::transaction::Status;
use domain::{AgentId, ApprovalId, Time, TxId};
use schemars::JsonSchema;
use serde::Serialize;
use signer_protocol::intent::Fees;
use store::transactions::Transaction;

use super::request::{AccessListEntry, Wanted};
use super::simulated::Failed;

#[derive(Serialize, JsonSchema)]
pub struct TransactionResponse {
    /// Left out where nothing was stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<TxId>,
    agent_id: AgentId,
    chain: String,
    chain_id: u64,
    from: String,
    /// Left out where it creates a contract.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    /// Of what it has created, once it is in a block.
    #[serde(skip_serializing_if = "Option::is_none")]
    contract_address: Option<String>,
    value_wei: String,
    status: Status,
    /// What it waits for, or waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    approval_id: Option<ApprovalId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gas_limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gas_price: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_fee_per_gas: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_priority_fee_per_gas: Option<String>,
    /// Left out where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    access_list: Vec<AccessListEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signed_tx: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tx_hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    block_number: Option<u64>,
    /// Blocks from that one to the newest, both counted, as last seen; looked at until the installation's number is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    confirmations: Option<u64>,
    /// When it was first seen in a block.
    #[serde(skip_serializing_if = "Option::is_none")]
    confirmed_at: Option<Time>,
    /// The transaction whose place it takes, at the same nonce.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces: Option<TxId>,
    /// The transaction that takes its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced_by: Option<TxId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<String>,
    /// With the next two: where it was simulated before it was to be signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    simulation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    simulation_status: Option<String>,
    /// Where Tenderly shows the simulation.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenderly_dashboard_url: Option<String>,
    created_at: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    signed_at: Option<Time>,
}

impl TransactionResponse {
    /// `with_signed`: whether the signed bytes are shown.
    pub fn new(tx: &Transaction, with_signed: bool) -> Self {
        let (gas_price, max_fee, priority) = match tx.fees {
            Fees::Legacy { gas_price } => (Some(gas_price), None, None),
            Fees::Eip1559 { max_fee_per_gas, max_priority_fee_per_gas } => {
                (None, Some(max_fee_per_gas), Some(max_priority_fee_per_gas))
            }
        };
        // Not before a broadcast was tried: whoever has the bytes can send them.
        let tried = !matches!(tx.status, Status::Pending | Status::Signed) || tx.error_message.is_some();
        let signed = tx.signed_tx.as_ref().filter(|_| with_signed && tried);
        Self {
            id: Some(tx.id),
            agent_id: tx.agent,
            chain: tx.chain.clone(),
            chain_id: tx.chain_id,
            from: tx.from.to_checksum(None),
            to: tx.to.map(|to| to.to_checksum(None)),
            contract_address: created(tx).map(|address| address.to_checksum(None)),
            value_wei: tx.value.to_string(),
            status: tx.status,
            approval_id: tx.approval,
            nonce: tx.nonce,
            gas_limit: Some(tx.gas_limit),
            gas_price: gas_price.map(|f| f.to_string()),
            max_fee_per_gas: max_fee.map(|f| f.to_string()),
            max_priority_fee_per_gas: priority.map(|f| f.to_string()),
            access_list: AccessListEntry::of(&tx.access_list),
            signed_tx: signed.map(|raw| format!("0x{}", hex::encode(&raw.0))),
            tx_hash: tx.hash.map(|h| h.to_string()),
            block_number: tx.block_number,
            confirmations: tx.confirmations,
            confirmed_at: tx.confirmed_at,
            replaces: tx.replaces,
            replaced_by: tx.replaced_by,
            error_message: tx.error_message.clone(),
            simulation_id: tx.simulation.as_ref().map(|simulated| simulated.id.clone()),
            simulation_status: tx.simulation.as_ref().map(|simulated| simulated.status.clone()),
            tenderly_dashboard_url: tx.simulation.as_ref().and_then(|simulated| simulated.dashboard.clone()),
            created_at: tx.created_at,
            signed_at: tx.signed_at,
        }
    }

    /// The answer to `simulate_first` where the transaction would fail: nothing was signed, nothing is stored.
    pub fn simulation_failed(
        agent: AgentId,
        from: Address,
        wanted: &Wanted,
        now: Time,
        Failed { reason, simulated }: Failed,
    ) -> Self {
        Self {
            id: None,
            agent_id: agent,
            chain: wanted.chain.name.clone(),
            chain_id: wanted.chain.chain_id,
            from: from.to_checksum(None),
            to: wanted.to.map(|to| to.to_checksum(None)),
            contract_address: None,
            value_wei: wanted.value.to_string(),
            status: Status::SimulationFailed,
            approval_id: None,
            nonce: None,
            gas_limit: wanted.gas_limit,
            gas_price: None,
            max_fee_per_gas: None,
            max_priority_fee_per_gas: None,
            access_list: AccessListEntry::of(&wanted.access_list),
            signed_tx: None,
            tx_hash: None,
            block_number: None,
            confirmations: None,
            confirmed_at: None,
            replaces: None,
            replaced_by: None,
            error_message: Some(reason),
            simulation_id: Some(simulated.id),
            simulation_status: Some(simulated.status),
            tenderly_dashboard_url: simulated.dashboard,
            created_at: now,
            signed_at: None,
        }
    }
}

/// The address of a contract follows from who creates it, and at which nonce.
fn created(tx: &Transaction) -> Option<Address> {
    let nonce = tx.nonce.filter(|_| tx.to.is_none() && tx.status == Status::Confirmed)?;
    Some(tx.from.create(nonce))
}
