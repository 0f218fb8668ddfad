//! How much is enough: rates, windows, and the delay that grows with each wrong guess. Rules alone; who counts, and
//! where, is another's business.

use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use crate::{Error, Kind, Time};

/// Requests that flow at a rate, with some at once: `100/s`, `600/m`, `100/s:500`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// From one request to the next.
    pub every: Duration,
    /// At once, after a pause. By default what flows in a second, or in a minute.
    pub burst: NonZeroU32,
}

impl FromStr for Rate {
    type Err = Error;

    /// # Errors
    /// `Invalid` for no rate, and for more than a million in its second or minute.
    fn from_str(text: &str) -> Result<Self, Error> {
        read(text).ok_or_else(|| {
            Error::invalid(
                "rate",
                "must be NUMBER/s or NUMBER/m, and may be followed by :BURST, from 1 to 1000000",
            )
        })
    }
}

fn read(text: &str) -> Option<Rate> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<NonZeroU32>().ok().filter(|n| digits && n.get() <= 1_000_000)
    };
    let (rate, burst) = match text.split_once(':') {
        Some((rate, burst)) => (rate, Some(number(burst)?)),
        None => (text, None),
    };
    let (count, unit) = rate.split_once('/')?;
    let span = match unit {
        "s" => Duration::from_secs(1),
        "m" => Duration::from_secs(60),
        _ => return None,
    };
    let count = number(count)?;
    Some(Rate { every: span / count.get(), burst: burst.unwrap_or(count) })
}

/// So many within any span of this length, wherever it begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    pub most: usize,
    pub length: Duration,
}

impl Window {
    pub const fn new(most: usize, length: Duration) -> Self {
        Self { most, length }
    }

    /// One more, now: `taken` are the earlier ones, oldest first, of which those that are too old are dropped.
    ///
    /// # Errors
    /// `TooManyRequests` with the time until there is room again.
    pub fn take(self, taken: &mut Vec<Time>, now: Time) -> Result<(), Error> {
        taken.retain(|at| at.plus(self.length) > now);
        if taken.len() < self.most {
            taken.push(now);
            return Ok(());
        }
        // Of as many as are allowed, the first that ends makes room.
        let first = taken.len() - self.most;
        let room = taken.get(first).map_or(now.plus(self.length), |at| at.plus(self.length));
        Err(too_many("Too many of these requests.", until(now, room)))
    }
}

/// What becomes of wrong guesses: some are free, then each is followed by a delay, twice as long each time, and
/// from some number on by a lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Throttle {
    /// So many cost no wait but the last, which is followed by the first delay of one second.
    pub free: u32,
    /// From this one on, each is followed by the lock.
    pub lock_after: u32,
    pub lock: Duration,
    /// Guesses are forgotten this long after the last one.
    pub forget: Duration,
}

impl Throttle {
    /// How long nobody may guess after so many wrong guesses.
    pub fn pause(&self, guesses: u32) -> Duration {
        if guesses < self.free {
            Duration::ZERO
        } else if guesses < self.lock_after {
            Duration::from_secs(1 << (guesses - self.free).min(16)).min(self.lock)
        } else {
            self.lock
        }
    }
}

/// Whole seconds to wait, rounded up; at least one.
pub fn until(now: Time, then: Time) -> u64 {
    let millis = u64::try_from(then.millis().saturating_sub(now.millis())).unwrap_or_default();
    millis.div_ceil(1000).max(1)
}

/// The refusal that every limit answers with.
pub fn too_many(what: &str, retry_after: u64) -> Error {
    Error::new(Kind::TooManyRequests { retry_after }, come_again(what, retry_after))
}

/// What it was too much of, and when to come again; in seconds.
pub fn come_again(what: &str, retry_after: u64) -> String {
    let wait = match retry_after {
        0 | 1 => "a second".to_owned(),
        seconds @ 2..=120 => format!("{seconds} seconds"),
        seconds => format!("{} minutes", seconds.div_ceil(60)),
    };
    format!("{what} Try again in {wait}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read() {
        let rate = |text: &str| text.parse::<Rate>().ok().map(|r| (r.every.as_millis(), r.burst.get()));
        assert_eq!(rate("100/s"), Some((10, 100)));
        assert_eq!(rate("600/m"), Some((100, 600)));
        assert_eq!(rate("10/s:500"), Some((100, 500)));
        for bad in
            ["", "100", "0/s", "1/h", "1/s:0", "1/s:", "/s", "+1/s", "1/s:1:1", "1000001/s", "-1/s", "1.5/s"]
        {
            assert_eq!(rate(bad), None, "{bad}");
        }
    }

    #[test]
    fn no_span_of_a_windows_length_has_more_than_the_window_allows() {
        let window = Window::new(3, Duration::from_secs(10));
        let (mut taken, mut granted) = (Vec::new(), Vec::new());
        for millis in (0..60_000).step_by(700) {
            let now = Time::from_millis(millis);
            match window.take(&mut taken, now) {
                Ok(()) => granted.push(millis),
                Err(error) => {
                    let Kind::TooManyRequests { retry_after } = error.kind() else { panic!("{error}") };
                    let mut later = taken.clone();
                    let then = now.plus(Duration::from_secs(retry_after));
                    assert!(window.take(&mut later, then).is_ok(), "what it says is true");
                }
            }
            assert!(taken.len() <= 3, "what is kept is bounded");
        }
        for from in &granted {
            let within = granted.iter().filter(|at| (*from..from + 10_000).contains(*at)).count();
            assert!(within <= 3, "{within} from {from} on");
        }
        assert!(granted.len() >= 15, "{}", granted.len());
        assert!(
            window.take(&mut vec![Time::from_millis(5); 9], Time::from_millis(6)).is_err(),
            "a limit that was lowered"
        );
    }

    #[test]
    fn the_delay_doubles_and_ends_in_a_lock() {
        let throttle = Throttle {
            free: 5,
            lock_after: 10,
            lock: Duration::from_secs(900),
            forget: Duration::from_secs(86_400),
        };
        let pauses: Vec<u64> = (0..12).map(|n| throttle.pause(n).as_secs()).collect();
        assert_eq!(pauses, [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 900, 900]);
        let long = Throttle { free: 1, lock_after: 1000, ..throttle };
        assert_eq!(long.pause(900).as_secs(), 900, "no delay is longer than the lock");
    }

    #[test]
    fn a_refusal_says_when_to_come_again() {
        for (seconds, told) in [(1, "in a second."), (90, "in 90 seconds."), (900, "in 15 minutes.")] {
            let error = too_many("Too many.", seconds);
            assert!(error.detail().ends_with(told), "{error}");
            assert_eq!(error.kind(), Kind::TooManyRequests { retry_after: seconds });
        }
        assert_eq!(until(Time::from_millis(1), Time::from_millis(1002)), 2);
        assert_eq!(until(Time::from_millis(9), Time::from_millis(1)), 1);
    }
}
