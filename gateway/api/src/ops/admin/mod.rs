//! What the operators of the installation do.

mod chains;
mod patch;
mod root;
mod settings;

pub use chains::{AdminListChains, CreateChain, DeleteChain, UpdateChain};
pub use root::AdminGetRoot;
pub use settings::{AdminDeleteSetting, AdminListSettings, AdminUpdateSetting};
