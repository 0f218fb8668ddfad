//! From where an organisation's people and agents may come.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

use crate::{Error, PrincipalId, Result};

/// What a rule does with the addresses that it names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// With one of these, whatever none of them names is denied.
    Allow,
    /// Denies, whatever is allowed.
    #[serde(alias = "block")]
    Deny,
}

/// Whom a rule is about.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AppliesTo {
    #[default]
    All,
    Users,
    Agents,
}

macro_rules! words {
    ($kind:ident: $($name:ident = $word:literal),+) => {
        impl $kind {
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word),+ }
            }
        }

        impl FromStr for $kind {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self> {
                match text {
                    $($word => Ok(Self::$name),)+
                    _ => Err(Error::invalid(stringify!($kind), "is none that is known")),
                }
            }
        }
    };
}
words!(Effect: Allow = "allow", Deny = "deny");
words!(AppliesTo: All = "all", Users = "users", Agents = "agents");

impl AppliesTo {
    fn is_about(self, who: PrincipalId) -> bool {
        match (self, who) {
            (Self::All, _) | (Self::Users, PrincipalId::User(_)) | (Self::Agents, PrincipalId::Agent(_)) => {
                true
            }
            (Self::Users, PrincipalId::Agent(_)) | (Self::Agents, PrincipalId::User(_)) => false,
        }
    }
}

/// One rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IpRule {
    pub effect: Effect,
    pub net: IpNet,
    pub applies_to: AppliesTo,
}

/// Whether somebody may come from there. A denial wins; one allowance or more denies everything else; an address that
/// is not known passes no rule at all.
pub fn admits<'a>(
    rules: impl IntoIterator<Item = &'a IpRule>,
    who: PrincipalId,
    address: Option<IpAddr>,
) -> bool {
    let address = address.map(|ip| ip.to_canonical());
    let (mut bound, mut allowed) = (false, false);
    for rule in rules.into_iter().filter(|rule| rule.applies_to.is_about(who)) {
        let Some(address) = address else { return false };
        let named = rule.net.contains(&address);
        match rule.effect {
            Effect::Deny if named => return false,
            Effect::Deny => {}
            Effect::Allow => (bound, allowed) = (true, allowed || named),
        }
    }
    allowed || !bound
}

/// An address, or a network with its prefix length. IPv4 that is mapped into IPv6 is taken as what it is, since
/// clients' addresses are.
///
/// # Errors
/// `Invalid`, naming `cidr`: no network, one with bits behind its prefix, which may be meant otherwise, or one that holds
/// IPv6 addresses and mapped ones both.
pub fn network(text: &str) -> Result<IpNet> {
    let text = text.trim();
    let net = crate::policy::cidr(text).ok_or_else(|| {
        Error::invalid(
            "cidr",
            "must be an address or a network such as 203.0.113.7, 10.0.0.0/8 or 2001:db8::/32",
        )
    })?;
    if net.network() != net.addr() {
        let meant = format!("has bits behind its prefix; write {} for that network", net.trunc());
        return Err(Error::invalid("cidr", meant));
    }
    let mapped = IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0));
    match (net, net.network()) {
        (IpNet::V6(net), IpAddr::V6(start)) if net.prefix_len() >= 96 => Ok(start
            .to_ipv4_mapped()
            .and_then(|start: Ipv4Addr| Ipv4Net::new(start, net.prefix_len() - 96).ok())
            .map_or(IpNet::V6(net), IpNet::V4)),
        // All of IPv6 is what it says. Anything else around the mapped addresses would name them and not hold them.
        (IpNet::V6(net), _) if net.prefix_len() > 0 && IpNet::V6(net).contains(&mapped) => {
            Err(Error::invalid("cidr", "holds IPv4 addresses in IPv6's clothes; name IPv4 networks as such"))
        }
        _ => Ok(net),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AgentId, UserId};
    use proptest::prelude::*;

    fn rule(effect: Effect, net: &str) -> IpRule {
        IpRule { effect, net: network(net).unwrap(), applies_to: AppliesTo::All }
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn networks_are_read_as_what_they_are() {
        for (given, taken) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            (" 203.0.113.7 ", "203.0.113.7/32"),
            ("::ffff:203.0.113.7", "203.0.113.7/32"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("2001:db8::1", "2001:db8::1/128"),
            ("::1", "::1/128"),
            ("::/0", "::/0"),
            ("0.0.0.0/0", "0.0.0.0/0"),
        ] {
            assert_eq!(network(given).unwrap().to_string(), taken, "{given}");
        }
        for bad in [
            "",
            "x",
            "10.0.0.0/33",
            "10.0.0",
            "10.0.0.1/8",
            "2001:db8::1/32",
            "::/8",
            "::ffff:0:0/95",
            "::fffe:0:0/95",
            "10.0.0.0/-1",
            "fe80::1%eth0",
        ] {
            assert!(network(bad).is_err(), "{bad}");
        }
        assert!(network("10.1.2.3/8").unwrap_err().detail().contains("10.0.0.0/8"), "what was meant is said");
    }

    #[test]
    fn each_rule_is_about_somebody() {
        let (user, agent) = (PrincipalId::User(UserId::new()), PrincipalId::Agent(AgentId::new()));
        let agents = [IpRule { applies_to: AppliesTo::Agents, ..rule(Effect::Allow, "10.0.0.0/8") }];
        assert!(admits(&agents, user, ip("192.0.2.1")) && admits(&agents, user, None));
        assert!(admits(&agents, agent, ip("10.1.1.1")) && !admits(&agents, agent, ip("192.0.2.1")));
        let users = [IpRule { applies_to: AppliesTo::Users, ..rule(Effect::Deny, "10.0.0.0/8") }];
        assert!(!admits(&users, user, ip("10.1.1.1")) && admits(&users, agent, ip("10.1.1.1")));
    }

    #[test]
    fn an_address_that_is_not_known_passes_no_rule() {
        let who = PrincipalId::User(UserId::new());
        assert!(admits(&[], who, None));
        assert!(!admits(&[rule(Effect::Deny, "192.0.2.1")], who, None));
        assert!(!admits(&[rule(Effect::Allow, "0.0.0.0/0")], who, None));
        assert!(!admits(&[rule(Effect::Deny, "10.0.0.0/8")], who, ip("::ffff:10.1.1.1")), "mapped or not");
    }

    /// The decision as the contract says it, sentence by sentence.
    fn plainly(rules: &[(bool, u32, u8)], address: u32) -> bool {
        let names = |net: u32, prefix: u8| prefix == 0 || (net ^ address) >> (32 - u32::from(prefix)) == 0;
        let denied = rules.iter().any(|(allow, net, prefix)| !allow && names(*net, *prefix));
        let allowances: Vec<_> = rules.iter().filter(|(allow, ..)| *allow).collect();
        !denied && (allowances.is_empty() || allowances.iter().any(|(_, net, prefix)| names(*net, *prefix)))
    }

    proptest! {
        #[test]
        fn the_decision_is_the_contracts(
            // Few distinct bits, so that networks and addresses meet.
            rules in prop::collection::vec((any::<bool>(), 0_u32..8, 28_u8..=32), 0..6),
            address in 0_u32..8,
            mapped in any::<bool>(),
        ) {
            let made: Vec<IpRule> = rules.iter().map(|(allow, net, prefix)| IpRule {
                effect: if *allow { Effect::Allow } else { Effect::Deny },
                net: IpNet::from(Ipv4Net::new((*net).into(), *prefix).unwrap().trunc()),
                applies_to: AppliesTo::All,
            }).collect();
            let v4 = Ipv4Addr::from(address);
            let from = if mapped { IpAddr::V6(v4.to_ipv6_mapped()) } else { IpAddr::V4(v4) };
            prop_assert_eq!(
                admits(&made, PrincipalId::User(UserId::new()), Some(from)),
                plainly(&rules, address)
            );
        }
    }
}
