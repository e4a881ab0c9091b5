//! The interfaces for local addresses: probes and announcements out, other hosts' frames in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use api_types::Family;
use nix::errno::Errno;
use ownership::{Event, InterfaceAddress, Link, LinkId, Mac, ProbeKind};
use runtime::BootTime;

use super::table::Table;
use crate::decide::interfaces::Selected;
use crate::decide::networks::own_addresses;
use crate::kernel::packet::frames::{announcement, probe, reach};
use crate::kernel::packet::listener::Listener;
use crate::kernel::packet::socket::PacketSocket;
use crate::report::metrics::Metrics;

/// How long after a probe for an IPv6 address its group stays joined. If the address becomes ours, the kernel's own
/// membership has begun long before.
const GROUP: Duration = Duration::from_secs(2);

/// An interface.
struct Interface {
    link: Link,
    name: String,
    /// The source address of neighbour discovery.
    link_local: Option<Ipv6Addr>,
    listener: Option<Listener>,
}

/// All interfaces for local addresses.
pub(super) struct Links {
    interfaces: BTreeMap<LinkId, Interface>,
    socket: PacketSocket,
    /// The hardware addresses of this host.
    own: BTreeSet<[u8; 6]>,
    /// Joined groups, and when to leave them.
    groups: BTreeMap<(LinkId, Ipv6Addr), BootTime>,
    metrics: Metrics,
}

impl Links {
    /// Without any interface yet.
    pub(super) fn open(metrics: Metrics) -> Result<Self, Errno> {
        let socket = PacketSocket::open()?;
        Ok(Self { interfaces: BTreeMap::new(), socket, own: BTreeSet::new(), groups: BTreeMap::new(), metrics })
    }

    /// Compares the interfaces with what the kernel has; returns the events for the protocol.
    pub(super) fn refresh(&mut self, table: &Table) -> Vec<Event> {
        let mut events = Vec::new();
        self.own = table.observed().links.values().filter_map(|link| link.mac).collect();
        let found: BTreeMap<LinkId, (Link, &Selected)> = table
            .interfaces()
            .selection
            .iter()
            .filter_map(|selected| Some((LinkId(selected.index), (link(table, selected)?, selected))))
            .collect();
        let gone: Vec<LinkId> = self.interfaces.keys().filter(|id| !found.contains_key(id)).copied().collect();
        for id in gone {
            self.interfaces.remove(&id);
            self.groups.retain(|(link, _), _| *link != id);
            events.push(Event::LinkGone(id));
        }
        for (id, (link, selected)) in found {
            let link_local = link_local(table, selected.index);
            if let Some(interface) = self.interfaces.get_mut(&id) {
                interface.link_local = link_local;
                interface.name.clone_from(&selected.name);
                if interface.listener.is_none() {
                    interface.listener = listen(selected);
                }
                if interface.link == link {
                    continue;
                }
                interface.link = link.clone();
            } else {
                let listener = listen(selected);
                self.interfaces
                    .insert(id, Interface { link: link.clone(), name: selected.name.clone(), link_local, listener });
            }
            events.push(Event::Link(link));
        }
        events
    }

    /// Waits until there may be a frame; [`Self::receive`] must follow.
    pub(super) async fn ready(&self) -> std::io::Result<()> {
        let listeners = self.interfaces.values().filter_map(|interface| interface.listener.as_ref());
        let waiting: Vec<_> = listeners.map(|listener| Box::pin(listener.ready())).collect();
        if waiting.is_empty() {
            return std::future::pending().await;
        }
        futures::future::select_all(waiting).await.0
    }

    /// Receives frames of other hosts. This host's own frames are left out: it answers on one interface for the
    /// addresses of another, and receives its own frames where two interfaces are on one network.
    pub(super) fn receive(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for (id, interface) in &mut self.interfaces {
            let Some(listener) = &mut interface.listener else { continue };
            let frames = listener.receive(interface.link.mac.0).into_iter().filter(|(mac, _)| !self.own.contains(mac));
            events.extend(frames.map(|(mac, frame)| Event::Seen { link: *id, mac: Mac(mac), frame }));
        }
        events
    }

    /// Leaves the groups whose time is over.
    pub(super) fn leave(&mut self, now: BootTime) {
        let over: Vec<_> = self.groups.iter().filter(|(_, at)| **at <= now).map(|(group, _)| *group).collect();
        for (id, target) in over {
            self.groups.remove(&(id, target));
            if let Some(listener) = self.interfaces.get_mut(&id).and_then(|interface| interface.listener.as_mut()) {
                listener.leave(target);
            }
        }
    }

    /// The name of an interface.
    pub(super) fn name(&self, id: LinkId) -> &str {
        self.interfaces.get(&id).map_or("", |interface| interface.name.as_str())
    }

    /// Sends a probe.
    pub(super) fn ask(&mut self, id: LinkId, target: IpAddr, to: Option<Mac>, kind: ProbeKind) {
        let Some(interface) = self.interfaces.get_mut(&id) else { return };
        let (mac, to) = (interface.link.mac.0, to.map(|to| to.0));
        let frame = match kind {
            ProbeKind::Duplicate => {
                if let IpAddr::V6(target) = target
                    && let Some(listener) = &mut interface.listener
                    && self.groups.insert((id, target), BootTime::now() + GROUP).is_none()
                {
                    listener.join(target);
                }
                probe(target, mac, interface.source(target).and_then(v6), to)
            }
            ProbeKind::Reach => interface.source(target).and_then(|source| reach(target, mac, source, to)),
        };
        let Some(frame) = frame else { return };
        if let Err(errno) = self.socket.send(id.0, &frame) {
            self.metrics.ownership.question_errors.inc();
            tracing::debug!(op = "ask", ip = %target, interface = self.name(id), %errno, "question not sent");
        }
    }

    /// Asks a host for its address, from an address of this node.
    pub(super) fn introduce(&self, id: LinkId, address: IpAddr, host: IpAddr, to: Option<Mac>) {
        let Some(interface) = self.interfaces.get(&id) else { return };
        let Some(frame) = reach(host, interface.link.mac.0, address, to.map(|to| to.0)) else { return };
        if let Err(errno) = self.socket.send(id.0, &frame) {
            self.metrics.ownership.question_errors.inc();
            tracing::debug!(op = "introduce", ip = %address, %host, interface = interface.name, %errno, "question not sent");
        }
    }

    /// Announces an address once.
    pub(super) fn announce(&self, id: LinkId, address: IpAddr) {
        let Some(interface) = self.interfaces.get(&id) else { return };
        let frames = announcement(address, interface.link.mac.0, interface.link_local);
        let (good, bad) = match Family::of(address) {
            Family::V4 => (&self.metrics.garp_sent, &self.metrics.garp_errors),
            Family::V6 => (&self.metrics.na_sent, &self.metrics.na_errors),
        };
        match frames.iter().try_for_each(|frame| self.socket.send(id.0, frame)) {
            Ok(()) => good.inc(),
            Err(errno) => {
                bad.inc();
                tracing::debug!(op = "announce", ip = %address, interface = interface.name, %errno, "announcement not sent");
            }
        }
    }
}

impl Interface {
    /// The own address from which to ask for this one: one of the same network if possible. For IPv6 it is the
    /// link-local one, which every neighbour answers.
    fn source(&self, target: IpAddr) -> Option<IpAddr> {
        if target.is_ipv6() && self.link_local.is_some() {
            return self.link_local.map(IpAddr::V6);
        }
        let own = || self.link.places.iter().filter(|place| place.address.is_ipv4() == target.is_ipv4());
        own().find(|place| place.subnet.contains(target)).or_else(|| own().next()).map(|place| place.address)
    }
}

const fn v6(ip: IpAddr) -> Option<Ipv6Addr> {
    match ip {
        IpAddr::V6(ip) => Some(ip),
        IpAddr::V4(_) => None,
    }
}

/// An interface as the protocol knows it; nothing if it is gone.
fn link(table: &Table, selected: &Selected) -> Option<Link> {
    let observed = table.observed();
    let found = observed.links.get(&selected.index)?;
    let own = own_addresses(observed, selected.index, table.ours());
    Some(Link {
        id: LinkId(selected.index),
        mac: Mac(found.mac.unwrap_or_default()),
        carrier: found.works(),
        places: selected.places(own).filter_map(|(ip, prefix_len)| InterfaceAddress::new(ip, prefix_len)).collect(),
        gateways: table.interfaces().gateways.get(&selected.index).into_iter().flatten().copied().collect(),
    })
}

fn link_local(table: &Table, index: u32) -> Option<Ipv6Addr> {
    let here = table.observed().addresses.iter().filter(|(key, found)| key.index == index && found.usable);
    here.filter_map(|(key, _)| v6(key.ip)).find(Ipv6Addr::is_unicast_link_local)
}

fn listen(selected: &Selected) -> Option<Listener> {
    Listener::open(selected.index)
        .inspect_err(|errno| tracing::warn!(op = "listen", interface = selected.name, %errno, "cannot receive other hosts' frames"))
        .ok()
}
