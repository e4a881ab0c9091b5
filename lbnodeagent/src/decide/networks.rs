//! The networks that interfaces are part of by addresses that are not ours.

use std::net::IpAddr;

use api_types::Family;
use ipnetwork::IpNetwork;

use crate::model::address::{AddressKey, KernelAddress, MARK};
use crate::model::observed::Observed;

/// The networks that interfaces are part of by other people's addresses, whatever the interface is
/// for. A remote address whose prefix shares addresses with one of them would cut its hosts off.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Connected(Vec<(IpNetwork, u32)>);

impl Connected {
    /// Collects them. Host routes are no networks, or kube-proxy's `kube-ipvs0`, which has every
    /// address as one, would block everything.
    #[must_use]
    pub fn new(observed: &Observed, is_vip: impl Fn(&AddressKey, &KernelAddress) -> bool) -> Self {
        let shared = |key: &AddressKey| key.prefix_len < Family::of(key.ip).bits();
        let foreign =
            observed.addresses.iter().filter(|(key, found)| shared(key) && found.scope == 0 && !is_vip(key, found));
        Self(foreign.filter_map(|(key, _)| key.network().map(|network| (network, key.index))).collect())
    }

    /// A network of an interface other than `except` that shares addresses with `network`.
    #[must_use]
    pub fn overlapping(&self, network: IpNetwork, except: u32) -> Option<(IpNetwork, u32)> {
        let overlaps = |other: IpNetwork| {
            other.is_ipv4() == network.is_ipv4() && (other.contains(network.ip()) || network.contains(other.ip()))
        };
        self.0.iter().copied().find(|(other, index)| *index != except && overlaps(*other))
    }
}

/// The networks of an interface's own addresses.
pub(super) fn networks(
    observed: &Observed,
    index: u32,
    family: Option<Family>,
    is_vip: impl Fn(&AddressKey, &KernelAddress) -> bool,
) -> Vec<IpNetwork> {
    let mut networks = Vec::new();
    for key in own_addresses(observed, index, is_vip) {
        if family.is_some_and(|family| Family::of(key.ip) != family) {
            continue;
        }
        if let Some(network) = key.network().filter(|network| !networks.contains(network)) {
            networks.push(network);
        }
    }
    networks
}

/// The interface's own addresses, by which it is part of networks: no announced ones, no
/// link-local ones.
pub fn own_addresses(
    observed: &Observed,
    index: u32,
    is_vip: impl Fn(&AddressKey, &KernelAddress) -> bool,
) -> impl Iterator<Item = &AddressKey> {
    let own = observed.addresses.iter().filter(move |(key, address)| {
        key.index == index && address.mark != Some(MARK) && !is_vip(key, address) && fit(key.ip, address)
    });
    own.map(|(key, _)| key)
}

fn fit(ip: IpAddr, address: &KernelAddress) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_loopback(),
        IpAddr::V6(ip) => address.usable && !ip.is_unicast_link_local() && !ip.is_loopback(),
    }
}
