//! Which networks an interface can be part of.

use api_types::reserved::names_a_host;
use ipnetwork::IpNetwork;

/// The shortest prefixes that count as a network of an interface, IPv4 and IPv6. A shorter one, such as that of
/// `default dev wg0`, says where packets go and not who is on the link.
pub const WIDEST: [u8; 2] = [8, 16];

/// Whether the prefix can be a network of an interface.
#[must_use]
pub fn counts(network: IpNetwork) -> bool {
    let [widest_v4, widest_v6] = WIDEST;
    let widest = if network.is_ipv4() { widest_v4 } else { widest_v6 };
    network.prefix() >= widest && names_a_host(network.ip())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("10.0.0.0/8", true)]
    #[case("8.0.0.0/7", false)]
    #[case("0.0.0.0/0", false)]
    #[case("192.0.2.1/32", true)]
    #[case("169.254.0.0/16", false)]
    #[case("127.0.0.0/8", false)]
    #[case("2001::/16", true)]
    #[case("2000::/3", false)]
    #[case("fe80::/64", false)]
    fn wide_and_unusable_networks_do_not_count(#[case] network: IpNetwork, #[case] expected: bool) {
        assert_eq!(counts(network), expected);
    }
}
