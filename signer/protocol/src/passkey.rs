//! Passkeys (WebAuthn Level 3): a person's own device confirms what it was shown, and the signer checks it. So a gateway that
//! was taken over can't say yes in a person's place.

use domain::{PathGlob, Role, Time, UserId};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::attested::{Attested, Statement};
use crate::intent::Intent;
use crate::mfa::PendingMfa;
use crate::record::{AgentSettings, Principal};
use crate::sealing::VaultKey;
use crate::token::Caller;
use crate::wire::Blob;

/// A person's passkeys. Their record pins the digest, so older ones are none.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Passkeys {
    pub user: UserId,
    /// One to ten.
    pub keys: Vec<Passkey>,
}

impl Statement for Passkeys {
    const DOMAIN: &'static str = "talon/passkeys/1";
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Passkey {
    /// As the authenticator gave it: 1 to 1023 bytes.
    pub id: Blob,
    /// P-256, SEC1 uncompressed: 65 bytes.
    pub public_key: Blob,
    /// For its person: 1 to 64 characters.
    pub name: String,
    pub added_at: Time,
}

/// Begins to add a passkey.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BeginPasskey {
    /// A person, in person.
    pub by: Caller,
}

/// What a new passkey must be made over.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PendingPasskey {
    pub user: UserId,
    /// 32 bytes.
    pub challenge: Blob,
    /// The site that it is for: a host's name.
    pub rp_id: String,
    pub expires_at: Time,
}

impl Statement for PendingPasskey {
    const DOMAIN: &'static str = "talon/pending-passkey/1";
}

/// Adds a passkey. The answer counts, as a changed record does, when it is first seen or confirmed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AddPasskey {
    pub by: Caller,
    pub pending: Attested<PendingPasskey>,
    pub name: String,
    /// `clientDataJSON`, of the type `webauthn.create`.
    pub client_data: Blob,
    /// `attestationObject`: the format is not looked at, for it says what made the key, not whose it is.
    pub attestation: Blob,
    /// Over [`challenge_of_addition`], by one that the person has already; `None`: there is none yet.
    pub passkey: Option<Asserted>,
}

/// Takes one away; the last one, too.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RemovePasskey {
    pub by: Caller,
    pub id: Blob,
    /// Over [`challenge_of_removal`], by any of them.
    pub passkey: Option<Asserted>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChangedPasskeys {
    pub record: Attested<Principal>,
    /// `None`: there are none any more.
    pub passkeys: Option<Attested<Passkeys>>,
}

/// A person's passkeys, and what one of them has signed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Asserted {
    pub passkeys: Attested<Passkeys>,
    pub assertion: Assertion,
}

/// An answer of `navigator.credentials.get`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Assertion {
    /// Which passkey.
    pub id: Blob,
    /// `clientDataJSON`, of the type `webauthn.get`.
    pub client_data: Blob,
    pub authenticator_data: Blob,
    /// ASN.1 DER.
    pub signature: Blob,
}

/// What a passkey signs to approve an intent: 32 bytes.
pub fn challenge_of_intent(intent: &Attested<Intent>) -> [u8; 32] {
    challenge(b"talon/approve/1", &[body(intent)])
}

/// What a passkey signs to change an agent to `settings`: 32 bytes. `base` is its record now, so that it is good for no
/// other time.
pub fn challenge_of_settings(base: &Attested<Principal>, settings: &AgentSettings) -> [u8; 32] {
    challenge(b"talon/change-agent/1", &[body(base), &written(settings)])
}

/// What a passkey signs to make an agent that submits transactions: 32 bytes. `made` is how much its person has made so,
/// which the signer counts: what was signed for one makes no second.
pub fn challenge_of_new_agent(person: UserId, made: u64, settings: &AgentSettings) -> [u8; 32] {
    challenge(b"talon/make-agent/1", &[person.as_bytes(), &made.to_be_bytes(), &written(settings)])
}

/// What a passkey signs to give an agent another key: 32 bytes. `base` is its record now.
pub fn challenge_of_rotation(base: &Attested<Principal>) -> [u8; 32] {
    challenge(b"talon/rotate-key/1", &[body(base)])
}

/// What a passkey signs to invite somebody as an owner or admin: 32 bytes. `made` is as for an agent, and `email` the SHA-256
/// of the address.
pub fn challenge_of_invitation(person: UserId, made: u64, role: Role, email: &Blob) -> [u8; 32] {
    challenge(
        b"talon/invite/1",
        &[person.as_bytes(), &made.to_be_bytes(), role.as_str().as_bytes(), &email.0],
    )
}

/// What a passkey signs to make an API key of its person's: 32 bytes. `made` is as for an agent.
pub fn challenge_of_api_key(
    person: UserId,
    made: u64,
    scopes: &[PathGlob],
    expires_at: Option<Time>,
) -> [u8; 32] {
    let bounds = written(&(scopes, expires_at));
    challenge(b"talon/make-api-key/1", &[person.as_bytes(), &made.to_be_bytes(), &bounds])
}

/// What a passkey signs to make a person owner or admin: 32 bytes. `base` is their record now.
pub fn challenge_of_role(base: &Attested<Principal>, role: Role) -> [u8; 32] {
    challenge(b"talon/change-role/1", &[body(base), role.as_str().as_bytes()])
}

/// What a passkey signs to end its person's account: 32 bytes. `base` is their record now.
pub fn challenge_of_leaving(base: &Attested<Principal>) -> [u8; 32] {
    challenge(b"talon/leave/1", &[body(base)])
}

/// What a passkey signs to end the organisation: 32 bytes. `owner` is its person's record now.
pub fn challenge_of_ending(owner: &Attested<Principal>) -> [u8; 32] {
    challenge(b"talon/end-organisation/1", &[body(owner)])
}

/// What a passkey signs to switch its person's second factor on: 32 bytes. `base` is their record now, and `pending` holds the
/// seed, so that nobody puts one of their own in its place.
pub fn challenge_of_factor(base: &Attested<Principal>, pending: &Attested<PendingMfa>) -> [u8; 32] {
    challenge(b"talon/enable-factor/1", &[body(base), body(pending)])
}

/// What a passkey signs to destroy a vault: 32 bytes. `person` is its person's record now. A vault is destroyed once, and for
/// ever.
pub fn challenge_of_destruction(person: &Attested<Principal>, key: &Attested<VaultKey>) -> [u8; 32] {
    challenge(b"talon/destroy-vault/1", &[body(person), body(key)])
}

/// What a passkey signs to add another: 32 bytes. `pinned` is what the person's record has of their passkeys, and
/// `attestation` holds the new one's key, so that nobody puts a key of their own in its place.
pub fn challenge_of_addition(pinned: &Blob, attestation: &Blob) -> [u8; 32] {
    challenge(b"talon/add-passkey/1", &[&pinned.0, &attestation.0])
}

/// What a passkey signs to take one away: 32 bytes. `pinned` is what the person's record has of their passkeys.
pub fn challenge_of_removal(pinned: &Blob, id: &Blob) -> [u8; 32] {
    challenge(b"talon/remove-passkey/1", &[&pinned.0, &id.0])
}

fn written(what: &impl Serialize) -> Vec<u8> {
    // A structure of lists, numbers and texts is always written.
    serde_json::to_vec(what).unwrap_or_default()
}

fn body<T: Statement>(statement: &Attested<T>) -> &[u8] {
    statement.parts().map(|(_, body)| body).unwrap_or_default()
}

/// Over the SHA-256 of each part, so that no two lists of parts come to the same.
fn challenge(domain: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut all = Sha256::new_with_prefix(domain);
    for part in parts {
        all.update(Sha256::digest(part));
    }
    all.finalize().into()
}
