//! EVM chains, as the gateway sees them: which there are ([`registry`]), and what their nodes say and take
//! ([`Node`]).
//!
//! A node is somebody else's computer. It may be away, hang, or answer nonsense, and it is asked for advice alone:
//! nonces, gas and fees from here are proposals, which the signer holds against the agent's caps. So every request
//! has a time limit and every answer a size limit, an answer that makes no sense is an error and never a guess, and
//! what a node says is cleaned before it reaches a log or a caller. A node's address may carry a key: nothing here
//! prints it.

mod address;
mod broadcast;
mod error;
mod fees;
mod node;
mod pool;
mod quantity;
mod receipt;
pub mod registry;
mod rpc;
pub mod simulate;

pub use address::checked as checked_address;
pub use broadcast::Broadcast;
pub use error::NodeError;
pub use fees::{Head, Quote};
pub use node::{Call, Gas, Node};
pub use pool::Nodes;
pub use receipt::Receipt;
