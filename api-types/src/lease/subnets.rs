//! The subnets in which a node can answer.

use ipnetwork::IpNetwork;
use k8s_openapi::api::coordination::v1::Lease;

use super::list::{entries, join};
use crate::range::parse_cidr;

/// Annotation: the subnets in which the node can answer, as sorted CIDRs.
pub const SUBNETS: &str = "purelb.io/subnets";
/// How many subnets of one Lease are read. Further ones are ignored.
pub const MAX_SUBNETS: usize = 256;

/// The subnets of the Lease, as networks without host bits.
#[must_use]
pub fn subnets(lease: &Lease) -> Vec<IpNetwork> {
    entries(lease, SUBNETS)
        .filter_map(parse_cidr)
        .filter_map(|network| IpNetwork::new(network.network(), network.prefix()).ok())
        .take(MAX_SUBNETS)
        .collect()
}

/// The value of [`SUBNETS`] for these networks: sorted as text, without duplicates.
#[must_use]
pub fn subnets_value(subnets: &[IpNetwork]) -> String {
    let mut texts: Vec<String> = subnets.iter().map(|net| format!("{}/{}", net.network(), net.prefix())).collect();
    texts.sort_unstable();
    texts.dedup();
    join(texts.into_iter())
}

#[cfg(test)]
mod tests {
    use super::super::list::lease_with;
    use super::*;

    #[test]
    fn subnets_are_read_leniently_and_written_canonically() {
        let lease = lease_with(SUBNETS, "192.0.2.7/24,nonsense,,2001:db8::1/64");
        assert_eq!(subnets_value(&subnets(&lease)), "192.0.2.0/24,2001:db8::/64");
    }
}
