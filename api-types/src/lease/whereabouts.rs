//! Where an agent's node is on its links, and where the agent listens: what the others need to find it, and to tell
//! its frames from a stranger's.

use std::net::SocketAddr;

use ipnetwork::IpNetwork;
use k8s_openapi::api::coordination::v1::Lease;

use super::entries;
use crate::range::parse_cidr;
use crate::reserved::names_a_host;

/// Annotation: the node's own addresses on its local interfaces, each with the length of its prefix.
pub const ADDRESSES: &str = "purelb.io/addresses";
/// Annotation: the hardware addresses of all interfaces of the node, in lower case.
pub const MACS: &str = "purelb.io/macs";
/// Annotation: where the agent listens for gossip, `address:port`, the best first.
pub const GOSSIP: &str = "purelb.io/gossip";

/// How many addresses of one Lease are used; the rest is ignored.
pub const MAX_ADDRESSES: usize = 256;
/// How many hardware addresses of one Lease are used; the rest is ignored.
pub const MAX_MACS: usize = 512;
/// How many endpoints of one Lease are used; the rest is ignored.
pub const MAX_ENDPOINTS: usize = 16;

/// The node's own addresses with the lengths of their prefixes.
///
/// Dropped are addresses that say nothing about a link (see [`names_a_host`]), and prefixes of length 0: a host that says
/// that the whole internet is on its link is on none.
#[must_use]
pub fn addresses(lease: &Lease) -> Vec<IpNetwork> {
    let read = entries(lease, ADDRESSES).filter_map(parse_cidr);
    read.filter(|network| names_a_host(network.ip()) && network.prefix() > 0).take(MAX_ADDRESSES).collect()
}

/// The value of [`ADDRESSES`]: sorted, IPv4 first, without duplicates, not more than are read.
#[must_use]
pub fn addresses_value(addresses: &[IpNetwork]) -> String {
    let mut sorted: Vec<IpNetwork> =
        addresses.iter().filter(|network| names_a_host(network.ip()) && network.prefix() > 0).copied().collect();
    sorted.sort_unstable();
    sorted.dedup();
    join(sorted.iter().take(MAX_ADDRESSES).map(|network| format!("{}/{}", network.ip(), network.prefix())))
}

/// The hardware addresses of all interfaces of the node.
#[must_use]
pub fn macs(lease: &Lease) -> Vec<[u8; 6]> {
    entries(lease, MACS).filter_map(parse_mac).filter(|mac| is_of_a_host(*mac)).take(MAX_MACS).collect()
}

/// The value of [`MACS`]: sorted, without duplicates, not more than are read.
#[must_use]
pub fn macs_value(macs: &[[u8; 6]]) -> String {
    let mut sorted: Vec<[u8; 6]> = macs.iter().copied().filter(|mac| is_of_a_host(*mac)).collect();
    sorted.sort_unstable();
    sorted.dedup();
    let text = |[a, b, c, d, e, f]: &[u8; 6]| format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}");
    join(sorted.iter().take(MAX_MACS).map(text))
}

/// Where the agent listens for gossip, the best first.
#[must_use]
pub fn endpoints(lease: &Lease) -> Vec<SocketAddr> {
    let read = entries(lease, GOSSIP).filter_map(|text| text.parse().ok());
    read.filter(is_reachable).take(MAX_ENDPOINTS).collect()
}

/// The value of [`GOSSIP`]: in the given order, without duplicates, not more than are read.
#[must_use]
pub fn endpoints_value(endpoints: &[SocketAddr]) -> String {
    let mut kept: Vec<SocketAddr> = Vec::new();
    for endpoint in endpoints.iter().filter(|endpoint| is_reachable(endpoint)) {
        if kept.len() < MAX_ENDPOINTS && !kept.contains(endpoint) {
            kept.push(*endpoint);
        }
    }
    join(kept.iter().map(SocketAddr::to_string))
}

fn join(texts: impl Iterator<Item = String>) -> String {
    texts.collect::<Vec<_>>().join(",")
}

fn is_reachable(endpoint: &SocketAddr) -> bool {
    names_a_host(endpoint.ip()) && endpoint.port() != 0
}

/// Six bytes in hexadecimal, in upper or lower case, with colons between them.
fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        let part = parts.next()?;
        if part.len() != 2 || !part.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

/// Neither empty, as on interfaces without a hardware address, nor a group's (IEEE 802: the lowest bit of the first
/// byte).
fn is_of_a_host(mac: [u8; 6]) -> bool {
    let [first, ..] = mac;
    mac != [0; 6] && first & 1 == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lease(annotation: &str, value: &str) -> Lease {
        let mut lease = Lease::default();
        lease.metadata.annotations = Some([(annotation.to_owned(), value.to_owned())].into());
        lease
    }

    fn read_addresses(text: &str) -> Vec<IpNetwork> {
        addresses(&lease(ADDRESSES, text))
    }

    fn read_macs(text: &str) -> Vec<[u8; 6]> {
        macs(&lease(MACS, text))
    }

    fn read_endpoints(text: &str) -> Vec<SocketAddr> {
        endpoints(&lease(GOSSIP, text))
    }

    #[test]
    fn addresses_keep_the_host_and_the_prefix() {
        let text = "192.168.50.11/24,fd00:50::11/64";
        assert_eq!(addresses_value(&read_addresses(text)), text);
        assert_eq!(addresses_value(&read_addresses(" fd00:50::11/64 , 192.168.50.11/24,192.168.50.11/24")), text);
    }

    #[test]
    fn addresses_that_say_nothing_about_a_link_are_dropped() {
        let bad = "192.168.50.11,10.0.0.1/33,10.0.0.1/0,::1/128,fe80::1/64,169.254.1.1/16,224.0.0.1/4,0.0.0.0/8,\
                   ::ffff:10.0.0.1/112,,nonsense";
        assert_eq!(read_addresses(bad), []);
        assert_eq!(addresses_value(&["127.0.0.1/8".parse().unwrap(), "10.0.0.1/0".parse().unwrap()]), "");
    }

    #[test]
    fn macs_are_read_in_either_case_and_written_in_lower() {
        let read = read_macs("52:54:00:AB:cd:0f,02:00:00:00:00:01,52:54:00:ab:cd:0f");
        assert_eq!(macs_value(&read), "02:00:00:00:00:01,52:54:00:ab:cd:0f");
        let bad = "52:54:00:ab:cd,52:54:00:ab:cd:0f:01,52-54-00-ab-cd-0f,+2:54:00:ab:cd:0f,00:00:00:00:00:00,\
                   33:33:00:00:00:01,ff:ff:ff:ff:ff:ff,";
        assert_eq!(read_macs(bad), Vec::<[u8; 6]>::new());
    }

    #[test]
    fn endpoints_keep_their_order() {
        let text = "[fd00:50::11]:7475,192.168.50.11:7475";
        assert_eq!(endpoints_value(&read_endpoints(&format!("{text},192.168.50.11:7475"))), text);
        let bad = "192.168.50.11,192.168.50.11:0,[fe80::1%2]:7475,255.255.255.255:7475,node1:7475,192.168.50.11:70000,";
        assert_eq!(read_endpoints(bad), []);
    }

    #[test]
    fn of_too_many_the_first_are_used() {
        let many = |entry: fn(usize) -> String| (0..1000).map(entry).collect::<Vec<_>>().join(",");
        let (a, m, e) = (
            many(|n| format!("10.0.{}.{}/16", n / 250, n % 250 + 1)),
            many(|n| format!("02:00:00:00:{:02x}:{:02x}", n / 250, n % 250)),
            many(|n| format!("10.0.0.1:{}", n + 1)),
        );
        assert_eq!(read_addresses(&a).len(), MAX_ADDRESSES);
        assert_eq!(read_macs(&m).len(), MAX_MACS);
        assert_eq!(read_endpoints(&e).len(), MAX_ENDPOINTS);
    }

    #[test]
    fn an_earlier_releases_lease_says_nothing() {
        let lease = Lease::default();
        assert!(addresses(&lease).is_empty() && macs(&lease).is_empty() && endpoints(&lease).is_empty());
    }

    proptest! {
        /// What anybody writes is read without harm, and what we make of it is a fixed point.
        #[test]
        fn reading_and_writing_settle(text in "[0-9a-f:./,\\[\\] ]{0,200}") {
            let addresses = addresses_value(&read_addresses(&text));
            prop_assert_eq!(&addresses_value(&read_addresses(&addresses)), &addresses);
            let macs = macs_value(&read_macs(&text));
            prop_assert_eq!(&macs_value(&read_macs(&macs)), &macs);
            let endpoints = endpoints_value(&read_endpoints(&text));
            prop_assert_eq!(&endpoints_value(&read_endpoints(&endpoints)), &endpoints);
        }

        #[test]
        fn written_is_read(
            addresses in prop::collection::btree_set((1_u32..0x7eff_ffff, 1_u8..=32), 0..20),
            macs in prop::collection::btree_set(any::<[u8; 6]>().prop_filter("a host's", |mac| is_of_a_host(*mac)), 0..20),
            ports in prop::collection::vec(1_u16.., 0..10),
        ) {
            let addresses: Vec<IpNetwork> = addresses.into_iter()
                .filter_map(|(bits, length)| IpNetwork::new(std::net::Ipv4Addr::from_bits(bits).into(), length).ok())
                .filter(|network| names_a_host(network.ip()))
                .collect();
            prop_assert_eq!(read_addresses(&addresses_value(&addresses)), addresses);
            let macs: Vec<[u8; 6]> = macs.into_iter().collect();
            prop_assert_eq!(read_macs(&macs_value(&macs)), macs);
            let mut unique = ports.clone();
            unique.sort_unstable();
            unique.dedup();
            let endpoints: Vec<SocketAddr> = unique.iter().map(|port| ([192, 0, 2, 1], *port).into()).collect();
            prop_assert_eq!(read_endpoints(&endpoints_value(&endpoints)), endpoints);
        }
    }
}
