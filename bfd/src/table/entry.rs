//! A session in the table, and a peer that is served.

use std::net::IpAddr;
use std::time::Duration;

use crate::event::{Action, Datagram, Outgoing, Refusal};
use crate::packet::{Diagnostic, Packet};
use crate::peer::{Hops, Peer, PeerKey};
use crate::rate::Bucket;
use crate::remote::Remote;
use crate::report::Counters;
use crate::session::{Session, Transition};
use crate::state::State;
use crate::time::Time;
use crate::timers::Intervals;

#[derive(Debug)]
pub(super) struct Served {
    pub(super) peer: Peer,
    pub(super) sources: Vec<String>,
    /// For packets without our discriminator: anybody who can send with the peer's address can send them.
    pub(super) unbound: Bucket,
    pub(super) refused: u64,
    pub(super) last_refusal: Option<Refusal>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) peer: PeerKey,
    pub(super) hops: Hops,
    pub(super) local_address: Option<IpAddr>,
    pub(super) session: Session,
    pub(super) bound: Bucket,
    pub(super) counters: Counters,
    pub(super) since: Time,
}

impl Served {
    pub(super) fn is(&self, datagram: &Datagram<'_>) -> bool {
        let key = &self.peer.key;
        key.address == datagram.source
            && self.peer.allows(datagram.hops)
            && key.interface.as_deref().is_none_or(|interface| interface == datagram.interface)
    }
}

impl Entry {
    pub(super) const fn new(
        peer: PeerKey,
        hops: Hops,
        local_address: Option<IpAddr>,
        session: Session,
        since: Time,
    ) -> Self {
        let counters = Counters { ups: 0, downs: 0, sent: 0, received: 0, last_lost: Diagnostic::NONE };
        // More than twice what a peer may send at the least interval.
        let bound = Bucket::new(Duration::from_millis(4), 50);
        Self { peer, hops, local_address, session, bound, counters, since }
    }

    /// What the next process must know, and an observer soon.
    pub(super) fn essence(&self) -> (State, Remote, Intervals, Option<IpAddr>) {
        (self.session.state(), *self.session.remote(), self.session.timers().advertised, self.local_address)
    }

    pub(super) fn speak_from(&mut self, local_address: IpAddr, actions: &mut Vec<Action>) {
        if self.local_address.replace(local_address).is_some_and(|before| before != local_address) {
            actions.push(Action::Close { discriminator: self.session.discriminator() });
        }
    }

    pub(super) fn finish(
        &mut self,
        now: Time,
        transition: Option<Transition>,
        out: Vec<Packet>,
        actions: &mut Vec<Action>,
    ) {
        if let Some(transition) = transition {
            self.since = now;
            if transition.to == State::Up {
                self.counters.ups += 1;
            }
            if transition.from == State::Up {
                self.counters.downs += 1;
                self.counters.last_lost = transition.diagnostic;
            }
            actions.push(Action::Changed { peer: self.peer.clone(), hops: self.hops, transition });
        }
        for packet in out {
            self.counters.sent += 1;
            actions.push(Action::Send(Outgoing {
                discriminator: self.session.discriminator(),
                peer: self.peer.clone(),
                local_address: self.local_address,
                hops: self.hops,
                bytes: packet.encode(),
            }));
        }
    }
}
