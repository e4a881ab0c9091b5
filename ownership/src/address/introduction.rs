//! Hosts that ignore announcements (firewalls, hardened hosts) learn of a new owner by an ordinary question from the
//! address: whoever is asked must note who asks.
//!
//! The gateways of the link are asked, and hosts that asked for the address or for this node lately. The questions have
//! a budget of their own: where it is small, the hosts of an address are asked one after the other, gateways first, and
//! the addresses in turn.

use crate::address::askers::{HOSTS, Host, Introduction};
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
        if owned.announcing.made < TIMES && owned.announcing.introduce.is_none() {
            owned.announcing.introduce = self.next_slice(link, self.hosts(link));
        }
    }

    /// When some of these hosts are asked.
    fn next_slice(&mut self, link: LinkId, hosts: Vec<Host>) -> Option<Introduction> {
        let count = u32::try_from(hosts.len()).ok().filter(|count| *count > 0)?;
        let (at, slice) = self.context.budget.introduce(link, count, self.context.gossip.now);
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
        for (host, to) in hosts.drain(..slice.min(hosts.len())) {
            self.context.gossip.out.act(Action::Introduce { address, link, host, to });
        }
        owned.announcing.introduce = self.next_slice(link, hosts);
    }

    /// Whom to ask, gateways first.
    fn hosts(&self, link: LinkId) -> Vec<Host> {
        let now = self.context.now();
        let askers: Vec<Host> = self.entry.askers.lately(now).collect();
        let Some(state) = self.context.detector.link(link) else { return askers };
        let mut hosts: Vec<Host> = Vec::new();
        let gateways = state.link.gateways.iter().copied().filter(|host| host.is_ipv4() == self.address.is_ipv4());
        let gateways = gateways.take(GATEWAYS).map(|host| (host, None));
        let witnesses = state.witnesses(now).filter(|host| host.is_ipv4() == self.address.is_ipv4());
        for (host, to) in gateways.chain(askers).chain(witnesses.map(|host| (host, None))) {
            if hosts.iter().all(|(known, _)| *known != host) {
                hosts.push((host, to));
            }
        }
        hosts.truncate(HOSTS + GATEWAYS);
        hosts
    }
}
