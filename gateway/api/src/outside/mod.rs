//! What lies outside of Talon, and is spoken to.

pub mod mail;
