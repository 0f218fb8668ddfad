//! What each agent has spent in the last 24 hours, and what it holds: kept in memory, rebuilt from the tables.

use std::collections::{BTreeMap, HashMap};

use alloy_primitives::U256;
use redb::{Database, ReadableDatabase as _, ReadableTable as _};

use super::spending::{Held, read};
use super::tables::{HOLDS, NonceKey, SPENT, spend_parts};
use crate::tally::{Meter, Tally};

/// 24 hours, in milliseconds.
const DAY: i64 = 24 * 60 * 60 * 1000;

type Id = [u8; 16];

/// The rolling window over all agents. Times are milliseconds.
#[derive(Default)]
pub struct Window {
    agents: HashMap<Id, Account>,
    /// The latest time that was seen. A clock that is set back does not bring back what has left the window, nor
    /// let a hold live longer.
    latest: i64,
}

#[derive(Default)]
struct Account {
    spends: BTreeMap<(i64, NonceKey), Tally>,
    spent: Tally,
    /// By expiry.
    holds: BTreeMap<(i64, Id), Tally>,
    held: Tally,
}

/// What counts of one agent now; nothing, of one who has nothing.
pub struct Sums<'a>(Option<&'a Account>);

impl Sums<'_> {
    /// What was signed in the 24 hours before.
    pub fn spent(&self, meter: Meter) -> U256 {
        self.0.map_or(U256::ZERO, |account| account.spent.get(meter))
    }

    /// What was signed, and what may still be.
    pub fn spent_and_held(&self, meter: Meter) -> U256 {
        self.0.map_or(U256::ZERO, |account| account.spent.get(meter).saturating_add(account.held.get(meter)))
    }
}

impl Window {
    pub fn load(db: &Database) -> Result<Self, redb::Error> {
        let mut window = Self::default();
        let tx = db.begin_read()?;
        for entry in tx.open_table(SPENT)?.iter()? {
            let (key, value) = entry?;
            let (agent, at, nonce) = spend_parts(&key.value());
            window.spend(&agent, at, nonce, read(value.value())?);
            window.latest = window.latest.max(at);
        }
        for entry in tx.open_table(HOLDS)?.iter()? {
            let (id, held) = entry?;
            let held = Held::read(held.value())?;
            window.hold(held.agent.as_bytes(), id.value(), held.expires_at, held.counted);
        }
        Ok(window)
    }

    /// The time that counts, never earlier than it was.
    pub fn now(&mut self, clock: i64) -> i64 {
        self.latest = self.latest.max(clock);
        self.latest
    }

    pub fn spend(&mut self, agent: &Id, at: i64, nonce: NonceKey, counted: Tally) {
        let account = self.agents.entry(*agent).or_default();
        account.forget_spend(at, &nonce);
        account.spent.add(&counted);
        account.spends.insert((at, nonce), counted);
    }

    pub fn forget_spend(&mut self, agent: &Id, at: i64, nonce: &NonceKey) {
        if let Some(account) = self.agents.get_mut(agent) {
            account.forget_spend(at, nonce);
        }
    }

    pub fn hold(&mut self, agent: &Id, intent: Id, expires_at: i64, counted: Tally) {
        let account = self.agents.entry(*agent).or_default();
        account.forget_hold(expires_at, &intent);
        account.held.add(&counted);
        account.holds.insert((expires_at, intent), counted);
    }

    pub fn forget_hold(&mut self, agent: &Id, intent: &Id, expires_at: i64) {
        if let Some(account) = self.agents.get_mut(agent) {
            account.forget_hold(expires_at, intent);
        }
    }

    /// What counts of an agent at `now`.
    pub fn sums(&mut self, agent: &Id, now: i64) -> Sums<'_> {
        Sums(self.settled(agent, now))
    }

    /// Whether a spend of that time still counts.
    pub fn counts(at: i64, now: i64) -> bool {
        now < at.saturating_add(DAY)
    }

    fn settled(&mut self, agent: &Id, now: i64) -> Option<&Account> {
        let account = self.agents.get_mut(agent)?;
        account.settle(now);
        if account.spends.is_empty() && account.holds.is_empty() {
            self.agents.remove(agent);
        }
        self.agents.get(agent)
    }
}

impl Account {
    fn forget_spend(&mut self, at: i64, nonce: &NonceKey) {
        if let Some(counted) = self.spends.remove(&(at, *nonce)) {
            self.spent.take(&counted);
        }
    }

    fn forget_hold(&mut self, expires_at: i64, intent: &Id) {
        if let Some(counted) = self.holds.remove(&(expires_at, *intent)) {
            self.held.take(&counted);
        }
    }

    /// Drops what no longer counts.
    fn settle(&mut self, now: i64) {
        while let Some(first) = self.spends.first_entry().filter(|first| !Window::counts(first.key().0, now))
        {
            self.spent.take(&first.remove());
        }
        while let Some(first) = self.holds.first_entry().filter(|first| first.key().0 <= now) {
            self.held.take(&first.remove());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Spend { nonce: u8, value: u64 },
        Forget { nonce: u8 },
        Hold { intent: u8, minutes: i64, value: u64 },
        Release { intent: u8 },
        Wait { minutes: i64 },
        SetBack { minutes: i64 },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0u8..6, any::<u64>()).prop_map(|(nonce, value)| Step::Spend { nonce, value }),
            (0u8..6).prop_map(|nonce| Step::Forget { nonce }),
            (0u8..6, 1i64..600, any::<u64>()).prop_map(|(intent, minutes, value)| Step::Hold {
                intent,
                minutes,
                value
            }),
            (0u8..6).prop_map(|intent| Step::Release { intent }),
            (1i64..900).prop_map(|minutes| Step::Wait { minutes }),
            (1i64..900).prop_map(|minutes| Step::SetBack { minutes }),
        ]
    }

    const MINUTE: i64 = 60_000;

    /// A value, and a token that some transactions move and others don't.
    fn counted(value: u64) -> Tally {
        let mut tally = Tally::native(U256::from(value));
        tally.count(token(), units(value));
        tally
    }

    fn token() -> Meter {
        Meter::Token(1, alloy_primitives::Address::ZERO)
    }

    fn units(value: u64) -> U256 {
        U256::from(value % 3) << 190
    }

    proptest! {
        /// Against lists that are summed anew each time.
        #[test]
        fn the_window_sums_as_defined(steps in proptest::collection::vec(step(), 1..120)) {
            let (agent, other) = ([1; 16], [2; 16]);
            let mut window = Window::default();
            let (mut clock, mut latest) = (1_000 * MINUTE, 0);
            let mut spends: HashMap<u8, (i64, u64)> = HashMap::new();
            let mut holds: HashMap<u8, (i64, u64)> = HashMap::new();
            for step in steps {
                let now = window.now(clock);
                latest = latest.max(clock);
                prop_assert_eq!(now, latest);
                match step {
                    Step::Spend { nonce, value } => {
                        if let Some((at, _)) = spends.insert(nonce, (now, value)) {
                            window.forget_spend(&agent, at, &[nonce; 36]);
                        }
                        window.spend(&agent, now, [nonce; 36], counted(value));
                    }
                    Step::Forget { nonce } => if let Some((at, _)) = spends.remove(&nonce) {
                        window.forget_spend(&agent, at, &[nonce; 36]);
                    },
                    Step::Hold { intent, minutes, value } => {
                        let expires_at = now + minutes * MINUTE;
                        if let Some((old, _)) = holds.insert(intent, (expires_at, value)) {
                            window.forget_hold(&agent, &[intent; 16], old);
                        }
                        window.hold(&agent, [intent; 16], expires_at, counted(value));
                    }
                    Step::Release { intent } => if let Some((expires_at, _)) = holds.remove(&intent) {
                        window.forget_hold(&agent, &[intent; 16], expires_at);
                    },
                    Step::Wait { minutes } => clock += minutes * MINUTE,
                    Step::SetBack { minutes } => clock -= minutes * MINUTE,
                }
                let now = window.now(clock);
                latest = latest.max(clock);
                let spent: Vec<u64> = spends.values().filter(|(at, _)| now - at < DAY).map(|(_, value)| *value).collect();
                let held: Vec<u64> = holds.values().filter(|(end, _)| now < *end).map(|(_, value)| *value).collect();
                let native = |value: u64| U256::from(value);
                let one = |_: u64| U256::ONE;
                let meters: [(Meter, &dyn Fn(u64) -> U256); 3] =
                    [(Meter::Value, &native), (Meter::Count, &one), (token(), &units)];
                for (meter, amount) in meters {
                    let sum = |values: &[u64]| values.iter().fold(U256::ZERO, |sum, value| sum + amount(*value));
                    let sums = window.sums(&agent, now);
                    prop_assert_eq!(sums.spent(meter), sum(&spent));
                    prop_assert_eq!(sums.spent_and_held(meter), sum(&spent) + sum(&held));
                    prop_assert_eq!(window.sums(&other, now).spent_and_held(meter), U256::ZERO);
                }
            }
        }
    }
}
