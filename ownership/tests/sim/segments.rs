//! What is sent on the segments: datagrams, probes, and the kernels' answers.

use std::net::IpAddr;
use std::time::Duration;

use ownership::{Event, LinkId, Mac, NeighborFrame, ProbeKind};

use super::addressing::{link_local, mac};
use super::cluster::{Cluster, Scheduled};

/// An agent leaves the solicited-node group of an address so long after it first asked for it.
const GROUP: Duration = Duration::from_secs(2);

impl Cluster {
    pub fn locate(&self, address: IpAddr) -> Option<(usize, usize)> {
        let (number, segment) = match address {
            IpAddr::V4(v4) => {
                let [_, segment, high, low] = v4.octets();
                (u16::from_be_bytes([high, low]), segment.into())
            }
            IpAddr::V6(v6) => {
                let [0xfd00, 0, 0, segment, 0, 0, 0, number] = v6.segments() else { return None };
                (number, segment.into())
            }
        };
        let node = usize::from(number).checked_sub(1)?;
        (node < self.nodes.len() && self.setup.family.has(&address)).then_some((node, segment))
    }

    pub fn transmit(&mut self, from: usize, to: usize, segment: usize, event: Event) {
        let (a, b) = (self.port(from, segment), self.port(to, segment));
        let [Some(first), second] = self.net.arrivals(a, b, &mut self.rng) else { return };
        if let Some(second) = second {
            self.schedule(first, Scheduled::Deliver(to, event.clone()));
            return self.schedule(second, Scheduled::Deliver(to, event));
        }
        self.schedule(first, Scheduled::Deliver(to, event));
    }

    pub fn probe(&mut self, node: usize, link: LinkId, target: IpAddr, to: Option<Mac>, kind: ProbeKind) {
        // An interface that is gone asks nothing.
        let segment = match link {
            LinkId(2) => 1,
            here if here == self.nodes[node].link => 0,
            _ => return,
        };
        if kind == ProbeKind::Duplicate
            && target.is_ipv6()
            && self.nodes[node].groups.get(&target).is_none_or(|at| *at < self.now)
        {
            let until = self.now + GROUP;
            self.nodes[node].groups.insert(target, until);
        }
        if self.setup.snooping && target.is_ipv6() && to.is_none() && self.locate(target).is_none() {
            return;
        }
        if let Some(host) = self.cache.get(&target).filter(|_| self.setup.suppressing && to.is_none() && segment == 0) {
            let event = Event::Seen { link: LinkId(1), mac: mac(*host, segment), frame: NeighborFrame::Reply(target) };
            let port = self.port(node, segment);
            if !self.net.mute.contains(&port) && !self.net.deaf.contains(&port) {
                self.schedule(Duration::from_micros(self.net.cache_us), Scheduled::Deliver(node, event));
            }
            return;
        }
        for holder in self.holders(target, segment) {
            let filtered = kind == ProbeKind::Duplicate
                && to.is_some()
                && self.nodes.get(holder).is_some_and(|node| node.ignores_unicast);
            if holder == node || filtered || to.is_some_and(|to| to != mac(holder, segment)) {
                continue;
            }
            let (a, b) = (self.port(node, segment), self.port(holder, segment));
            for delay in self.net.arrivals(a, b, &mut self.rng).into_iter().flatten() {
                self.schedule(delay, Scheduled::Probed { to: holder, by: node, target, segment });
            }
        }
        if kind == ProbeKind::Duplicate {
            let sender = target.is_ipv6().then(|| link_local(node));
            let link = LinkId(u32::try_from(segment).unwrap() + 1);
            for other in 0..self.nodes.len() {
                if other != node && to.is_none_or(|to| to == mac(other, segment)) {
                    let frame = NeighborFrame::Request { target, sender };
                    self.transmit(node, other, segment, Event::Seen { link, mac: mac(node, segment), frame });
                }
            }
        }
    }

    /// Whose kernels answer for the address on a segment.
    pub fn holders(&self, target: IpAddr, segment: usize) -> Vec<usize> {
        if let Some((node, place)) = self.locate(target) {
            return if place == segment && self.nodes[node].powered { vec![node] } else { Vec::new() };
        }
        (0..self.nodes.len() + self.hosts.len()).filter(|host| self.has(*host, target, segment)).collect()
    }

    /// Whether a kernel answers for the address on a segment.
    pub fn has(&self, host: usize, target: IpAddr, segment: usize) -> bool {
        match self.nodes.get(host) {
            Some(node) => {
                node.powered
                    && (self.locate(target) == Some((host, segment)) || segment == 0 && node.answers_for(&target))
            }
            None => {
                let host = &self.hosts[host - self.nodes.len()];
                segment == 0 && host.up && host.addresses.contains(&target)
            }
        }
    }

    pub fn answer_probe(&mut self, to: usize, by: usize, target: IpAddr, segment: usize) {
        if self.has(to, target, segment) {
            let link = LinkId(u32::try_from(segment).unwrap() + 1);
            let event = Event::Seen { link, mac: mac(to, segment), frame: NeighborFrame::Reply(target) };
            if segment == 0 && !self.net.mute.contains(&self.port(to, segment)) {
                self.cache.insert(target, to);
            }
            self.transmit(to, by, segment, event);
        }
    }
}
