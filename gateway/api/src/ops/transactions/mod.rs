//! Transactions: submitted by agents, followed by everyone who may see the agent.

mod key;
mod kinds;
mod list;
mod replace;
mod request;
mod show;
mod submit;

pub use list::{GetTransaction, ListTransactions};
pub use replace::{CancelTransaction, SpeedUpTransaction};
pub use show::TransactionResponse;
pub use submit::{SubmitTransaction, may_submit};
