//! What happens to networks and kernels from outside.

use std::net::IpAddr;

use ownership::{Event, Link, LinkId, Mac, NeighborFrame};

use super::addressing::{CLIENT, GATEWAY, mac};
use super::cluster::{Cluster, Host};
use super::network::Network;

impl Cluster {
    pub fn report_link(&mut self, node: usize, segment: usize) {
        let gateways = if segment == 0 && self.setup.gateway {
            GATEWAY.into_iter().filter(|gateway| self.setup.family.has(gateway)).collect()
        } else {
            Vec::new()
        };
        let carrier = segment != 0 || self.nodes[node].carrier;
        let link = Link {
            id: LinkId(u32::try_from(segment).unwrap() + 1),
            mac: mac(node, segment),
            carrier,
            places: self.places(node, segment).collect(),
            gateways,
        };
        self.deliver(node, Event::Link(link));
    }

    /// The node's place on segment 0 moves to another interface (a bridge, a bond): its VIPs with it, unless the old
    /// interface goes before the new one is there.
    pub fn move_link(&mut self, node: usize, gone_first: bool) {
        self.note(format!("another interface on {node}{}", if gone_first { ", the old one is gone" } else { "" }));
        let old = self.nodes[node].link;
        self.nodes[node].link = LinkId(4 - old.0);
        if gone_first {
            let lost = std::mem::take(&mut self.nodes[node].kernel);
            self.measured = false;
            self.deliver(node, Event::LinkGone(old));
            for address in lost {
                if self.nodes[node].specs.contains_key(&address) {
                    self.deliver(node, Event::KernelLost(address));
                } else if self.nodes[node].machine.is_some() {
                    self.nodes[node].unplaced.insert(address);
                }
            }
        }
        self.report_link(node, 0);
        for spec in self.nodes[node].specs.clone().into_values() {
            self.deliver(node, Event::ApplyAddress(spec));
        }
        if !gone_first {
            self.deliver(node, Event::LinkGone(old));
        }
    }

    /// The gateway answers, or not; one that is a route to nowhere never does.
    pub fn set_gateway(&mut self, up: bool) {
        self.note(format!("gateway: {up}"));
        self.hosts[1].up = up && self.setup.gateway && !self.setup.silent_gateway;
    }

    /// The kernel refuses new addresses, or not.
    pub fn set_refusing(&mut self, node: usize, refuses: bool) {
        if self.nodes[node].refuses != refuses {
            self.note(format!("kernel of {node} refuses addresses: {refuses}"));
            self.nodes[node].refuses = refuses;
        }
    }

    pub fn set_carrier(&mut self, node: usize, carrier: bool) {
        self.note(format!("carrier of {node}: {carrier}"));
        self.nodes[node].carrier = carrier;
        let port = self.port(node, 0);
        if carrier {
            self.net.heal(port)
        } else {
            self.net.cut(port)
        }
        self.measured = false;
        self.report_link(node, 0);
    }

    pub fn cut(&mut self, node: usize) {
        self.note(format!("cut {node}"));
        for segment in 0..self.segments() {
            let port = self.port(node, segment);
            self.net.cut(port);
        }
        self.measured = false;
    }

    pub fn heal(&mut self, node: usize) {
        self.note(format!("heal {node}"));
        for segment in 0..self.segments() {
            let port = self.port(node, segment);
            self.net.heal(port);
        }
        self.measured = false;
    }

    pub fn change(&mut self, what: &str, change: impl FnOnce(&mut Network)) {
        self.note(what.to_owned());
        change(&mut self.net);
        self.measured = false;
    }

    /// The kernel ends the lifetimes of a node's addresses at this time, if its agent does not renew them.
    pub fn expire(&mut self, node: usize) {
        self.note(format!("lifetimes end on {node}"));
        self.nodes[node].kernel.clear();
        self.measured = false;
    }

    /// Whether a node's agent knows that an address is to be served.
    pub fn knows(&self, node: usize, address: IpAddr) -> bool {
        self.nodes[node].specs.contains_key(&address)
    }

    /// Somebody deletes an address by hand.
    pub fn delete_by_hand(&mut self, node: usize, address: IpAddr) {
        self.nodes[node].kernel.remove(&address);
        self.measured = false;
        self.deliver(node, Event::KernelLost(address));
    }

    /// A foreign host announces an address.
    pub fn foreign_announces(&mut self, host: usize, address: IpAddr) {
        for node in 0..self.nodes.len() {
            let frame = NeighborFrame::Announcement(address);
            self.transmit(host, node, 0, Event::Seen { link: LinkId(1), mac: mac(host, 0), frame });
        }
    }

    /// The client sends something: its ARP request is seen by all.
    pub fn client_asks(&mut self, target: IpAddr) {
        let client = self.host(0);
        let sender = CLIENT.into_iter().find(|sender| sender.is_ipv4() == target.is_ipv4());
        for node in 0..self.nodes.len() {
            let frame = NeighborFrame::Request { target, sender };
            self.transmit(client, node, 0, Event::Seen { link: LinkId(1), mac: mac(client, 0), frame });
        }
    }

    /// A host that is no member asks for an address: all see it.
    pub fn host_asks(&mut self, sender: IpAddr, mac: Mac, target: IpAddr) {
        for node in 0..self.nodes.len() {
            let frame = NeighborFrame::Request { target, sender: Some(sender) };
            self.deliver(node, Event::Seen { link: LinkId(1), mac, frame });
        }
    }

    pub fn add_foreign(&mut self, address: IpAddr) -> usize {
        self.hosts.push(Host { addresses: [address].into(), up: true });
        self.measured = false;
        self.host(self.hosts.len() - 1)
    }

    pub fn set_foreign(&mut self, host: usize, up: bool) {
        let index = host - self.nodes.len();
        self.hosts[index].up = up;
        self.measured = false;
    }
}
