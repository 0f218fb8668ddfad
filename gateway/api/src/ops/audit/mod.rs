//! The audit trail: looked through, verified, exported and signed.

mod checkpoints;
mod events;
mod export;
mod verify;

pub use checkpoints::{ListCheckpoints, TakeCheckpoint};
pub use events::{AuditEvent, ListAuditEvents};
pub use export::ExportAudit;
pub use verify::VerifyAudit;
