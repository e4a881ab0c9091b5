//! Hosts that ignore announcements (firewalls, hardened hosts) learn of a new owner by an ordinary question from the
//! address: whoever is asked must note who asks.
//!
//! The gateways of the link are asked, and hosts that asked for the address or for this node lately. The questions have
//! budgets of their own, one for gateways: those are told of all addresses before other hosts are told of most. Where they
//! are small, the hosts of an address are asked one after the other, and the addresses in turn.

use std::net::IpAddr;

use crate::address::askers::{HOSTS, Hosts, Introduction};
use crate::address::budget::Told;
use crate::address::state::Owned;
use crate::address::step::Step;
use crate::io::Action;
use crate::model::link::LinkId;

/// So many gateways of a link are asked.
const GATEWAYS: usize = 4;
/// The questions go out with so many of the first announcements of an address.
const TIMES: usize = 2;

impl Step<'_, '_> {
    /// The address was announced: the questions follow when the link has room for them.
    pub fn plan_introduction(&mut self, link: LinkId, owned: &mut Owned) {
        let made = owned.announcing.made;
        if made >= TIMES {
            return;
        }
        match &mut owned.announcing.introduce {
            None => owned.announcing.introduce = self.next_slice(link, self.hosts(link)),
            // The announcements began anew: so do the questions, when the turn comes that was asked for.
            Some(introduction) if made == 0 => introduction.hosts = self.hosts(link),
            Some(_) => {}
        }
    }

    /// When some of these hosts are asked.
    fn next_slice(&mut self, link: LinkId, hosts: Hosts) -> Option<Introduction> {
        let (told, count) = hosts.next()?;
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let (at, slice) = self.context.budget.introduce(link, told, count, self.context.gossip.now);
        Some(Introduction { at, slice: usize::try_from(slice).unwrap_or(1), hosts })
    }

    /// Asks the hosts if it is time.
    pub fn introduce(&mut self, link: LinkId, owned: &mut Owned) {
        let now = self.context.now();
        let Some(due) = owned.announcing.introduce.take_if(|introduction| introduction.at <= now) else { return };
        if owned.is_gone() {
            return;
        }
        let Introduction { slice, mut hosts, .. } = due;
        let address = self.address;
        for (host, to) in hosts.take(slice) {
            self.context.gossip.out.act(Action::Introduce { address, link, host, to });
        }
        owned.announcing.introduce = self.next_slice(link, hosts);
    }

    /// Whom to ask.
    fn hosts(&self, link: LinkId) -> Hosts {
        let now = self.context.now();
        let mut hosts = Hosts::default();
        let alike = |host: &IpAddr| host.is_ipv4() == self.address.is_ipv4();
        if let Some(state) = self.context.detector.link(link) {
            for gateway in state.link.gateways.iter().copied().filter(alike).take(GATEWAYS) {
                hosts.add(Told::Gateways, (gateway, None));
            }
        }
        for asker in self.entry.askers.lately(now) {
            hosts.add(Told::Hosts, asker);
        }
        if let Some(state) = self.context.detector.link(link) {
            for witness in state.witnesses(now).filter(alike) {
                hosts.add(Told::Hosts, (witness, None));
            }
        }
        hosts.others.truncate(HOSTS);
        hosts
    }
}
