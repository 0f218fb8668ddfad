//! The `talon` executable's parts.

mod admin;
mod audit;
mod backup;
mod cells;
pub mod config;
mod data;
pub mod demo;
mod isolation;
mod mcp_mount;
mod migrate;
mod process;
mod reached;
mod recover;
mod rest;
mod restore;
pub mod settings;
mod supervise;
mod tls;
mod worker;

pub use admin::{Admin, admin};
pub use audit::{Audit, audit};
pub use backup::{Backup, backup};
pub use migrate::migrate;
pub use recover::{Recover, recover};
pub use restore::{Restore, restore};
pub use supervise::serve;

/// Why Talon does not start: one sentence for an operator.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{0}")]
    Config(String),
    #[error("the data folder {0} can't be used: {1}")]
    DataFolder(std::path::PathBuf, std::io::Error),
    #[error("another Talon is using the data folder {0}")]
    DataInUse(std::path::PathBuf),
    #[error("the data folder {0} was written by a newer version of Talon (format {1}): start that version")]
    DataNewer(std::path::PathBuf, u32),
    #[error("the data folder {0} holds other files: name an empty folder, or one that Talon made")]
    DataForeign(std::path::PathBuf),
    #[error(
        "{0} holds both the gateway's files and the signer's ({1}): choose another database or data folder"
    )]
    NotApart(std::path::PathBuf, std::path::PathBuf),
    #[error("the process can't be closed to others: {0}")]
    Isolation(std::io::Error),
    #[error("can't listen on {0}: {1}")]
    Listen(std::net::SocketAddr, std::io::Error),
    #[error("{0} can't be used for TLS: {1}")]
    Tls(String, std::io::Error),
    #[error("{0}")]
    Api(#[from] domain::Error),
    #[error("the signer did not start: {0}")]
    Signer(String),
    #[error(
        "the signer's first start failed: {0} (if it has run before, restore {1} from the newest backup)"
    )]
    SignerInit(String, std::path::PathBuf),
    #[error("the signer at {0} does not answer ({1}): start it, and let this gateway connect to it")]
    SignerAway(String, String),
    #[error("{0} could not be started: {1}")]
    Process(&'static str, std::io::Error),
    /// The worker has said it.
    #[error("the gateway did not start")]
    Worker,
}
