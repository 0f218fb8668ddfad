//! A key that a person stores, made usable for signing: in memory once, while it is wrapped.

use alloy_primitives::Address;
use domain::SecretType;
use k256::elliptic_curve::sec1::ToEncodedPoint as _;
use signer_protocol::attested::Attested;
use signer_protocol::key::{Curve, SigningKey};
use signer_protocol::sealing::Label;
use signer_protocol::wire::{Blob, Secret};

use crate::authority::Authority;
use crate::keys::Key;
use crate::refuse::Result;

impl Authority {
    /// The signing key of a `private_key` that is a secp256k1 scalar; `None` for anything else, which is stored but
    /// can't sign.
    pub(crate) async fn import(&self, label: &Label, value: &Secret) -> Result<Option<Attested<SigningKey>>> {
        if label.kind != SecretType::PrivateKey {
            return Ok(None);
        }
        let Some((scalar, public)) = parse(value.expose()) else { return Ok(None) };
        let point = public.to_encoded_point(false);
        let wrapped = self.pool.on_keys(move |keys| keys.import_signing_key(&scalar)).await?;
        let key = SigningKey {
            org: label.org,
            vault: label.vault,
            path: label.path.clone(),
            version: label.version,
            curve: Curve::Secp256k1,
            public_key: Blob(point.as_bytes().to_vec()),
            address: Address::from_public_key(&public.into()),
            wrapped: Blob(wrapped),
        };
        self.statements.attest(&key).await.map(Some)
    }
}

/// 32 bytes in hex, with or without `0x`, white space around it ignored, from 1 to the curve's order less one.
fn parse(value: &[u8]) -> Option<(Key, k256::PublicKey)> {
    let text = value.trim_ascii();
    let digits = text.strip_prefix(b"0x").unwrap_or(text);
    let mut scalar = Key::default();
    hex::decode_to_slice(digits, &mut *scalar).ok()?;
    let key = k256::SecretKey::from_slice(&*scalar).ok()?;
    Some((scalar, key.public_key()))
}

#[cfg(test)]
mod tests {
    use super::parse;

    /// n - 1 and n of secp256k1 (SEC 2 §2.4.1).
    const LARGEST: &str = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364140";
    const ORDER: &str = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";

    #[test]
    fn keys_are_hex_scalars_in_range() {
        let one = format!("{:064x}", 1);
        for good in [LARGEST, &one, &format!("0x{one}"), &format!(" \n0x{}\r\n", LARGEST.to_uppercase())] {
            assert!(parse(good.as_bytes()).is_some(), "{good:?}");
        }
        let zero = "0".repeat(64);
        let short = &one[..62];
        for bad in
            [ORDER, &zero, "", "0x", short, &format!("{one}00"), &format!("0X{one}"), &format!("0x {one}")]
        {
            assert!(parse(bad.as_bytes()).is_none(), "{bad:?}");
        }
        assert!(parse(&[0xff; 32]).is_none());
    }
}
