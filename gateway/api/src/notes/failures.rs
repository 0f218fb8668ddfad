//! Failed log-ins of whoever is known. The first is told at once; those that follow within a while, alike and from the same
//! address, are one event: whoever knows what a key begins with would fill an organisation's trail.

use std::collections::BTreeMap;
use std::net::IpAddr;

use domain::OrgId;
use domain::audit::Event;
use serde_json::Value;

use crate::limits;

/// Sites at one account that are told apart in that time, and at all accounts together beside the first of each; of more, those
/// at one account are one for each way, from wherever they came.
const SITES: usize = 16;
const TOLD_APART: usize = 256;

/// Whose it is.
type Account = (OrgId, (&'static str, String));
/// At which account, how it was tried, and from which site.
type Key = (Account, String, String);

#[derive(Default)]
pub struct Failures {
    first: Vec<Event>,
    /// How many sites are told apart.
    sites: BTreeMap<Account, usize>,
    /// How many came after the first, and the last of them.
    more: BTreeMap<Key, (u64, Option<Event>)>,
}

impl Failures {
    pub fn add(&mut self, mut event: Event) {
        let account: Account = (event.org, event.resource.clone());
        let how = Value::from(event.details.clone()).to_string();
        let mut key: Key = (account.clone(), how, site(event.address.as_deref()));
        if let Some((times, last)) = self.more.get_mut(&key) {
            *times = times.saturating_add(1);
            *last = Some(event);
            return;
        }
        let sites = self.sites.entry(account).or_default();
        // Whatever comes at other accounts, the first at this one has its address.
        if *sites == 0 || (*sites < SITES && self.more.len() < TOLD_APART) {
            *sites += 1;
            self.more.insert(key, (0, None));
            self.first.push(told(event, 1));
            return;
        }
        key.2 = OTHERS.to_owned();
        event.address = Some(key.2.clone());
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
        self.sites.clear();
        let more = std::mem::take(&mut self.more).into_values();
        let more = more.filter_map(|(times, last)| last.map(|event| told(event, times)));
        self.first().into_iter().chain(more).collect()
    }
}

/// Stands for the addresses that are not told apart.
const OTHERS: &str = "others";

/// Whoever has an IPv6 network has more addresses than anybody can tell of.
fn site(address: Option<&str>) -> String {
    let text = address.unwrap_or_default();
    text.parse().map_or_else(|_| text.to_owned(), |ip: IpAddr| limits::site(Some(ip)).to_string())
}

fn told(mut event: Event, times: u64) -> Event {
    event.details.insert("times".to_owned(), times.into());
    event
}

#[cfg(test)]
mod tests {
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
        let firsts = failures.first().len();
        assert_eq!(firsts, SITES);
        // Nor does it hide who else is tried, and from where.
        failures.add(failure(org, eve, "api_key", 1, 0));
        let first = failures.first();
        assert_eq!((times(&first), first[0].address.as_deref()), (vec![(1.into(), 0)], Some("1")));
        let others = failures.take();
        assert_eq!(times(&others), [((1000 - SITES).into(), 0)]);
        assert_eq!(
            (others[0].actor, others[0].address.as_deref()),
            (Some(PrincipalId::User(ada)), Some(OTHERS))
        );
        // At many accounts together no more, but for the first of each.
        for account in 0..100 {
            let user = UserId::new();
            for from in 0..10 {
                failures.add(failure(org, user, "api_key", 10 * account + from, 0));
            }
        }
        let told = failures.take();
        let apart = told.iter().filter(|event| event.address.as_deref() != Some(OTHERS)).count();
        assert!(apart <= TOLD_APART + 100, "{apart}");
        assert_eq!(told.iter().map(|event| event.details["times"].as_u64().unwrap()).sum::<u64>(), 1000);
    }

    #[test]
    fn a_network_is_one_site() {
        let (mut failures, org, user) = (Failures::default(), OrgId::new(), UserId::new());
        for from in 1..=500 {
            let address = Some(format!("2001:db8::{from:x}"));
            failures.add(Event { address, ..failure(org, user, "api_key", 0, 0) });
        }
        assert_eq!(failures.first()[0].address.as_deref(), Some("2001:db8::1"));
        assert_eq!(times(&failures.take()), [(499.into(), 0)]);
    }
}
