//! What a gateway does by itself. Every job takes its work from the database, and any gateway may do it.

mod limits;
pub mod transactions;

use std::sync::Arc;

use crate::gateway::Gateway;

/// Starts them all; they end when the gateway stops.
pub fn start(gateway: &Arc<Gateway>) {
    tokio::spawn(transactions::follow(gateway.clone()));
    tokio::spawn(limits::sweep(gateway.clone()));
}
