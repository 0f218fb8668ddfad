//! Wrong passphrases of shares, as they are told to whoever shares: for each share, address and caller one event of all within a while.

use std::collections::BTreeMap;

use domain::OrgId;
use domain::audit::Event;

/// Shares, addresses and callers told apart in that time; more of a share are one, and nobody's.
const TOLD_APART: usize = 256;

/// Whose share, which, from where, and by whom.
type Key = (OrgId, String, String, Option<(&'static str, String)>);

#[derive(Default)]
pub struct Guesses(BTreeMap<Key, (u64, Event)>);

impl Guesses {
    pub fn add(&mut self, mut event: Event) {
        let address = event.address.clone().unwrap_or_default();
        let by = event.actor.map(|actor| (actor.kind(), actor.uuid()));
        let mut key: Key = (event.org, event.resource.1.clone(), address, by);
        if self.0.len() >= TOLD_APART && !self.0.contains_key(&key) {
            (key.2, key.3) = ("others".to_owned(), None);
            (event.address, event.actor) = (Some(key.2.clone()), None);
        }
        let (times, last) = self.0.entry(key).or_insert_with(|| (0, event.clone()));
        *times = times.saturating_add(1);
        last.at = event.at;
    }

    pub fn take(&mut self) -> impl Iterator<Item = Event> + use<> {
        std::mem::take(&mut self.0).into_values().map(|(times, mut event)| {
            event.details.insert("times".to_owned(), times.into());
            event
        })
    }
}

#[cfg(test)]
mod tests {
    use domain::{AgentId, EventId, PrincipalId, Time};

    use super::*;

    fn guess(org: OrgId, actor: Option<PrincipalId>, share: &str, from: usize, at: i64) -> Event {
        Event {
            id: EventId::new(),
            org,
            action: "share.refused",
            actor,
            resource: ("share", share.to_owned()),
            details: Default::default(),
            address: Some(from.to_string()),
            at: Time::from_millis(at),
        }
    }

    #[test]
    fn a_guess_is_put_down_to_whoever_guessed() {
        let (mut guesses, org) = (Guesses::default(), OrgId::new());
        let [one, two] = [(); 2].map(|()| Some(PrincipalId::Agent(AgentId::new())));
        for by in [None, one, two, two, None, two] {
            guesses.add(guess(org, by, "a", 1, 0));
        }
        let told: Vec<_> =
            guesses.take().map(|event| (event.actor, event.details["times"].clone())).collect();
        assert_eq!(told.len(), 3);
        for expected in [(None, 2.into()), (one, 1.into()), (two, 3.into())] {
            assert!(told.contains(&expected), "{expected:?} is not in {told:?}");
        }
        // Beyond the bound it is put down to nobody.
        for _ in 0..1000 {
            guesses.add(guess(org, Some(PrincipalId::Agent(AgentId::new())), "a", 1, 0));
        }
        let told: Vec<_> = guesses.take().collect();
        assert_eq!(told.len(), TOLD_APART + 1);
        let nobodys = told.iter().find(|event| event.actor.is_none()).unwrap();
        assert_eq!(nobodys.details["times"], 1000 - TOLD_APART);
    }

    #[test]
    fn guesses_at_a_share_are_one_event_for_each_address() {
        let mut guesses = Guesses::default();
        let org = OrgId::new();
        let guess = |share: &str, from: usize, at| guess(org, None, share, from, at);
        for at in 0..100 {
            guesses.add(guess("a", 1, at));
        }
        guesses.add(guess("b", 1, 7));
        let told: Vec<_> = guesses.take().collect();
        let times: Vec<_> =
            told.iter().map(|event| (event.details["times"].clone(), event.at.millis())).collect();
        assert_eq!(times, [(100.into(), 99), (1.into(), 7)]);
        assert_eq!(guesses.take().count(), 0);
        for from in 0..1000 {
            guesses.add(guess("a", from, 0));
        }
        let told: Vec<_> = guesses.take().collect();
        assert_eq!(told.len(), TOLD_APART + 1);
        let others = told.iter().find(|event| event.address.as_deref() == Some("others")).unwrap();
        assert_eq!(others.details["times"], 1000 - TOLD_APART);
    }
}
