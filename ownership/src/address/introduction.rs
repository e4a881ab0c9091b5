//! Hosts that ignore announcements (firewalls, hardened hosts) learn of a new owner by an ordinary question from the
//! address: whoever is asked must note who asks.
//!
//! The gateways of the link are asked, and hosts that asked for the address or for this node lately. The questions come
//! after the probes and announcements of all addresses of a takeover.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use crate::address::state::Owned;
use crate::address::step::Step;
use crate::io::Action;
use crate::model::link::LinkId;
use crate::model::node::Mac;
use crate::model::time::{Time, ms};

/// So many hosts that asked for an address are remembered.
const HOSTS: usize = 16;
/// So many gateways of a link are asked.
const GATEWAYS: usize = 4;
/// A host that asked longer ago is not asked. It is long because hosts check their neighbours by questions to the owner
/// alone, which are not heard here.
const LATELY: Duration = ms(24 * 3_600_000);
/// The questions go out with so many of the first announcements of an address.
const TIMES: usize = 2;

/// The hosts that asked for an address, the latest first.
#[derive(Debug, Default)]
pub(super) struct Askers(VecDeque<(IpAddr, Mac, Time)>);

impl Askers {
    /// A host asks for the address.
    pub fn note(&mut self, host: IpAddr, mac: Mac, now: Time) {
        self.0.retain(|(known, ..)| *known != host);
        self.0.push_front((host, mac, now));
        self.0.truncate(HOSTS);
    }

    fn lately(&self, now: Time) -> impl Iterator<Item = (IpAddr, Option<Mac>)> {
        self.0.iter().filter(move |(.., at)| now.since(*at) < LATELY).map(|(host, mac, _)| (*host, Some(*mac)))
    }
}

impl Step<'_, '_> {
    /// The address was announced: the questions follow when the link has room for them.
    pub fn plan_introduction(&mut self, link: LinkId, owned: &mut Owned) {
        if owned.announcing.made >= TIMES || owned.announcing.introduce.is_some() {
            return;
        }
        let frames = u32::try_from(self.hosts(link).len()).unwrap_or(u32::MAX);
        if frames > 0 {
            owned.announcing.introduce = Some(self.context.budget.first(link, frames, self.context.now()));
        }
    }

    /// Asks the hosts if it is time.
    pub fn introduce(&mut self, link: LinkId, owned: &mut Owned) {
        if owned.announcing.introduce.is_none_or(|at| at > self.context.now()) {
            return;
        }
        owned.announcing.introduce = None;
        if owned.is_gone() {
            return;
        }
        let address = self.address;
        for (host, to) in self.hosts(link) {
            self.context.gossip.out.act(Action::Introduce { address, link, host, to });
        }
    }

    /// Whom to ask.
    fn hosts(&self, link: LinkId) -> Vec<(IpAddr, Option<Mac>)> {
        let now = self.context.now();
        let mut hosts: Vec<(IpAddr, Option<Mac>)> = self.entry.askers.lately(now).collect();
        if let Some(state) = self.context.detector.link(link) {
            let gateways = state.link.gateways.iter().filter(|host| host.is_ipv4() == self.address.is_ipv4());
            let witnesses = state.witnesses(now).filter(|host| host.is_ipv4() == self.address.is_ipv4());
            for host in gateways.take(GATEWAYS).copied().chain(witnesses) {
                if hosts.iter().all(|(known, _)| *known != host) {
                    hosts.push((host, None));
                }
            }
        }
        hosts.truncate(HOSTS + GATEWAYS);
        hosts
    }
}
