//! The hosts that asked for an address: they are asked from it when it has a new owner.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

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

/// Hosts that are to be asked from an address.
#[derive(Debug)]
pub(super) struct Introduction {
    /// When the next are asked,
    pub at: Time,
    /// and how many.
    pub slice: usize,
    pub hosts: Vec<Host>,
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
