//! The operations, once. REST, MCP and the dashboard are doors to the same [`pipeline`]; none of them knows a rule.

pub mod access;
mod authenticate;
mod certificate;
pub mod catalog;
mod cx;
mod decode;
mod egress;
mod gateway;
mod implied;
mod installation;
mod jobs;
mod key_use;
mod known;
pub mod openapi;
mod openid;
pub mod operation;
mod ops;
mod password;
pub mod pipeline;
mod problem;
mod refusal;
mod registry;
pub mod tool;

pub use catalog::Entry;
pub use certificate::Fingerprint;
pub use cx::Cx;
pub use gateway::{Gateway, Parts, Settings};
pub use openid::Google;
pub use ops::setup::PAGE as SETUP_PAGE;
pub use pipeline::{Inbound, Outbound, Visitor};
pub use problem::problem;
