//! Why a keystore can't be made or opened: one sentence each, for the operator. Never a PIN, a passphrase or a key.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("there is no keystore at {}: run `talon-signer init`", .0.display())]
    NoFile(PathBuf),
    #[error("there is a keystore at {} already; it is never overwritten", .0.display())]
    FileExists(PathBuf),
    #[error("{} can be read by other users: run `chmod 600` on it", .0.display())]
    Exposed(PathBuf),
    #[error("{} is damaged: restore it from a backup", .0.display())]
    Damaged(PathBuf),
    #[error("{path} has format {found}, made by a newer Talon; this one reads format {known}", path = .path.display())]
    Newer { path: PathBuf, found: u16, known: u16 },
    #[error("{} is sealed: give its passphrase", .0.display())]
    PassphraseNeeded(PathBuf),
    #[error("the passphrase of {} is wrong", .0.display())]
    WrongPassphrase(PathBuf),
    /// The operator believes that the file is sealed: to go on would keep them believing.
    #[error("a passphrase was given, but {} is not sealed by one", .0.display())]
    NotSealed(PathBuf),
    #[error("an empty passphrase seals nothing: give one, or none at all")]
    EmptyPassphrase,
    #[error("{} can't be used: {error}", .path.display())]
    Io { path: PathBuf, error: std::io::Error },
    #[error("the system gives no randomness: {0}")]
    NoRandomness(getrandom::Error),
    #[error("the keys can't be sealed by a passphrase here: {0}")]
    Sealing(String),

    #[error("there is no PKCS#11 module at {}", .0.display())]
    NoModule(PathBuf),
    #[error("{} can't be loaded as a PKCS#11 module: {cause}", .path.display())]
    NotAModule { path: PathBuf, cause: String },
    #[error("the PKCS#11 module shows no token with the label {0:?}")]
    NoToken(String),
    #[error(
        "the PKCS#11 module shows {count} tokens with the label {label:?}: Talon can't tell which is meant"
    )]
    ManyTokens { label: String, count: usize },
    #[error("the PIN of the token {0:?} is wrong")]
    WrongPin(String),
    #[error("the PIN of the token {0:?} is locked or expired: its security officer must set it anew")]
    PinLocked(String),
    #[error("the token {token:?} holds no {label:?}: run `talon-signer init`")]
    NoKey { token: String, label: &'static str },
    #[error("the token {token:?} holds {count} keys under {label:?}: Talon can't tell which is meant")]
    ManyKeys { token: String, label: String, count: usize },
    #[error("the token {token:?} holds {label:?} already; it is never made twice")]
    KeyExists { token: String, label: &'static str },
    #[error(
        "{label:?} in the token {token:?} could be read out of it (it is not sensitive, or is extractable)"
    )]
    Extractable { token: String, label: String },
    #[error("the public and the private half of {label:?} in the token {token:?} do not belong together")]
    Mismatch { token: String, label: &'static str },
    #[error("the token {token:?} failed: {cause}")]
    Token { token: String, cause: String },
    #[error("the token {token:?} holds {count} root keys, and Talon never has more than two")]
    ManyRoots { token: String, count: usize },

    #[error("a rotation is under way: root {0} must be retired first (`talon-signer retire-root`)")]
    Rotating(u32),
    #[error("there is one root key, and nothing to retire: begin with `talon-signer rotate-root`")]
    OneRoot,
    #[error("no more root keys can be numbered")]
    NoMoreRoots,
}

impl OpenError {
    /// Trying again with the same PIN could lock the token.
    pub(super) fn is_about_pin(&self) -> bool {
        matches!(self, Self::WrongPin(_) | Self::PinLocked(_))
    }
}
