//! The operations, once. REST, MCP and the dashboard are doors to the same [`pipeline`]; none of them knows a rule.

pub mod access;
mod authenticate;
pub mod catalog;
mod certificate;
mod cx;
mod decode;
mod egress;
mod gate;
mod gateway;
mod implied;
mod installation;
mod jobs;
mod known;
mod limits;
mod notes;
pub mod openapi;
mod openid;
pub mod operation;
mod ops;
mod password;
pub mod pipeline;
mod problem;
mod refusal;
mod registry;
mod throttle;
pub mod tool;

pub use catalog::Entry;
pub use certificate::Fingerprint;
pub use cx::Cx;
pub use gateway::{Gateway, Parts, Settings};
pub use limits::LimitSettings;
pub use openid::Google;
pub use ops::setup::PAGE as SETUP_PAGE;
pub use pipeline::{Inbound, Outbound, Visitor};
pub use problem::problem;
