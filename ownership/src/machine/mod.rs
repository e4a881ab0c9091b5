//! The state machine: events in, actions out. See the crate's documentation for the protocol and its proofs.
//!
//! | File | Holds |
//! |---|---|
//! | `mod` | the machine, its clock, its queue |
//! | `slot` | one address and its states |
//! | `receive` | datagrams and messages |
//! | `links` | interfaces and frames; whether we hear |
//! | `watching` | pings, suspicion, alarm |
//! | `stance` | candidates; whether to act on an address |
//! | `claiming` | asking the link, claiming, releasing, announcing |
//! | `conflict` | two claims; foreign hosts |
//! | `moves` | offer, accept, go |
//! | `adopt` | start, pause, stop, what the kernel has |
//! | `state` | what `/state` shows |

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Bound;
use std::time::Duration;

use crate::claims::Ledger;
use crate::envelope::{Keys, Opener, Sealer};
use crate::event::{Action, ConflictPolicy, Event, Fact, Stop};
use crate::link::LinkId;
use crate::membership::Membership;
use crate::node::{BootId, Mac, NodeId};
use crate::probe;
use crate::rng::Rng;
use crate::time::{Time, ms};
use crate::wire::{MAX_BODY, Message, Status, encode};

mod adopt;
mod claiming;
mod conflict;
mod links;
mod moves;
mod receive;
mod slot;
mod stance;
mod state;
mod watching;

use links::LinkState;
use receive::{Challenges, Helping};
use slot::{Slot, State};
pub use state::{AddressState, MemberState, Snapshot};
use watching::Watch;

/// Addresses that one call deals with because of the time, and as many because of what happened: the rest is due at
/// once again, so that an edge with thousands of claims to carry out, or a node with thousands of places among a
/// thousand others to find, hears the others in between.
const AT_ONCE: usize = 256;
/// When the rest of what happened is looked at.
const AT_ONCE_AGAIN: Duration = ms(1);

/// A gap between two calls, past the deadline, that counts as a pause of our own.
pub const PAUSE: Duration = ms(500);

/// What a machine is made from.
#[derive(Debug, Clone)]
pub struct Config {
    /// This node.
    pub node: NodeId,
    /// This run of the agent: 16 bytes from the system's random source.
    pub boot: BootId,
    /// The gossip keys.
    pub keys: Keys,
    /// What to do about foreign hosts.
    pub policy: ConflictPolicy,
    /// When to announce an address, counted from its claim.
    pub announcements: Vec<Duration>,
    /// Between two questions before a claim, and from the last to the decision; brought into
    /// [`probe::INTERVALS`].
    pub probe_interval: Duration,
}

impl Config {
    /// With the defaults: conflicts are enforced, announcements at 0, 0.1, 0.5, 2, 10 s, probes 10 ms apart.
    #[must_use]
    pub fn new(node: NodeId, boot: BootId, keys: Keys) -> Self {
        let announcements = [0, 100, 500, 2000, 10_000].map(ms).to_vec();
        let (policy, probe_interval) = (ConflictPolicy::default(), probe::INTERVAL);
        Self { node, boot, keys, policy, announcements, probe_interval }
    }
}

/// The protocol of one node.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about this node, not states of one machine")]
pub struct Machine {
    node: NodeId,
    policy: ConflictPolicy,
    announcements: Vec<Duration>,
    probe_interval: Duration,
    rng: Rng,
    now: Time,
    started: Time,
    sealer: Sealer,
    opener: Opener,
    challenges: Challenges,
    members: Membership,
    ledger: Ledger,
    links: BTreeMap<LinkId, LinkState>,
    /// Whose hardware addresses these are.
    macs: BTreeMap<Mac, NodeId>,
    slots: BTreeMap<IpAddr, Slot>,
    queue: BTreeSet<(Time, IpAddr)>,
    /// Addresses to look at before this call ends, unless there are very many.
    dirty: BTreeSet<IpAddr>,
    /// The last of them that was looked at.
    settled: IpAddr,
    helping: Vec<Helping>,
    /// Whose claims are newer than what we have, by rumour.
    behind: BTreeSet<NodeId>,
    watches: Vec<Watch>,
    /// Whom we took addresses over from, on some link.
    missed: BTreeSet<NodeId>,
    watch_next: Time,
    burst_next: Option<Time>,
    rewatch: bool,
    lonely_turn: usize,
    /// When the Leases were first listed.
    listed: Option<Time>,
    /// Whether the first contacts are made: from then on claims may be made.
    open: bool,
    /// A member whose first contact is not made.
    unmet: Option<NodeId>,
    /// Nothing is begun before this time (after a pause).
    quiet_until: Time,
    wants_complete: bool,
    stale_since: Option<Time>,
    selected: bool,
    excluded: bool,
    told_version: u64,
    /// The highest epoch of any address that was forgotten: where new ones begin.
    floor: crate::wire::Epoch,
    gossip_silent: bool,
    stop: Option<Stop>,
    left: bool,
    actions: Vec<Action>,
    outbox: BTreeMap<SocketAddr, Vec<Message>>,
}

impl Machine {
    /// A machine that starts now. The seed is random; the same seed and events give the same actions.
    #[must_use]
    pub fn new(config: Config, seed: u64, now: Time) -> Self {
        let Config { node, boot, keys, policy, announcements, probe_interval } = config;
        Self {
            policy,
            announcements,
            probe_interval: probe_interval.clamp(*probe::INTERVALS.start(), *probe::INTERVALS.end()),
            rng: Rng::new(seed),
            now,
            started: now,
            sealer: Sealer::new(node.clone(), boot, &keys),
            opener: Opener::new(node.clone(), keys),
            challenges: Challenges::default(),
            members: Membership::new(node.clone(), 1, now),
            node,
            ledger: Ledger::default(),
            links: BTreeMap::new(),
            macs: BTreeMap::new(),
            slots: BTreeMap::new(),
            queue: BTreeSet::new(),
            dirty: BTreeSet::new(),
            settled: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            helping: Vec::new(),
            behind: BTreeSet::new(),
            watches: Vec::new(),
            missed: BTreeSet::new(),
            watch_next: now,
            burst_next: None,
            rewatch: true,
            lonely_turn: 0,
            listed: None,
            open: false,
            unmet: None,
            quiet_until: now,
            wants_complete: false,
            stale_since: None,
            selected: true,
            excluded: false,
            told_version: 1,
            floor: 0,
            gossip_silent: false,
            stop: None,
            left: false,
            actions: Vec::new(),
            outbox: BTreeMap::new(),
        }
    }

    /// Takes an event; returns what to do, in order.
    pub fn handle(&mut self, event: Event, now: Time) -> Vec<Action> {
        let now = now.max(self.now);
        if now.since(self.now) > PAUSE && now.since(self.next_deadline()) > PAUSE {
            let gap = now.since(self.now);
            self.now = now;
            self.on_pause(gap);
        }
        self.now = now;
        self.on_event(event);
        self.timers();
        self.settle();
        self.flush();
        std::mem::take(&mut self.actions)
    }

    /// It is later, for the edge was busy with our actions: that is no pause.
    pub fn excuse(&mut self, now: Time) {
        self.now = now.max(self.now);
    }

    /// When [`Event::Tick`] must be given if nothing else comes before.
    #[must_use]
    pub fn next_deadline(&self) -> Time {
        let slot = self.queue.first().map(|(at, _)| *at);
        let check = self.links.values().filter_map(LinkState::deadline).min();
        let rest = (!self.dirty.is_empty()).then(|| self.now + AT_ONCE_AGAIN);
        let soonest = [slot, check, self.burst_next, rest].into_iter().flatten().min();
        let regular = self.watch_next.min(self.members.deadline());
        soonest.map_or(regular, |soonest| soonest.min(regular))
    }

    /// What this node holds, with epochs, for the state file; to be written whenever [`Machine::version`] changed.
    pub fn claims(&self) -> impl Iterator<Item = (IpAddr, crate::wire::Epoch)> {
        self.ledger.own.iter()
    }

    /// The version of [`Machine::claims`].
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.ledger.own.version()
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Tick => {}
            Event::Datagram { from, bytes } => self.on_datagram(from, &bytes),
            Event::Seen { link, mac, frame } => self.on_seen(link, mac, frame),
            Event::Members(peers) => self.on_members(peers),
            Event::Link(link) => self.on_link(link),
            Event::LinkGone(link) => self.on_link_gone(link),
            Event::Want(want) => self.on_want(want),
            Event::Unwant(address) => self.on_unwant(address),
            Event::WantsComplete => {
                self.wants_complete = true;
                self.all_dirty();
            }
            Event::Kernel(addresses) => self.on_kernel(&addresses),
            Event::KernelLost(address) => self.on_kernel_lost(address),
            Event::AddFailed(address) => self.on_add_failed(address),
            Event::Selected(selected) => {
                self.selected = selected;
                self.update_flags();
            }
            Event::Excluded(excluded) => {
                self.excluded = excluded;
                self.update_flags();
            }
            Event::Watches { current } => {
                self.stale_since = if current { None } else { self.stale_since.or(Some(self.now)) };
                self.update_flags();
            }
            Event::Policy(policy) => self.policy = policy,
            Event::Announcements(schedule) => self.announcements = schedule,
            Event::Keys(keys) => {
                self.sealer.rekey(&keys);
                self.opener.rekey(keys);
            }
            Event::Stop(stop) => self.on_stop(stop),
        }
    }

    fn timers(&mut self) {
        self.open_gate();
        if self.now >= self.watch_next {
            self.watch_tick();
        }
        if self.burst_next.is_some_and(|next| self.now >= next) {
            self.burst();
        }
        if self.now >= self.members.deadline() {
            self.swim();
        }
        self.check_links();
        for _ in 0..AT_ONCE {
            let Some((at, address)) = self.queue.first().copied().filter(|(at, _)| *at <= self.now) else { break };
            self.queue.remove(&(at, address));
            if let Some(slot) = self.slots.get_mut(&address) {
                slot.wake = None;
            }
            self.step(address);
        }
    }

    /// Looks at the addresses that something happened to. A step can make addresses dirty again.
    fn settle(&mut self) {
        for _ in 0..AT_ONCE {
            // In turn, so that those that become dirty again and again keep no others waiting.
            let following = self.dirty.range((Bound::Excluded(self.settled), Bound::Unbounded)).next();
            let Some(address) = following.or_else(|| self.dirty.first()).copied() else { return };
            self.dirty.remove(&address);
            self.settled = address;
            self.step(address);
        }
    }

    /// One address: its state goes out, the next comes in.
    fn step(&mut self, address: IpAddr) {
        let top = self.ledger.rivals(address).map(|(_, epoch)| epoch).max().unwrap_or(0);
        let Some(slot) = self.slots.get_mut(&address) else { return };
        slot.seen = slot.seen.max(top);
        let state = std::mem::take(&mut slot.state);
        let next = match state {
            State::Idle => self.step_waiting(address, None),
            State::Waiting(until) => self.step_waiting(address, Some(until)),
            State::Probing(probe) => self.step_probing(address, probe),
            State::Held(held) => self.step_held(address, held),
            State::Accepted(accepted) => self.step_accepted(address, accepted),
        };
        self.put_state(address, next);
    }

    fn put_state(&mut self, address: IpAddr, state: State) {
        let Some(slot) = self.slots.get_mut(&address) else { return };
        slot.state = state;
        if matches!(slot.state, State::Idle) && slot.want.is_none() && !slot.in_kernel {
            self.floor = self.floor.max(slot.seen);
            if let Some(wake) = slot.wake {
                self.queue.remove(&(wake, address));
            }
            self.slots.remove(&address);
            return;
        }
        // What is overdue and still there waits for something else: it must not turn the queue into a busy loop.
        let deadline = slot.deadline().map(|deadline| deadline.max(self.now + ms(1)));
        if slot.wake != deadline {
            if let Some(wake) = slot.wake {
                self.queue.remove(&(wake, address));
            }
            if let Some(deadline) = deadline {
                self.queue.insert((deadline, address));
            }
            slot.wake = deadline;
        }
    }

    /// Takes the state out of a slot; [`Machine::put_state`] puts the next one in.
    fn take_state(&mut self, address: IpAddr) -> State {
        self.slots.get_mut(&address).map(|slot| std::mem::take(&mut slot.state)).unwrap_or_default()
    }

    fn all_dirty(&mut self) {
        self.dirty.extend(self.slots.keys());
    }

    fn held_dirty(&mut self) {
        self.dirty.extend(self.slots.iter().filter(|(_, slot)| slot.held().is_some()).map(|(address, _)| *address));
    }

    fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    fn tell(&mut self, fact: Fact) {
        self.actions.push(Action::Tell(fact));
    }

    /// To a member, where it was last found.
    fn send(&mut self, node: &NodeId, message: Message) {
        if let Some(to) = self.members.get(node).and_then(crate::membership::Member::endpoint) {
            self.outbox.entry(to).or_default().push(message);
        }
    }

    /// Packs what is to be sent into datagrams, after all other actions: what they say is then true.
    fn flush(&mut self) {
        self.tell_changes();
        let own = &self.ledger.own;
        let status = Status { version: own.version(), digest: own.digest(), ..self.members.status };
        self.members.status = status;
        for (to, messages) in std::mem::take(&mut self.outbox) {
            let mut messages = messages;
            messages.extend(self.members.rumours());
            let mut rest = messages.as_slice();
            while !rest.is_empty() {
                let mut count = rest.len();
                let body = loop {
                    let body = encode(&status, rest.get(..count).unwrap_or_default());
                    if body.len() <= MAX_BODY || count <= 1 {
                        break body;
                    }
                    count = count.div_ceil(2);
                };
                rest = rest.get(count..).unwrap_or_default();
                if let Some(bytes) = self.sealer.seal(body) {
                    self.actions.push(Action::Send { to, bytes });
                }
            }
        }
    }
}
