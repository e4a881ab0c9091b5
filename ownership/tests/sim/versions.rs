//! Members of an earlier release, whose agents speak version 1 of the wire; and addresses that a kernel has from somebody
//! else.
//!
//! Such an agent hears nothing of the others, and they hear nothing of it. Its Lease is valid, its kernel answers for what
//! it holds, and the annotations name it. It takes nothing over: that is for tests to do ([`Cluster::earlier_takes`]).

use std::net::IpAddr;
use std::time::Duration;

use ownership::{Event, KernelHolding, LinkId, NeighborFrame};

use super::addressing::mac;
use super::cluster::{Cluster, Node, Scheduled};

/// From a claim to the write of the annotation, and to what others read.
const WRITE: Duration = Duration::from_millis(300);

impl Node {
    /// Whether its kernel has the address on the link, from whomever.
    pub fn holds(&self, address: &IpAddr) -> bool {
        self.kernel.contains(address) || self.holdings.get(address) == Some(&KernelHolding::Foreign)
    }

    /// Whether its kernel answers for the address on the link.
    pub fn answers_for(&self, address: &IpAddr) -> bool {
        self.kernel.contains(address) || self.ipvs.contains(address) || self.holdings.contains_key(address)
    }
}

impl Cluster {
    /// The agent of a node is replaced by one of the earlier release, which keeps what the kernel has.
    pub fn downgrade(&mut self, node: usize) {
        self.kill_agent(node);
        self.note(format!("downgrade {node}"));
        self.nodes[node].earlier = true;
        for address in self.nodes[node].kernel.clone() {
            self.name_owner(address, node);
        }
        self.list_leases();
    }

    /// The agent of the earlier release is replaced by one of this release.
    pub fn upgrade(&mut self, node: usize) {
        if std::mem::take(&mut self.nodes[node].earlier) {
            self.note(format!("upgrade {node}"));
            self.start_agent(node);
            self.list_leases();
        }
    }

    /// An agent of the earlier release takes an address, announces it on the link and names itself.
    pub fn earlier_takes(&mut self, node: usize, address: IpAddr) {
        self.note(format!("{node} of the earlier release takes {address}"));
        self.nodes[node].kernel.insert(address);
        self.changed.push(address);
        for other in 0..self.nodes.len() {
            if other != node {
                let frame = NeighborFrame::Announcement(address);
                self.transmit(node, other, 0, Event::Seen { link: LinkId(1), mac: mac(node, 0), frame });
            }
        }
        self.schedule(WRITE, Scheduled::Named(address, node));
    }

    fn list_leases(&mut self) {
        for other in 0..self.nodes.len() {
            if self.nodes[other].machine.is_some() && !std::mem::replace(&mut self.nodes[other].listing, true) {
                self.schedule(Duration::from_millis(20), Scheduled::Leases(other));
            }
        }
    }

    /// A node claimed an address: it writes the annotation.
    pub fn note_owner(&mut self, address: IpAddr, node: usize) {
        self.schedule(WRITE, Scheduled::Named(address, node));
    }

    /// The annotations name the owner of an address, if it still has it.
    pub fn name_owner(&mut self, address: IpAddr, node: usize) {
        let id = self.nodes[node].id.clone();
        if !self.nodes[node].kernel.contains(&address) || !self.api {
            return;
        }
        let Some(spec) = self.specs.get_mut(&address).filter(|spec| spec.announced_by.as_ref() != Some(&id)) else {
            return;
        };
        spec.announced_by = Some(id);
        let spec = spec.clone();
        for other in 0..self.nodes.len() {
            if self.nodes[other].machine.is_some() {
                let event = Event::ApplyAddress(spec.clone());
                self.schedule(Duration::from_millis(10), Scheduled::Deliver(other, event));
            }
        }
    }

    /// What an earlier release's agent has, is named for, and still answers for is not taken from it.
    pub fn check_earlier(&self, node: usize, address: IpAddr) {
        let named = self.specs.get(&address).and_then(|spec| spec.announced_by.as_ref());
        let Some(seen) = self.measure.addresses.get(&address) else { return };
        if !self.api || self.now.since(seen.since) < Duration::from_secs(1) {
            return;
        }
        for (number, other) in self.nodes.iter().enumerate().filter(|(number, _)| *number != node) {
            let (here, there) = (self.port(node, 0), self.port(number, 0));
            let reached = other.powered && self.net.both_ways(here, there) && self.net.loss == 0;
            if other.earlier
                && reached
                && seen.now == [number]
                && other.kernel.contains(&address)
                && named == Some(&other.id)
            {
                self.fail(&format!("{node} takes {address} from {number} of the earlier release"));
            }
        }
    }

    /// Somebody else puts an address into a node's kernel, or the agent puts it there as a route.
    pub fn hold(&mut self, node: usize, address: IpAddr, holding: KernelHolding) {
        self.note(format!("kernel of {node} has {address}: {holding:?}"));
        self.nodes[node].holdings.insert(address, holding);
        self.measured = false;
        self.deliver(node, Event::KernelHolds(vec![(address, Some(holding))]));
    }

    /// It is gone again.
    pub fn hold_no_more(&mut self, node: usize, address: IpAddr) {
        self.note(format!("kernel of {node} does not have {address} any more"));
        self.nodes[node].holdings.remove(&address);
        self.measured = false;
        self.deliver(node, Event::KernelHolds(vec![(address, None)]));
    }
}
