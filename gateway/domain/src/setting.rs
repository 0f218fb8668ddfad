//! The settings of the whole installation that its operators change while it runs: what there is, and what each takes.

use crate::{Error, Kind, Result};

/// One of them. What is not set is at its default.
#[derive(Debug)]
pub struct Setting {
    pub key: &'static str,
    pub takes: Takes,
    pub default: &'static str,
    /// For operators: what it does.
    pub what: &'static str,
}

/// What a setting's value may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Takes {
    /// `true` or `false`.
    Switch,
    /// A whole number.
    Number { least: u64, most: u64, said: &'static str },
}

pub static EMAIL_VERIFICATION: Setting = Setting {
    key: "auth.email_verification",
    takes: Takes::Switch,
    default: "false",
    what: "Whether whoever signs up gets an account only once they have shown that the address is theirs.",
};
pub static OPEN_SIGNUP: Setting = Setting {
    key: "auth.open_signup",
    takes: Takes::Switch,
    default: "true",
    what: "Whether anybody who reaches this gateway may sign up and found an organisation.",
};
pub static AUTO_BUMP_AFTER: Setting = Setting {
    key: "intents_api.auto_bump_after_seconds",
    takes: Takes::Number { least: 0, most: 86_400, said: "0 to 86400" },
    default: "0",
    what: "How long a transaction of an agent with tx_auto_bump waits until its fees are raised, in seconds; 0: never.",
};
pub static CONFIRMATIONS: Setting = Setting {
    key: "intents_api.confirmations",
    takes: Takes::Number { least: 1, most: 1_000, said: "1 to 1000" },
    default: "12",
    what: "How many blocks deep a transaction is followed; taken back by its chain before that, it is sent again.",
};
pub static REQUIRE_SIMULATION: Setting = Setting {
    key: "intents_api.require_simulation",
    takes: Takes::Switch,
    default: "false",
    what: "Whether every transaction is simulated before it is signed, and refused (422) if it would revert, as \
           simulate_first asks for one.",
};

/// All of them, by key.
pub static ALL: [&Setting; 5] =
    [&EMAIL_VERIFICATION, &OPEN_SIGNUP, &AUTO_BUMP_AFTER, &CONFIRMATIONS, &REQUIRE_SIMULATION];

impl Setting {
    /// # Errors
    /// `Missing`, naming those that there are.
    pub fn named(key: &str) -> Result<&'static Self> {
        ALL.into_iter().find(|setting| setting.key == key).ok_or_else(|| {
            let known = ALL.map(|setting| setting.key).join(", ");
            Error::new(Kind::Missing, format!("No such setting. There are: {known}."))
        })
    }

    /// # Errors
    /// `Invalid`, naming `value`.
    pub fn check(&self, value: &str) -> Result<()> {
        let fits = match self.takes {
            Takes::Switch => switch(value).is_some(),
            Takes::Number { least, most, .. } => whole(value).is_some_and(|n| (least..=most).contains(&n)),
        };
        if fits { Ok(()) } else { Err(Error::invalid("value", format!("must be {}", self.takes.as_str()))) }
    }

    /// Whether it is on, with this value stored.
    ///
    /// # Errors
    /// `Internal` if it is no switch, or holds what nobody may set: neither answer would be safe.
    pub fn is_on(&self, stored: Option<&str>) -> Result<bool> {
        let value = switch(stored.unwrap_or(self.default));
        value.ok_or_else(|| Error::internal(format!("the setting {} is neither true nor false", self.key)))
    }
}

impl Setting {
    /// The number that it holds, with this value stored.
    ///
    /// # Errors
    /// `Internal` if it takes no number, or holds what nobody may set.
    pub fn number(&self, stored: Option<&str>) -> Result<u64> {
        let value = stored.unwrap_or(self.default);
        let damaged = || Error::internal(format!("the setting {} holds no number that it takes", self.key));
        self.check(value).map_err(|_| damaged())?;
        whole(value).ok_or_else(damaged)
    }
}

impl Takes {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Number { said, .. } => said,
            Self::Switch => "true or false",
        }
    }
}

/// Digits alone, none to spare: one way to write each.
fn whole(text: &str) -> Option<u64> {
    text.parse().ok().filter(|n: &u64| n.to_string() == text)
}

fn switch(text: &str) -> Option<bool> {
    match text {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_fit_and_keys_are_in_order() {
        for setting in ALL {
            setting.check(setting.default).unwrap();
        }
        assert!(ALL.is_sorted_by_key(|setting| setting.key));
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        let error = Setting::named("operators.org").unwrap_err();
        assert_eq!(error.kind(), Kind::Missing);
        assert!(ALL.iter().all(|setting| error.detail().contains(setting.key)), "{error}");
        for bad in ["", "yes", "True", "1", " true"] {
            assert_eq!(REQUIRE_SIMULATION.check(bad).unwrap_err().kind(), Kind::Invalid, "{bad:?}");
        }
    }

    #[test]
    fn a_damaged_value_is_neither_on_nor_off() {
        assert!(!REQUIRE_SIMULATION.is_on(None).unwrap() && OPEN_SIGNUP.is_on(None).unwrap());
        assert!(REQUIRE_SIMULATION.is_on(Some("true")).unwrap());
        assert!(REQUIRE_SIMULATION.is_on(Some("on")).is_err());
    }

    #[test]
    fn numbers_are_within_their_bounds() {
        for bad in ["", "0", "1001", "-1", "+1", "01", "1.0", "true", " 1"] {
            assert_eq!(CONFIRMATIONS.check(bad).unwrap_err().kind(), Kind::Invalid, "{bad:?}");
            assert!(CONFIRMATIONS.number(Some(bad)).is_err(), "{bad:?}");
        }
        assert_eq!(
            (CONFIRMATIONS.number(None).unwrap(), CONFIRMATIONS.number(Some("1000")).unwrap()),
            (12, 1000)
        );
        assert!(AUTO_BUMP_AFTER.check("0").is_ok() && OPEN_SIGNUP.number(None).is_err());
    }

    #[test]
    fn every_setting_is_documented_for_operators() {
        let text = include_str!("../../docs/operating.md");
        for Setting { key, takes, default, what } in ALL {
            let row = format!("| `{key}` | {} | `{default}` | {what} |", takes.as_str());
            assert!(text.contains(&row), "operating.md lacks this row:\n{row}");
        }
    }
}
