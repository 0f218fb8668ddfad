//! Talon's vocabulary and its rules. Nothing here does I/O: time, randomness and facts come in as values.

pub mod access;
pub mod access_list;
pub mod approval;
pub mod audit;
pub mod chain;
pub mod clock;
pub mod cmek;
pub mod error;
pub mod ether;
pub mod gas;
pub mod generated;
pub mod ids;
pub mod ip_rule;
pub mod limit;
pub mod metadata;
pub mod password;
pub mod path;
pub mod policy;
pub mod principal;
pub mod secret;
pub mod setting;
pub mod share;
pub mod ticket;
pub mod transaction;
pub mod unseen;
pub mod webhook;

pub use access_list::{AccessList, Accessed};
pub use clock::{Clock, Time};
pub use error::{Error, Kind, OrMissing, Result};
pub use ether::Wei;
pub use ids::*;
pub use path::{PathGlob, SecretPath};
pub use principal::{PrincipalId, Role};
pub use secret::{Revealed, SecretBytes, SecretText, SecretType};
pub use share::{RecipientType, ShareRef};
