//! What a gateway may ask of the signer, and what it gets back.
//!
//! There is no request that signs a digest, signs claims, or exports a key. What the signer attests
//! ([`Attested`]) is opaque to the gateway: it may store it and read it, and hand it back; only the signer
//! decides whether to believe it. See `signer/docs/threat-model.md`.

pub mod address;
pub mod api_key;
pub mod approval;
pub mod attested;
pub mod audit;
pub mod backup;
pub mod client;
pub mod cmek;
pub mod device;
pub mod identity;
pub mod intent;
pub mod key;
pub mod link;
pub mod mfa;
pub mod passkey;
pub mod people;
pub mod record;
pub mod refusal;
pub mod replace;
pub mod root;
pub mod sealing;
pub mod service;
pub mod sharing;
pub mod tls;
pub mod token;
pub mod webhook;
pub mod wire;

pub use address::{Address, HostPort};
pub use attested::Attested;
pub use client::Client;
pub use refusal::{Reason, Refusal};
pub use service::{Signer, SignerClient};
pub use tarpc::client::RpcError;
pub use tarpc::context::Context;
