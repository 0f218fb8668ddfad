//! Passkeys as WebAuthn Level 3 has them (§7.1, §7.2): as much of it as one kind of key takes, ES256, read strictly. Pure.
//!
//! Counters are not looked at: keys that are synced between devices have none. What made a key (its attestation) is not, either:
//! it says nothing of whose it is.

use p256::ecdsa::signature::Verifier as _;
use p256::ecdsa::{Signature, VerifyingKey};
use serde::Deserialize;
use signer_protocol::passkey::{Assertion, Passkey};
use subtle::ConstantTimeEq as _;

use crate::encoding::sha256;

mod cbor;
mod origin;

use cbor::Reader;
pub use origin::Origin;

/// Bytes of what a browser and an authenticator say, at most.
const MAX_CLIENT_DATA: usize = 4096;
const MAX_AUTHENTICATOR_DATA: usize = 4096;
const MAX_ATTESTATION: usize = 64 * 1024;
/// Of a credential's id (§4).
const MAX_ID: usize = 1023;

/// Somebody was there (§6.1).
const PRESENT: u8 = 1;
/// And has shown who they are, to the authenticator.
const VERIFIED: u8 = 1 << 2;
const BACKUP_ELIGIBLE: u8 = 1 << 3;
const BACKED_UP: u8 = 1 << 4;
const HAS_KEY: u8 = 1 << 6;
const HAS_EXTENSIONS: u8 = 1 << 7;

/// An ES256 key in COSE (RFC 9053 §7.1.1), up to its coordinates: the one canonical encoding.
/// {1: 2 (EC2), 3: -7 (ES256), -1: 1 (P-256), -2: 32 bytes, -3: 32 bytes}
const COSE_X: [u8; 10] = [0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20];
const COSE_Y: [u8; 3] = [0x22, 0x58, 0x20];

/// What is wrong: a few words that go on from "the passkey's answer".
pub type Wrong = &'static str;

#[derive(Deserialize)]
struct ClientData {
    #[serde(rename = "type")]
    kind: String,
    challenge: String,
    origin: String,
    #[serde(default, rename = "crossOrigin")]
    cross_origin: bool,
}

/// A new passkey: its id and its key.
pub struct Made {
    pub id: Vec<u8>,
    /// SEC1 uncompressed.
    pub public_key: Vec<u8>,
}

/// What `navigator.credentials.create` has answered, over this challenge, at this origin.
///
/// # Errors
/// What of it is wrong.
pub fn made(
    origin: &Origin,
    challenge: &[u8],
    client_data: &[u8],
    attestation: &[u8],
) -> Result<Made, Wrong> {
    client(origin, "webauthn.create", challenge, client_data)?;
    if attestation.len() > MAX_ATTESTATION {
        return Err("has too long an attestation");
    }
    let data = authenticator_data_of(attestation).ok_or("has an attestation that can't be read")?;
    let (flags, mut rest) = authenticator(origin, data)?;
    if flags & HAS_KEY == 0 {
        return Err("has no key");
    }
    let unreadable = "has a key that can't be read";
    let _aaguid = rest.take(16).ok_or(unreadable)?;
    let length = rest.take(2).and_then(|length| length.try_into().ok()).ok_or(unreadable)?;
    let id = rest.take(u16::from_be_bytes(length).into()).ok_or(unreadable)?;
    if !(1..=MAX_ID).contains(&id.len()) {
        return Err("has an id of a length that there is not");
    }
    let public_key = es256(&mut rest).ok_or("has a key that is not ES256 on P-256")?;
    extensions(flags, rest)?;
    Ok(Made { id: id.to_vec(), public_key })
}

/// Whether `navigator.credentials.get` has answered by this passkey, over this challenge, at this origin.
///
/// # Errors
/// What of it is wrong.
pub fn asserted(
    origin: &Origin,
    key: &Passkey,
    challenge: &[u8],
    assertion: &Assertion,
) -> Result<(), Wrong> {
    client(origin, "webauthn.get", challenge, &assertion.client_data.0)?;
    let data = &assertion.authenticator_data.0;
    let (flags, rest) = authenticator(origin, data)?;
    if flags & HAS_KEY != 0 {
        return Err("brings a key where none is asked for");
    }
    extensions(flags, rest)?;
    let signed = [data.as_slice(), &sha256(&assertion.client_data.0)].concat();
    let public = VerifyingKey::from_sec1_bytes(&key.public_key.0).map_err(|_| "is of a key that is none")?;
    // WebAuthn takes either S (§6.5.5): what one answer is good for does not hang on its bytes.
    let signature =
        Signature::from_der(&assertion.signature.0).map_err(|_| "has a signature that can't be read")?;
    public.verify(&signed, &signature).map_err(|_| "is not signed by that passkey")
}

fn client(origin: &Origin, kind: &str, challenge: &[u8], client_data: &[u8]) -> Result<(), Wrong> {
    use base64::Engine as _;
    if client_data.len() > MAX_CLIENT_DATA {
        return Err("has too long a clientDataJSON");
    }
    let said: ClientData =
        serde_json::from_slice(client_data).map_err(|_| "has a clientDataJSON that can't be read")?;
    if said.kind != kind {
        return Err("is of the wrong type");
    }
    let expected = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(challenge);
    if !bool::from(said.challenge.as_bytes().ct_eq(expected.as_bytes())) {
        return Err("is to another challenge");
    }
    if said.cross_origin || said.origin != origin.as_str() {
        return Err("was given to another origin");
    }
    Ok(())
}

/// The flags, and what comes after the counter.
fn authenticator<'d>(origin: &Origin, data: &'d [u8]) -> Result<(u8, Reader<'d>), Wrong> {
    if data.len() > MAX_AUTHENTICATOR_DATA {
        return Err("has too much authenticator data");
    }
    let mut rest = Reader(data);
    let short = "has too little authenticator data";
    let rp = rest.take(32).ok_or(short)?;
    let flags = rest.take(1).and_then(|flags| flags.first().copied()).ok_or(short)?;
    let _counter = rest.take(4).ok_or(short)?;
    if !bool::from(rp.ct_eq(&sha256(origin.rp_id().as_bytes()))) {
        return Err("is for another site");
    }
    if flags & PRESENT == 0 || flags & VERIFIED == 0 {
        return Err("was given without asking who is there (user verification)");
    }
    if flags & BACKED_UP != 0 && flags & BACKUP_ELIGIBLE == 0 {
        return Err("contradicts itself on its backup");
    }
    Ok((flags, rest))
}

/// One map at the end, if it says that there is one, and nothing else.
fn extensions(flags: u8, mut rest: Reader<'_>) -> Result<(), Wrong> {
    let well = flags & HAS_EXTENSIONS == 0 || rest.skip_map().is_some();
    if well && rest.0.is_empty() { Ok(()) } else { Err("has authenticator data that can't be read") }
}

/// SEC1 uncompressed, of a point on the curve.
fn es256(rest: &mut Reader<'_>) -> Option<Vec<u8>> {
    rest.literal(&COSE_X)?;
    let x = rest.take(32)?;
    rest.literal(&COSE_Y)?;
    let y = rest.take(32)?;
    let point = [&[4], x, y].concat();
    VerifyingKey::from_sec1_bytes(&point).ok().map(|_| point)
}

/// `{fmt, attStmt, authData}` (§6.5.4), in any order, each once.
fn authenticator_data_of(attestation: &[u8]) -> Option<&[u8]> {
    let mut rest = Reader(attestation);
    if rest.map()? != 3 {
        return None;
    }
    let (mut format, mut statement, mut data) = (None, None, None);
    for _ in 0..3 {
        let twice = match rest.text()? {
            "fmt" => format.replace(rest.text()?).is_some(),
            "attStmt" => statement.replace(rest.skip_map()?).is_some(),
            "authData" => data.replace(rest.bytes()?).is_some(),
            _ => true,
        };
        if twice {
            return None;
        }
    }
    if rest.0.is_empty() { data } else { None }
}

#[cfg(test)]
pub mod tests;
