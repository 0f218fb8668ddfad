//! MCP on the gateway: the catalog's tools over streamable HTTP. A door like REST: each call becomes an
//! [`api::Inbound`] and passes the same pipeline; no rule lives here.

mod answer;
mod arguments;
mod door;
mod schema;
mod server;
mod tools;

pub use door::{Door, PATH};
pub use tools::document;
