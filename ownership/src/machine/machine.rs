//! The protocol of one node: events in, actions out.

use std::net::IpAddr;
use std::time::Duration;

use crate::address::{Addresses, Budget, Context, View};
use crate::claims::Claims;
use crate::detector::Detector;
use crate::io::{Action, Event, Output};
use crate::machine::config::Config;
use crate::membership::{Gossip, IndirectPings, Membership};
use crate::model::rng::Rng;
use crate::model::time::{Time, ms};
use crate::session::Session;
use crate::this_node::{Eligibility, KernelHoldings, Lateness, Policy, Startup};
use crate::wire::{Epoch, Frame, Status, pack};

/// A gap between two calls, past the deadline, that counts as a pause of this node.
pub const PAUSE: Duration = ms(500);

/// What parts of the machine need to talk to members; a macro because the parts are borrowed one by one.
macro_rules! gossip {
    ($machine:ident) => {
        Gossip {
            now: $machine.now,
            late: $machine.late,
            members: &mut $machine.members,
            rng: &mut $machine.rng,
            out: &mut $machine.out,
        }
    };
}

/// The protocol of one node.
#[derive(Debug)]
pub struct Machine {
    pub(super) now: Time,
    pub(super) lateness: Lateness,
    /// By how much waits for answers are longer in this call.
    pub(super) late: Duration,
    pub(super) rng: Rng,
    pub(super) session: Session,
    pub(super) members: Membership,
    pub(super) indirect: IndirectPings,
    pub(super) claims: Claims,
    pub(super) detector: Detector,
    pub(super) addresses: Addresses,
    pub(super) policy: Policy,
    pub(super) eligibility: Eligibility,
    pub(super) startup: Startup,
    pub(super) holdings: KernelHoldings,
    pub(super) budget: Budget,
    /// Whether it was reported that a leaving node has handed everything over.
    pub(super) left: bool,
    pub(super) out: Output,
}

impl Machine {
    /// A machine that starts now. The seed is random; the same seed and events give the same actions.
    #[must_use]
    pub fn new(config: Config, seed: u64, now: Time) -> Self {
        let Config { node, boot, keys, policy, announcements, probe_interval, frames_per_second, failure_detection } =
            config;
        let mut detector = Detector::new(now);
        detector.set_failure_detection(failure_detection);
        Self {
            now,
            lateness: Lateness::default(),
            late: Duration::ZERO,
            rng: Rng::new(seed),
            session: Session::new(node.clone(), boot, keys),
            members: Membership::new(node, 1, now),
            indirect: IndirectPings::default(),
            claims: Claims::default(),
            detector,
            addresses: Addresses::default(),
            policy: Policy::new(policy, announcements, probe_interval),
            eligibility: Eligibility::default(),
            startup: Startup::new(now),
            holdings: KernelHoldings::default(),
            budget: Budget::new(frames_per_second),
            left: false,
            out: Output::default(),
        }
    }

    /// Handles an event; returns what to do, in order.
    pub fn handle(&mut self, event: Event, now: Time) -> Vec<Action> {
        self.handle_all([event], now)
    }

    /// Handles events that have come by now, before what is due: an answer that has arrived counts before a deadline that
    /// has passed. Returns what to do, in order.
    pub fn handle_all(&mut self, events: impl IntoIterator<Item = Event>, now: Time) -> Vec<Action> {
        let now = now.max(self.now);
        self.late = self.lateness.recent(now);
        if now.since(self.now) > PAUSE && now.since(self.next_deadline()) > PAUSE {
            let gap = now.since(self.now);
            self.now = now;
            self.on_pause(gap);
        }
        self.now = now;
        for event in events {
            self.on_event(event);
        }
        self.on_timers();
        self.with_addresses(Addresses::run_changed);
        self.flush();
        self.out.take_actions()
    }

    /// The edge wanted to run so much earlier: its processors are busy with something else. Time that it spends on its own
    /// work does not count.
    pub fn ran_late(&mut self, late: Duration, now: Time) {
        self.lateness.note(late, now);
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

    pub(super) const fn gossip(&mut self) -> Gossip<'_> {
        gossip!(self)
    }

    pub(super) const fn view(&self) -> View<'_> {
        View { now: self.now, members: &self.members, detector: &self.detector, eligibility: &self.eligibility }
    }

    pub(super) fn with_detector<T>(&mut self, call: impl FnOnce(&mut Detector, &mut Gossip<'_>) -> T) -> T {
        let gossip = &mut gossip!(self);
        call(&mut self.detector, gossip)
    }

    pub(super) fn with_claims<T>(&mut self, call: impl FnOnce(&mut Claims, &mut Gossip<'_>) -> T) -> T {
        let gossip = &mut gossip!(self);
        call(&mut self.claims, gossip)
    }

    pub(super) fn with_addresses<T>(&mut self, call: impl FnOnce(&mut Addresses, &mut Context<'_>) -> T) -> T {
        let mut context = Context {
            gossip: gossip!(self),
            detector: &mut self.detector,
            claims: &mut self.claims,
            policy: &self.policy,
            eligibility: &self.eligibility,
            startup: &self.startup,
            holdings: &self.holdings,
            budget: &mut self.budget,
        };
        call(&mut self.addresses, &mut context)
    }

    /// Packs what is to be sent into datagrams, after all other actions: what they say is then true.
    fn flush(&mut self) {
        self.with_claims(Claims::send_changes);
        let own = &self.claims.own;
        let status = Status { version: own.version(), digest: own.digest(), ..self.members.status };
        self.members.status = status;
        for (to, mut frames) in self.out.take_frames() {
            // Whoever sends recordings from a false address gets nothing more, and no rumour counts as told by that.
            if !frames.iter().all(Frame::is_greeting) {
                frames.extend(self.members.rumours());
            }
            for body in pack(&status, &frames) {
                if let Some(bytes) = self.session.seal(body) {
                    self.out.act(Action::Send { to, bytes });
                }
            }
        }
    }
}
