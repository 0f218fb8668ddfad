//! The `talon` executable's parts.

pub mod config;
mod data;
mod isolation;
mod rest;
mod supervise;
mod worker;

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
    #[error("the data folder {0} was written by a newer version of Talon (format {1}); start that version")]
    DataNewer(std::path::PathBuf, String),
    #[error("can't listen on {0}: {1}")]
    Listen(std::net::SocketAddr, std::io::Error),
    #[error("the TLS certificate or key can't be used: {0}")]
    Tls(std::io::Error),
    #[error("{0}")]
    Api(#[from] domain::Error),
    #[error("the signer did not start")]
    Signer,
    #[error("{0} could not be started: {1}")]
    Process(&'static str, std::io::Error),
}
