//! The VIP guard: rules in the kernel that let in to an address of a Service what its Services ask for, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::model::port::{Opening, Port};

/// Which rules there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// Those before NAT: only ports of Services, and no packet that belongs to no connection.
    Ports,
    /// Those as well that wait for the service proxy: a packet whose destination it has not translated is dropped, so that
    /// the client tries again. The node's own TCP would refuse it.
    PortsAndTranslated,
}

/// The addresses that are guarded, each with the ports that are open.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Openings(BTreeMap<IpAddr, BTreeSet<Port>>);

impl Openings {
    /// The open ports of an address; nothing if it is not guarded.
    #[must_use]
    pub fn of(&self, ip: IpAddr) -> Option<&BTreeSet<Port>> {
        self.0.get(&ip)
    }

    /// Sets the open ports of an address, or that it is not guarded.
    pub fn set(&mut self, ip: IpAddr, ports: Option<BTreeSet<Port>>) {
        match ports {
            Some(ports) => self.0.insert(ip, ports),
            None => self.0.remove(&ip),
        };
    }

    /// The guarded addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.0.keys().copied()
    }

    /// Every open port of every address.
    pub fn all(&self) -> impl Iterator<Item = Opening> + Clone {
        self.0.iter().flat_map(|(ip, ports)| ports.iter().map(|port| Opening { ip: *ip, port: *port }))
    }

    /// How many addresses are guarded.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// One change of the kernel's rules and sets. The kernel carries each out as a whole or not at all, and no packet meets a
/// half of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuardChange {
    /// Everything anew.
    Build(Rules, Openings),
    /// Nothing is guarded any more.
    Remove,
    /// Something else.
    Edit(Edit),
}

/// What changes in the sets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Edit {
    /// Addresses that are guarded from now on.
    pub guarded: Vec<IpAddr>,
    /// Addresses that are not guarded any more.
    pub unguarded: Vec<IpAddr>,
    /// Ports that are open from now on.
    pub opened: Vec<Opening>,
    /// Ports that are not open any more.
    pub closed: Vec<Opening>,
    /// All addresses that stay guarded, if their time is to start anew.
    pub renewed: Option<Vec<IpAddr>>,
}
