//! All claims that this node knows of: its own, and a replica of each other node's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use crate::claims::digest::claim_digest;
use crate::claims::own::OwnClaims;
use crate::claims::replica::Replica;
use crate::model::node::{BootId, NodeId};
use crate::model::order::precedes;
use crate::model::time::Time;
use crate::wire::{Epoch, Frame};

/// Whether a claim beats another: by epoch, then by the order of choice.
#[must_use]
pub fn beats(left: (Epoch, &NodeId), right: (Epoch, &NodeId), address: IpAddr) -> bool {
    left.0 > right.0 || left.0 == right.0 && precedes(left.1, right.1, &address)
}

/// All claims that this node knows of.
#[derive(Debug, Default)]
pub struct Claims {
    /// Its own.
    pub own: OwnClaims,
    pub(super) replicas: BTreeMap<NodeId, Replica>,
    by_address: BTreeMap<IpAddr, BTreeMap<NodeId, Epoch>>,
    /// Nodes whose claims are newer by rumour than what is known of them.
    pub(super) behind: BTreeSet<NodeId>,
}

impl Claims {
    /// The claims of other nodes for an address.
    pub fn rivals(&self, address: IpAddr) -> impl Iterator<Item = (&NodeId, Epoch)> {
        self.by_address.get(&address).into_iter().flatten().map(|(node, epoch)| (node, *epoch))
    }

    /// The strongest claim of another node for an address.
    #[must_use]
    pub fn strongest(&self, address: IpAddr) -> Option<(&NodeId, Epoch)> {
        let mut best: Option<(&NodeId, Epoch)> = None;
        for (node, epoch) in self.rivals(address) {
            if best.is_none_or(|(old, old_epoch)| beats((epoch, node), (old_epoch, old), address)) {
                best = Some((node, epoch));
            }
        }
        best
    }

    /// The addresses that another node claims.
    pub fn of(&self, node: &NodeId) -> impl Iterator<Item = (IpAddr, Epoch)> {
        self.replicas
            .get(node)
            .into_iter()
            .flat_map(|replica| &replica.claims)
            .map(|(address, epoch)| (*address, *epoch))
    }

    /// Whether another node is known to claim anything.
    #[must_use]
    pub fn has_claims(&self, node: &NodeId) -> bool {
        self.replicas.get(node).is_some_and(|replica| !replica.claims.is_empty())
    }

    /// A new boot of a node: what it held is kept until it says what it holds now.
    pub fn rebooted(&mut self, node: &NodeId, boot: BootId) {
        let replica = self.replicas.entry(node.clone()).or_default();
        if replica.boot != Some(boot) {
            replica.boot = Some(boot);
            replica.version = 0;
            replica.reading = None;
            replica.asked = None;
        }
    }

    /// Forgets a node that left the cluster; returns the addresses it had claimed.
    pub fn forget(&mut self, node: &NodeId) -> Vec<IpAddr> {
        let claims = self.replicas.remove(node).map(|replica| replica.claims).unwrap_or_default();
        let addresses: Vec<_> = claims.into_keys().collect();
        for address in &addresses {
            self.unindex(*address, node);
        }
        addresses
    }

    /// A datagram has this version and digest: the pull to send if they are news.
    pub fn compare(
        &mut self,
        node: &NodeId,
        version: u64,
        digest: u64,
        now: Time,
        patience: Duration,
    ) -> Option<Frame> {
        let replica = self.replicas.entry(node.clone()).or_default();
        if replica.version == version && replica.digest == digest || now.is_within(replica.asked, patience) {
            return None;
        }
        if replica.version >= version {
            replica.version = 0;
        }
        Some(replica.pull(version, now))
    }

    /// The pull to send for a version that came by rumour.
    pub fn pull(&mut self, node: &NodeId, version: u64, now: Time) -> Frame {
        self.replicas.entry(node.clone()).or_default().pull(version, now)
    }

    /// Whether what is known of a node is older than this version.
    #[must_use]
    pub fn is_behind(&self, node: &NodeId, version: u64) -> bool {
        self.replicas.get(node).is_none_or(|replica| replica.version < version)
    }

    /// Whether what is known of a node is of this version.
    #[must_use]
    pub fn is_at(&self, node: &NodeId, version: u64) -> bool {
        self.replicas.get(node).is_some_and(|replica| replica.version == version)
    }

    /// Whether a node was asked for its claims within so long and has not answered.
    #[must_use]
    pub fn is_asked(&self, node: &NodeId, now: Time, patience: Duration) -> bool {
        self.replicas.get(node).is_some_and(|replica| now.is_within(replica.asked, patience))
    }

    /// Notes by which epoch a node itself says that it holds an address; returns whether that is news.
    pub fn put(&mut self, node: &NodeId, address: IpAddr, epoch: Option<Epoch>) -> bool {
        let replica = self.replicas.entry(node.clone()).or_default();
        let before = match epoch {
            Some(epoch) => replica.claims.insert(address, epoch),
            None => replica.claims.remove(&address),
        };
        if before == epoch {
            return false;
        }
        for epoch in before.into_iter().chain(epoch) {
            replica.digest ^= claim_digest(address, epoch);
        }
        match epoch {
            Some(epoch) => {
                self.by_address.entry(address).or_default().insert(node.clone(), epoch);
            }
            None => self.unindex(address, node),
        }
        true
    }

    fn unindex(&mut self, address: IpAddr, node: &NodeId) {
        if let Some(nodes) = self.by_address.get_mut(&address) {
            nodes.remove(node);
            if nodes.is_empty() {
                self.by_address.remove(&address);
            }
        }
    }
}
