//! Talon as its users see it.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod admin;
mod agents;
mod api_keys;
mod audit;
mod bad_input;
mod chaos;
mod clients;
mod demo;
mod devices;
mod following;
mod front;
mod health;
mod identities;
mod mcp;
mod mcp_bridge;
mod mcp_clients;
mod mcp_sweep;
mod mfa;
mod policies;
mod process;
mod remote_signer;
mod secrets;
mod shell;
mod signing_keys;
mod sweeps;
mod tampering;
mod tokens;
mod transactions;
mod vaults;
