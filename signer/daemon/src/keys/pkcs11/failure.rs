//! Whose fault a failed call is.

use cryptoki::error::{Error, RvError};

use crate::keys::{DOES_NOT_OPEN, KeyError, rejected};

/// A call into the HSM that failed.
#[derive(Debug)]
pub enum Failure {
    /// What was given is to blame, since this keystore did not make it; the HSM is well.
    Input,
    /// The module, the token or a session is to blame: the connection is not used again.
    Broken(String),
}

impl Failure {
    /// The module answered with something of the wrong length.
    pub fn odd(what: &str, length: usize) -> Self {
        Self::Broken(format!("the module answered with {what} of {length} bytes"))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Pkcs11(
                RvError::WrappedKeyInvalid
                | RvError::WrappedKeyLenRange
                | RvError::EncryptedDataInvalid
                | RvError::EncryptedDataLenRange,
                _,
            ) => Self::Input,
            error => Self::Broken(error.to_string()),
        }
    }
}

impl From<Failure> for KeyError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Input => rejected(DOES_NOT_OPEN),
            Failure::Broken(cause) => Self::Unavailable(cause),
        }
    }
}
