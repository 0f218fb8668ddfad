//! Time-based codes (RFC 6238, over RFC 4226): SHA-1, six digits, 30 seconds, a step of drift either way. What the
//! authenticator apps speak; HMAC-SHA-1 is not touched by what is broken about SHA-1.

use domain::Time;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use subtle::ConstantTimeEq as _;

/// Bytes of a seed: as RFC 4226 §4 recommends.
pub const SEED: usize = 20;

/// Seconds.
const STEP: i64 = 30;

/// The time step whose code this is, of the last, the present and the next. All are looked at, whichever fits.
pub fn step(seed: &[u8], code: &[u8], now: Time) -> Option<u64> {
    let present = u64::try_from(now.seconds().div_euclid(STEP)).ok()?;
    let mut found = None;
    for step in present.saturating_sub(1)..=present.saturating_add(1) {
        if bool::from(at(seed, step)?.ct_eq(code)) {
            found = Some(step);
        }
    }
    found
}

/// RFC 4226 §5.3. `None` never: HMAC takes keys of any length.
pub fn at(seed: &[u8], step: u64) -> Option<[u8; 6]> {
    let mut mac = Hmac::<Sha1>::new_from_slice(seed).ok()?;
    mac.update(&step.to_be_bytes());
    let hash: [u8; 20] = mac.finalize().into_bytes().into();
    let offset = usize::from(hash[19] & 0x0f);
    let [a, b, c, d] = *hash.get(offset..)?.first_chunk()?;
    let mut number = u32::from_be_bytes([a & 0x7f, b, c, d]);
    let mut digits = [0; 6];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).ok()?;
        number /= 10;
    }
    Some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: &[u8] = b"12345678901234567890";

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
        let code = at(SEED, 1000).unwrap();
        let steps = |step: i64| super::step(SEED, &code, Time::from_seconds(step * STEP + 7));
        assert_eq!([998, 999, 1000, 1001, 1002].map(steps), [None, Some(1000), Some(1000), Some(1000), None]);
        for bad in [&b""[..], b"12345", b"1234567", b"abcdef"] {
            assert_eq!(super::step(SEED, bad, Time::from_seconds(30_000)), None);
        }
    }
}
