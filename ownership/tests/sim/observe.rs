//! What a test observes: who answers, for how long nobody or two do, and what machines report.

use std::net::IpAddr;
use std::time::Duration;

use ownership::{Notification, Time};

use super::cluster::Cluster;

impl Cluster {
    /// Who would answer the client now.
    pub fn answers(&self, address: IpAddr) -> Vec<usize> {
        let client = self.port(self.host(0), 0);
        let nodes = (0..self.nodes.len()).filter(|node| {
            let state = &self.nodes[*node];
            state.powered && state.kernel.contains(&address) && self.net.both_ways(client, self.port(*node, 0))
        });
        let foreign = (2..self.hosts.len())
            .filter(|host| self.hosts[*host].up && self.hosts[*host].addresses.contains(&address))
            .map(|host| self.host(host));
        nodes.chain(foreign).collect()
    }

    pub fn measure_changes(&mut self) {
        if !self.measured {
            self.measured = true;
            self.changed = self.specs.keys().chain(self.measure.addresses.keys()).copied().collect();
            self.changed.sort();
            self.changed.dedup();
        }
        while let Some(address) = self.changed.pop() {
            let answers = self.answers(address);
            self.measure.set(address, answers, self.now);
        }
    }

    pub fn owner(&self, address: IpAddr) -> Option<usize> {
        match self.answers(address).as_slice() {
            [owner] => Some(*owner),
            _ => None,
        }
    }

    pub fn without(&self, address: IpAddr, after: Time) -> Duration {
        self.measure.worst_without(address, after, self.now)
    }

    pub fn double(&self, address: IpAddr, after: Time) -> Duration {
        self.measure.worst_double(address, after, self.now)
    }

    pub fn notifications(&self, node: usize, after: Time) -> impl Iterator<Item = &Notification> {
        self.nodes[node].notifications.iter().filter(move |(at, _)| *at >= after).map(|(_, notification)| notification)
    }
}
