//! The protocol of one node: events in, actions out.

use std::net::IpAddr;
use std::time::Duration;

use crate::address::{Addresses, Context, View};
use crate::claims::Claims;
use crate::detector::Detector;
use crate::io::{Action, Event, Fact, Frame as NeighborFrame, Output, Stop};
use crate::machine::config::Config;
use crate::membership::{Gossip, IndirectPings, LivenessChange, Membership};
use crate::model::link::{Link, LinkId, Peer};
use crate::model::node::{Mac, NodeId};
use crate::model::rng::Rng;
use crate::model::time::{Time, ms};
use crate::session::Session;
use crate::this_node::{Eligibility, Policy, Startup};
use crate::wire::{Epoch, SELECTED, Status, Vital, pack};

/// A gap between two calls, past the deadline, that counts as a pause of this node.
pub const PAUSE: Duration = ms(500);
/// After a pause so many members are pinged at once.
const PINGS_AFTER_PAUSE: usize = 64;

/// The protocol of one node.
#[derive(Debug)]
pub struct Machine {
    pub(super) now: Time,
    pub(super) rng: Rng,
    pub(super) session: Session,
    pub(super) members: Membership,
    pub(super) indirect: IndirectPings,
    pub(super) claims: Claims,
    pub(super) detector: Detector,
    pub(super) addresses: Addresses,
    policy: Policy,
    eligibility: Eligibility,
    startup: Startup,
    /// Whether it was reported that a leaving node has handed everything over.
    left: bool,
    pub(super) out: Output,
}

impl Machine {
    /// A machine that starts now. The seed is random; the same seed and events give the same actions.
    #[must_use]
    pub fn new(config: Config, seed: u64, now: Time) -> Self {
        let Config { node, boot, keys, policy, announcements, probe_interval } = config;
        Self {
            now,
            rng: Rng::new(seed),
            session: Session::new(node.clone(), boot, keys),
            members: Membership::new(node, 1, now),
            indirect: IndirectPings::default(),
            claims: Claims::default(),
            detector: Detector::new(now),
            addresses: Addresses::default(),
            policy: Policy::new(policy, announcements, probe_interval),
            eligibility: Eligibility::default(),
            startup: Startup::new(now),
            left: false,
            out: Output::default(),
        }
    }

    /// Handles an event; returns what to do, in order.
    pub fn handle(&mut self, event: Event, now: Time) -> Vec<Action> {
        let now = now.max(self.now);
        if now.since(self.now) > PAUSE && now.since(self.next_deadline()) > PAUSE {
            let gap = now.since(self.now);
            self.now = now;
            self.on_pause(gap);
        }
        self.now = now;
        self.on_event(event);
        self.on_timers();
        self.with_addresses(Addresses::run_changed);
        self.flush();
        self.out.take_actions()
    }

    /// It is later because the edge was busy with actions of this machine: that is no pause.
    pub fn excuse(&mut self, now: Time) {
        self.now = now.max(self.now);
    }

    /// When [`Event::Tick`] must be given if nothing else comes before.
    #[must_use]
    pub fn next_deadline(&self) -> Time {
        let regular = self.detector.deadline().min(self.members.deadline());
        self.addresses.deadline(self.now).map_or(regular, |at| at.min(regular))
    }

    /// What this node holds, with epochs, for the state file; to be written whenever [`Machine::version`] changed.
    pub fn claims(&self) -> impl Iterator<Item = (IpAddr, Epoch)> {
        self.claims.own.iter()
    }

    /// The version of [`Machine::claims`].
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.claims.own.version()
    }

    // ---- what the parts borrow ----

    pub(super) const fn gossip(&mut self) -> Gossip<'_> {
        Gossip { now: self.now, members: &mut self.members, rng: &mut self.rng, out: &mut self.out }
    }

    pub(super) const fn view(&self) -> View<'_> {
        View { now: self.now, members: &self.members, detector: &self.detector, eligibility: &self.eligibility }
    }

    pub(super) fn with_detector<T>(&mut self, call: impl FnOnce(&mut Detector, &mut Gossip<'_>) -> T) -> T {
        let gossip = &mut Gossip { now: self.now, members: &mut self.members, rng: &mut self.rng, out: &mut self.out };
        call(&mut self.detector, gossip)
    }

    pub(super) fn with_claims<T>(&mut self, call: impl FnOnce(&mut Claims, &mut Gossip<'_>) -> T) -> T {
        let gossip = &mut Gossip { now: self.now, members: &mut self.members, rng: &mut self.rng, out: &mut self.out };
        call(&mut self.claims, gossip)
    }

    pub(super) fn with_addresses<T>(&mut self, call: impl FnOnce(&mut Addresses, &mut Context<'_>) -> T) -> T {
        let mut context = Context {
            gossip: Gossip { now: self.now, members: &mut self.members, rng: &mut self.rng, out: &mut self.out },
            detector: &mut self.detector,
            claims: &mut self.claims,
            policy: &self.policy,
            eligibility: &self.eligibility,
            startup: &self.startup,
        };
        call(&mut self.addresses, &mut context)
    }

    // ---- events ----

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Tick => {}
            Event::Datagram { from, bytes } => self.on_datagram(from, &bytes),
            Event::Seen { link, mac, frame } => self.on_seen(link, mac, frame),
            Event::Members(peers) => self.on_members(peers),
            Event::Link(link) => self.on_link(link),
            Event::LinkGone(link) => {
                self.with_addresses(|addresses, context| addresses.lose_link(link, context));
                self.detector.remove_link(link);
            }
            Event::Want(want) => self.addresses.want(want, self.now),
            Event::Unwant(address) => self.addresses.unwant(address),
            Event::WantsComplete => {
                self.startup.wants_complete = true;
                self.addresses.mark_all();
            }
            Event::Kernel(found) => self.with_addresses(|addresses, context| addresses.kernel_read(&found, context)),
            Event::KernelLost(address) => {
                self.with_addresses(|addresses, context| addresses.kernel_lost(address, context));
            }
            Event::AddFailed(address) => {
                self.with_addresses(|addresses, context| addresses.add_failed(address, context));
            }
            Event::Selected(selected) => {
                self.eligibility.selected = selected;
                self.update_flags();
            }
            Event::Excluded(excluded) => {
                self.eligibility.excluded = excluded;
                self.update_flags();
            }
            Event::Watches { current } => {
                self.eligibility.set_current(current, self.now);
                self.update_flags();
            }
            Event::Policy(conflicts) => self.policy.conflicts = conflicts,
            Event::Announcements(schedule) => self.policy.announcements = schedule,
            Event::Keys(keys) => self.session.rekey(keys),
            Event::Stop(stop) => {
                self.eligibility.stop = Some(stop);
                self.update_flags();
                self.addresses.mark_all();
            }
        }
    }

    fn on_link(&mut self, link: Link) {
        let id = link.id;
        self.detector.update_link(link, self.now);
        self.addresses.mark_on(id);
    }

    fn on_members(&mut self, peers: Vec<Peer>) {
        let known = |peer: &Peer| self.members.get(&peer.node).and_then(|member| member.peer.as_ref());
        let mut others = peers.iter().filter(|peer| peer.node != *self.members.own());
        let moved = others.any(|peer| known(peer).is_none_or(|old| old.places != peer.places));
        let (new, gone) = self.members.discover(peers, self.now);
        for node in &new {
            self.gossip().ping_once(node);
        }
        for node in &gone {
            self.detector.forget(node);
            self.addresses.mark_each(self.claims.forget(node));
        }
        self.startup.note_listed(self.now);
        // A renewal alone changes nothing.
        if moved || !gone.is_empty() {
            self.detector.change_ring();
            self.addresses.mark_owned();
        }
    }

    fn on_seen(&mut self, link: LinkId, mac: Mac, frame: NeighborFrame) {
        if self.detector.is_own(mac) || self.detector.link(link).is_none() {
            return;
        }
        let member = self.members.owner_of(mac).cloned();
        match frame {
            NeighborFrame::Answer(address) => {
                if self.detector.link_answered(link, address, self.now) {
                    self.addresses.mark_all();
                }
                if let Some(node) = &member
                    && self.detector.note_answer(node, link, address, mac, &self.members, self.now)
                {
                    self.report_indirect(node, Some(address));
                }
                self.with_addresses(|addresses, context| addresses.answered(address, link, mac, member, context));
            }
            NeighborFrame::Announcement(address) if self.addresses.belongs_to(address, link) => {
                self.with_addresses(|addresses, context| addresses.announced(address, mac, member, context));
            }
            NeighborFrame::Announcement(_) => {}
            NeighborFrame::Question { target, sender } => {
                if let (None, Some(sender)) = (&member, sender)
                    && !self.addresses.contains(sender)
                {
                    self.detector.note_witness(link, sender, self.now);
                }
                if self.addresses.belongs_to(target, link) {
                    self.with_addresses(|addresses, context| {
                        addresses.questioned(target, sender, mac, member.as_ref(), context);
                    });
                }
            }
        }
    }

    /// This node did not run for a while (stopped, suspended): nothing that it believes of others is sure.
    fn on_pause(&mut self, gap: Duration) {
        self.out.report(Fact::Paused(gap));
        self.members.end_suspicions(self.now);
        self.detector.reset(self.now);
        self.startup.pause(self.now);
        self.with_addresses(Addresses::pause);
        self.out.act(Action::ReadKernel);
        let nodes: Vec<_> = self.members.iter().map(|(node, _)| node.clone()).take(PINGS_AFTER_PAUSE).collect();
        for node in nodes {
            // A member that took over has a claim; the status in its answer says so.
            self.gossip().ping_once(&node);
        }
        self.members.ping_now(self.now);
    }

    // ---- timers ----

    fn on_timers(&mut self) {
        if self.startup.advance(&self.members, self.now) {
            self.addresses.mark_all();
        }
        self.note_left();
        if self.detector.is_round_due(self.now) {
            self.on_round();
        }
        if self.detector.is_burst_due(self.now) {
            for node in self.with_detector(Detector::burst) {
                self.on_alarm(&node);
            }
        }
        if self.now >= self.members.deadline() {
            self.on_membership_due();
        }
        for link in self.detector.due_links(self.now) {
            if self.with_detector(|detector, gossip| detector.check_link(link, gossip)) {
                self.update_flags();
                self.with_addresses(|addresses, context| addresses.lose_link(link, context));
            }
        }
        self.with_addresses(Addresses::run_due);
    }

    fn on_round(&mut self) {
        self.update_flags();
        let pings = self.with_detector(Detector::begin_round);
        if self.members.note_gossip(self.startup.started, self.now) {
            self.out.report(Fact::GossipSilent);
            self.addresses.mark_all();
        }
        self.with_claims(Claims::catch_up);
        for node in pings {
            self.gossip().ping(&node);
        }
        self.with_detector(Detector::watch);
    }

    fn on_membership_due(&mut self) {
        let tick = self.members.tick(self.now, &mut self.rng);
        for node in tick.ping {
            self.gossip().ping(&node);
        }
        for (helper, target) in tick.ask {
            self.gossip().ask_to_ping(&helper, &target, None);
        }
        for change in tick.changes {
            if change.vital == Vital::Silent
                && self.members.get(&change.node).is_some()
                && self.detector.answers_somewhere(&change.node, self.now)
            {
                self.out.report(Fact::AgentSilent { node: change.node.clone() });
            }
            self.on_liveness(change);
        }
    }

    /// A leaving node has handed everything over.
    fn note_left(&mut self) {
        if self.eligibility.stop == Some(Stop::Leaving) && !self.left && self.claims.own.is_empty() {
            self.left = true;
            self.out.report(Fact::Left);
        }
    }

    // ---- what one part means for the others ----

    /// What this node says of itself.
    fn update_flags(&mut self) {
        if self.members.set_flags(self.eligibility.flags(self.detector.has_broken_link(), self.now)) {
            self.addresses.mark_all();
        }
    }

    /// A member is alive, suspected, or silent from now on.
    pub(super) fn on_liveness(&mut self, change: LivenessChange) {
        self.detector.change_ring();
        let LivenessChange { node, vital } = change;
        if vital != Vital::Suspect {
            self.addresses.mark_each(self.claims.of(&node).map(|(address, _)| address));
            self.on_flags(&node, vital == Vital::Silent);
        }
        self.out.report(Fact::Member { node, vital });
    }

    /// A member is silent in every way on a link.
    pub(super) fn on_alarm(&mut self, node: &NodeId) {
        self.addresses.mark_each(self.claims.of(node).map(|(address, _)| address));
        // It may have been the first heir of something that waits.
        self.addresses.mark_waiting();
    }

    /// Whether the flags of a member allow less than these did.
    pub(super) fn restricts(&self, node: &NodeId, before: u8) -> bool {
        let allowed = |flags: u8| flags ^ !SELECTED;
        self.members.get(node).is_some_and(|member| allowed(before) & !allowed(member.status.flags) != 0)
    }

    /// What a member may do changed.
    pub(super) fn on_flags(&mut self, node: &NodeId, worse: bool) {
        let keeps_all = self.eligibility.keeps_all(&self.members);
        self.addresses.mark_for_member(node, worse, keeps_all, self.members.own(), &self.claims);
    }

    /// Tells those who asked this node that a member answers.
    pub(super) fn report_indirect(&mut self, node: &NodeId, reach: Option<IpAddr>) {
        for (asker, ack) in self.indirect.answered(node, reach, self.now) {
            self.gossip().send(&asker, ack);
        }
    }

    // ---- the end of a call ----

    /// Packs what is to be sent into datagrams, after all other actions: what they say is then true.
    fn flush(&mut self) {
        self.with_claims(Claims::send_changes);
        let own = &self.claims.own;
        let status = Status { version: own.version(), digest: own.digest(), ..self.members.status };
        self.members.status = status;
        for (to, mut frames) in self.out.take_frames() {
            frames.extend(self.members.rumours());
            for body in pack(&status, &frames) {
                if let Some(bytes) = self.session.seal(body) {
                    self.out.act(Action::Send { to, bytes });
                }
            }
        }
    }
}
