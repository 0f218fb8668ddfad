//! Transactions: submitted by agents, followed by everyone who may see the agent.

mod fees;
mod key;
mod kinds;
mod list;
mod nonce;
mod replace;
mod request;
mod show;
mod simulate;
mod simulated;
mod submit;

pub use list::{GetTransaction, ListTransactions};
pub use replace::{CancelTransaction, SpeedUpTransaction};
pub use request::AccessListEntry;
pub use show::TransactionResponse;
pub use simulate::{SimulateBundle, SimulateTransaction};
pub use submit::{SubmitTransaction, may_submit};
