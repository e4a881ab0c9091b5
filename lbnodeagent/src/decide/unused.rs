//! An address that nobody uses: a host that answers for it answers for every address (proxy ARP).

use std::net::IpAddr;

use api_types::range::{from_bits, to_bits};
use api_types::{Family, Pool};
use ipnetwork::IpNetwork;

use crate::decide::context::Context;

/// How many addresses are tried, in the pool and in the network.
const TRIED: usize = 64;

/// An unused unicast address of the network to which an address belongs: one of its pool, searched from the end, else one
/// of the network, searched from the middle, where neither routers nor the first hosts have theirs.
pub(super) fn unused(
    context: &Context<'_>,
    address: IpAddr,
    pool: Option<&Pool>,
    network: IpNetwork,
) -> Option<IpAddr> {
    let family = Family::of(address);
    let (first, last) = (to_bits(network.network()), to_bits(network.broadcast()));
    // The first address of an IPv6 network is its routers', and the last one is an ordinary one; nobody misses it.
    let host = |bits: &u128| family.bits() - network.prefix() < 2 || first < *bits && *bits < last;
    let free = |candidate: &IpAddr| *candidate != address && !is_used(context, *candidate);
    let search = |bits: &mut dyn Iterator<Item = u128>| {
        bits.take(TRIED).filter(host).filter_map(|bits| from_bits(family, bits)).find(free)
    };
    let in_pool = pool.and_then(|pool| {
        let (first, last) = (to_bits(pool.range.first()), to_bits(pool.range.last()));
        search(&mut (first..=last).rev())
    });
    in_pool.or_else(|| search(&mut (first + (last - first) / 2..=last)))
}

/// Whether a Service, this node, a gateway or a member has the address, as far as this node knows.
fn is_used(context: &Context<'_>, address: IpAddr) -> bool {
    context.services.of(address).next().is_some()
        || context.observed.of(address).next().is_some()
        || context.node_addresses.contains(&address)
        || context.observed.routes.iter().any(|route| route.gateway == Some(address))
        || context.members.has_own(address)
}
