//! The second factor: time-based codes (RFC 6238: SHA-1, 6 digits, 30 s, one step of drift) and recovery codes, both
//! checked in the signer. A code is good once; wrong guesses are counted in the ledger, and too many lock the factor
//! for a while.

use domain::{Time, UserId};
use serde::{Deserialize, Serialize};

use crate::attested::{Attested, Statement};
use crate::passkey::Asserted;
use crate::record::{Credential, Principal};
use crate::token::Caller;
use crate::wire::{Blob, Secret};

/// A seed that waits for its first code.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PendingMfa {
    pub user: UserId,
    /// 20 bytes, sealed for this user.
    pub seed: Blob,
    pub expires_at: Time,
}

impl Statement for PendingMfa {
    const DOMAIN: &'static str = "talon/pending-mfa/1";
}

/// A person's second factor. Their record pins its digest, so an older one is none.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Mfa {
    pub user: UserId,
    /// 20 bytes, sealed for this user.
    pub seed: Blob,
    /// Of each recovery code, the HMAC under the signer's key over it and whose it is, in hex. Which are used up, the
    /// ledger knows.
    pub recovery: Vec<String>,
}

impl Statement for Mfa {
    const DOMAIN: &'static str = "talon/mfa/1";
}

/// Asks for a new seed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SetUpMfa {
    /// A person without a second factor, in person.
    pub by: Caller,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewMfa {
    /// 20 bytes: shown once, as base32 and inside an `otpauth` URI.
    pub seed: Secret,
    pub pending: Attested<PendingMfa>,
}

/// Shows that the seed has arrived where it will be used. From the answer's first use or confirmation on, logging in
/// takes the second factor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EnableMfa {
    pub by: Caller,
    pub pending: Attested<PendingMfa>,
    pub code: Secret,
    /// Over [`crate::passkey::challenge_of_factor`]: needed of whoever has a passkey.
    pub passkey: Option<Asserted>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EnabledMfa {
    pub record: Attested<Principal>,
    pub mfa: Attested<Mfa>,
    /// Eight, each good once; shown once.
    pub recovery_codes: Vec<Secret>,
}

/// What somebody shows to have the second factor taken away.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum MfaProof {
    /// A time-based or a recovery code.
    Code(Secret),
    Password(Credential),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DisableMfa {
    pub by: Caller,
    pub mfa: Attested<Mfa>,
    pub proof: MfaProof,
}

/// The second half of a login.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VerifyMfa {
    /// Of the kind [`crate::token::MFA`]: good for this, once.
    pub token: Secret,
    pub record: Attested<Principal>,
    pub mfa: Attested<Mfa>,
    /// A time-based or a recovery code.
    pub code: Secret,
}
