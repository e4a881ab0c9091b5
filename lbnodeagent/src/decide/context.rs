//! Everything that a decision depends on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use runtime::BootTime;

use crate::cluster::configuration::Mode;
use crate::cluster::endpoints::Endpoints;
use crate::cluster::groups::Groups;
use crate::cluster::members::Members;
use crate::cluster::services::Services;
use crate::decide::decision::Exclusion;
use crate::decide::interfaces::Selection;
use crate::decide::networks::Connected;
use crate::kernel::marks::marks_addresses;
use crate::model::address::{AddressKey, KernelAddress, MARK};
use crate::model::candidacy::Candidacy;
use crate::model::observed::Observed;
use crate::model::placement::Placement;

/// Everything that a decision depends on.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The configuration of this node.
    pub mode: &'a Mode,
    /// The ServiceGroups.
    pub groups: &'a Groups,
    /// The interfaces for local addresses.
    pub selection: &'a Selection,
    /// The Services.
    pub services: &'a Services,
    /// The nodes with subnets.
    pub members: &'a Members,
    /// The local addresses that this node answers for.
    pub held: &'a BTreeMap<IpAddr, Placement>,
    /// Where those go that it takes part in.
    pub candidacies: &'a BTreeMap<IpAddr, Candidacy>,
    /// Where remote addresses were to be until now.
    pub remote: &'a BTreeMap<IpAddr, Placement>,
    /// Whether the node is excluded from load balancers.
    pub exclusion: Exclusion,
    /// The endpoints of the Services that need them.
    pub endpoints: &'a Endpoints,
    /// What the kernel has.
    pub observed: &'a Observed,
    /// The networks that interfaces are part of by other people's addresses.
    pub connected: &'a Connected,
    /// Addresses of ours that carry no mark, on old kernels.
    pub recorded: &'a BTreeSet<AddressKey>,
    /// The node's own addresses (its `status.addresses`): never touched.
    pub node_addresses: &'a BTreeSet<IpAddr>,
    /// The index of the dummy interface, if it is there.
    pub dummy: Option<u32>,
    /// The time.
    pub now: BootTime,
}

impl Context<'_> {
    fn is_ours(&self, key: &AddressKey, found: &KernelAddress) -> bool {
        // Where the kernel cannot mark an address, it is ours from the moment on in which the protocol may put it there.
        let placed =
            || !marks_addresses() && self.candidacies.get(&key.ip).is_some_and(|wanted| wanted.placement.key == *key);
        found.mark == Some(MARK) || self.recorded.contains(key) || placed()
    }

    /// Whether an interface has the address from somebody else: an administrator, DHCP, another address manager. IPv6
    /// knows it once per interface whatever its prefix length, so adding ours would change theirs. What the protocol
    /// holds is ours even if somebody has just written over it; and where the kernel cannot mark addresses, one with a
    /// lifetime may be ours from a run that ended before it was recorded.
    pub(super) fn is_taken(&self, address: IpAddr, index: u32) -> bool {
        let foreign = |key: &AddressKey, found: &KernelAddress| {
            key.index == index && !self.is_ours(key, found) && (found.valid.is_none() || marks_addresses())
        };
        !self.held.contains_key(&address) && self.observed.of(address).any(|(key, found)| foreign(key, found))
    }
}
