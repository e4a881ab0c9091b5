//! The members: nodes that can answer for local addresses, known by their Leases (specification, api.md 9).
//!
//! The protocol between the agents ([`::ownership`]) determines who is alive. From here it learns who the members
//! are and where they listen ([`Members::peers`]). It falls back on the validity of their Leases while gossip is
//! silent.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ::ownership::Peer;
use ipnetwork::IpNetwork;
use jiff::Timestamp;
use runtime::BootTime;

use crate::cluster::lease::LeaseView;

/// How long a subnet counts as known after its last member has left, so that its addresses do not become remote
/// while a node restarts.
pub const LINGER: Duration = Duration::from_secs(60);

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
    others: BTreeMap<String, Member>,
    left: BTreeMap<IpNetwork, BootTime>,
}

impl Members {
    /// Without other members.
    #[must_use]
    pub fn new(node: &str) -> Self {
        Self { node: node.to_owned(), subnets: Vec::new(), others: BTreeMap::new(), left: BTreeMap::new() }
    }

    /// The name of this node.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Sets this node's own subnets; returns whether they changed.
    pub fn set_own_subnets(&mut self, subnets: Vec<IpNetwork>, now: BootTime) -> bool {
        if self.subnets == subnets {
            return false;
        }
        let before = std::mem::replace(&mut self.subnets, subnets);
        self.note_left(&before, now);
        true
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
        self.others.insert(member.view.node.clone(), member);
        self.note_left(&old.map(|old| old.view.subnets).unwrap_or_default(), now);
        changed
    }

    /// All other members as the protocol between the agents knows them.
    #[must_use]
    pub fn peers(&self, now: BootTime) -> Vec<Peer> {
        self.others.values().filter_map(|member| member.view.peer(member.lease_alive(now))).collect()
    }

    /// Removes a Lease; returns whether there was one.
    pub fn remove(&mut self, node: &str, now: BootTime) -> bool {
        let Some(gone) = self.others.remove(node) else { return false };
        self.note_left(&gone.view.subnets, now);
        true
    }

    fn note_left(&mut self, before: &[IpNetwork], now: BootTime) {
        for network in before {
            if !self.advertised().any(|known| known == *network) {
                self.left.insert(*network, now);
            }
        }
    }

    /// The names of all other members.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.others.keys().map(String::as_str)
    }

    /// Whether any member, alive or not, advertises a subnet with the address, or did so within the last
    /// minute.
    #[must_use]
    pub fn know_subnet_of(&self, address: IpAddr, now: BootTime) -> bool {
        self.advertised().any(|subnet| subnet.contains(address))
            || self.left.iter().any(|(subnet, left)| now.since(*left) < LINGER && subnet.contains(address))
    }

    /// Whether another node advertises a subnet with the address.
    #[must_use]
    pub fn reaches(&self, node: &str, address: IpAddr) -> bool {
        self.others.get(node).is_some_and(|member| member.view.subnets.iter().any(|subnet| subnet.contains(address)))
    }

    fn advertised(&self) -> impl Iterator<Item = IpNetwork> {
        self.others.values().flat_map(|member| member.view.subnets.iter()).chain(&self.subnets).copied()
    }

    /// How many different subnets these nodes and this one advertise.
    #[must_use]
    pub fn count_subnets<'a>(&self, nodes: impl Iterator<Item = &'a str>) -> usize {
        let others = nodes.filter_map(|node| self.others.get(node)).flat_map(|member| &member.view.subnets);
        others.chain(&self.subnets).collect::<BTreeSet<_>>().len()
    }

    /// Handles the passing of time: removes subnets that have lingered long enough, and finds Leases that have
    /// expired. Returns whether there were any.
    pub fn expire(&mut self, now: BootTime) -> bool {
        let before = self.left.len();
        self.left.retain(|_, left| now.since(*left) < LINGER);
        let mut changed = before != self.left.len();
        for member in self.others.values_mut().filter(|member| member.told) {
            member.told = member.lease_alive(now);
            changed |= !member.told;
        }
        changed
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Leases for tests.

    use super::*;

    /// The Lease of a node with these subnets, renewed at the given second.
    pub fn lease(node: &str, subnets: &[&str], renewed: i64) -> LeaseView {
        LeaseView {
            node: node.to_owned(),
            subnets: subnets.iter().map(|subnet| subnet.parse().unwrap()).collect(),
            places: Vec::new(),
            macs: Vec::new(),
            endpoints: Vec::new(),
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
