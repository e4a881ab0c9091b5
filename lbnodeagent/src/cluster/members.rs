//! The members: nodes that can answer for local addresses, known by their Leases (specification, api.md 9).
//!
//! The protocol between the agents ([`::ownership`]) determines who is alive. From here it learns who the members
//! are and where they listen ([`Members::peers`]). It falls back on the validity of their Leases while gossip is
//! silent.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ::ownership::Peer;
use ::ownership::wire::VERSION;
use api_types::lease::ProxyState;
use ipnetwork::IpNetwork;
use jiff::Timestamp;
use runtime::BootTime;

use crate::cluster::lease::LeaseView;
use crate::cluster::reserved::Reserved;

#[derive(Debug)]
struct Member {
    view: LeaseView,
    /// When a renewal of its Lease was last seen; nothing if the Lease was expired when first seen.
    alive: Option<BootTime>,
    /// Whether its Lease was valid when that was last reported.
    told: bool,
}

impl Member {
    /// Whether the Lease is valid. This is measured by the local clock from the last renewal that was seen,
    /// because the clocks of two nodes may differ.
    fn lease_alive(&self, now: BootTime) -> bool {
        self.alive.is_some_and(|alive| now.since(alive) < self.view.duration)
    }
}

/// All members. This node is represented by its own subnets.
#[derive(Debug)]
pub struct Members {
    node: String,
    subnets: Vec<IpNetwork>,
    /// Whether kube-proxy serves this node.
    proxy: Option<ProxyState>,
    failed_proxies: BTreeSet<String>,
    serving: BTreeSet<String>,
    others: BTreeMap<String, Member>,
    reserved: Reserved,
}

impl Members {
    /// Without other members.
    #[must_use]
    pub fn new(node: &str) -> Self {
        Self {
            node: node.to_owned(),
            subnets: Vec::new(),
            proxy: None,
            failed_proxies: BTreeSet::new(),
            serving: BTreeSet::new(),
            others: BTreeMap::new(),
            reserved: Reserved::default(),
        }
    }

    /// The name of this node.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Whether the node's agent lives and speaks an earlier version of the protocol.
    #[must_use]
    pub fn runs_earlier_release(&self, node: &str) -> bool {
        let member = self.others.get(node).filter(|member| member.told);
        member.is_some_and(|member| member.view.wire_version < VERSION.into())
    }

    /// Sets this node's own subnets; returns whether they changed.
    pub fn set_own_subnets(&mut self, subnets: Vec<IpNetwork>) -> bool {
        let changed = self.subnets != subnets;
        self.subnets = subnets;
        changed
    }

    /// Sets whether kube-proxy serves this node; returns whether that changed.
    pub fn set_own_proxy(&mut self, state: Option<ProxyState>) -> bool {
        let changed = std::mem::replace(&mut self.proxy, state) != state;
        self.note_proxies();
        changed
    }

    /// The living nodes that kube-proxy does not serve. If more than a third of all say so or doubt it, or more than one of
    /// up to three, the cause is not one of nodes, and there are none; nor is the last node one of them.
    #[must_use]
    pub const fn failed_proxies(&self) -> &BTreeSet<String> {
        &self.failed_proxies
    }

    /// The living nodes that announce routed addresses and that kube-proxy serves, as far as they say so. Agents of earlier
    /// releases do not.
    #[must_use]
    pub const fn serving(&self) -> &BTreeSet<String> {
        &self.serving
    }

    fn note_proxies(&mut self) {
        let living = self.others.iter().filter(|(_, member)| member.told);
        let states: Vec<_> =
            living.map(|(node, member)| (node, member.view.proxy)).chain([(&self.node, self.proxy)]).collect();
        let of =
            |wanted: ProxyState| states.iter().filter(move |(_, state)| *state == Some(wanted)).map(|(node, _)| *node);
        let count = of(ProxyState::Failed).chain(of(ProxyState::Doubtful)).count();
        let counts = count <= (states.len() / 3).max(1) && count < states.len();
        let failed = of(ProxyState::Failed).filter(|_| counts).cloned().collect();
        let serving = of(ProxyState::Serves).cloned().collect();
        (self.failed_proxies, self.serving) = (failed, serving);
    }

    /// Adds or replaces a Lease; returns whether it has new content, or is valid again.
    pub fn apply(&mut self, view: LeaseView, now: BootTime, wall: Timestamp) -> bool {
        if view.node == self.node {
            return false;
        }
        let old = self.others.remove(&view.node);
        let alive = match &old {
            Some(old) if old.view.renewed == view.renewed => old.alive,
            Some(_) => Some(now),
            None => view.unexpired(wall).then_some(now),
        };
        let mut member = Member { view, alive, told: false };
        member.told = member.lease_alive(now);
        let changed = old.as_ref().is_none_or(|old| old.told != member.told || !old.view.says_the_same(&member.view));
        self.reserved.replace(&member.view.node, old.as_ref().map(|old| &old.view), Some(&member.view));
        self.others.insert(member.view.node.clone(), member);
        if changed {
            self.note_proxies();
        }
        changed
    }

    /// All other members as the protocol between the agents knows them.
    #[must_use]
    pub fn peers(&self, now: BootTime) -> Vec<Peer> {
        self.others.values().filter_map(|member| member.view.peer(member.lease_alive(now))).collect()
    }

    /// Removes a Lease; returns whether there was one.
    pub fn remove(&mut self, node: &str) -> bool {
        let Some(gone) = self.others.remove(node) else { return false };
        self.reserved.replace(node, Some(&gone.view), None);
        self.note_proxies();
        true
    }

    /// Addresses that other nodes, or their gateways, have.
    #[must_use]
    pub const fn reserved(&self) -> &Reserved {
        &self.reserved
    }

    /// The addresses of which other nodes' Leases say something else since the last call.
    pub fn take_reserved_changes(&mut self) -> BTreeSet<IpAddr> {
        self.reserved.take_changed()
    }

    /// Whether this is a node with a Lease, or this node.
    #[must_use]
    pub fn has(&self, node: &str) -> bool {
        node == self.node || self.others.contains_key(node)
    }

    /// The names of all other members.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.others.keys().map(String::as_str)
    }

    /// Whether another node advertises a subnet with the address.
    #[must_use]
    pub fn reaches(&self, node: &str, address: IpAddr) -> bool {
        self.others.get(node).is_some_and(|member| member.view.subnets.iter().any(|subnet| subnet.contains(address)))
    }

    /// Whether another node has the address as its own.
    #[must_use]
    pub fn has_own(&self, address: IpAddr) -> bool {
        self.others.values().any(|member| member.view.places.iter().any(|place| place.address == address))
    }

    /// How many different subnets these nodes and this one advertise.
    #[must_use]
    pub fn count_subnets<'a>(&self, nodes: impl Iterator<Item = &'a str>) -> usize {
        let others = nodes.filter_map(|node| self.others.get(node)).flat_map(|member| &member.view.subnets);
        others.chain(&self.subnets).collect::<BTreeSet<_>>().len()
    }

    /// Handles the passing of time: finds Leases that have expired. Returns whether there were any.
    pub fn expire(&mut self, now: BootTime) -> bool {
        let mut changed = false;
        for member in self.others.values_mut().filter(|member| member.told) {
            member.told = member.lease_alive(now);
            changed |= !member.told;
        }
        if changed {
            self.note_proxies();
        }
        changed
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Leases for tests.

    use std::time::Duration;

    use api_types::lease::Report;

    use super::*;

    /// The Lease of a node with these subnets, renewed at the given second.
    pub fn lease(node: &str, subnets: &[&str], renewed: i64) -> LeaseView {
        LeaseView {
            node: node.to_owned(),
            subnets: subnets.iter().map(|subnet| subnet.parse().unwrap()).collect(),
            places: Vec::new(),
            own: Vec::new(),
            gateways: Vec::new(),
            macs: Vec::new(),
            endpoints: Vec::new(),
            proxy: None,
            wire_version: 2,
            report: Report::default(),
            renewed: Some(Timestamp::from_second(renewed).unwrap()),
            duration: Duration::from_secs(10),
        }
    }

    /// A point in time.
    pub fn at(seconds: u64) -> BootTime {
        BootTime::from_duration(Duration::from_secs(seconds))
    }

    /// A wall clock reading.
    pub fn wall(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }
}

#[cfg(test)]
#[path = "members_tests.rs"]
mod tests;
