//! Talon as its users see it.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod accounts;
mod admin;
mod agents;
mod api_keys;
mod audit;
mod bad_input;
mod chaos;
mod clients;
mod demo;
mod enrolment;
mod following;
mod front;
mod health;
mod identities;
mod ip_rules;
mod limits;
mod login_throttle;
mod mail;
mod mcp;
mod mcp_bridge;
mod mcp_clients;
mod mcp_sweep;
mod members;
mod policies;
mod process;
mod remote_signer;
mod secrets;
mod shell;
mod signing_keys;
mod suspension;
mod sweeps;
mod tampering;
mod tokens;
mod transactions;
mod vaults;
