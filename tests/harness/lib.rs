//! A world to test in: real processes, real databases, a real chain, and actors who speak.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a world that can't be made fails the test")]

mod actors;
mod beside;
mod browser;
mod certificates;
mod chain;
mod contracts;
mod customer;
mod events;
mod issuer;
mod mailbox;
mod masked;
mod mcp;
mod parts;
mod passkey;
mod process;
mod receiver;
mod remote;
mod replies;
pub mod tenderly;
mod totp;
mod world;

pub use actors::{Agent, AgentDraft, Person, Vault};
pub use beside::Beside;
pub use browser::Chromium;
pub use certificates::Certificate;
pub use chain::{ADDRESSES, Anvil, KEYS, number};
pub use contracts::{calldata, code, word};
pub use customer::CustomerKey;
pub use events::{Listener, Told};
pub use issuer::{GOOGLE_CLIENT, Issuer, SigningKey, now, token};
pub use masked::Masked;
pub use mcp::ToolReply;
pub use parts::{
    HSM_PIN, anvil, believing, built, client_script, find_softhsm, free_port, has_postgres, node_modules,
    python, softhsm, softhsm_token, talon,
};
pub use passkey::Browser;
pub use process::{Process, signal};
pub use receiver::{Delivery, Receiver};
pub use remote::RemoteSigner;
pub use replies::{Call, Reply};
pub use tenderly::{FakeTenderly, TENDERLY_KEY};
pub use totp::Authenticator;
pub use world::{Database, Keystore, PASSWORD, World, WorldDraft};

pub use serde_json::{Value, json};

/// What nobody sees in a text: one of each kind that Unicode ignores, and blanks.
pub const UNSEEN: [char; 17] = [
    '\u{ad}',
    '\u{34f}',
    '\u{115f}',
    '\u{17b4}',
    '\u{180b}',
    '\u{200b}',
    '\u{202e}',
    '\u{2800}',
    '\u{3164}',
    '\u{fe0f}',
    '\u{ffa0}',
    '\u{fff0}',
    '\u{fff9}',
    '\u{1bca0}',
    '\u{1d173}',
    '\u{e0061}',
    '\u{e0100}',
];

/// A test that runs on both databases: `both! { async fn name(w: World) { … } }`.
#[macro_export]
macro_rules! both {
    ($(#[$meta:meta])* async fn $name:ident($w:ident: World) $body:block) => {
        mod $name {
            #[expect(unused_imports, reason = "not every test uses everything")]
            use super::*;
            $(#[$meta])*
            async fn test($w: $crate::World) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                test($crate::World::on($crate::Database::Sqlite).start().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                test($crate::World::on($crate::Database::Postgres).start().await).await;
            }
        }
    };
    (with issuer, $(#[$meta:meta])* async fn $name:ident($w:ident: World, $issuer:ident: Issuer) $body:block) => {
        mod $name {
            #[expect(unused_imports, reason = "not every test uses everything")]
            use super::*;
            $(#[$meta])*
            async fn test($w: $crate::World, $issuer: $crate::Issuer) $body

            async fn on(database: $crate::Database) {
                let issuer = $crate::Issuer::start().await;
                test($crate::World::on(database).all(&issuer.settings()).start().await, issuer).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                on($crate::Database::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                on($crate::Database::Postgres).await;
            }
        }
    };
    (with chain, $(#[$meta:meta])* async fn $name:ident($w:ident: World) $body:block) => {
        mod $name {
            #[expect(unused_imports, reason = "not every test uses everything")]
            use super::*;
            $(#[$meta])*
            async fn test($w: $crate::World) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                test($crate::World::on($crate::Database::Sqlite).chain().start().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                test($crate::World::on($crate::Database::Postgres).chain().start().await).await;
            }
        }
    };
}
