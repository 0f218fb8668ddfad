//! Policies: which principal may do what with which paths of a vault, and when.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::civil;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::approval::Terms;
use crate::{Error, PathGlob, PolicyId, PrincipalId, Result, SecretPath, Time, VaultId};

/// What a policy allows. `write` includes `delete`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Permission {
    Read,
    Write,
    Delete,
}

impl Permission {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
        }
    }

    fn includes(self, wanted: Self) -> bool {
        self == wanted || (self == Self::Write && wanted == Self::Delete)
    }
}

impl std::str::FromStr for Permission {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        [Self::Read, Self::Write, Self::Delete]
            .into_iter()
            .find(|p| p.as_str() == text)
            .ok_or_else(|| Error::invalid("permissions", "must be read, write or delete"))
    }
}

#[derive(Clone, Debug)]
pub struct Policy {
    pub id: PolicyId,
    pub vault: VaultId,
    pub pattern: PathGlob,
    pub principal: PrincipalId,
    pub permissions: Vec<Permission>,
    pub conditions: Conditions,
    pub expires_at: Option<Time>,
    pub created_by: PrincipalId,
    pub created_at: Time,
}

impl Policy {
    /// Whether the policy's own terms hold now: not expired, every condition met.
    pub fn holds(&self, at: Time, address: Option<IpAddr>) -> bool {
        !self.has_expired(at) && self.conditions.unmet(at, address).is_none()
    }

    pub fn has_expired(&self, at: Time) -> bool {
        self.expires_at.is_some_and(|end| at >= end)
    }

    /// What must be approved before it allows a read now. `None`: it asks for no approval, or does not hold whatever is approved.
    pub fn awaits(&self, at: Time, address: Option<IpAddr>) -> Option<Terms> {
        self.conditions.awaits(at, address).filter(|_| !self.has_expired(at))
    }

    /// The same wherever its principal is: of somebody who is not there, the address can't be asked.
    #[must_use]
    pub fn wherever(&self) -> Self {
        let mut policy = self.clone();
        policy.conditions.terms.retain(|term| !matches!(term, Condition::IpAllowlist(_)));
        policy
    }

    pub fn allows(&self, wanted: Permission) -> bool {
        self.permissions.iter().any(|p| p.includes(wanted))
    }

    pub fn covers(&self, path: &SecretPath) -> bool {
        self.pattern.matches(path)
    }
}

/// A policy's conditions, as they were given and as they are understood. All must hold.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    given: Map<String, Value>,
    terms: Vec<Condition>,
}

#[derive(Clone, Debug)]
enum Condition {
    IpAllowlist(Vec<IpNet>),
    TimeWindow(Box<TimeWindow>),
    /// People must approve a read. Whatever knows nothing of approvals is denied.
    RequireApproval(Terms),
    /// Written by a newer gateway, or broken: denies.
    NotUnderstood,
}

#[derive(Clone, Debug)]
struct TimeWindow {
    start: civil::Time,
    end: civil::Time,
    /// Empty: every day. A window over midnight belongs to the day on which it starts.
    days: Vec<civil::Weekday>,
    zone: jiff::tz::TimeZone,
}

/// Of conditions, as JSON, in bytes: they are stored, kept in memory, and told with each change of the policy.
const MAX_BYTES: usize = 4 * 1024;
/// Of an ip_allowlist.
const MAX_NETWORKS: usize = 100;

impl Conditions {
    /// Conditions as a caller gives them. A condition that is null, or an approval that is not required, says nothing.
    ///
    /// # Errors
    /// `Invalid`, naming the condition that is unknown or malformed, or the limit that all of them exceed.
    pub fn parse(given: Map<String, Value>) -> Result<Self> {
        if serde_json::to_vec(&given).map_err(Error::internal)?.len() > MAX_BYTES {
            return Err(Error::invalid("conditions", "must have at most 4 KiB as JSON"));
        }
        let terms =
            given.iter().filter_map(|(key, value)| term(key, value).transpose()).collect::<Result<_>>()?;
        Ok(Self { given, terms })
    }

    /// Conditions from the database: what is not understood denies.
    pub fn stored(given: Map<String, Value>) -> Self {
        let terms = given
            .iter()
            .filter_map(|(key, value)| term(key, value).unwrap_or(Some(Condition::NotUnderstood)))
            .collect();
        Self { given, terms }
    }

    pub fn as_given(&self) -> &Map<String, Value> {
        &self.given
    }

    /// The first condition that does not hold, by name. `None`: they all do.
    pub fn unmet(&self, at: Time, address: Option<IpAddr>) -> Option<&'static str> {
        self.terms.iter().find(|term| !term.holds(at, address)).map(Condition::name)
    }

    /// What people must approve; `None`: nothing.
    pub fn approval(&self) -> Option<Terms> {
        self.terms.iter().find_map(|term| match term {
            Condition::RequireApproval(terms) => Some(*terms),
            _ => None,
        })
    }

    fn awaits(&self, at: Time, address: Option<IpAddr>) -> Option<Terms> {
        let mut asked = None;
        for term in &self.terms {
            match term {
                Condition::RequireApproval(terms) => asked = Some(*terms),
                other if other.holds(at, address) => {}
                _ => return None,
            }
        }
        asked
    }
}

impl Condition {
    fn holds(&self, at: Time, address: Option<IpAddr>) -> bool {
        match self {
            Self::IpAllowlist(nets) => {
                address.is_some_and(|ip| nets.iter().any(|net| net.contains(&ip.to_canonical())))
            }
            Self::TimeWindow(window) => window.contains(at),
            Self::RequireApproval(_) | Self::NotUnderstood => false,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::IpAllowlist(_) => "ip_allowlist",
            Self::TimeWindow(_) => "time_window",
            Self::RequireApproval(_) => "require_approval",
            Self::NotUnderstood => "(one that this version does not understand)",
        }
    }
}

fn term(key: &str, value: &Value) -> Result<Option<Condition>> {
    match (key, value) {
        ("ip_allowlist" | "time_window", Value::Null) => Ok(None),
        ("ip_allowlist", value) => ip_allowlist(value).map(Condition::IpAllowlist).map(Some),
        ("time_window", value) => TimeWindow::parse(value).map(|w| Some(Condition::TimeWindow(Box::new(w)))),
        ("require_approval", value) => Ok(approval_terms(value)?.map(Condition::RequireApproval)),
        (key, _) => Err(Error::invalid(
            &format!("conditions.{}", key.chars().filter(|c| !c.is_control()).take(40).collect::<String>()),
            "is not a condition; there are ip_allowlist, time_window and require_approval",
        )),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenTerms {
    approvals: Option<u32>,
    valid_for_seconds: Option<u64>,
    once: Option<bool>,
}

/// `true`, or what differs from [`Terms::default`].
fn approval_terms(value: &Value) -> Result<Option<Terms>> {
    let bad = || {
        Error::invalid(
            "conditions.require_approval",
            "must be true or false, or {approvals: 1 to 10, valid_for_seconds: 60 to 2592000, once: true or false}",
        )
    };
    let given = match value {
        Value::Null | Value::Bool(false) => return Ok(None),
        Value::Bool(true) => return Ok(Some(Terms::default())),
        Value::Object(fields) if !fields.is_empty() => {
            serde_json::from_value::<GivenTerms>(value.clone()).map_err(|_| bad())?
        }
        _ => return Err(bad()),
    };
    let usual = Terms::default();
    let seconds = given.valid_for_seconds.unwrap_or(usual.valid_for.as_secs());
    let approvals = given.approvals.unwrap_or(usual.approvals);
    if !(1..=10).contains(&approvals) || !(60..=30 * 24 * 60 * 60).contains(&seconds) {
        return Err(bad());
    }
    let valid_for = std::time::Duration::from_secs(seconds);
    Ok(Some(Terms { approvals, valid_for, once: given.once.unwrap_or(usual.once) }))
}

fn ip_allowlist(value: &Value) -> Result<Vec<IpNet>> {
    let bad = || {
        Error::invalid(
            "conditions.ip_allowlist",
            format!("must be a list of 1 to {MAX_NETWORKS} addresses or CIDRs such as 10.0.0.0/8"),
        )
    };
    let items = value.as_array().filter(|items| (1..=MAX_NETWORKS).contains(&items.len())).ok_or_else(bad)?;
    items.iter().map(|item| item.as_str().and_then(cidr).ok_or_else(bad)).collect()
}

/// An address or a network, `10.1.2.3` or `10.0.0.0/8`. Addresses are compared in their canonical form, so an IPv4 network
/// in IPv6's notation (`::ffff:10.0.0.0/104`) is taken for what it is.
pub fn cidr(text: &str) -> Option<IpNet> {
    let net: IpNet = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))?;
    match (net.addr().to_canonical(), net.prefix_len().checked_sub(96)) {
        (v4 @ IpAddr::V4(_), Some(prefix)) if net.addr().is_ipv6() => IpNet::new(v4, prefix).ok(),
        _ => Some(net),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenWindow {
    start: String,
    end: String,
    #[serde(default)]
    days: Vec<String>,
    timezone: Option<String>,
}

impl TimeWindow {
    fn parse(value: &Value) -> Result<Self> {
        let field = "conditions.time_window";
        let given: GivenWindow = serde_json::from_value(value.clone())
            .map_err(|_| Error::invalid(field, "must be {start, end, days?, timezone?}"))?;
        let zone = given.timezone.as_deref().unwrap_or("UTC");
        let start = clock_time(&given.start);
        let start = start.ok_or_else(|| Error::invalid(field, "start must be \"HH:MM\""))?;
        let end = clock_time(&given.end);
        let end = end.ok_or_else(|| Error::invalid(field, "end must be \"HH:MM\""))?;
        if start == end {
            return Err(Error::invalid(
                field,
                "start and end must differ: a window from a time to itself is never open",
            ));
        }
        Ok(Self {
            start,
            end,
            days: given
                .days
                .iter()
                .map(|d| {
                    weekday(d).ok_or_else(|| {
                        Error::invalid(field, "days must be mon, tue, wed, thu, fri, sat, sun")
                    })
                })
                .collect::<Result<_>>()?,
            zone: jiff::tz::TimeZone::get(zone)
                .map_err(|_| Error::invalid(field, "timezone must be an IANA name such as Europe/Berlin"))?,
        })
    }

    fn contains(&self, at: Time) -> bool {
        let here = self.zone.to_datetime(at.timestamp());
        let (now, today) = (here.time(), here.weekday());
        let on = |day| self.days.is_empty() || self.days.contains(&day);
        if self.start <= self.end {
            on(today) && self.start <= now && now < self.end
        } else {
            (on(today) && self.start <= now) || (on(today.previous()) && now < self.end)
        }
    }
}

fn clock_time(text: &str) -> Option<civil::Time> {
    let (hour, minute) = text.split_once(':')?;
    let number = |s: &str| (s.len() == 2).then(|| s.parse::<i8>().ok()).flatten();
    civil::Time::new(number(hour)?, number(minute)?, 0, 0).ok()
}

fn weekday(text: &str) -> Option<civil::Weekday> {
    use civil::Weekday::*;
    let days = [Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday];
    let names = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let text = text.to_ascii_lowercase();
    names.iter().zip(days).find(|(name, _)| **name == text || name[..3] == text).map(|(_, day)| day)
}

#[cfg(test)]
mod windows;

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(json: Value) -> Result<Conditions> {
        Conditions::parse(json.as_object().unwrap().clone())
    }

    fn at(text: &str) -> Time {
        serde_json::from_value(Value::from(text)).unwrap()
    }

    #[test]
    fn a_window_over_midnight_belongs_to_its_first_day() {
        let nights = conditions(serde_json::json!({"time_window":
            {"start": "22:00", "end": "06:00", "days": ["fri"], "timezone": "Europe/Berlin"}}))
        .unwrap();
        // 2026-11-27 is a Friday; Berlin is an hour ahead of UTC then.
        for (time, inside) in [
            ("2026-11-27T20:59:00Z", false),
            ("2026-11-27T21:00:00Z", true),
            ("2026-11-28T04:59:00Z", true),
            ("2026-11-28T05:00:00Z", false),
            ("2026-11-28T22:00:00Z", false),
            ("2026-11-27T02:00:00Z", false),
        ] {
            assert_eq!(nights.unmet(at(time), None).is_none(), inside, "{time}");
        }
    }

    #[test]
    fn addresses_count_mapped_or_not() {
        let office = conditions(serde_json::json!({"ip_allowlist": ["10.0.0.0/8", "2001:db8::1"]})).unwrap();
        let hold = |ip: &str| office.unmet(at("2026-01-01T00:00:00Z"), Some(ip.parse().unwrap())).is_none();
        assert!(hold("10.9.9.9") && hold("::ffff:10.9.9.9") && hold("2001:db8::1"));
        assert!(!hold("11.0.0.1") && !hold("2001:db8::2"));
        assert_eq!(
            office.unmet(at("2026-01-01T00:00:00Z"), None),
            Some("ip_allowlist"),
            "no address, no access"
        );
    }

    #[test]
    fn what_is_not_understood_is_refused_when_written_and_denies_when_read() {
        let odd = serde_json::json!({"moon_phase": "full"});
        assert!(conditions(odd.clone()).unwrap_err().detail().contains("moon_phase"));
        let stored = Conditions::stored(odd.as_object().unwrap().clone());
        assert!(stored.unmet(at("2026-01-01T00:00:00Z"), None).is_some());
        for nothing in
            [serde_json::json!({}), serde_json::json!({"ip_allowlist": null, "require_approval": false})]
        {
            assert!(conditions(nothing).unwrap().unmet(at("2026-01-01T00:00:00Z"), None).is_none());
        }
    }

    #[test]
    fn conditions_are_small_and_none_of_them_is_silently_none() {
        let networks = |count: usize| {
            let all: Vec<_> = (0..count).map(|n| format!("10.{}.{}.0/24", n / 256, n % 256)).collect();
            serde_json::json!({"ip_allowlist": all})
        };
        assert!(conditions(networks(100)).is_ok());
        for (bad, said) in [
            (networks(101), "1 to 100"),
            (networks(0), "1 to 100"),
            (serde_json::json!({"ip_allowlist": false}), "1 to 100"),
            (serde_json::json!({"time_window": {}}), "must be {start"),
            (serde_json::json!({"moon_phase": null}), "is not a condition"),
            (serde_json::json!({"moon_phase": false}), "is not a condition"),
            (serde_json::json!({"x".repeat(1_500_000): false}), "4 KiB"),
            (serde_json::json!({"time_window": {"start": "08:00", "end": "08:00"}}), "never open"),
        ] {
            let error = conditions(bad).unwrap_err();
            assert!(error.detail().contains(said) && error.detail().len() < 200, "{error}");
        }
    }

    #[test]
    fn an_approval_is_asked_for_only_where_all_else_holds() {
        let noon = at("2026-01-01T12:00:00Z");
        let both = conditions(serde_json::json!({"require_approval": true, "ip_allowlist": ["10.0.0.0/8"]}))
            .unwrap();
        let ip = |text: &str| Some(text.parse().unwrap());
        assert_eq!(both.awaits(noon, ip("10.1.1.1")), Some(Terms::default()));
        assert_eq!(both.awaits(noon, ip("11.1.1.1")), None);
        assert!(both.unmet(noon, ip("10.1.1.1")).is_some(), "without an approval it denies");
        let two = serde_json::json!({"require_approval": {"approvals": 2, "valid_for_seconds": 600, "once": false}});
        let terms = conditions(two).unwrap().awaits(noon, None).unwrap();
        assert_eq!((terms.approvals, terms.valid_for.as_secs(), terms.once), (2, 600, false));
        for bad in [
            serde_json::json!({}),
            serde_json::json!([]),
            serde_json::json!("yes"),
            serde_json::json!(1),
            serde_json::json!({"approvals": 0}),
            serde_json::json!({"approvals": 11}),
            serde_json::json!({"valid_for_seconds": 5}),
            serde_json::json!({"by": "nobody"}),
        ] {
            let given = serde_json::json!({"require_approval": bad});
            assert!(conditions(given.clone()).is_err(), "{given}");
            let stored = Conditions::stored(given.as_object().unwrap().clone());
            assert!(stored.unmet(noon, None).is_some() && stored.awaits(noon, None).is_none(), "{given}");
        }
        assert_eq!(
            conditions(serde_json::json!({"require_approval": false})).unwrap().awaits(noon, None),
            None
        );
    }
}
