//! All sessions: which of them a datagram is for (RFC 5880 6.3 and 6.8.6, RFC 5881 3 to 5, RFC 5883 3), and the bounds.

mod entry;

use std::net::IpAddr;
use std::time::Duration;

use self::entry::{Entry, Served};
use crate::event::{Action, Datagram, Event, Refusal};
use crate::packet::Packet;
use crate::peer::{Hops, MAX_SESSIONS, Peer, PeerKey, Role};
use crate::rate::Bucket;
use crate::report::{Pauses, PeerReport, SessionReport, micros};
use crate::rng::Rng;
use crate::session::Session;
use crate::state::State;
use crate::time::Time;

/// Being later than this for a deadline counts as a pause in which nobody could listen.
const PAUSE: Duration = Duration::from_millis(100);

/// Sessions with peers.
#[derive(Debug)]
pub struct Table {
    rng: Rng,
    served: Vec<Served>,
    beyond_limit: Vec<PeerKey>,
    sessions: Vec<Entry>,
    /// Sessions of the process before that no peer has been found for yet.
    resumable: Vec<(PeerKey, SessionReport)>,
    strangers: u64,
    last_stranger: Option<IpAddr>,
    pauses: Pauses,
    version: u64,
}

impl Table {
    /// An empty table. Sessions of the process before go on when their peers are named.
    #[must_use]
    pub fn new(rng: Rng, before: &[PeerReport]) -> Self {
        let resumable = before.iter().flat_map(|peer| {
            let key = PeerKey { address: peer.address, interface: peer.interface.clone() };
            peer.sessions
                .iter()
                .filter(|session| session.local_discriminator != 0)
                .map(move |session| (key.clone(), session.clone()))
        });
        Self {
            rng,
            served: Vec::new(),
            beyond_limit: Vec::new(),
            sessions: Vec::new(),
            resumable: resumable.take(MAX_SESSIONS).collect(),
            strangers: 0,
            last_stranger: None,
            pauses: Pauses::default(),
            version: 0,
        }
    }

    /// Handles an event. The actions must be performed in order.
    pub fn handle(&mut self, now: Time, event: Event<'_>) -> Vec<Action> {
        self.excuse(now);
        let mut actions = Vec::new();
        match event {
            Event::Peers(peers) => self.peers(now, peers, &mut actions),
            Event::Datagram(datagram) => self.datagram(now, &datagram, &mut actions),
            Event::SlowDown(detection) => {
                for entry in &mut self.sessions {
                    entry.session.slow_down(detection);
                }
            }
            Event::Tick => {}
        }
        self.tick(now, &mut actions);
        actions
    }

    /// When the next [`Event::Tick`] is due; `None` without sessions that need one.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.sessions.iter().filter_map(|entry| entry.session.next_deadline()).min()
    }

    /// Whether no peer would call us gone during a restart, as far as they can be asked.
    #[must_use]
    pub fn is_slow(&self) -> bool {
        self.sessions.iter().all(|entry| entry.session.is_slow())
    }

    /// Changes with everything in the report that the next process or an observer must know soon; counters do not count.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The peers that are served.
    pub fn served(&self) -> impl Iterator<Item = &Peer> {
        self.served.iter().map(|served| &served.peer)
    }

    /// Peers beyond [`MAX_SESSIONS`].
    #[must_use]
    pub fn beyond_limit(&self) -> &[PeerKey] {
        &self.beyond_limit
    }

    /// Datagrams from addresses that are no peers.
    #[must_use]
    pub const fn strangers(&self) -> u64 {
        self.strangers
    }

    /// The address of the last of them.
    #[must_use]
    pub const fn last_stranger(&self) -> Option<IpAddr> {
        self.last_stranger
    }

    /// When the table was called much later than it asked for.
    #[must_use]
    pub const fn pauses(&self) -> Pauses {
        self.pauses
    }

    /// The peers and their sessions.
    #[must_use]
    pub fn report(&self) -> Vec<PeerReport> {
        self.served.iter().map(|served| self.peer_report(served)).collect()
    }

    fn peer_report(&self, served: &Served) -> PeerReport {
        let key = &served.peer.key;
        let sessions = self.sessions.iter().filter(|entry| entry.peer == *key);
        PeerReport {
            address: key.address,
            interface: key.interface.clone(),
            role: served.peer.settings.role,
            sources: served.sources.clone(),
            refused: served.refused,
            last_refusal: served.last_refusal.map(|refusal| refusal.to_string()),
            sessions: sessions
                .map(|entry| entry.session.report(entry.counters, entry.hops, entry.local_address, entry.since))
                .collect(),
        }
    }

    /// If this call is late, nobody listened in between.
    fn excuse(&mut self, now: Time) {
        let late = self.next_deadline().map_or(Duration::ZERO, |due| now.since(due));
        if late > PAUSE {
            let last = micros(late);
            self.pauses = Pauses {
                count: self.pauses.count + 1,
                microseconds: self.pauses.microseconds.saturating_add(last),
                last_microseconds: last,
                last_ended_at_microseconds: micros(now.since_zero()),
            };
            self.version += 1;
            for entry in &mut self.sessions {
                entry.session.excuse(late);
            }
        }
    }

    fn peers(&mut self, now: Time, mut peers: Vec<(Peer, Vec<String>)>, actions: &mut Vec<Action>) {
        self.version += 1;
        // Those that are served stay so, whatever else is wanted.
        peers.sort_by_key(|(peer, _)| !self.served.iter().any(|served| served.peer.key == peer.key));
        self.beyond_limit =
            peers.split_off(peers.len().min(MAX_SESSIONS)).into_iter().map(|(peer, _)| peer.key).collect();
        peers.sort_by(|(one, _), (other, _)| one.key.cmp(&other.key));
        let before = std::mem::take(&mut self.served);
        self.served = peers
            .into_iter()
            .map(|(peer, sources)| {
                let same = before.iter().find(|served| served.peer.key == peer.key);
                Served {
                    unbound: same.map_or(Bucket::new(Duration::from_millis(50), 20), |same| same.unbound.clone()),
                    refused: same.map_or(0, |same| same.refused),
                    last_refusal: same.and_then(|same| same.last_refusal),
                    peer,
                    sources,
                }
            })
            .collect();
        let wanted =
            |key: &PeerKey, hops| self.served.iter().find(|served| served.peer.key == *key && served.peer.allows(hops));
        self.sessions.retain_mut(|entry| {
            let served = wanted(&entry.peer, entry.hops);
            // Another address of ours is another session to the peer (RFC 5883 3).
            let kept = served.filter(|served| {
                served.peer.local_address.is_none_or(|local| entry.local_address.is_none_or(|own| own == local))
            });
            match kept {
                Some(served) => entry.session.configure(served.peer.settings),
                None => actions.push(Action::Close { discriminator: entry.session.discriminator() }),
            }
            kept.is_some()
        });
        self.begin(now);
    }

    /// Sessions of the process before, and those that do not wait for the peer.
    fn begin(&mut self, now: Time) {
        for (key, report) in std::mem::take(&mut self.resumable) {
            let served = self.served.iter().find(|served| served.peer.key == key && served.peer.allows(report.hops));
            let Some(served) = served
                .filter(|served| served.peer.local_address.is_none_or(|local| report.local_address == Some(local)))
            else {
                continue;
            };
            let taken = self.sessions.iter().any(|entry| {
                (entry.peer == key && entry.hops == report.hops)
                    || entry.session.discriminator() == report.local_discriminator
            });
            if !taken && self.sessions.len() < MAX_SESSIONS {
                let mut entry = Entry::new(
                    served.peer.key.clone(),
                    report.hops,
                    report.local_address,
                    Session::resume(served.peer.settings, &report, now),
                    now,
                );
                entry.counters = report.counters();
                entry.since = Time::new(Duration::from_micros(report.since_microseconds));
                self.sessions.push(entry);
            }
        }
        let active: Vec<Peer> = self.served().filter(|peer| peer.settings.role == Role::Active).cloned().collect();
        for peer in active {
            let hops = peer.hops.unwrap_or(Hops::Single);
            if self.session_of(&peer.key, hops).is_none() {
                self.create(now, &peer, hops, peer.local_address);
            }
        }
    }

    fn session_of(&mut self, key: &PeerKey, hops: Hops) -> Option<usize> {
        self.sessions.iter().position(|entry| entry.peer == *key && entry.hops == hops)
    }

    /// `None` if there are too many.
    fn create(&mut self, now: Time, peer: &Peer, hops: Hops, local_address: Option<IpAddr>) -> Option<usize> {
        if self.sessions.len() >= MAX_SESSIONS {
            return None;
        }
        let free = |discriminator: &u32| {
            *discriminator != 0 && self.sessions.iter().all(|entry| entry.session.discriminator() != *discriminator)
        };
        let discriminator = std::iter::repeat_with(|| self.rng.next()).find(free)?;
        let session = Session::new(peer.settings, discriminator);
        self.sessions.push(Entry::new(peer.key.clone(), hops, local_address, session, now));
        Some(self.sessions.len() - 1)
    }

    fn datagram(&mut self, now: Time, datagram: &Datagram<'_>, actions: &mut Vec<Action>) {
        let Some(at) = self.served.iter().position(|served| served.is(datagram)) else {
            self.strangers += 1;
            self.last_stranger = Some(datagram.source);
            return;
        };
        match self.accept(now, at, datagram) {
            Ok((index, packet)) => {
                if let Some(entry) = self.sessions.get_mut(index) {
                    entry.speak_from(datagram.destination, actions);
                }
                self.receive(now, index, &packet, actions);
            }
            Err(refusal) => {
                let Some(served) = self.served.get_mut(at) else { return };
                served.refused += 1;
                let news = served.last_refusal.map(|last| std::mem::discriminant(&last))
                    != Some(std::mem::discriminant(&refusal));
                served.last_refusal = Some(refusal);
                if news {
                    self.version += 1;
                    actions.push(Action::Refused { peer: served.peer.key.clone(), refusal });
                }
            }
        }
    }

    /// The session that a peer's datagram is for, which is made if need be, and the packet.
    fn accept(&mut self, now: Time, at: usize, datagram: &Datagram<'_>) -> Result<(usize, Packet), Refusal> {
        let served = self.served.get_mut(at).ok_or(Refusal::Stranger)?;
        let least = match datagram.hops {
            Hops::Single => 255,
            Hops::Multi => served.peer.minimum_ttl,
        };
        if datagram.ttl < least {
            return Err(Refusal::Ttl { ttl: datagram.ttl, least, hops: datagram.hops });
        }
        let packet = Packet::decode(datagram.bytes)?;
        let same = |entry: &&mut Entry| entry.peer == served.peer.key && entry.hops == datagram.hops;
        if packet.your_discriminator != 0 {
            let mut known = self.sessions.iter_mut().enumerate();
            let found =
                known.find(|(_, entry)| entry.session.discriminator() == packet.your_discriminator && same(entry));
            let (index, entry) = found.ok_or(Refusal::Discriminator(packet.your_discriminator))?;
            if entry.local_address.is_some_and(|local| local != datagram.destination) {
                return Err(Refusal::LocalAddress);
            }
            return if entry.bound.take(now) { Ok((index, packet)) } else { Err(Refusal::Rate) };
        }
        if served.peer.local_address.is_some_and(|local| local != datagram.destination) {
            return Err(Refusal::LocalAddress);
        }
        if !served.unbound.take(now) {
            return Err(Refusal::Rate);
        }
        let mut all = self.sessions.iter_mut().enumerate();
        if let Some((index, entry)) = all.find(|(_, entry)| same(entry)) {
            // While the peer is there with one address of ours, it has no second session with another.
            let elsewhere = entry.local_address.is_some_and(|local| local != datagram.destination);
            return if elsewhere && entry.session.state() != State::Down {
                Err(Refusal::LocalAddress)
            } else {
                Ok((index, packet))
            };
        }
        let peer = served.peer.clone();
        let index = self.create(now, &peer, datagram.hops, Some(datagram.destination)).ok_or(Refusal::Full)?;
        Ok((index, packet))
    }

    fn receive(&mut self, now: Time, index: usize, packet: &Packet, actions: &mut Vec<Action>) {
        let Some(entry) = self.sessions.get_mut(index) else { return };
        let before = entry.essence();
        let mut out = Vec::new();
        entry.counters.received += 1;
        let transition = entry.session.receive(now, packet, &mut self.rng, &mut out);
        entry.finish(now, transition, out, actions);
        if entry.essence() != before {
            self.version += 1;
        }
    }

    fn tick(&mut self, now: Time, actions: &mut Vec<Action>) {
        for entry in &mut self.sessions {
            let mut out = Vec::new();
            let before = entry.essence();
            let transition = entry.session.tick(now, &mut self.rng, &mut out);
            entry.finish(now, transition, out, actions);
            if entry.essence() != before {
                self.version += 1;
            }
        }
    }
}
