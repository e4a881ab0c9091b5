//! The networks that interfaces are part of by addresses that are not ours.

use std::net::IpAddr;

use api_types::Family;
use ipnetwork::IpNetwork;

use crate::model::address::{AddressKey, KernelAddress};
use crate::model::observed::Observed;
use crate::model::ours::Ours;

/// The networks that interfaces are part of by addresses that are not ours, whatever the interface is for.
///
/// A remote address whose prefix overlaps one of them would cut that network's hosts off.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Connected(Vec<(IpNetwork, u32)>);

impl Connected {
    /// Collects them. An address with the full prefix length counts for nothing: kube-proxy's `kube-ipvs0` has every
    /// Service's address that way, and would block all of them.
    #[must_use]
    pub fn new(observed: &Observed, ours: Ours<'_>) -> Self {
        let shared = |key: &AddressKey| key.prefix_len < Family::of(key.ip).bits();
        let foreign = observed
            .addresses
            .iter()
            .filter(|(key, found)| shared(key) && found.scope == 0 && !ours.includes(key, found));
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
pub(super) fn networks(observed: &Observed, index: u32, family: Option<Family>, ours: Ours<'_>) -> Vec<IpNetwork> {
    let mut networks = Vec::new();
    for key in own_addresses(observed, index, ours) {
        if family.is_some_and(|family| Family::of(key.ip) != family) {
            continue;
        }
        if let Some(network) = key.network().filter(|network| !networks.contains(network)) {
            networks.push(network);
        }
    }
    networks
}

/// The addresses by which an interface is part of networks: neither ours nor link-local.
pub fn own_addresses<'a>(observed: &'a Observed, index: u32, ours: Ours<'a>) -> impl Iterator<Item = &'a AddressKey> {
    let own = observed.addresses.iter().filter(move |(key, address)| {
        key.index == index && !ours.includes(key, address) && names_a_network(key.ip, address)
    });
    own.map(|(key, _)| key)
}

fn names_a_network(ip: IpAddr, address: &KernelAddress) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_loopback(),
        IpAddr::V6(ip) => address.usable && !ip.is_unicast_link_local() && !ip.is_loopback(),
    }
}
