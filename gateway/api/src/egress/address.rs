//! Which addresses are out there, on the internet, and which are somebody's own network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0), prefix)
}

/// What of IPv4 is no host on the internet (IANA's registry of special purposes, RFC 6890), and one that only looks so.
const NOT_OUT_THERE: [Ipv4Net; 16] = [
    v4(0, 0, 0, 0, 8),
    v4(10, 0, 0, 0, 8),
    v4(100, 64, 0, 0, 10), // shared by a provider's customers (RFC 6598)
    v4(127, 0, 0, 0, 8),
    // The host that one of Azure's machines asks for its configuration.
    v4(168, 63, 129, 16, 32),
    v4(169, 254, 0, 0, 16), // link-local; the clouds' metadata are here
    v4(172, 16, 0, 0, 12),
    v4(192, 0, 0, 0, 24),
    v4(192, 0, 2, 0, 24),   // documentation
    v4(192, 88, 99, 0, 24), // relays of 6to4
    v4(192, 168, 0, 0, 16),
    v4(198, 18, 0, 0, 15),   // benchmarks
    v4(198, 51, 100, 0, 24), // documentation
    v4(203, 0, 113, 0, 24),  // documentation
    v4(224, 0, 0, 0, 4),     // multicast
    v4(240, 0, 0, 0, 4),     // reserved; broadcast
];

/// All that is given out to hosts (RFC 4291 §2.4): what lies outside is loopback, local, mapped or multicast.
const UNICAST: Ipv6Net = v6(0x2000, 0, 3);

/// What of that is no host on the internet.
const NOT_OUT_THERE_V6: [Ipv6Net; 4] = [
    v6(0x2001, 0, 23),      // the IETF's own: Teredo, benchmarks, ORCHID
    v6(0x2001, 0x0db8, 32), // documentation
    v6(0x2002, 0, 16),      // 6to4: leads to the IPv4 address inside
    v6(0x3fff, 0, 20),      // documentation (RFC 9637)
];

/// IPv4 behind a translator (RFC 6052): what the network of a host with IPv6 alone makes of every name.
const TRANSLATED: Ipv6Net = v6(0x0064, 0xff9b, 96);

/// Whether the address is one host's on the internet. `false` for what is not understood.
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => !NOT_OUT_THERE.iter().any(|net| net.contains(&address)),
        IpAddr::V6(address) if TRANSLATED.contains(&address) => {
            let [.., a, b, c, d] = address.octets();
            is_public(Ipv4Addr::new(a, b, c, d).into())
        }
        IpAddr::V6(address) => {
            UNICAST.contains(&address) && !NOT_OUT_THERE_V6.iter().any(|net| net.contains(&address))
        }
    }
}

/// Whether an operator has named the address.
pub fn is_in(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|net| net.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn public(text: &str) -> bool {
        is_public(text.parse().unwrap())
    }

    #[test]
    fn hosts_on_the_internet_are() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.1",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2001:4860:4860::8888",
            "2a00:1450:4001::1",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
        ] {
            assert!(public(address), "{address}");
        }
    }

    #[test]
    fn no_other_address_is() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::8.8.8.8",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:0:127.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::8.8.8.8",
            "100::1",
            "2001::1",
            "2001:0:7f00:1::",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:808:808::1",
            "3fff::1",
            "4000::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!public(address), "{address}");
        }
    }

    proptest! {
        /// However an address of IPv4 is written into one of IPv6, it is no way around.
        #[test]
        fn an_address_inside_another_is_looked_at(bits in any::<u32>(), rest in any::<u64>()) {
            let inner = Ipv4Addr::from_bits(bits);
            let (high, low) = (u128::from(bits) << 80, u128::from(bits));
            let inside = [
                low,                                                   // compatible
                0xffff_0000_0000 | low,                                // mapped
                0xffff_0000_0000_0000 | low,                           // translated (RFC 2765)
                0x0064_ff9b_u128 << 96 | low,                          // NAT64
                0x0064_ff9b_0001_u128 << 80 | low,                     // NAT64 of one's own
                0x2002_u128 << 112 | high | u128::from(rest),          // 6to4
                0x2001_u128 << 112 | high >> 16 | u128::from(rest) << 32 >> 32, // Teredo's server
                0x2001_u128 << 112 | u128::from(rest) << 32 | u128::from(!bits), // Teredo's client
            ];
            for outer in inside {
                let outer = Ipv6Addr::from_bits(outer);
                prop_assert!(!is_public(outer.into()) || is_public(inner.into()), "{outer} with {inner}");
            }
        }

        #[test]
        fn what_an_operator_names_is_found_however_it_is_written(bits in any::<u32>()) {
            let inner = Ipv4Addr::from_bits(bits);
            let named = [IpNet::from(IpAddr::from(inner))];
            prop_assert!(is_in(&named, inner.into()) && is_in(&named, inner.to_ipv6_mapped().into()));
        }
    }
}
