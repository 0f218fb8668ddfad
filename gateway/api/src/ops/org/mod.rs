//! The organisation: who is in it, and who is asked to come.

mod invitations;
mod join;
mod members;
pub mod owners;

pub use invitations::{Invite, ListInvitations, RevokeInvitation};
pub use join::{Join, addressed_to, open, take};
pub use members::{ChangeMemberRole, ListMembers, RemoveMember};
