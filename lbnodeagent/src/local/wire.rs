//! The interfaces for local addresses: questions and announcements out, frames in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use api_types::Family;
use ipnetwork::IpNetwork;
use nix::errno::Errno;
use ownership::{Event, InterfaceAddress, Link, LinkId, Mac, ProbeKind};
use runtime::BootTime;

use super::table::Table;
use crate::interfaces::{Selected, own_addresses};
use crate::metrics::Metrics;
use crate::packet::frames::{announcement, probe, reach};
use crate::packet::listener::Listener;
use crate::packet::socket::PacketSocket;

/// How long after a question for an IPv6 address its group is heard: until well after the kernel's own membership has
/// begun, if the address becomes ours.
const GROUP: Duration = Duration::from_secs(2);

/// An interface.
struct Port {
    link: Link,
    name: String,
    /// The source of neighbour discovery.
    link_local: Option<Ipv6Addr>,
    listener: Option<Listener>,
}

/// All interfaces for local addresses.
pub(super) struct Wire {
    ports: BTreeMap<LinkId, Port>,
    socket: PacketSocket,
    /// The hardware addresses of this host.
    own: BTreeSet<[u8; 6]>,
    /// Groups to leave, and when.
    groups: BTreeMap<(LinkId, Ipv6Addr), BootTime>,
    metrics: Metrics,
}

impl Wire {
    /// Without interfaces yet.
    pub(super) fn open(metrics: Metrics) -> Result<Self, Errno> {
        let socket = PacketSocket::open()?;
        Ok(Self { ports: BTreeMap::new(), socket, own: BTreeSet::new(), groups: BTreeMap::new(), metrics })
    }

    /// Looks at the interfaces anew; returns what the protocol must be told.
    pub(super) fn refresh(&mut self, table: &Table) -> Vec<Event> {
        let mut events = Vec::new();
        self.own = table.observed().links.values().filter_map(|link| link.mac).collect();
        let found: BTreeMap<LinkId, (Link, &Selected)> = table
            .scope()
            .selection
            .iter()
            .filter_map(|selected| Some((LinkId(selected.index), (link(table, selected)?, selected))))
            .collect();
        let gone: Vec<LinkId> = self.ports.keys().filter(|id| !found.contains_key(id)).copied().collect();
        for id in gone {
            self.ports.remove(&id);
            self.groups.retain(|(link, _), _| *link != id);
            events.push(Event::LinkGone(id));
        }
        for (id, (link, selected)) in found {
            let link_local = link_local(table, selected.index);
            if let Some(port) = self.ports.get_mut(&id) {
                port.link_local = link_local;
                port.name.clone_from(&selected.name);
                if port.listener.is_none() {
                    port.listener = listen(selected);
                }
                if port.link == link {
                    continue;
                }
                port.link = link.clone();
            } else {
                let listener = listen(selected);
                self.ports.insert(id, Port { link: link.clone(), name: selected.name.clone(), link_local, listener });
            }
            events.push(Event::Link(link));
        }
        events
    }

    /// Waits until there may be a frame; [`Self::hear`] must follow.
    pub(super) async fn ready(&self) -> std::io::Result<()> {
        let listeners = self.ports.values().filter_map(|port| port.listener.as_ref());
        let waiting: Vec<_> = listeners.map(|listener| Box::pin(listener.ready())).collect();
        if waiting.is_empty() {
            return std::future::pending().await;
        }
        futures::future::select_all(waiting).await.0
    }

    /// The frames that came from other hosts: this one answers on one interface for the addresses of another, and hears
    /// itself where two of them are on one network.
    pub(super) fn hear(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for (id, port) in &mut self.ports {
            let Some(listener) = &mut port.listener else { continue };
            let frames = listener.hear(port.link.mac.0).into_iter().filter(|(mac, _)| !self.own.contains(mac));
            events.extend(frames.map(|(mac, frame)| Event::Seen { link: *id, mac: Mac(mac), frame }));
        }
        events
    }

    /// Leaves the groups whose time is over.
    pub(super) fn leave(&mut self, now: BootTime) {
        let over: Vec<_> = self.groups.iter().filter(|(_, at)| **at <= now).map(|(group, _)| *group).collect();
        for (id, target) in over {
            self.groups.remove(&(id, target));
            if let Some(listener) = self.ports.get_mut(&id).and_then(|port| port.listener.as_mut()) {
                listener.leave(target);
            }
        }
    }

    /// The name of an interface.
    pub(super) fn name(&self, id: LinkId) -> &str {
        self.ports.get(&id).map_or("", |port| port.name.as_str())
    }

    /// Asks.
    pub(super) fn ask(&mut self, id: LinkId, target: IpAddr, to: Option<Mac>, kind: ProbeKind) {
        let Some(port) = self.ports.get_mut(&id) else { return };
        let (mac, to) = (port.link.mac.0, to.map(|to| to.0));
        let frame = match kind {
            ProbeKind::Duplicate => {
                if let IpAddr::V6(target) = target
                    && let Some(listener) = &mut port.listener
                    && self.groups.insert((id, target), BootTime::now() + GROUP).is_none()
                {
                    listener.join(target);
                }
                probe(target, mac, port.source(target).and_then(v6), to)
            }
            ProbeKind::Reach => port.source(target).and_then(|source| reach(target, mac, source, to)),
        };
        let Some(frame) = frame else { return };
        if let Err(errno) = self.socket.send(id.0, &frame) {
            self.metrics.ownership.question_errors.inc();
            tracing::debug!(op = "ask", ip = %target, interface = self.name(id), %errno, "question not sent");
        }
    }

    /// Says once where an address is.
    pub(super) fn announce(&self, id: LinkId, address: IpAddr) {
        let Some(port) = self.ports.get(&id) else { return };
        let frames = announcement(address, port.link.mac.0, port.link_local);
        let (good, bad) = match Family::of(address) {
            Family::V4 => (&self.metrics.garp_sent, &self.metrics.garp_errors),
            Family::V6 => (&self.metrics.na_sent, &self.metrics.na_errors),
        };
        match frames.iter().try_for_each(|frame| self.socket.send(id.0, frame)) {
            Ok(()) => good.inc(),
            Err(errno) => {
                bad.inc();
                tracing::debug!(op = "announce", ip = %address, interface = port.name, %errno, "announcement not sent");
            }
        }
    }
}

impl Port {
    /// The own address by which to ask for this one: of its network, else any; for IPv6 first the link-local one,
    /// which every neighbour answers.
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
    let own = own_addresses(observed, selected.index, |key, found| table.is_vip(key, found.mark));
    let in_use = |network: &IpNetwork| selected.networks.contains(network);
    let places = own.filter(|key| key.network().as_ref().is_some_and(in_use));
    Some(Link {
        id: LinkId(selected.index),
        mac: Mac(found.mac.unwrap_or_default()),
        carrier: found.works(),
        places: places.filter_map(|key| InterfaceAddress::new(key.ip, key.prefix_len)).collect(),
        gateways: table.scope().gateways.get(&selected.index).into_iter().flatten().copied().collect(),
    })
}

fn link_local(table: &Table, index: u32) -> Option<Ipv6Addr> {
    let here = table.observed().addresses.iter().filter(|(key, found)| key.index == index && found.usable);
    here.filter_map(|(key, _)| v6(key.ip)).find(Ipv6Addr::is_unicast_link_local)
}

fn listen(selected: &Selected) -> Option<Listener> {
    Listener::open(selected.index)
        .inspect_err(|errno| tracing::warn!(op = "listen", interface = selected.name, %errno, "cannot hear the others"))
        .ok()
}
