//! A customer who encrypts values before they are stored (CMEK), by other code than Talon's.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A customer's key.
#[derive(Clone, Copy)]
pub struct CustomerKey(pub [u8; 32]);

impl CustomerKey {
    /// As it goes into a header.
    pub fn header(&self) -> String {
        STANDARD.encode(self.0)
    }

    pub fn fingerprint(&self) -> String {
        hex::encode(digest(&SHA256, &self.0))
    }

    fn cipher(&self) -> LessSafeKey {
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &self.0).unwrap())
    }

    /// `0x01 | IV | ciphertext | tag`, in base64.
    pub fn encrypt(&self, plain: &str) -> String {
        let mut iv = [0; 12];
        aws_lc_rs::rand::fill(&mut iv).unwrap();
        let mut bytes = plain.as_bytes().to_vec();
        self.cipher()
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(iv), Aad::empty(), &mut bytes)
            .unwrap();
        STANDARD.encode([&[1], &iv[..], &bytes].concat())
    }

    /// `None`: it is not of this key.
    pub fn decrypt(&self, value: &str) -> Option<String> {
        let bytes = STANDARD.decode(value).ok()?;
        let (iv, rest) = bytes.strip_prefix(&[1])?.split_first_chunk::<12>()?;
        let mut rest = rest.to_vec();
        let plain =
            self.cipher().open_in_place(Nonce::assume_unique_for_key(*iv), Aad::empty(), &mut rest).ok()?;
        String::from_utf8(plain.to_vec()).ok()
    }
}
