//! Whether the subnets of nodes cover a range.

use std::collections::BTreeSet;
use std::net::IpAddr;

use api_types::AddressRange;
use api_types::range::{from_bits, to_bits};
use ipnetwork::IpNetwork;

/// The lowest address of the range that lies in none of the subnets.
pub(super) fn first_uncovered(range: AddressRange, subnets: &BTreeSet<IpNetwork>) -> Option<IpAddr> {
    let mut address = range.first();
    loop {
        let Some(subnet) = subnets.iter().find(|subnet| subnet.contains(address)) else { return Some(address) };
        let next = to_bits(subnet.broadcast()).checked_add(1).and_then(|bits| from_bits(range.family(), bits));
        address = next.filter(|next| range.contains(*next))?;
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("192.168.50.0/24", &["192.168.50.0/24"], None)]
    #[case("192.168.50.0/23", &["192.168.50.0/24", "192.168.51.0/24"], None)]
    #[case("192.168.50.0/23", &["192.168.50.0/24"], Some("192.168.51.0"))]
    #[case("192.168.77.0/24", &["192.168.50.0/24", "fd00:50::/64"], Some("192.168.77.0"))]
    #[case("255.255.254.0-255.255.255.254", &["255.255.254.0/23"], None)]
    #[case("fd00:50::/64", &["fd00::/16"], None)]
    #[case("fd00:50::/64", &[], Some("fd00:50::"))]
    fn the_first_address_outside_all_subnets(
        #[case] range: AddressRange,
        #[case] subnets: &[&str],
        #[case] expected: Option<&str>,
    ) {
        let subnets = subnets.iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(first_uncovered(range, &subnets), expected.map(|text| text.parse().unwrap()));
    }
}
