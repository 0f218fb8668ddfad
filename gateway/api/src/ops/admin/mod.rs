//! What the operators of the installation do.

mod chains;
mod patch;
mod settings;

pub use chains::{AdminListChains, CreateChain, DeleteChain, UpdateChain};
pub use settings::{AdminDeleteSetting, AdminListSettings, AdminUpdateSetting};
