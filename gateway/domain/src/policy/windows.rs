//! Windows of time where clocks are put forward and back, in zones far apart, and networks in every notation.

use serde_json::json;

use super::*;

fn window(start: &str, end: &str, zone: &str) -> Conditions {
    let given = json!({"time_window": {"start": start, "end": end, "timezone": zone}});
    Conditions::parse(given.as_object().unwrap().clone()).unwrap()
}

#[track_caller]
fn expect(window: &Conditions, cases: &[(&str, bool)]) {
    for (time, inside) in cases {
        let at: Time = serde_json::from_value(Value::from(*time)).unwrap();
        assert_eq!(window.unmet(at, None).is_none(), *inside, "{time}");
    }
}

/// Berlin, 2026-03-29: 01:59 CET is followed by 03:00 CEST.
#[test]
fn a_window_that_starts_in_the_gap_of_spring_starts_where_the_clock_goes_on() {
    let within = window("02:30", "04:00", "Europe/Berlin");
    expect(
        &within,
        &[
            ("2026-03-29T00:59:59Z", false),
            ("2026-03-29T01:00:00Z", true),
            ("2026-03-29T01:59:59Z", true),
            ("2026-03-29T02:00:00Z", false),
            ("2026-03-28T01:30:00Z", true),
        ],
    );
    // One that lies in the gap as a whole does not come that day.
    let lost = window("02:10", "02:50", "Europe/Berlin");
    expect(
        &lost,
        &[("2026-03-29T00:59:59Z", false), ("2026-03-29T01:00:00Z", false), ("2026-03-30T00:15:00Z", true)],
    );
}

/// Berlin, 2026-10-25: 02:59 CEST is followed by 02:00 CET.
#[test]
fn what_comes_twice_in_autumn_is_within_twice() {
    let within = window("02:30", "02:45", "Europe/Berlin");
    expect(
        &within,
        &[
            ("2026-10-25T00:29:59Z", false),
            ("2026-10-25T00:30:00Z", true),
            ("2026-10-25T00:45:00Z", false),
            ("2026-10-25T01:29:59Z", false),
            ("2026-10-25T01:30:00Z", true),
            ("2026-10-25T01:45:00Z", false),
        ],
    );
}

#[test]
fn a_day_is_the_zones_own() {
    let given = json!({"time_window": {"start": "00:00", "end": "12:00", "days": ["mon"], "timezone": "Pacific/Kiritimati"}});
    let monday = Conditions::parse(given.as_object().unwrap().clone()).unwrap();
    // 14 hours ahead: Monday, 2026-11-30, starts there on Sunday at 10:00 UTC.
    expect(
        &monday,
        &[("2026-11-29T09:59:59Z", false), ("2026-11-29T10:00:00Z", true), ("2026-11-29T22:00:00Z", false)],
    );
    expect(
        &window("00:00", "00:01", "America/St_Johns"),
        &[("2026-11-30T03:30:00Z", true), ("2026-11-30T03:31:00Z", false)],
    );
}

#[test]
fn to_the_last_minute_is_nearly_always_and_from_midnight_to_midnight_is_no_window() {
    expect(
        &window("00:00", "23:59", "UTC"),
        &[("2026-11-30T23:58:59Z", true), ("2026-11-30T23:59:00Z", false)],
    );
    let given = json!({"time_window": {"start": "00:00", "end": "00:00"}});
    let given = given.as_object().unwrap();
    assert!(Conditions::parse(given.clone()).is_err());
    let stored = Conditions::stored(given.clone());
    assert!(stored.unmet(Time::from_millis(0), None).is_some(), "what was stored before stays closed");
}

#[test]
fn networks_of_ipv4_in_ipv6s_notation_are_networks_of_ipv4() {
    let given = json!({"ip_allowlist": ["::ffff:10.0.0.0/104", "::ffff:192.0.2.1"]});
    let office = Conditions::parse(given.as_object().unwrap().clone()).unwrap();
    let holds = |ip: &str| office.unmet(Time::from_millis(0), Some(ip.parse().unwrap())).is_none();
    assert!(holds("10.9.9.9") && holds("::ffff:10.9.9.9") && holds("192.0.2.1"));
    assert!(!holds("11.0.0.1") && !holds("192.0.2.2") && !holds("::10.9.9.9"));
}
