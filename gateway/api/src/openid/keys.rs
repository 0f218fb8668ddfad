//! An issuer's public keys (RFC 7517), as far as they are of use here: RSA and the NIST curves, to verify signatures.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// Of an RSA modulus, in bytes: 2,048 to 8,192 bits.
const MODULUS: std::ops::RangeInclusive<usize> = 256..=1024;
/// Keys of one set. Issuers have two or three.
const MOST: usize = 32;
/// Of a key's id, in bytes.
const LONGEST_ID: usize = 256;

/// A key, and all that it may be used with: never what a token says.
#[derive(Clone, Debug)]
pub struct Key {
    id: String,
    pub verifies: &'static [Algorithm],
    pub key: DecodingKey,
}

#[derive(Clone, Debug, Default)]
pub struct KeySet(Vec<Key>);

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: String,
    #[serde(default, rename = "use")]
    used_for: Option<String>,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default)]
    crv: Option<String>,
    #[serde(default)]
    n: Option<String>,
    #[serde(default)]
    e: Option<String>,
    #[serde(default)]
    x: Option<String>,
    #[serde(default)]
    y: Option<String>,
}

impl KeySet {
    /// A set's usable keys. Others (for encryption, of other kinds, too short, without an id) are passed over.
    ///
    /// # Errors
    /// What is wrong, if none is left.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        let document: Document =
            serde_json::from_slice(json).map_err(|error| format!("it is no key set: {error}"))?;
        let keys = document.keys.into_iter().filter_map(|jwk| Key::read(serde_json::from_value(jwk).ok()?));
        let keys: Vec<Key> = keys.take(MOST).collect();
        if keys.is_empty() {
            return Err("it holds no key to verify RS or ES signatures with".to_owned());
        }
        Ok(Self(keys))
    }

    /// Ids are unique in a set, or it is the first that counts.
    pub fn find(&self, id: &str) -> Option<&Key> {
        self.0.iter().find(|key| key.id == id)
    }
}

impl Key {
    fn read(jwk: Jwk) -> Option<Self> {
        use Algorithm::{ES256, ES384, RS256, RS384, RS512};
        if jwk.used_for.is_some_and(|used_for| used_for != "sig") || jwk.kid.len() > LONGEST_ID {
            return None;
        }
        let bytes = |text: Option<String>| URL_SAFE_NO_PAD.decode(text?.trim_end_matches('=')).ok();
        let (verifies, key): (&'static [Algorithm], _) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => {
                let (n, e) = (bytes(jwk.n)?, bytes(jwk.e)?);
                if !MODULUS.contains(&n.len()) || e.len() > 8 {
                    return None;
                }
                (&[RS256, RS384, RS512], DecodingKey::from_rsa_raw_components(&n, &e))
            }
            ("EC", Some("P-256")) => (&[ES256], point(bytes(jwk.x)?, bytes(jwk.y)?, 32)?),
            ("EC", Some("P-384")) => (&[ES384], point(bytes(jwk.x)?, bytes(jwk.y)?, 48)?),
            _ => return None,
        };
        // A key that names its algorithm is for that one alone (RFC 7517 §4.4).
        let verifies = match jwk.alg {
            None => verifies,
            Some(alg) => {
                let at = verifies.iter().position(|a| format!("{a:?}") == alg)?;
                &verifies[at..=at]
            }
        };
        Some(Self { id: jwk.kid, verifies, key })
    }
}

/// Uncompressed (SEC 1 §2.3.3), as jsonwebtoken wants it.
fn point(x: Vec<u8>, y: Vec<u8>, size: usize) -> Option<DecodingKey> {
    let fits = x.len() == size && y.len() == size;
    fits.then(|| DecodingKey::from_ec_der(&[&[4], x.as_slice(), y.as_slice()].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(keys: Value) -> Result<KeySet, String> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    #[test]
    fn a_keys_kind_says_what_it_verifies() {
        let n = URL_SAFE_NO_PAD.encode([0xc5; 256]);
        let (p256, p384) = (URL_SAFE_NO_PAD.encode([7; 32]), URL_SAFE_NO_PAD.encode([7; 48]));
        let set = parse(json!([
            {"kty": "oct", "kid": "mac", "alg": "HS256", "k": "AAAA"},
            {"kty": "RSA", "kid": "rsa", "n": n, "e": "AQAB", "use": "sig"},
            {"kty": "RSA", "kid": "one", "n": n, "e": "AQAB", "alg": "RS256"},
            {"kty": "RSA", "kid": "pss", "n": n, "e": "AQAB", "alg": "PS256"},
            {"kty": "RSA", "kid": "enc", "n": n, "e": "AQAB", "use": "enc"},
            {"kty": "RSA", "kid": "short", "n": URL_SAFE_NO_PAD.encode([0xc5; 128]), "e": "AQAB"},
            {"kty": "RSA", "n": n, "e": "AQAB"},
            {"kty": "RSA", "kid": "rsa", "n": n, "e": "AQAB", "alg": "RS512"},
            {"kty": "EC", "crv": "P-256", "kid": "p256", "x": p256, "y": p256},
            {"kty": "EC", "crv": "P-384", "kid": "p384", "x": p384, "y": p384},
            {"kty": "EC", "crv": "P-256", "kid": "odd", "x": p384, "y": p256},
            {"kty": "EC", "crv": "secp256k1", "kid": "k1", "x": p256, "y": p256},
            {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": p256},
            "nonsense",
        ]))
        .unwrap();
        let verifies = |id: &str| set.find(id).map(|key| format!("{:?}", key.verifies));
        assert_eq!(verifies("rsa").as_deref(), Some("[RS256, RS384, RS512]"));
        assert_eq!(verifies("one").as_deref(), Some("[RS256]"));
        assert_eq!(verifies("p256").as_deref(), Some("[ES256]"));
        assert_eq!(verifies("p384").as_deref(), Some("[ES384]"));
        for passed_over in ["mac", "pss", "enc", "short", "", "odd", "k1", "ed"] {
            assert_eq!(verifies(passed_over), None, "{passed_over}");
        }
    }

    #[test]
    fn a_set_without_a_usable_key_is_none() {
        for nonsense in ["", "[]", "{}", r#"{"keys": 1}"#, r#"{"keys": []}"#, r#"{"keys": [{"kty": "RSA"}]}"#]
        {
            assert!(KeySet::parse(nonsense.as_bytes()).is_err(), "{nonsense}");
        }
        let many: Vec<_> = (0..100)
            .map(|i| json!({"kty": "RSA", "kid": format!("{i}"), "n": URL_SAFE_NO_PAD.encode([0xc5; 256]), "e": "AQAB"}))
            .collect();
        let set = parse(many.into()).unwrap();
        assert!(set.find("31").is_some() && set.find("32").is_none(), "a set has a bound");
    }
}
