//! Webhooks: which events one is told of, and how long it is tried.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Error, Result, Time};

/// Webhooks of one organisation, at most.
pub const MOST: usize = 10;
/// Patterns of one webhook, at most.
pub const MOST_PATTERNS: usize = 50;
/// An event that could not be delivered for so long is given up, and the next one is tried.
pub const GIVES_UP_AFTER: Duration = Duration::from_secs(3 * 24 * 3600);
/// A webhook that has taken nothing for so long is switched off.
pub const DISABLED_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);

const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// Until the next attempt, after so many failed ones: 5 s, doubled each time, up to an hour.
pub fn pause(attempts: u64) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST_PAUSE)
}

/// Whether something that has failed since then is not tried any longer.
pub fn is_over(since: Time, now: Time, patience: Duration) -> bool {
    since.plus(patience) <= now
}

/// Which actions: `*`, `secret.*`, or one of them such as `secret.read`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventPattern(String);

impl EventPattern {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn matches(&self, action: &str) -> bool {
        match self.0.strip_suffix('*') {
            // With its dot: `secret.*` is not `secrets.read`.
            Some(start) => action.starts_with(start),
            None => action == self.0,
        }
    }
}

impl FromStr for EventPattern {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let name = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let stem = text.strip_suffix(".*").unwrap_or(text);
        if text.len() <= 64 && (text == "*" || stem.split('.').all(name)) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::invalid("events", "must be *, or actions such as secret.read or secret.*"))
        }
    }
}

impl Serialize for EventPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for EventPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse()
            .map_err(|_| serde::de::Error::custom("must be *, or actions such as secret.read or secret.*"))
    }
}

impl schemars::JsonSchema for EventPattern {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EventPattern".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_all_a_family_or_one() {
        let matches = |pattern: &str, action: &str| pattern.parse::<EventPattern>().unwrap().matches(action);
        assert!(matches("*", "secret.read") && matches("secret.*", "secret.read"));
        assert!(matches("secret.read", "secret.read") && !matches("secret.read", "secret.read_all"));
        assert!(!matches("secret.*", "secrets.read") && !matches("secret.*", "secret"));
        for bad in
            ["", ".", ".*", "secret.", "secret*", "*.read", "a.*.b", "**", "Secret.read", "secret.read "]
        {
            assert!(bad.parse::<EventPattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn pauses_double_up_to_an_hour() {
        let seconds: Vec<u64> = (1..=12).map(|n| pause(n).as_secs()).collect();
        assert_eq!(seconds, [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]);
        assert_eq!(pause(u64::MAX), LONGEST_PAUSE);
    }
}
