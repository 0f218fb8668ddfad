//! An authenticator of our own, that says what a test wants it to say.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::Time;
use p256::ecdsa::SigningKey;
use p256::ecdsa::signature::Signer as _;
use proptest::prelude::*;
use signer_protocol::wire::Blob;

use super::*;

pub const ORIGIN: &str = "https://talon.example";

/// A passkey's private half.
#[derive(Clone)]
pub struct Device {
    pub id: Vec<u8>,
    key: SigningKey,
    /// What it says, where a test wants it to say something else.
    pub says: Says,
}

#[derive(Clone)]
pub struct Says {
    pub kind: Option<&'static str>,
    pub origin: String,
    pub rp: String,
    pub flags: u8,
    pub cross_origin: bool,
    pub extensions: Vec<u8>,
}

impl Device {
    pub fn new(seed: u8) -> Self {
        let says = Says {
            kind: None,
            origin: ORIGIN.to_owned(),
            rp: "talon.example".to_owned(),
            flags: PRESENT | VERIFIED,
            cross_origin: false,
            extensions: Vec::new(),
        };
        Self { id: vec![seed; 16], key: SigningKey::from_slice(&[seed; 32]).unwrap(), says }
    }

    fn client_data(&self, kind: &str, challenge: &[u8]) -> Vec<u8> {
        let Says { origin, cross_origin, .. } = &self.says;
        let (kind, challenge) = (self.says.kind.unwrap_or(kind), URL_SAFE_NO_PAD.encode(challenge));
        let said = serde_json::json!({"type": kind, "challenge": challenge, "origin": origin,
            "crossOrigin": cross_origin, "other_keys_can_be_added_here": "as browsers do"});
        said.to_string().into_bytes()
    }

    fn data(&self, flags: u8) -> Vec<u8> {
        [&sha256(self.says.rp.as_bytes())[..], &[self.says.flags | flags], &[0; 4]].concat()
    }

    pub fn cose(&self) -> Vec<u8> {
        let point = self.key.verifying_key().to_encoded_point(false);
        let (x, y) = point.as_bytes()[1..].split_at(32);
        [&COSE_X, x, &COSE_Y, y].concat()
    }

    fn attested(&self, cose: &[u8]) -> Vec<u8> {
        let length = u16::try_from(self.id.len()).unwrap().to_be_bytes();
        let data =
            [&self.data(HAS_KEY), &[0; 16][..], &length, &self.id, cose, &self.says.extensions].concat();
        let length = u16::try_from(data.len()).unwrap().to_be_bytes();
        // In the fewest bytes that hold it.
        let length = if length[0] == 0 { vec![0x58, length[1]] } else { [&[0x59], &length[..]].concat() };
        [b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData", &length[..], &data].concat()
    }

    /// `clientDataJSON` and `attestationObject`.
    pub fn make(&self, challenge: &[u8]) -> (Vec<u8>, Vec<u8>) {
        (self.client_data("webauthn.create", challenge), self.attested(&self.cose()))
    }

    pub fn assert(&self, challenge: &[u8]) -> Assertion {
        let client_data = self.client_data("webauthn.get", challenge);
        let data = [self.data(0), self.says.extensions.clone()].concat();
        let signature: Signature = self.key.sign(&[data.as_slice(), &sha256(&client_data)].concat());
        Assertion {
            id: Blob(self.id.clone()),
            client_data: Blob(client_data),
            authenticator_data: Blob(data),
            signature: Blob(signature.to_der().as_bytes().to_vec()),
        }
    }

    fn passkey(&self) -> Passkey {
        let public_key = Blob(self.key.verifying_key().to_encoded_point(false).as_bytes().to_vec());
        let (id, name, added_at) = (Blob(self.id.clone()), "one".to_owned(), Time::from_millis(0));
        Passkey { id, public_key, name, added_at }
    }
}

fn origin() -> Origin {
    ORIGIN.parse().unwrap()
}

fn with(change: impl FnOnce(&mut Says)) -> Device {
    let mut device = Device::new(7);
    change(&mut device.says);
    device
}

fn lies() -> Vec<(Device, &'static str)> {
    vec![
        (with(|says| says.kind = Some("payment.get")), "type"),
        (with(|says| says.origin = "https://talon.example.evil".to_owned()), "origin"),
        (with(|says| says.origin = "http://talon.example".to_owned()), "origin"),
        (with(|says| says.origin = "https://talon.example/".to_owned()), "origin"),
        (with(|says| says.cross_origin = true), "origin"),
        (with(|says| says.rp = "evil.example".to_owned()), "site"),
        (with(|says| says.flags = PRESENT), "verification"),
        (with(|says| says.flags = VERIFIED), "verification"),
        (with(|says| says.flags |= BACKED_UP), "backup"),
        (with(|says| says.flags |= HAS_EXTENSIONS), "read"),
        (with(|says| says.extensions = vec![0xa0]), "read"),
    ]
}

#[test]
fn an_honest_answer_is_taken() {
    let synced = with(|says| says.flags |= BACKUP_ELIGIBLE | BACKED_UP);
    let extended = with(|says| {
        says.flags |= HAS_EXTENSIONS;
        says.extensions = b"\xa1\x6bcredProtect\x02".to_vec();
    });
    for device in [Device::new(7), synced, extended] {
        let (client_data, attestation) = device.make(&[1; 32]);
        let made = made(&origin(), &[1; 32], &client_data, &attestation).unwrap();
        assert_eq!((&made.id, &made.public_key), (&device.id, &device.passkey().public_key.0));
        assert_eq!(asserted(&origin(), &device.passkey(), &[2; 32], &device.assert(&[2; 32])), Ok(()));
    }
}

#[test]
fn each_lie_is_refused_in_both() {
    for (device, says) in lies() {
        let (client_data, attestation) = device.make(&[1; 32]);
        let wrong = made(&origin(), &[1; 32], &client_data, &attestation).err().unwrap();
        assert!(wrong.contains(says), "{wrong}, not {says}");
        let wrong = asserted(&origin(), &device.passkey(), &[2; 32], &device.assert(&[2; 32])).unwrap_err();
        assert!(wrong.contains(says), "{wrong}, not {says}");
    }
}

#[test]
fn another_challenge_key_or_signature_is_refused() {
    let device = Device::new(7);
    let key = device.passkey();
    let good = device.assert(&[2; 32]);
    assert!(asserted(&origin(), &key, &[3; 32], &good).unwrap_err().contains("challenge"));
    assert!(asserted(&origin(), &Device::new(8).passkey(), &[2; 32], &good).unwrap_err().contains("signed"));
    let (client_data, attestation) = device.make(&[1; 32]);
    assert!(made(&origin(), &[2; 32], &client_data, &attestation).is_err());
    // Each byte of what is signed, and of the signature.
    for field in 0..3 {
        let mut bad = good.clone();
        let blob = match field {
            0 => &mut bad.client_data,
            1 => &mut bad.authenticator_data,
            _ => &mut bad.signature,
        };
        for at in 0..blob.0.len() {
            let mut changed = bad.clone();
            let blob = match field {
                0 => &mut changed.client_data,
                1 => &mut changed.authenticator_data,
                _ => &mut changed.signature,
            };
            blob.0[at] ^= 1;
            assert!(asserted(&origin(), &key, &[2; 32], &changed).is_err(), "{field} {at}");
        }
        let blob = match field {
            0 => &mut bad.client_data,
            1 => &mut bad.authenticator_data,
            _ => &mut bad.signature,
        };
        blob.0.push(0);
        assert!(asserted(&origin(), &key, &[2; 32], &bad).is_err(), "longer");
    }
    // The other S is the same answer (§6.5.5).
    let signature = Signature::from_der(&good.signature.0).unwrap();
    let (r, s) = signature.split_scalars();
    let other = Signature::from_scalars(r, -s).unwrap();
    let other = Assertion { signature: Blob(other.to_der().as_bytes().to_vec()), ..good.clone() };
    assert_eq!(asserted(&origin(), &key, &[2; 32], &other), Ok(()));
    // A registration's answer is none to a question.
    let attested = Assertion { client_data: Blob(client_data), ..good };
    assert!(asserted(&origin(), &key, &[1; 32], &attested).unwrap_err().contains("type"));
}

#[test]
fn keys_that_are_none_are_refused() {
    let device = Device::new(7);
    let cose = device.cose();
    let changed = |at: usize, to: u8| {
        let mut cose = cose.clone();
        cose[at] = to;
        cose
    };
    let (client_data, _) = device.make(&[1; 32]);
    for (bad, what) in [
        (changed(4, 0x27), "EdDSA"),
        (changed(6, 0x02), "P-384"),
        (changed(2, 0x01), "OKP"),
        (changed(20, cose[20] ^ 1), "a point off the curve"),
        (cose[..76].to_vec(), "too short"),
        ([cose.as_slice(), &[0]].concat(), "too long"),
    ] {
        assert!(made(&origin(), &[1; 32], &client_data, &device.attested(&bad)).is_err(), "{what}");
    }
    for length in [0, 1024] {
        let device = Device { id: vec![1; length], ..Device::new(7) };
        let (client_data, attestation) = device.make(&[1; 32]);
        assert!(made(&origin(), &[1; 32], &client_data, &attestation).is_err(), "an id of {length}");
    }
}

#[test]
fn attestations_are_read_strictly() {
    let (client_data, good) = Device::new(7).make(&[1; 32]);
    let text = |from: &[u8], to: &[u8]| {
        let at = good.windows(from.len()).position(|window| window == from).unwrap();
        [&good[..at], to, &good[at + from.len()..]].concat()
    };
    // Another format with a statement is as good: it is not looked at.
    let packed = text(b"\x64none\x67attStmt\xa0", b"\x66packed\x67attStmt\xa2\x63alg\x26\x63sig\x41\x01");
    assert!(made(&origin(), &[1; 32], &client_data, &packed).is_ok());
    for bad in [
        text(b"\xa3\x63fmt", b"\xa2\x63fmt"),
        text(b"\xa3\x63fmt", b"\xb8\x03\x63fmt"),
        text(b"\xa3\x63fmt", b"\xbf\x63fmt"),
        text(b"\x67attStmt\xa0", b"\x67attStmt\x80"),
        text(b"\x67attStmt\xa0", b"\x63fmt\x64none"),
        text(b"\x67attStmt\xa0", b"\x67unknown\xa0"),
        [good.as_slice(), &[0]].concat(),
        good[..good.len() - 1].to_vec(),
        Vec::new(),
    ] {
        assert!(made(&origin(), &[1; 32], &client_data, &bad).is_err());
    }
    let twice =
        String::from_utf8(client_data.clone()).unwrap().replacen('{', r#"{"type":"webauthn.create","#, 1);
    assert!(made(&origin(), &[1; 32], twice.as_bytes(), &good).is_err(), "said twice");
    let long = [client_data.as_slice(), &vec![b' '; MAX_CLIENT_DATA]].concat();
    assert!(made(&origin(), &[1; 32], &long, &good).is_err(), "too long");
}

proptest! {
    #[test]
    fn any_bytes_have_an_answer(client: Vec<u8>, data: Vec<u8>, signature: Vec<u8>) {
        let device = Device::new(7);
        prop_assert!(made(&origin(), &[1; 32], &client, &data).is_err());
        let (client_data, mut attestation) = device.make(&[1; 32]);
        attestation.extend(&data);
        prop_assert_eq!(made(&origin(), &[1; 32], &client_data, &attestation).is_ok(), data.is_empty());
        let assertion = Assertion {
            id: Blob(device.id.clone()),
            client_data: Blob(client),
            authenticator_data: Blob(data),
            signature: Blob(signature),
        };
        prop_assert!(asserted(&origin(), &device.passkey(), &[1; 32], &assertion).is_err());
    }
}
