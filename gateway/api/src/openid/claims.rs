//! A token of somebody else's (RFC 7519), opened and held against what it must say.

use std::time::Duration;

use domain::Time;
use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;

use super::keys::Key;

/// Of a token, in bytes.
const LONGEST: usize = 16 * 1024;
/// That clocks may differ, in seconds.
const LEEWAY: i64 = 60;
/// Of a subject, in bytes (OpenID Connect Core §2).
const LONGEST_SUBJECT: usize = 255;

/// What is read of a token. A claim that is there twice makes it none.
#[derive(Debug, Deserialize)]
pub struct Claims {
    pub iss: String,
    #[serde(default)]
    pub sub: Option<String>,
    aud: Audience,
    #[serde(default)]
    pub azp: Option<String>,
    #[serde(default)]
    pub client_id: Option<String>,
    /// Seconds since 1970, by RFC 7519 perhaps with a fraction, as the next two.
    exp: f64,
    #[serde(default)]
    iat: Option<f64>,
    #[serde(default)]
    nbf: Option<f64>,
    #[serde(default)]
    pub email: Option<String>,
    #[serde(default)]
    pub email_verified: Option<bool>,
    #[serde(default)]
    pub name: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    /// A token for several is one that another of them can present here.
    fn is_just(&self, expected: &str) -> bool {
        match self {
            Self::One(one) => one == expected,
            Self::Many(many) => many.len() == 1 && many.iter().all(|one| one == expected),
        }
    }
}

/// What a token must say.
pub struct Expected<'a> {
    pub issuers: &'a [&'a str],
    pub audience: &'a str,
    /// Beside what the key's kind allows.
    pub algorithms: &'a [Algorithm],
    /// For how long, from now, it may be good at most: until then it may be shown again. `None`: as long as it says.
    pub longest: Option<Duration>,
}

/// What the token says its key is: to find the key by, and for nothing else.
///
/// # Errors
/// Why it is no token that could be verified here.
pub fn key_id(token: &str) -> Result<String, String> {
    if token.len() > LONGEST {
        return Err("it is too long".to_owned());
    }
    // An algorithm that is not known, `none` above all, is an error already.
    let header = jsonwebtoken::decode_header(token).map_err(|error| format!("its header: {error}"))?;
    if header.crit.is_some() {
        return Err("it demands an extension (crit)".to_owned());
    }
    header.kid.ok_or_else(|| "it names no key (kid)".to_owned())
}

/// # Errors
/// What of it is wrong: for the log.
pub fn open(token: &str, key: &Key, expected: &Expected<'_>, now: Time) -> Result<Claims, String> {
    let mut rules = Validation::new(Algorithm::RS256);
    rules.algorithms =
        key.verifies.iter().copied().filter(|algorithm| expected.algorithms.contains(algorithm)).collect();
    // All claims are looked at below, by this gateway's clock.
    rules.required_spec_claims.clear();
    (rules.validate_exp, rules.validate_aud) = (false, false);
    let claims = jsonwebtoken::decode::<Claims>(token, &key.key, &rules).map_err(|e| e.to_string())?.claims;
    check(&claims, expected, now)?;
    Ok(claims)
}

fn check(claims: &Claims, expected: &Expected<'_>, now: Time) -> Result<(), String> {
    // Exact: a double holds every second of the next hundred million years.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let (earliest, latest) = ((now.seconds() - LEEWAY) as f64, (now.seconds() + LEEWAY) as f64);
    if !expected.issuers.contains(&claims.iss.as_str()) {
        return Err("it is from another issuer (iss)".to_owned());
    }
    if !claims.aud.is_just(expected.audience) {
        return Err(format!("it is not for {} alone (aud)", expected.audience));
    }
    if claims.exp <= earliest {
        return Err("it has expired (exp)".to_owned());
    }
    if expected.longest.is_some_and(|longest| claims.exp > latest + longest.as_secs_f64()) {
        return Err("it is good for too long (exp)".to_owned());
    }
    if [claims.iat, claims.nbf].into_iter().flatten().any(|from| from > latest) {
        return Err("it is from the future (iat, nbf)".to_owned());
    }
    if claims.sub.as_ref().is_some_and(|sub| sub.is_empty() || sub.len() > LONGEST_SUBJECT) {
        return Err("it has a subject that is none (sub)".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const NOW: i64 = 1_800_000_000;
    const DAY: i64 = 24 * 60 * 60;

    fn checked(change: impl FnOnce(&mut Value)) -> Result<(), String> {
        checked_for(Some(Duration::from_secs(24 * 60 * 60)), change)
    }

    fn checked_for(longest: Option<Duration>, change: impl FnOnce(&mut Value)) -> Result<(), String> {
        let mut claims = json!({"iss": "https://i", "sub": "1", "aud": "us", "exp": NOW + 60, "iat": NOW});
        change(&mut claims);
        let claims = serde_json::from_value(claims).map_err(|error| error.to_string())?;
        let expected = Expected { issuers: &["https://i", "i"], audience: "us", algorithms: &[], longest };
        check(&claims, &expected, Time::from_seconds(NOW))
    }

    #[test]
    fn every_claim_counts() {
        checked(|_| {}).unwrap();
        for (claim, fine) in [
            ("iss", json!("i")),
            ("aud", json!(["us"])),
            ("exp", json!(NOW - 59)),
            ("exp", json!(1_800_000_000.5)),
            ("exp", json!(NOW + DAY + 60)),
            ("iat", json!(NOW + 60)),
            ("nbf", json!(NOW + 60)),
        ] {
            checked(|c| c[claim] = fine.clone()).unwrap_or_else(|error| panic!("{claim} {fine}: {error}"));
        }
        for (claim, wrong) in [
            ("iss", json!("https://i/")),
            ("iss", json!("https://evil")),
            ("iss", json!(["https://i"])),
            ("iss", Value::Null),
            ("aud", json!("them")),
            ("aud", json!([])),
            ("aud", json!(["us", "them"])),
            ("aud", json!(["them", "us"])),
            ("aud", json!("us ")),
            ("aud", Value::Null),
            ("exp", json!(NOW - 60)),
            ("exp", json!(NOW + DAY + 61)),
            ("exp", json!(-1)),
            ("exp", json!("1900000000")),
            ("exp", Value::Null),
            ("iat", json!(NOW + 61)),
            ("nbf", json!(NOW + 61)),
            ("sub", json!("")),
            ("sub", json!("x".repeat(256))),
        ] {
            assert!(checked(|c| c[claim] = wrong.clone()).is_err(), "{claim} {wrong}");
        }
        // Where nothing bounds it, it is good for as long as it says.
        checked_for(None, |c| c["exp"] = json!(NOW + 365 * DAY)).unwrap();
    }

    #[test]
    fn a_token_that_could_not_be_verified_is_refused_before_a_key_is_sought() {
        use base64::Engine as _;
        let token = |header: Value| {
            let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(header.to_string());
            format!("{header}.e30.AAAA")
        };
        assert_eq!(key_id(&token(json!({"alg": "RS256", "kid": "k"}))).as_deref(), Ok("k"));
        for header in [
            json!({"alg": "none", "kid": "k"}),
            json!({"alg": "None", "kid": "k"}),
            json!({"kid": "k"}),
            json!({"alg": "RS256"}),
            json!({"alg": "RS256", "kid": "k", "crit": ["b64"], "b64": false}),
            json!({"alg": "RS256", "kid": 1}),
        ] {
            assert!(key_id(&token(header.clone())).is_err(), "{header}");
        }
        for nonsense in ["", ".", "..", "a.b.c", &"a".repeat(LONGEST + 1)] {
            assert!(key_id(nonsense).is_err());
        }
    }
}
