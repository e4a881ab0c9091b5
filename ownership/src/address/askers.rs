//! The hosts that asked for an address: they are asked from it when it has a new owner.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use crate::address::budget::Told;
use crate::model::node::Mac;
use crate::model::time::{Time, ms};

/// So many hosts that asked for an address are remembered.
pub(super) const HOSTS: usize = 16;
/// A host that asked longer ago is not asked. It is long because hosts check their neighbours by questions to the owner
/// alone, which are not heard here.
const LATELY: Duration = ms(24 * 3_600_000);

/// A host, and the hardware address that it is to be asked at; nothing means everybody is asked.
pub(super) type Host = (IpAddr, Option<Mac>);

/// The hosts that asked for an address, the latest first.
#[derive(Debug, Default)]
pub(super) struct Askers(VecDeque<(IpAddr, Mac, Time)>);

/// Whom to ask from an address.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    /// First these,
    pub gateways: Vec<Host>,
    /// then these.
    pub others: Vec<Host>,
}

impl Hosts {
    fn contains(&self, host: &Host) -> bool {
        self.gateways.iter().chain(&self.others).any(|(known, _)| *known == host.0)
    }

    /// Adds a host that is not among them yet.
    pub fn add(&mut self, told: Told, host: Host) {
        if !self.contains(&host) {
            match told {
                Told::Gateways => self.gateways.push(host),
                Told::Hosts => self.others.push(host),
            }
        }
    }

    /// Who is next, and how many of them; nothing if nobody is.
    pub fn next(&self) -> Option<(Told, usize)> {
        let gateways = Some((Told::Gateways, self.gateways.len())).filter(|(_, count)| *count > 0);
        gateways.or_else(|| Some((Told::Hosts, self.others.len())).filter(|(_, count)| *count > 0))
    }

    /// Takes so many of those who are next.
    pub fn take(&mut self, count: usize) -> Vec<Host> {
        let next = if self.gateways.is_empty() { &mut self.others } else { &mut self.gateways };
        next.drain(..count.min(next.len())).collect()
    }
}

/// Hosts that are to be asked from an address.
#[derive(Debug)]
pub(super) struct Introduction {
    /// When the next are asked,
    pub at: Time,
    /// and how many.
    pub slice: usize,
    pub hosts: Hosts,
}

impl Askers {
    /// A host asks for the address.
    pub fn note(&mut self, host: IpAddr, mac: Mac, now: Time) {
        self.0.retain(|(known, ..)| *known != host);
        self.0.push_front((host, mac, now));
        self.0.truncate(HOSTS);
    }

    pub fn lately(&self, now: Time) -> impl Iterator<Item = Host> {
        self.0.iter().filter(move |(.., at)| now.since(*at) < LATELY).map(|(host, mac, _)| (*host, Some(*mac)))
    }
}
