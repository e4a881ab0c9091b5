//! Everything that a decision depends on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use runtime::BootTime;

use crate::cluster::configuration::Mode;
use crate::cluster::endpoints::Endpoints;
use crate::cluster::groups::Groups;
use crate::cluster::members::Members;
use crate::cluster::reports::Reports;
use crate::cluster::services::Services;
use crate::decide::decision::Exclusion;
use crate::decide::interfaces::Selection;
use crate::decide::networks::Connected;
use crate::model::observed::Observed;
use crate::model::ours::Ours;
use crate::model::placement::Placement;
use crate::model::uids::Uids;

/// What shows, beside a Service, that one of its addresses is ours.
#[derive(Clone, Copy)]
pub struct Witnesses<'a> {
    /// What agents report of addresses in their kernels.
    pub reports: &'a Reports,
    /// The UIDs of the Services for which this node has put addresses into its kernel.
    pub holders: &'a BTreeMap<IpAddr, Uids>,
    /// The UIDs of the Services for which this node took part in an address when it last decided about it.
    pub served: &'a BTreeMap<IpAddr, Uids>,
    /// The leading allocator is of a release that does not write `allocated-addresses`.
    pub old_leader: bool,
}

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
    /// The addresses in this node's `status.addresses`. One that we put there is not its own.
    pub node_addresses: &'a BTreeSet<IpAddr>,
    /// The gateways of this node's default routes.
    pub gateways: &'a BTreeSet<IpAddr>,
    /// Whether this node is excluded from load balancers.
    pub exclusion: Exclusion,
    /// The interfaces for local addresses.
    pub selection: &'a Selection,
    /// The networks that interfaces are part of.
    pub connected: &'a Connected,
    /// The index of the dummy interface, if it exists.
    pub dummy: Option<u32>,
    /// The kernel's state as last heard.
    pub observed: &'a Observed,
    /// Which addresses in the kernel are ours.
    pub ours: Ours<'a>,
    /// The local addresses that this node answers for.
    pub held: &'a BTreeMap<IpAddr, Placement>,
    /// The placements of remote addresses until now.
    pub remote: &'a BTreeMap<IpAddr, Placement>,
    /// The node has booted, and kube-proxy does not serve it yet.
    pub waits_for_proxy: bool,
    /// What shows whose an address is.
    pub witnesses: Witnesses<'a>,
    /// The time.
    pub now: BootTime,
}

impl Context<'_> {
    /// Whether this node announces the address, or its kernel has it from us. An address that the protocol holds is ours
    /// even if somebody has just written over it.
    pub(super) fn is_from_us(&self, address: IpAddr) -> bool {
        self.held.contains_key(&address)
            || self.remote.contains_key(&address)
            || self.observed.of(address).any(|(key, found)| self.ours.includes(key, found))
    }
}
