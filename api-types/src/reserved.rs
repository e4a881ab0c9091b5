//! Addresses that no Service may be given, whatever a pool says (design, section 8).
//!
//! | What | Who knows it |
//! |---|---|
//! | unusable ranges: link-local, loopback, multicast, unspecified, IPv4-mapped | [`unusable`], from the address alone |
//! | network, broadcast and subnet-router addresses | [`subnet_addresses`], from the subnet of a v2 `local` pool |
//! | a node's own addresses and its gateways | the agents, who publish them in their Leases ([`crate::lease`]) |
//! | Service networks and `spec.externalIPs` | the allocator, from the API server |
//!
//! What a service proxy keeps on [`SERVICE_PROXY_INTERFACES`] is no node's own address.

use std::fmt;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::Family;

/// Dummy interfaces on which a service proxy keeps every VIP of the cluster on every node: kube-proxy in IPVS mode, and
/// kube-router. Their addresses say nothing about who answers.
pub const SERVICE_PROXY_INTERFACES: [&str; 2] = ["kube-ipvs0", "kube-dummy-if"];

/// Ranges that no Service may have: RFC 6890, RFC 5771, RFC 4291. Link-local addresses name a different host on every
/// link, nobody is at an unspecified, loopback or multicast address, and an IPv4-mapped address is IPv4 in disguise.
const UNUSABLE: [(&str, &str, &str); 9] = [
    ("0.0.0.0", "0.255.255.255", "\"this network\" (0.0.0.0/8)"),
    ("127.0.0.0", "127.255.255.255", "loopback"),
    ("169.254.0.0", "169.254.255.255", "link-local"),
    ("224.0.0.0", "239.255.255.255", "multicast"),
    ("255.255.255.255", "255.255.255.255", "broadcast"),
    ("::", "::1", "unspecified or loopback"),
    ("::ffff:0.0.0.0", "::ffff:255.255.255.255", "IPv4-mapped"),
    ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "link-local"),
    ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "multicast"),
];

/// What kind of unusable addresses lie between two addresses of one family, both included, for example `multicast`;
/// nothing if a Service may have each of them.
#[must_use]
pub fn unusable_between(first: IpAddr, last: IpAddr) -> Option<&'static str> {
    UNUSABLE.iter().find_map(|(lowest, highest, what)| {
        let (lowest, highest): (IpAddr, IpAddr) = (lowest.parse().ok()?, highest.parse().ok()?);
        (first <= highest && lowest <= last).then_some(*what)
    })
}

/// What kind of unusable address this is, for example `multicast`; nothing if a Service may have it.
///
/// # Examples
/// ```
/// use api_types::reserved::unusable;
///
/// assert_eq!(unusable("169.254.1.1".parse().unwrap()), Some("link-local"));
/// assert_eq!(unusable("192.0.2.1".parse().unwrap()), None);
/// ```
#[must_use]
pub fn unusable(address: IpAddr) -> Option<&'static str> {
    unusable_between(address, address)
}

/// Whether the address names one host on the networks that agents announce to: the contrary of [`unusable`].
#[must_use]
pub fn names_a_host(address: IpAddr) -> bool {
    unusable(address).is_none()
}

/// Why an address of a subnet is no host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SubnetRole {
    /// The network address of an IPv4 subnet.
    Network,
    /// The broadcast address of an IPv4 subnet.
    Broadcast,
    /// The subnet-router anycast address of an IPv6 subnet (RFC 4291, section 2.6.1).
    SubnetRouter,
}

impl fmt::Display for SubnetRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Network => "network address",
            Self::Broadcast => "broadcast address",
            Self::SubnetRouter => "subnet-router address",
        })
    }
}

/// The addresses of a subnet that no host may use. Subnets for two hosts and host routes have none (RFC 3021 for IPv4,
/// RFC 6164 for IPv6).
#[must_use]
pub fn subnet_addresses(subnet: IpNetwork) -> Vec<(IpAddr, SubnetRole)> {
    if subnet.prefix().saturating_add(2) > Family::of(subnet.ip()).bits() {
        return Vec::new();
    }
    match subnet {
        IpNetwork::V4(_) => {
            vec![(subnet.network(), SubnetRole::Network), (subnet.broadcast(), SubnetRole::Broadcast)]
        }
        IpNetwork::V6(_) => vec![(subnet.network(), SubnetRole::SubnetRouter)],
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("169.254.100.1", Some("link-local"))]
    #[case("127.0.0.1", Some("loopback"))]
    #[case("0.0.0.0", Some("\"this network\" (0.0.0.0/8)"))]
    #[case("239.255.255.255", Some("multicast"))]
    #[case("255.255.255.255", Some("broadcast"))]
    #[case("::", Some("unspecified or loopback"))]
    #[case("::ffff:192.0.2.1", Some("IPv4-mapped"))]
    #[case("fe80::1", Some("link-local"))]
    #[case("ff02::1", Some("multicast"))]
    #[case("192.168.50.255", None)]
    #[case("172.30.200.0", None)]
    #[case("2001:db8::", None)]
    fn unusable_addresses_have_a_name(#[case] address: IpAddr, #[case] what: Option<&str>) {
        assert_eq!(unusable(address), what);
    }

    #[rstest]
    #[case("192.168.50.0/24", &["192.168.50.0", "192.168.50.255"])]
    #[case("192.168.50.0/30", &["192.168.50.0", "192.168.50.3"])]
    #[case("192.168.50.0/31", &[])]
    #[case("192.168.50.7/32", &[])]
    #[case("fd00:50::/64", &["fd00:50::"])]
    #[case("fd00:50::/127", &[])]
    fn subnets_keep_addresses_for_themselves(#[case] subnet: IpNetwork, #[case] expected: &[&str]) {
        let found: Vec<String> = subnet_addresses(subnet).iter().map(|(address, _)| address.to_string()).collect();
        assert_eq!(found, expected);
    }
}
