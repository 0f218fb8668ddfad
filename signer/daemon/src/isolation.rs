//! What the process gives up before it touches a key: core dumps, being traced, other files, the network.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, NetPort, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _,
    RulesetError, RulesetStatus, path_beneath_rules,
};
use rustix::mm::MlockAllFlags;
use rustix::process::{DumpableBehavior, Resource, Rlimit};

use crate::config::{Config, KeystoreConfig};
use crate::start::StartError;

/// The newest of Landlock's features that this asks for; older kernels enforce what they know.
const LANDLOCK: ABI = ABI::V5;

/// What an HSM's module and its libraries read.
const SYSTEM: [&str; 9] = ["/usr", "/lib", "/lib64", "/etc", "/dev", "/proc", "/sys", "/run/pcscd", "/opt"];

/// Isolates the process. Must run while it has one thread: Landlock binds the calling thread and those that it
/// starts.
///
/// # Errors
/// If the process could be dumped or traced all the same. What the kernel does not offer is logged.
pub fn isolate(config: &Config) -> Result<(), StartError> {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let failed = |what: &str, error| StartError::new(format!("{what} can't be switched off ({error})"));
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(Resource::Core, none).map_err(|error| failed("core dumps", error))?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|error| failed("tracing", error))?;
    lock_memory();
    for folder in writable(config).iter().filter(|folder| !folder.exists()) {
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| StartError::new(format!("{} can't be made ({error})", folder.display())))?;
    }
    match fence(config) {
        Ok(RulesetStatus::FullyEnforced) => tracing::info!("Landlock: own files only, no network to others"),
        Ok(RulesetStatus::PartiallyEnforced) => {
            tracing::warn!("Landlock: this kernel enforces a part of the restrictions");
        }
        Ok(RulesetStatus::NotEnforced) => {
            tracing::warn!("Landlock: this kernel has none; run the signer as a user of its own");
        }
        Err(error) => tracing::warn!(%error, "Landlock: not enforced; run the signer as a user of its own"),
    }
    Ok(())
}

/// Keeps all memory out of swap where there is no limit on it. With a limit, only the keys are locked, by the
/// keystore: past the limit an allocation would fail.
fn lock_memory() {
    if rustix::process::getrlimit(Resource::Memlock).maximum.is_none() {
        let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
        if let Err(error) = rustix::mm::mlockall(flags) {
            tracing::warn!(%error, "memory can't be locked: it may be swapped");
        }
    }
}

fn fence(config: &Config) -> Result<RulesetStatus, RulesetError> {
    let (all, read) = (AccessFs::from_all(LANDLOCK), AccessFs::from_read(LANDLOCK));
    let mut fence = Ruleset::default()
        .handle_access(all)?
        .handle_access(AccessNet::from_all(LANDLOCK))?
        .create()?
        .add_rules(path_beneath_rules(writable(config), all))?
        .add_rules(
            ports(config)
                .into_iter()
                .map(|port| Ok::<_, RulesetError>(NetPort::new(port, AccessNet::BindTcp))),
        )?;
    if let KeystoreConfig::Pkcs11(hsm) = &config.keystore {
        fence = fence
            .add_rules(path_beneath_rules(SYSTEM, read))?
            .add_rules(path_beneath_rules(hsm.module.parent(), read))?
            .add_rules(path_beneath_rules(softhsm(), all))?
            .add_rules(path_beneath_rules(&config.allow, all))?
            .add_rules(
                config
                    .allow_ports
                    .iter()
                    .map(|port| Ok::<_, RulesetError>(NetPort::new(*port, AccessNet::ConnectTcp))),
            )?;
    }
    Ok(fence.restrict_self()?.ruleset)
}

/// Where it listens. Connections that come in are no right of Landlock's; going out stays closed.
fn ports(config: &Config) -> Vec<u16> {
    config.tls.iter().flat_map(|tls| &tls.addresses).map(SocketAddr::port).collect()
}

fn writable(config: &Config) -> Vec<PathBuf> {
    let socket =
        config.socket.as_deref().and_then(Path::parent).filter(|folder| !folder.as_os_str().is_empty());
    [Some(config.data.as_path()), socket].into_iter().flatten().map(Path::to_path_buf).collect()
}

/// SoftHSM's configuration, and the folder of tokens that it names: SoftHSM writes to it.
fn softhsm() -> Vec<PathBuf> {
    let file =
        std::env::var_os("SOFTHSM2_CONF").map_or_else(|| "/etc/softhsm/softhsm2.conf".into(), PathBuf::from);
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let tokens = text.lines().filter_map(|line| line.split_once('=')).find_map(|(name, value)| {
        (name.trim() == "directories.tokendir").then(|| PathBuf::from(value.trim()))
    });
    [Some(file), tokens].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{dumpable_behavior, getrlimit};

    /// On a thread of its own: what Landlock takes from a thread, it does not get back.
    #[test]
    fn an_isolated_process_gives_up_dumps_files_and_network() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let config = Config::new(data.join("s"), data.clone(), KeystoreConfig::Software { passphrase: None });
        let outside = folder.path().join("outside");
        std::fs::write(&outside, "secret").unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let fenced = std::thread::spawn(move || {
            isolate(&config).unwrap();
            std::fs::write(data.join("inside"), "x").unwrap();
            (std::fs::read(&outside).is_err(), std::net::TcpStream::connect(port).is_err())
        });
        let (no_files, no_network) = fenced.join().unwrap();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        let core = getrlimit(Resource::Core);
        assert_eq!((core.current, core.maximum), (Some(0), Some(0)));
        // Files since Linux 5.13, the network since 6.7. An older kernel says so at start-up.
        let status = Ruleset::default()
            .handle_access(AccessFs::from_all(LANDLOCK))
            .and_then(|fence| fence.handle_access(AccessNet::from_all(LANDLOCK)))
            .and_then(landlock::Ruleset::create)
            .and_then(landlock::RulesetCreated::restrict_self)
            .unwrap()
            .ruleset;
        if status == RulesetStatus::FullyEnforced {
            assert!(no_files, "a file outside its folders was read");
            assert!(no_network, "a connection was made");
        }
    }
}
