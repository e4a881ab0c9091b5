//! The Lease by which an agent makes itself known (specification, api.md 9).
//!
//! Whoever may write Leases writes what is read here: entries that make no sense are dropped, and of too many the
//! first are used. What we write ourselves has one spelling only, so that a Lease changes when its content does.

mod report;
mod whereabouts;

use ipnetwork::IpNetwork;
use k8s_openapi::api::coordination::v1::Lease;

use crate::range::parse_cidr;

pub use self::report::{
    ALLOCATOR_VERSION, GATEWAYS, Held, MARKS_WITH_ADDRESSES, MAX_GATEWAYS, MAX_OWN_ADDRESSES, MAX_REPORT, OWN_ADDRESSES,
    REPORT, Refused, Report, WIRE_VERSION, allocator_version, gateways, gateways_value, own_addresses,
    own_addresses_value, report, version_value, wire_version,
};
pub use self::whereabouts::{
    ADDRESSES, GOSSIP, MACS, MAX_ADDRESSES, MAX_ENDPOINTS, MAX_MACS, addresses, addresses_value, endpoints,
    endpoints_value, macs, macs_value,
};

/// What the name of every agent's Lease starts with.
pub const NAME_PREFIX: &str = "purelb-node-";
/// Annotation: the subnets on which the node can answer, CIDRs joined by commas, sorted.
pub const SUBNETS: &str = "purelb.io/subnets";
/// Annotation: the UID of the agent's pod.
pub const INSTANCE: &str = "purelb.io/instance";
/// How many subnets of one Lease are used; the rest is ignored.
pub const MAX_SUBNETS: usize = 256;

/// The name of a node's Lease.
#[must_use]
pub fn name(node: &str) -> String {
    format!("{NAME_PREFIX}{node}")
}

/// The node whose agent holds the Lease; nothing if it is not an agent's Lease.
#[must_use]
pub fn node(lease: &Lease) -> Option<&str> {
    lease.metadata.name.as_deref()?.strip_prefix(NAME_PREFIX).filter(|node| !node.is_empty())
}

/// The subnets of the Lease, as networks; entries that are no CIDR are dropped.
#[must_use]
pub fn subnets(lease: &Lease) -> Vec<IpNetwork> {
    entries(lease, SUBNETS)
        .filter_map(parse_cidr)
        .filter_map(|network| IpNetwork::new(network.network(), network.prefix()).ok())
        .take(MAX_SUBNETS)
        .collect()
}

/// What an annotation lists, without blanks around the entries.
fn entries<'a>(lease: &'a Lease, annotation: &str) -> impl Iterator<Item = &'a str> {
    let text = lease.metadata.annotations.as_ref().and_then(|annotations| annotations.get(annotation));
    text.into_iter().flat_map(|text| text.split(',')).map(str::trim)
}

/// The value of [`SUBNETS`] for these networks: sorted as text, without duplicates.
#[must_use]
pub fn subnets_value(subnets: &[IpNetwork]) -> String {
    let mut texts: Vec<String> = subnets.iter().map(|net| format!("{}/{}", net.network(), net.prefix())).collect();
    texts.sort_unstable();
    texts.dedup();
    texts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(name: &str, subnets: &str) -> Lease {
        let mut lease = Lease::default();
        lease.metadata.name = Some(name.to_owned());
        lease.metadata.annotations = Some([(SUBNETS.to_owned(), subnets.to_owned())].into());
        lease
    }

    #[test]
    fn subnets_are_read_leniently_and_written_canonically() {
        let lease = lease("purelb-node-a", "192.0.2.7/24,nonsense,,2001:db8::1/64");
        let read = subnets(&lease);
        assert_eq!(subnets_value(&read), "192.0.2.0/24,2001:db8::/64");
        assert_eq!(node(&lease), Some("a"));
    }

    #[test]
    fn other_leases_have_no_node() {
        assert_eq!(node(&lease("purelb-allocator", "")), None);
        assert_eq!(node(&lease("purelb-node-", "")), None);
    }
}
