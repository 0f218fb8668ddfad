//! Time-based codes (RFC 6238): SHA-1, six digits, 30 seconds, a step of drift either way. What the authenticator apps
//! speak; HMAC-SHA-1 is not touched by what is broken about SHA-1.

use domain::Time;
use totp_rs::{Builder, Secret, Totp};

/// Bytes of a seed: as RFC 4226 §4 recommends.
pub const SEED: usize = 20;

/// The time step whose code this is, of the last, the present and the next; which was used, the ledger knows.
pub fn step(seed: &[u8], code: &[u8], now: Time) -> Option<u64> {
    let code = std::str::from_utf8(code).ok()?;
    app(seed)?.check(code, u64::try_from(now.seconds()).ok()?)
}

/// What an app makes of the seed. `None` if it is none of ours.
pub fn app(seed: &[u8]) -> Option<Totp> {
    let seed = <[u8; SEED]>::try_from(seed).ok()?;
    Builder::new().with_secret(Secret::new_stack(seed)).build().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: &[u8] = b"12345678901234567890";
    const STEP: i64 = 30;

    /// RFC 6238, appendix B: the last six of its eight digits.
    #[test]
    fn codes_are_those_of_the_rfc() {
        for (seconds, code) in [
            (59, b"287082"),
            (1_111_111_109, b"081804"),
            (1_111_111_111, b"050471"),
            (1_234_567_890, b"005924"),
            (2_000_000_000, b"279037"),
            (20_000_000_000, b"353130"),
        ] {
            let now = Time::from_seconds(seconds);
            assert_eq!(step(SEED, code, now), Some(u64::try_from(seconds / STEP).unwrap()));
        }
    }

    #[test]
    fn a_code_is_good_for_one_step_either_way() {
        let code = app(SEED).unwrap().generate(1000 * 30).to_string();
        let steps = |step: i64| super::step(SEED, code.as_bytes(), Time::from_seconds(step * STEP + 7));
        assert_eq!([998, 999, 1000, 1001, 1002].map(steps), [None, Some(1000), Some(1000), Some(1000), None]);
        for bad in [&b""[..], b"12345", b"1234567", b"abcdef", b"+12345", b"12345\xff"] {
            assert_eq!(super::step(SEED, bad, Time::from_seconds(30_000)), None);
        }
        assert_eq!(super::step(&SEED[1..], code.as_bytes(), Time::from_seconds(30_000)), None);
    }
}
