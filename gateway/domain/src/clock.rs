//! Time as a value: UTC milliseconds, and the clock that gives them.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment in UTC, in milliseconds since 1970. RFC 3339 on the wire, a BIGINT in the database.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Time(i64);

impl Time {
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970, rounded down: what a JWT's `iat` and `exp` hold.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The moment as jiff's timestamp, for time zones and formatting. Out of range: clamped.
    pub fn timestamp(self) -> jiff::Timestamp {
        let told = self.clamp(Self::first(), Self::last());
        jiff::Timestamp::from_millisecond(told.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }

    /// The first moment that can be told.
    fn first() -> Self {
        Self::from_seconds(jiff::Timestamp::MIN.as_second())
    }

    /// The last moment that can be told: a whole second, since jiff takes no milliseconds within its last one.
    fn last() -> Self {
        Self::from_seconds(jiff::Timestamp::MAX.as_second())
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if *self >= Self::last() {
            return f.write_str(NEVER);
        }
        write!(f, "{:.3}", self.timestamp())
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        read(&text)
            .ok_or_else(|| serde::de::Error::custom("must be an RFC 3339 time such as 2030-01-31T12:00:00Z"))
    }
}

/// What many send for "never", and read back.
const NEVER: &str = "9999-12-31T23:59:59.000Z";

/// RFC 3339 goes on for a day after the last moment that can be told, and [`NEVER`] is on that day: such a time is taken as
/// that last moment, and told as [`NEVER`].
fn read(text: &str) -> Option<Time> {
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Some(Time(at.as_millisecond()).min(Time::last()));
    }
    let pieces = jiff::fmt::temporal::Pieces::parse(text).ok()?;
    let whole = pieces.time().is_some() && pieces.offset().is_some();
    (whole && pieces.date().year() == 9999).then_some(Time::last())
}

impl schemars::JsonSchema for Time {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// Where the time comes from. Tests move it forward; nothing else can.
#[derive(Clone, Default)]
pub struct Clock {
    ahead: Arc<AtomicI64>,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the system for the time")]
    pub fn now(&self) -> Time {
        Time(jiff::Timestamp::now().as_millisecond().saturating_add(self.ahead.load(Ordering::Relaxed)))
    }

    /// Moves this clock, and every clone of it, forward.
    pub fn advance(&self, by: Duration) {
        self.ahead.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_on_the_wire() {
        let at: Time = serde_json::from_str("\"2030-01-31T12:00:00.250+02:00\"").unwrap();
        assert_eq!(serde_json::to_string(&at).unwrap(), "\"2030-01-31T10:00:00.250Z\"");
        assert!(serde_json::from_str::<Time>("\"tomorrow\"").is_err());
    }

    #[test]
    fn what_is_sent_for_never_is_the_last_moment_of_all() {
        let read = |text: &str| serde_json::from_value::<Time>(text.into());
        let last = Time::last();
        assert_eq!(last.to_string(), "9999-12-31T23:59:59.000Z");
        assert_eq!(Time(i64::MAX).to_string(), last.to_string());
        assert!(Time(i64::MIN).to_string().starts_with("-009999-01-02"));
        for never in ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999999999-12:00", "9999-12-30T22:00:00.9Z"]
        {
            assert_eq!(read(never).unwrap(), last, "{never}");
        }
        assert_eq!(read(&last.to_string()).unwrap(), last);
        let before = read("9999-12-30T20:00:00Z").unwrap();
        assert!(before < last && before.to_string().starts_with("9999-12-30T20"));
        for bad in ["9999-12-31", "9999-12-31T23:59:59", "9999-12-32T00:00:00Z", "10000-01-01T00:00:00Z"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
