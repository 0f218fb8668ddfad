//! Failed log-ins of whoever is known. The first is told at once; those that follow within a while, alike and from the same
//! address, are one event: whoever knows what a key begins with would fill an organisation's trail.

use std::collections::BTreeMap;

use domain::OrgId;
use domain::audit::Event;
use serde_json::Value;

/// Told apart in that time; of more, those at one account are one for each way, from wherever they came.
const TOLD_APART: usize = 256;

/// Whose account, how it was tried, and from where.
type Key = (OrgId, (&'static str, String), String, String);

#[derive(Default)]
pub struct Failures {
    first: Vec<Event>,
    /// How many came after the first, and the last of them.
    more: BTreeMap<Key, (u64, Option<Event>)>,
}

impl Failures {
    pub fn add(&mut self, mut event: Event) {
        let how = Value::from(event.details.clone()).to_string();
        let address = event.address.clone().unwrap_or_default();
        let mut key: Key = (event.org, event.resource.clone(), how, address);
        let is_new = !self.more.contains_key(&key);
        if is_new && self.more.len() < TOLD_APART {
            self.more.insert(key, (0, None));
            self.first.push(told(event, 1));
            return;
        }
        if is_new {
            key.3 = "others".to_owned();
            event.address = Some(key.3.clone());
        }
        let (times, last) = self.more.entry(key).or_default();
        *times = times.saturating_add(1);
        *last = Some(event);
    }

    /// Those that nobody has been told of, and that are the first of their kind.
    pub fn first(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.first)
    }

    /// All that nobody has been told of; what comes then is the first again.
    pub fn take(&mut self) -> Vec<Event> {
        let more = std::mem::take(&mut self.more).into_values();
        let more = more.filter_map(|(times, last)| last.map(|event| told(event, times)));
        self.first().into_iter().chain(more).collect()
    }
}

fn told(mut event: Event, times: u64) -> Event {
    event.details.insert("times".to_owned(), times.into());
    event
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use domain::{EventId, PrincipalId, Time, UserId};
    use serde_json::Map;

    use super::*;

    fn failure(org: OrgId, user: UserId, method: &str, from: usize, at: i64) -> Event {
        Event {
            id: EventId::new(),
            org,
            action: "auth.failure",
            actor: Some(PrincipalId::User(user)),
            resource: ("user", user.to_string()),
            details: Map::from_iter([("method".to_owned(), method.into())]),
            address: Some(from.to_string()),
            at: Time::from_millis(at),
        }
    }

    fn times(events: &[Event]) -> Vec<(Value, i64)> {
        events.iter().map(|event| (event.details["times"].clone(), event.at.millis())).collect()
    }

    #[test]
    fn the_first_failure_is_told_at_once_and_the_others_are_one_event() {
        let (mut failures, org, user) = (Failures::default(), OrgId::new(), UserId::new());
        for at in 0..500 {
            failures.add(failure(org, user, "api_key", 1, at));
        }
        let first = failures.first();
        assert_eq!(times(&first), [(1.into(), 0)]);
        assert!(failures.first().is_empty());
        let others = failures.take();
        assert_eq!(times(&others), [(499.into(), 499)]);
        assert_ne!(first[0].id, others[0].id);
        assert!(failures.take().is_empty());
        // Then all begins again.
        failures.add(failure(org, user, "api_key", 1, 700));
        assert_eq!(times(&failures.first()), [(1.into(), 700)]);
        assert!(failures.take().is_empty());
        // Of those that differ each is told of, and none twice.
        for (who, method, from) in
            [(user, "api_key", 1), (user, "password", 1), (user, "api_key", 2), (UserId::new(), "api_key", 1)]
        {
            failures.add(failure(org, who, method, from, 0));
        }
        assert_eq!(failures.take().len(), 4);
        assert!(failures.take().is_empty());
    }

    #[test]
    fn a_flood_from_everywhere_is_bounded_and_names_the_account() {
        let (mut failures, org) = (Failures::default(), OrgId::new());
        let [ada, eve] = [(); 2].map(|()| UserId::new());
        for from in 0..1000 {
            failures.add(failure(org, ada, "api_key", from, 0));
        }
        failures.add(failure(org, eve, "api_key", 1, 0));
        let told = failures.take();
        assert_eq!(told.len(), TOLD_APART + 2);
        let others: BTreeSet<_> = told
            .iter()
            .filter(|event| event.address.as_deref() == Some("others"))
            .map(|event| (event.actor, event.details["times"].as_u64().unwrap()))
            .collect();
        let expected = [(ada, 1000 - TOLD_APART as u64), (eve, 1)];
        let expected = expected.map(|(user, times)| (Some(PrincipalId::User(user)), times));
        assert_eq!(others, BTreeSet::from(expected));
    }
}
