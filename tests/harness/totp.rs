//! An authenticator app (RFC 6238), written by itself: it shares nothing with what it tests.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

/// Seconds of a code's life.
const STEP: u64 = 30;

/// With the seed that it was given.
pub struct Authenticator(Vec<u8>);

impl Authenticator {
    /// From the secret as people type it in.
    pub fn new(base32: &str) -> Self {
        let mut bits = String::new();
        for letter in base32.bytes() {
            let value = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|l| *l == letter).unwrap();
            bits.push_str(&format!("{value:05b}"));
        }
        Self(bits.as_bytes().chunks_exact(8).map(byte).collect())
    }

    /// The code of the present step, or of one before or after. Waits where the step is about to end, so that three
    /// codes asked for in a row belong together.
    pub async fn code(&self, steps: i64) -> String {
        let mut now = seconds();
        if STEP - now % STEP < 8 {
            tokio::time::sleep(Duration::from_secs(STEP - now % STEP)).await;
            now = seconds();
        }
        self.at((now / STEP).checked_add_signed(steps).unwrap())
    }

    fn at(&self, step: u64) -> String {
        let mut mac = Hmac::<Sha1>::new_from_slice(&self.0).unwrap();
        mac.update(&step.to_be_bytes());
        let hash = mac.finalize().into_bytes();
        let offset = usize::from(hash[19] & 15);
        let number = u32::from_be_bytes(hash[offset..offset + 4].try_into().unwrap()) & 0x7fff_ffff;
        format!("{:06}", number % 1_000_000)
    }
}

fn byte(bits: &[u8]) -> u8 {
    bits.iter().fold(0, |byte, bit| byte << 1 | (bit - b'0'))
}

#[expect(clippy::disallowed_methods, reason = "an app has a clock of its own")]
fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
