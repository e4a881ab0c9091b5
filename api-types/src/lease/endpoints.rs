//! The endpoints at which an agent listens for the gossip of the others.

use std::net::SocketAddr;

use k8s_openapi::api::coordination::v1::Lease;

use super::list::{entries, join};
use crate::range::names_a_host;

/// Annotation: where the agent listens for gossip, `address:port`, the best first.
pub const GOSSIP: &str = "purelb.io/gossip";
/// How many endpoints of one Lease are read. Further ones are ignored.
pub const MAX_ENDPOINTS: usize = 16;

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

fn is_reachable(endpoint: &SocketAddr) -> bool {
    names_a_host(endpoint.ip()) && endpoint.port() != 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::list::lease_with;
    use super::*;

    fn read(text: &str) -> Vec<SocketAddr> {
        endpoints(&lease_with(GOSSIP, text))
    }

    #[test]
    fn endpoints_keep_their_order() {
        let text = "[fd00:50::11]:7475,192.168.50.11:7475";
        assert_eq!(endpoints_value(&read(&format!("{text},192.168.50.11:7475"))), text);
        let bad = "192.168.50.11,192.168.50.11:0,[fe80::1%2]:7475,255.255.255.255:7475,node1:7475,192.168.50.11:70000,";
        assert_eq!(read(bad), []);
    }

    #[test]
    fn of_too_many_the_first_are_read() {
        let many: Vec<_> = (0..1000).map(|n| format!("10.0.0.1:{}", n + 1)).collect();
        assert_eq!(read(&many.join(",")).len(), MAX_ENDPOINTS);
    }

    proptest! {
        /// Any text can be read, and what is written is read back as the same.
        #[test]
        fn reading_and_writing_settle(text in "[0-9a-f:./,\\[\\] ]{0,200}") {
            let written = endpoints_value(&read(&text));
            prop_assert_eq!(&endpoints_value(&read(&written)), &written);
        }

        #[test]
        fn written_is_read(ports in prop::collection::btree_set(1_u16.., 0..10)) {
            let endpoints: Vec<SocketAddr> = ports.iter().map(|port| ([192, 0, 2, 1], *port).into()).collect();
            prop_assert_eq!(read(&endpoints_value(&endpoints)), endpoints);
        }
    }
}
