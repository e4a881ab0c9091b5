//! The API server: what is wanted, Leases, and watches that stop.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ownership::{AddressSpec, Event, LinkId, Peer, Qualified};

use super::addressing::{PORT, mac};
use super::cluster::{Cluster, Scheduled};

impl Cluster {
    pub fn serve(&mut self, address: IpAddr, qualified: Qualified, rebalance: u64) {
        let free = Some(Self::unused(address));
        let spec =
            AddressSpec { address, link: LinkId(1), qualified, rebalance, free, skip_probe: self.setup.skip_probe };
        self.specs.insert(address, spec.clone());
        self.changed.push(address);
        if self.api {
            self.deliver_to_all(&Event::ApplyAddress(spec));
        }
    }

    pub fn stop_serving(&mut self, address: IpAddr) {
        self.specs.remove(&address);
        if self.api {
            self.deliver_to_all(&Event::DeleteAddress(address));
        }
    }

    pub fn deliver_to_all(&mut self, event: &Event) {
        for node in 0..self.nodes.len() {
            if self.nodes[node].machine.is_some() {
                let delay = u64::try_from(self.rng.below(30)).unwrap();
                self.schedule(Duration::from_millis(delay), Scheduled::Deliver(node, event.clone()));
            }
        }
    }

    pub fn exclude(&mut self, node: usize, excluded: bool) {
        self.nodes[node].excluded = excluded;
        self.deliver(node, Event::Excluded(excluded));
    }

    pub fn set_api(&mut self, up: bool) {
        self.api = up;
        for node in 0..self.nodes.len() {
            self.deliver(node, Event::Watches { current: up });
            if up {
                self.list(node);
            }
        }
    }

    /// Gives an agent everything that the API server has.
    pub fn list(&mut self, node: usize) {
        self.process(Scheduled::Leases(node));
        for spec in self.specs.clone().into_values() {
            self.deliver(node, Event::ApplyAddress(spec));
        }
        let gone: Vec<_> = self.measure.addresses.keys().filter(|a| !self.specs.contains_key(*a)).copied().collect();
        for address in gone {
            self.deliver(node, Event::DeleteAddress(address));
        }
        self.deliver(node, Event::AddressesListed);
    }

    pub fn leases(&self) -> Vec<Peer> {
        let segments = self.segments();
        let started = self.nodes.iter().enumerate().filter(|(_, node)| node.boots > 0);
        started
            .map(|(number, node)| {
                let places = (0..segments).flat_map(|segment| self.places(number, segment)).collect();
                // Gossip prefers its own network, and IPv6.
                let own = (0..segments).rev().flat_map(|segment| self.own(number, segment).rev());
                let endpoints = own.map(|own| SocketAddr::new(own, PORT)).collect();
                let macs = (0..segments).map(|segment| mac(number, segment)).collect();
                Peer { node: node.id.clone(), endpoints, places, macs, lease_alive: true }
            })
            .collect()
    }
}
