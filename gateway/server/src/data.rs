//! The data folder: `gateway/` for the gateway, `signer/` for the signer, `run/` for the socket between them.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::StartError;
use crate::config::Config;

/// The format of the folder; a folder of a higher one is left alone.
const FORMAT: u32 = 1;
/// A Unix socket's path must fit `sockaddr_un`.
const MAX_SOCKET_PATH: usize = 100;

pub struct Data {
    root: PathBuf,
}

impl Data {
    /// Makes the folder, or opens it.
    ///
    /// # Errors
    /// If it can't be written, or a newer version wrote it.
    pub fn open(root: &Path) -> Result<Self, StartError> {
        let failed = |e| StartError::DataFolder(root.to_owned(), e);
        for folder in [root.to_owned(), root.join("gateway"), root.join("run")] {
            DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed)?;
            fs::set_permissions(&folder, Permissions::from_mode(0o700)).map_err(failed)?;
        }
        let root = root.canonicalize().map_err(failed)?;
        let version = root.join("version");
        match fs::read_to_string(&version) {
            Ok(text) if text.trim().parse::<u32>().is_ok_and(|v| v <= FORMAT) => {}
            Ok(text) => return Err(StartError::DataNewer(root, text.trim().chars().take(20).collect())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                fs::write(&version, format!("{FORMAT}\n")).map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
        }
        Ok(Self { root })
    }

    /// Keeps others off the folder as long as the file is held.
    ///
    /// # Errors
    /// If another process holds it.
    pub fn lock(&self) -> Result<File, StartError> {
        let failed = |e| StartError::DataFolder(self.root.clone(), e);
        let file = File::create(self.root.join("lock")).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(StartError::DataInUse(self.root.clone())),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// The gateway's own folder.
    pub fn gateway(&self) -> PathBuf {
        self.root.join("gateway")
    }

    /// The signer's own folder.
    pub fn signer(&self) -> PathBuf {
        self.root.join("signer")
    }

    /// Where the two meet. A data folder with a very long name has it among the temporary files.
    pub fn socket(&self) -> PathBuf {
        let path = self.root.join("run/signer.sock");
        if path.as_os_str().len() <= MAX_SOCKET_PATH {
            return path;
        }
        let name = self.root.to_string_lossy().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        std::env::temp_dir().join(format!("talon-{}-{name:016x}.sock", rustix::process::geteuid().as_raw()))
    }

    pub fn database_url(&self, config: &Config) -> String {
        match &config.database_url {
            Some(url) => url.expose().to_owned(),
            None => format!("sqlite://{}", self.gateway().join("talon.db").display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_talon_a_folder_and_no_newer_one() {
        let folder = tempfile::tempdir().unwrap();
        let data = Data::open(folder.path()).unwrap();
        let held = data.lock().unwrap();
        assert!(matches!(Data::open(folder.path()).unwrap().lock(), Err(StartError::DataInUse(_))));
        drop(held);
        data.lock().unwrap();
        fs::write(folder.path().join("version"), "2\n").unwrap();
        assert!(matches!(Data::open(folder.path()), Err(StartError::DataNewer(_, v)) if v == "2"));
    }

    #[test]
    fn long_folders_have_a_short_socket() {
        let folder = tempfile::tempdir().unwrap();
        let long = folder.path().join("a".repeat(120));
        assert!(Data::open(&long).unwrap().socket().as_os_str().len() < 108);
    }
}
