//! The gateway locks itself out of the signer's folder (Landlock): whoever takes over the gateway gets neither
//! keystore nor ledger, though both processes have the same user.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _,
    RulesetStatus, path_beneath_rules,
};

/// What a gateway reads besides its own folder: certificates, time zones, name resolution, libraries.
const READ: [&str; 11] =
    ["/etc", "/usr", "/lib", "/lib64", "/bin", "/dev", "/proc", "/sys", "/run", "/opt", "/nix"];
const WRITE: [&str; 2] = ["/dev", "/tmp"];

/// Allows `own` folders and the system's; everything else is closed from now on, to this process and its threads
/// started later. Call it before any are.
pub fn lock_in(own: &[PathBuf], readable: &[PathBuf], signer: &Path) {
    if own.iter().chain(readable).any(|folder| signer.starts_with(folder)) || signer.starts_with("/tmp") {
        tracing::warn!("the signer's folder lies under one that the gateway needs; the two share a user's rights");
        // In a temporary folder there is still the rule for the rest.
    }
    let abi = ABI::V3;
    let writable: Vec<PathBuf> = own
        .iter()
        .cloned()
        .chain(WRITE.iter().map(PathBuf::from).filter(|folder| !signer.starts_with(folder)))
        .collect();
    let read: Vec<PathBuf> = readable.iter().cloned().chain(READ.iter().map(PathBuf::from)).collect();
    let read: Vec<PathBuf> = read.into_iter().filter(|folder| !signer.starts_with(folder)).collect();
    let locked = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))
        .and_then(|rules| rules.create())
        .and_then(|rules| rules.add_rules(path_beneath_rules(writable, AccessFs::from_all(abi))))
        .and_then(|rules| rules.add_rules(path_beneath_rules(read, AccessFs::from_read(abi))))
        .and_then(|rules| rules.restrict_self());
    match locked.map(|status| status.ruleset) {
        Ok(RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced) => {
            tracing::info!("the gateway has locked itself out of the signer's folder");
        }
        Ok(RulesetStatus::NotEnforced) => tracing::warn!(
            "this kernel has no Landlock: gateway and signer share a user's rights over the data folder; give the \
             signer a user of its own (see operating.md)"
        ),
        Err(error) => tracing::warn!(%error, "the gateway could not lock itself out of the signer's folder"),
    }
}
