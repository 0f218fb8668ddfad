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
pub static REQUIRE_SIMULATION: Setting = Setting {
    key: "intents_api.require_simulation",
    takes: Takes::Switch,
    default: "false",
    what: "Whether every transaction is simulated before it is signed, and refused (422) if it would revert, as \
           simulate_first asks for one.",
};

/// All of them, by key.
pub static ALL: [&Setting; 3] = [&EMAIL_VERIFICATION, &OPEN_SIGNUP, &REQUIRE_SIMULATION];

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

impl Takes {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Switch => "true or false",
        }
    }
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
    fn every_setting_is_documented_for_operators() {
        let text = include_str!("../../docs/operating.md");
        for Setting { key, takes, default, what } in ALL {
            let row = format!("| `{key}` | {} | `{default}` | {what} |", takes.as_str());
            assert!(text.contains(&row), "operating.md lacks this row:\n{row}");
        }
    }
}
