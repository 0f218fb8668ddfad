//! The signer's public key, in the spellings that people have it in.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// 32 bytes, base64url or hex.
pub fn plain(text: &str) -> Result<Vec<u8>, String> {
    let text = text.trim();
    let hex = (text.len() == 64).then(|| hex(text)).flatten();
    hex.or_else(|| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok())
        .filter(|key| key.len() == 32)
        .ok_or_else(|| "the key must be 32 bytes, in base64url or hex".into())
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits = |at: usize| text.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
    (0..text.len()).step_by(2).map(digits).collect()
}

/// The one Ed25519 key of a JWKS.
pub fn of_jwks(text: &str) -> Result<Vec<u8>, String> {
    let jwks: Value = serde_json::from_str(text).map_err(|_| "the JWKS is no JSON".to_owned())?;
    let keys = jwks["keys"].as_array().into_iter().flatten();
    let mut ed25519 = keys.filter(|key| key["crv"] == "Ed25519").filter_map(|key| key["x"].as_str());
    match (ed25519.next(), ed25519.next()) {
        (Some(x), None) => plain(x),
        (Some(_), Some(_)) => Err("the JWKS has several Ed25519 keys: give the signer's with --key".into()),
        (None, _) => Err("the JWKS has no Ed25519 key".into()),
    }
}
