//! Rates, kept in memory by each gateway: against floods, and so that nobody takes the place of all others. What
//! security hangs on is counted in the database: [`crate::throttle`].

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use domain::limit::{Rate, too_many};
use domain::{OrgId, PrincipalId, Result};
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use moka::sync::Cache;

/// What an operator decides; `None`: no limit.
#[derive(Clone, Copy, Debug)]
pub struct LimitSettings {
    /// Of all requests together.
    pub total: Option<Rate>,
    /// Of one client address; of IPv6, of a /64. Loopback is not limited.
    pub address: Option<Rate>,
    pub principal: Option<Rate>,
    pub organisation: Option<Rate>,
    /// Wrong log-ins from one address that cost no wait.
    pub address_guesses: u32,
    /// Log-ins with a password of one address that may wait or be looked at.
    pub address_places: usize,
}

/// Of one kind (addresses, principals), so many are told apart; beyond, the least seen are forgotten, and have their
/// whole burst again.
const CAPACITY: u64 = 100_000;

pub struct Limits {
    total: Option<Bucket>,
    addresses: Option<Buckets<IpAddr>>,
    principals: Option<Buckets<PrincipalId>>,
    organisations: Option<Buckets<OrgId>>,
}

impl Limits {
    pub fn new(settings: &LimitSettings) -> Self {
        Self {
            total: settings.total.map(Bucket::new),
            addresses: settings.address.map(Buckets::new),
            principals: settings.principal.map(Buckets::new),
            organisations: settings.organisation.map(Buckets::new),
        }
    }

    /// A request has arrived; who sent it is not known yet.
    ///
    /// # Errors
    /// `TooManyRequests`.
    pub fn arrives(&self, from: Option<IpAddr>) -> Result<()> {
        // First what is one client's: who floods takes nothing of what is for all.
        let stranger = from.is_none_or(|address| !address.to_canonical().is_loopback());
        if let Some(addresses) = self.addresses.as_ref().filter(|_| stranger) {
            addresses.take(site(from), "Too many requests from your address.")?;
        }
        self.total.as_ref().map_or(Ok(()), |all| all.take("Too many requests at this gateway."))
    }

    /// It is this principal who asks.
    ///
    /// # Errors
    /// `TooManyRequests`.
    pub fn asks(&self, who: PrincipalId, org: OrgId) -> Result<()> {
        if let Some(principals) = &self.principals {
            principals.take(who, "Too many requests by you.")?;
        }
        let organisations = self.organisations.as_ref();
        organisations.map_or(Ok(()), |all| all.take(org, "Too many requests by your organisation."))
    }
}

/// What stands for a client wherever it is counted: an IPv4 address, or the /64 that one IPv6 customer has at least. All
/// whose address is not known are one.
pub fn site(address: Option<IpAddr>) -> IpAddr {
    match address.map(|address| address.to_canonical()) {
        Some(IpAddr::V6(v6)) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        Some(v4) => v4,
        None => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

/// Buckets by key, no more than [`CAPACITY`], none longer than it takes to fill.
struct Buckets<K> {
    rate: Rate,
    known: Cache<K, Arc<Bucket>>,
}

impl<K: Hash + Eq + Send + Sync + 'static> Buckets<K> {
    fn new(rate: Rate) -> Self {
        let full = rate.every.saturating_mul(rate.burst.get()).max(Duration::from_secs(1));
        Self { rate, known: Cache::builder().max_capacity(CAPACITY).time_to_idle(full).build() }
    }

    fn take(&self, key: K, refusal: &str) -> Result<()> {
        self.known.get_with(key, || Arc::new(Bucket::new(self.rate))).take(refusal)
    }
}

struct Bucket(DefaultDirectRateLimiter);

impl Bucket {
    fn new(rate: Rate) -> Self {
        // Less than a nanosecond apart is no rate that can be set.
        let quota = Quota::with_period(rate.every).unwrap_or_else(|| Quota::per_second(rate.burst));
        Self(RateLimiter::direct(quota.allow_burst(rate.burst)))
    }

    fn take(&self, refusal: &str) -> Result<()> {
        self.0.check().map_err(|not_until| {
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            too_many(
                refusal,
                wait.as_secs() + u64::from(wait.subsec_nanos() > 0).max(u64::from(wait.is_zero())),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{Kind, UserId};

    fn limits(set: impl FnOnce(&mut LimitSettings)) -> Limits {
        let mut settings = LimitSettings {
            total: None,
            address: None,
            principal: None,
            organisation: None,
            address_guesses: 1,
            address_places: 1,
        };
        set(&mut settings);
        Limits::new(&settings)
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn an_address_is_limited_and_others_are_not() {
        let limits = limits(|set| set.address = Some("2/m".parse().unwrap()));
        assert!(limits.arrives(ip("192.0.2.1")).is_ok() && limits.arrives(ip("::ffff:192.0.2.1")).is_ok());
        let refused = limits.arrives(ip("192.0.2.1")).unwrap_err();
        let Kind::TooManyRequests { retry_after } = refused.kind() else { panic!("{refused}") };
        assert!((1..=30).contains(&retry_after), "{refused}");
        assert!(limits.arrives(ip("192.0.2.2")).is_ok());
        // A /64 is one customer.
        assert!(limits.arrives(ip("2001:db8::1")).is_ok() && limits.arrives(ip("2001:db8::2")).is_ok());
        assert!(limits.arrives(ip("2001:db8::3")).is_err() && limits.arrives(ip("2001:db8:0:1::1")).is_ok());
        // All whose address can't be read are one.
        assert!(
            limits.arrives(None).is_ok() && limits.arrives(None).is_ok() && limits.arrives(None).is_err()
        );
        for _ in 0..5 {
            assert!(limits.arrives(ip("127.0.0.1")).is_ok() && limits.arrives(ip("::1")).is_ok());
        }
    }

    #[test]
    fn principals_organisations_and_all_together_are_limited() {
        let (who, org) = (PrincipalId::User(UserId::new()), OrgId::new());
        let other = || PrincipalId::User(UserId::new());
        let by_principal = limits(|set| set.principal = Some("1/m".parse().unwrap()));
        assert!(by_principal.asks(who, org).is_ok() && by_principal.asks(who, org).is_err());
        assert!(by_principal.asks(other(), org).is_ok());
        let by_org = limits(|set| set.organisation = Some("1/m".parse().unwrap()));
        assert!(by_org.asks(who, org).is_ok() && by_org.asks(other(), org).is_err());
        assert!(by_org.asks(other(), OrgId::new()).is_ok());
        let all = limits(|set| set.total = Some("1/m".parse().unwrap()));
        assert!(all.arrives(ip("127.0.0.1")).is_ok() && all.arrives(ip("192.0.2.1")).is_err());
    }
}
