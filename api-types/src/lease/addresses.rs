//! The own addresses of a node, by which its neighbours know which of their links reach it.

use ipnetwork::IpNetwork;
use k8s_openapi::api::coordination::v1::Lease;

use super::list::{entries, join};
use crate::range::{names_a_host, parse_cidr};

/// Annotation: the node's own addresses on its local interfaces, each with the length of its prefix.
pub const ADDRESSES: &str = "purelb.io/addresses";
/// How many addresses of one Lease are read. Further ones are ignored.
pub const MAX_ADDRESSES: usize = 256;

/// The node's own addresses with the lengths of their prefixes.
#[must_use]
pub fn addresses(lease: &Lease) -> Vec<IpNetwork> {
    entries(lease, ADDRESSES).filter_map(parse_cidr).filter(names_a_link).take(MAX_ADDRESSES).collect()
}

/// The value of [`ADDRESSES`]: sorted, IPv4 first, without duplicates, not more than are read.
#[must_use]
pub fn addresses_value(addresses: &[IpNetwork]) -> String {
    let mut sorted: Vec<IpNetwork> = addresses.iter().filter(|network| names_a_link(network)).copied().collect();
    sorted.sort_unstable();
    sorted.dedup();
    join(sorted.iter().take(MAX_ADDRESSES).map(|network| format!("{}/{}", network.ip(), network.prefix())))
}

/// Whether the address with its prefix shows on which link the host is. A prefix of length 0 would put the whole
/// internet on that link.
fn names_a_link(network: &IpNetwork) -> bool {
    names_a_host(network.ip()) && network.prefix() > 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::list::lease_with;
    use super::*;

    fn read(text: &str) -> Vec<IpNetwork> {
        addresses(&lease_with(ADDRESSES, text))
    }

    #[test]
    fn addresses_keep_the_host_and_the_prefix() {
        let text = "192.168.50.11/24,fd00:50::11/64";
        assert_eq!(addresses_value(&read(text)), text);
        assert_eq!(addresses_value(&read(" fd00:50::11/64 , 192.168.50.11/24,192.168.50.11/24")), text);
    }

    #[test]
    fn addresses_that_say_nothing_about_a_link_are_skipped() {
        let bad = "192.168.50.11,10.0.0.1/33,10.0.0.1/0,::1/128,fe80::1/64,169.254.1.1/16,224.0.0.1/4,0.0.0.0/8,\
                   ::ffff:10.0.0.1/112,,nonsense";
        assert_eq!(read(bad), []);
        assert_eq!(addresses_value(&["127.0.0.1/8".parse().unwrap(), "10.0.0.1/0".parse().unwrap()]), "");
    }

    #[test]
    fn of_too_many_the_first_are_read() {
        let many: Vec<_> = (0..1000).map(|n| format!("10.0.{}.{}/16", n / 250, n % 250 + 1)).collect();
        assert_eq!(read(&many.join(",")).len(), MAX_ADDRESSES);
    }

    proptest! {
        /// Any text can be read, and what is written is read back as the same.
        #[test]
        fn reading_and_writing_settle(text in "[0-9a-f:./,\\[\\] ]{0,200}") {
            let written = addresses_value(&read(&text));
            prop_assert_eq!(&addresses_value(&read(&written)), &written);
        }

        #[test]
        fn written_is_read(numbers in prop::collection::btree_set((1_u32..0x7eff_ffff, 1_u8..=32), 0..20)) {
            let addresses: Vec<IpNetwork> = numbers.into_iter()
                .filter_map(|(bits, length)| IpNetwork::new(std::net::Ipv4Addr::from_bits(bits).into(), length).ok())
                .filter(|network| names_a_host(network.ip()))
                .collect();
            prop_assert_eq!(read(&addresses_value(&addresses)), addresses);
        }
    }
}
