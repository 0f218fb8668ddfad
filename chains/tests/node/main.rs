//! Nodes as they are: a real one (anvil), and others that misbehave.

#![expect(clippy::unwrap_used, reason = "what fails here is a test")]

mod anvil;
mod bad;
mod fake;
mod real;
