//! The data folder: `gateway/` for the gateway, `signer/` for the signer, `run/` for the socket between them.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::StartError;

/// The format of the folder; a folder of a higher one is left alone.
const FORMAT: u32 = 1;
const VERSION: &str = "version";
const SOCKET: &str = "signer.sock";
/// `sockaddr_un` has 108 bytes, a closing zero among them.
const MAX_SOCKET_PATH: usize = 107;

pub struct Data {
    root: PathBuf,
    run: PathBuf,
}

impl Data {
    /// Makes the folder, or opens it.
    ///
    /// # Errors
    /// If it can't be written, holds something else, or a newer version wrote it.
    pub fn open(root: &Path) -> Result<Self, StartError> {
        let failed = |error| StartError::DataFolder(root.to_owned(), error);
        private_folder(root).map_err(failed)?;
        let root = root.canonicalize().map_err(failed)?;
        let version = root.join(VERSION);
        match fs::read_to_string(&version) {
            Ok(text) => match text.trim().parse::<u32>() {
                Ok(format) if format <= FORMAT => {}
                Ok(format) => return Err(StartError::DataNewer(root, format)),
                Err(_) => return Err(failed(io::Error::other("its file `version` is damaged"))),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // A folder named by mistake (a home, say) is not ours to fill, or to close to others.
                if fs::read_dir(&root).map_err(failed)?.any(|entry| entry.is_ok_and(|e| !is_ours(&e))) {
                    return Err(StartError::DataForeign(root));
                }
                write_whole(&version, &format!("{FORMAT}\n")).map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
        }
        fs::set_permissions(&root, Permissions::from_mode(0o700)).map_err(failed)?;
        private_folder(&root.join("gateway")).map_err(failed)?;
        let run = run_folder(&root).map_err(failed)?;
        Ok(Self { root, run })
    }

    /// Keeps others off the folder as long as the file is held.
    ///
    /// # Errors
    /// If another process holds it.
    pub fn lock(&self) -> Result<File, StartError> {
        let failed = |error| StartError::DataFolder(self.root.clone(), error);
        let file = File::create(self.root.join("lock")).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(StartError::DataInUse(self.root.clone())),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The signer's own folder, which the signer makes.
    pub fn signer(&self) -> PathBuf {
        self.root.join("signer")
    }

    /// Where the two meet.
    pub fn socket(&self) -> PathBuf {
        self.run.join(SOCKET)
    }

    /// The database that needs no set-up.
    pub fn database_url(&self) -> String {
        database_url(&self.root)
    }
}

/// The database in a data folder. The path is percent-encoded, as sqlx reads it.
pub fn database_url(root: &Path) -> String {
    let mut url = String::from("sqlite://");
    for &byte in root.join("gateway/talon.db").as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(&byte) {
            url.push(char::from(byte));
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
    url
}

/// What a first start that was cut short leaves, and a keystore that was carried there for a restore.
fn is_ours(entry: &fs::DirEntry) -> bool {
    ["lock", "version.new", "signer"].iter().any(|name| entry.file_name() == *name)
}

/// A folder of this user's own, made where it is not there.
pub fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    if fs::metadata(path)?.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::new(ErrorKind::PermissionDenied, "it belongs to another user"));
    }
    Ok(())
}

/// The socket's folder. A data folder whose name is too long for a socket has it among the temporary files, where
/// others could have made it first: it must be ours, and closed to them.
fn run_folder(root: &Path) -> io::Result<PathBuf> {
    let inside = root.join("run");
    if inside.join(SOCKET).as_os_str().len() <= MAX_SOCKET_PATH {
        private_folder(&inside)?;
        return Ok(inside);
    }
    let found = fs::metadata(root)?;
    let outside = std::env::temp_dir().join(format!("talon-{:x}-{:x}", found.dev(), found.ino()));
    private_folder(&outside)?;
    let found = fs::symlink_metadata(&outside)?;
    if !found.is_dir() || found.permissions().mode() & 0o077 != 0 {
        let text = format!("the socket's folder {} is open to other users", outside.display());
        return Err(io::Error::new(ErrorKind::PermissionDenied, text));
    }
    Ok(outside)
}

/// Under its name there is the whole file, or none.
fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    let mut file = File::create(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(unfinished, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_talon_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let data = Data::open(folder.path()).unwrap();
        let held = data.lock().unwrap();
        assert!(matches!(Data::open(folder.path()).unwrap().lock(), Err(StartError::DataInUse(_))));
        drop(held);
        data.lock().unwrap();
    }

    #[test]
    fn a_newer_folder_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("version"), "2\n").unwrap();
        assert!(matches!(Data::open(folder.path()), Err(StartError::DataNewer(_, 2))));
        fs::write(folder.path().join("version"), "").unwrap();
        assert!(matches!(Data::open(folder.path()), Err(StartError::DataFolder(..))));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was made");
    }

    #[test]
    fn somebody_elses_folder_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("letter"), "Dear Ada").unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(Data::open(folder.path()), Err(StartError::DataForeign(_))));
        assert_eq!(fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777, 0o755);
    }

    #[test]
    fn a_folder_that_was_begun_is_finished_and_closed_to_others() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("version.new"), "").unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        Data::open(folder.path()).unwrap();
        assert_eq!(fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_to_string(folder.path().join("version")).unwrap(), "1\n");
    }

    #[test]
    fn a_long_folder_has_a_short_socket_that_is_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let long = folder.path().join("a".repeat(120));
        let data = Data::open(&long).unwrap();
        assert!(data.socket().as_os_str().len() <= MAX_SOCKET_PATH);
        assert_eq!(data.socket(), Data::open(&long).unwrap().socket());
        fs::set_permissions(&data.run, Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(Data::open(&long), Err(StartError::DataFolder(..))));
        fs::remove_dir(&data.run).unwrap();
    }

    #[test]
    fn odd_names_are_encoded() {
        let folder = tempfile::tempdir().unwrap();
        let data = Data::open(&folder.path().join("a b%?#é")).unwrap();
        assert!(
            data.database_url().ends_with("/a%20b%25%3F%23%C3%A9/gateway/talon.db"),
            "{}",
            data.database_url()
        );
    }
}
