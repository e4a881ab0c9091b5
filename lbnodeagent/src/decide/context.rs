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
use crate::model::address::{AddressKey, KernelAddress};
use crate::model::observed::Observed;
use crate::model::ours::Ours;
use crate::model::placement::Placement;

/// Everything that a decision depends on.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The configuration of this node.
    pub mode: &'a Mode,
    /// The ServiceGroups.
    pub groups: &'a Groups,
    /// The Services.
    pub services: &'a Services,
    /// The endpoints of the Services that need them.
    pub endpoints: &'a Endpoints,
    /// The members and their subnets.
    pub members: &'a Members,
    /// This node's own addresses (its `status.addresses`), which are never touched.
    pub node_addresses: &'a BTreeSet<IpAddr>,
    /// Whether this node is excluded from load balancers.
    pub exclusion: Exclusion,
    /// The interfaces for local addresses.
    pub selection: &'a Selection,
    /// The networks that interfaces are part of by addresses that are not ours.
    pub connected: &'a Connected,
    /// The index of the dummy interface, if it exists.
    pub dummy: Option<u32>,
    /// The kernel's state as last heard.
    pub observed: &'a Observed,
    /// Which addresses in the kernel are ours.
    pub ours: Ours<'a>,
    /// Whether this kernel can mark addresses.
    pub marks_addresses: bool,
    /// The local addresses that this node answers for.
    pub held: &'a BTreeMap<IpAddr, Placement>,
    /// The placements of remote addresses until now.
    pub remote: &'a BTreeMap<IpAddr, Placement>,
    /// The time.
    pub now: BootTime,
}

impl Context<'_> {
    /// Whether an interface has the address from somebody else: an administrator, DHCP, another address manager.
    ///
    /// The kernel knows an IPv6 address once per interface, whatever its prefix length, so adding ours would change
    /// theirs. An address that the protocol holds is ours even if somebody has just written over it. Where the kernel
    /// cannot mark addresses, one with a lifetime may be ours from a run that ended before it was recorded.
    pub(super) fn is_taken(&self, address: IpAddr, index: u32) -> bool {
        let foreign = |key: &AddressKey, found: &KernelAddress| {
            let may_be_ours = !self.marks_addresses && found.valid.is_some();
            key.index == index && !self.ours.includes(key, found) && !may_be_ours
        };
        !self.held.contains_key(&address) && self.observed.of(address).any(|(key, found)| foreign(key, found))
    }
}
