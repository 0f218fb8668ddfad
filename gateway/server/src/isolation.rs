//! What the gateway's processes give up. The worker, which talks to the world, closes the signer's folder to itself
//! (Landlock): whoever takes it over gets neither keystore nor ledger, though both have the same user.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError,
    RulesetStatus, Scope, path_beneath_rules,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit};

use crate::StartError;

/// The newest of Landlock's features that this asks for; older kernels enforce what they know.
const LANDLOCK: ABI = ABI::V6;
/// What a running gateway reads beside its own folder: libraries, certificates, name resolution, what the C
/// library and the runtime ask the kernel for.
const SYSTEM: [&str; 13] = [
    "/etc",
    "/usr",
    "/lib",
    "/lib64",
    "/nix/store",
    "/proc",
    "/sys/fs/cgroup",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
    "/run/nscd",
    "/dev/urandom",
    "/dev/random",
];

/// No core dump, and nobody of the same user may trace the process or read its environment: secrets are in both.
///
/// # Errors
/// If the kernel refuses.
pub fn close_memory() -> Result<(), StartError> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(Resource::Core, none)
        .and_then(|()| rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable))
        .map_err(|error| StartError::Isolation(error.into()))
}

/// Makes sure that what the worker must reach is apart from what it must not.
///
/// # Errors
/// Naming the folder that holds both.
pub fn apart(signer: &Path, own: Option<&Path>) -> Result<(), StartError> {
    let both = SYSTEM.iter().map(Path::new).chain(own).find(|folder| signer.starts_with(folder));
    match both {
        Some(folder) => Err(StartError::NotApart(folder.to_owned(), signer.to_owned())),
        None => Ok(()),
    }
}

/// Allows the worker its own folders and to read the system's; all else is closed to this thread, and to those that
/// it starts. Call it before any are.
pub fn lock_in(own: &[PathBuf]) {
    match fence(own) {
        Ok(RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced) => {
            tracing::debug!("the gateway has locked itself out of the signer's folder");
        }
        Ok(RulesetStatus::NotEnforced) => tracing::warn!(
            "this kernel has no Landlock: the gateway could read the signer's folder, since both run as one user; \
             see operating.md for a signer with a user of its own"
        ),
        Err(error) => tracing::warn!(%error, "the gateway could not lock itself out of the signer's folder"),
    }
}

fn fence(own: &[PathBuf]) -> Result<RulesetStatus, RulesetError> {
    let (all, read) = (AccessFs::from_all(LANDLOCK), AccessFs::from_read(LANDLOCK));
    // Where OpenSSL's variables say that the certificates are.
    let certificates =
        ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    let fenced = Ruleset::default()
        .handle_access(all)?
        // A worker that was taken over can't stop the signer or the supervisor by a signal either.
        .scope(Scope::from_all(LANDLOCK))?
        .create()?
        .add_rules(path_beneath_rules(own, all))?
        .add_rules(path_beneath_rules(["/dev/null"], all))?
        .add_rules(path_beneath_rules(SYSTEM.iter().map(PathBuf::from).chain(certificates), read))?
        .restrict_self()?;
    Ok(fenced.ruleset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_beside_the_signer_is_refused() {
        let signer = Path::new("/srv/talon/signer");
        apart(signer, Some(Path::new("/srv/talon/gateway"))).unwrap();
        assert!(apart(signer, Some(Path::new("/srv/talon"))).is_err());
        assert!(apart(Path::new("/usr/talon/signer"), None).is_err());
    }

    #[test]
    fn a_gateways_memory_is_dumped_by_nobody() {
        close_memory().unwrap();
        assert_eq!(rustix::process::dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        let core = rustix::process::getrlimit(Resource::Core);
        assert_eq!((core.current, core.maximum), (Some(0), Some(0)));
    }

    /// In a thread of its own: Landlock binds a thread for good.
    #[test]
    fn outside_of_its_folder_nothing_opens() {
        let (own, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let secret = other.path().join("keystore");
        std::fs::write(&secret, "key").unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let status = fence(&[own.path().to_owned()]).unwrap();
                std::fs::write(own.path().join("talon.db"), "row").unwrap();
                std::fs::read("/proc/self/status").unwrap();
                let opened = std::fs::read(&secret);
                assert_eq!(opened.is_err(), status != RulesetStatus::NotEnforced);
            });
        });
    }
}
