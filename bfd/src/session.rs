//! One session: the variables of RFC 5880 6.8.1 and what changes them.

use std::net::IpAddr;
use std::time::Duration;

use crate::packet::{Diagnostic, Packet};
use crate::peer::{Hops, Role, Settings};
use crate::remote::Remote;
use crate::report::{Counters, SessionReport, micros};
use crate::rng::Rng;
use crate::state::{self, Signal, State};
use crate::time::Time;
use crate::timers::{self, Intervals, Negotiation, SLOW};

/// A change of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// The state before.
    pub from: State,
    /// The state now.
    pub to: State,
    /// Why, if it is Down.
    pub diagnostic: Diagnostic,
}

/// A session.
///
/// It is never `AdminDown`, and goes Down in two ways only: the peer says so, or nothing is heard of the peer for the
/// detection time. After the latter a passive session is silent until the peer speaks (6.8.7: the discriminator of the
/// peer is forgotten), so the peer's own detection time decides whether the session was lost for it too.
#[derive(Debug, Clone)]
pub struct Session {
    settings: Settings,
    /// `bfd.SessionState`.
    state: State,
    /// `bfd.LocalDiscr`.
    discriminator: u32,
    /// `bfd.LocalDiag`.
    diagnostic: Diagnostic,
    timers: Negotiation,
    remote: Remote,
    /// Desired Min TX before the program ends.
    ending: Option<Duration>,
    /// The last packet of the peer; `None`: nothing is expected of it.
    heard: Option<Time>,
    /// Our last packet; `None`: the next is due.
    sent: Option<Time>,
    /// The jitter of the next packet, in thousandths.
    jitter: u32,
}

impl Session {
    /// A session that is Down.
    #[must_use]
    pub fn new(settings: Settings, discriminator: u32) -> Self {
        let mut session = Self {
            settings,
            state: State::Down,
            discriminator,
            diagnostic: Diagnostic::NONE,
            timers: Negotiation::settled(settings.intervals),
            remote: Remote::UNKNOWN,
            ending: None,
            heard: None,
            sent: None,
            jitter: 0,
        };
        session.timers = Negotiation::settled(session.wanted());
        session
    }

    /// The session of an earlier process. It goes on as it was, in whatever state that is for the peer by now: the peer's
    /// next packet shows it. The first packet is due at once and has Poll.
    #[must_use]
    pub fn resume(settings: Settings, report: &SessionReport, now: Time) -> Self {
        let mut session = Self::new(settings, report.local_discriminator);
        // The file cannot put a session into a state that it is never in.
        session.state = if report.state == State::AdminDown { State::Down } else { report.state };
        session.diagnostic = Diagnostic::from_bits(report.diagnostic);
        session.remote = report.remote();
        session.heard = (report.remote_discriminator != 0).then_some(now);
        session.timers = Negotiation::settled(report.advertised());
        session.negotiate();
        // Also if nothing has changed: what the peer last heard of the earlier process is not known for sure.
        session.timers.polling = session.state == State::Up;
        session
    }

    /// A packet of the peer that has passed all checks (6.8.6, from the setting of `bfd.RemoteDiscr` on).
    pub fn receive(&mut self, now: Time, packet: &Packet, rng: &mut Rng, out: &mut Vec<Packet>) -> Option<Transition> {
        self.remote = Remote::of(packet);
        self.heard = Some(now);
        if packet.final_ {
            self.timers.finish();
        }
        let transition = self.follow(Signal::Received(packet.state));
        let news = self.negotiate() || transition.is_some();
        if packet.poll {
            out.push(self.packet(true));
        }
        // The answer to a Poll has the news in it. A second packet is needed only if we poll as well.
        if news && (!packet.poll || self.timers.polling) {
            self.transmit(now, rng, out);
        }
        transition
    }

    /// Does what is due: detection, then transmission.
    pub fn tick(&mut self, now: Time, rng: &mut Rng, out: &mut Vec<Packet>) -> Option<Transition> {
        let mut transition = None;
        if self.detection_at().is_some_and(|at| at <= now) {
            self.heard = None;
            self.remote = self.remote.silent();
            transition = self.follow(Signal::Expired);
            self.negotiate();
        }
        if transition.is_some() || self.transmission_at().is_some_and(|at| at <= now) {
            self.transmit(now, rng, out);
        }
        transition
    }

    /// When [`Session::tick`] has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        [self.detection_at(), self.transmission_at()].into_iter().flatten().min()
    }

    /// Takes over changed settings without a change of state.
    pub fn configure(&mut self, settings: Settings) {
        if self.settings == settings {
            return;
        }
        self.settings = settings;
        self.negotiate();
        self.sent = None;
    }

    /// Makes the peer patient, so that its detection time is about `detection` from its Final on.
    pub fn slow_down(&mut self, detection: Duration) {
        self.ending = Some(detection / u32::from(self.settings.multiplier.max(1)));
        if self.negotiate() {
            self.sent = None;
        }
    }

    /// Whether the program may end without the peer calling it gone during a restart, as far as the peer can be asked.
    #[must_use]
    pub fn is_slow(&self) -> bool {
        self.state != State::Up || (self.timers.advertised == self.wanted() && !self.timers.polling)
    }

    /// Time in which nobody could listen is no silence of the peer.
    pub fn excuse(&mut self, pause: Duration) {
        self.heard = self.heard.map(|heard| heard.after(pause));
    }

    /// Our state.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Our discriminator.
    #[must_use]
    pub const fn discriminator(&self) -> u32 {
        self.discriminator
    }

    /// The peer, as its last packet has it.
    #[must_use]
    pub const fn remote(&self) -> &Remote {
        &self.remote
    }

    /// The reason of the last change to Down, until the next Up.
    #[must_use]
    pub const fn diagnostic(&self) -> Diagnostic {
        self.diagnostic
    }

    /// Our Detect Mult.
    #[must_use]
    pub const fn multiplier(&self) -> u8 {
        self.settings.multiplier
    }

    /// Our intervals.
    #[must_use]
    pub const fn timers(&self) -> &Negotiation {
        &self.timers
    }

    /// The interval of our packets, before jitter.
    #[must_use]
    pub fn transmit_interval(&self) -> Duration {
        self.timers.in_force.desired_min_tx.max(self.remote.intervals.required_min_rx)
    }

    /// How long the peer may be silent.
    #[must_use]
    pub fn detection_time(&self) -> Duration {
        let remote = &self.remote;
        let required = self.timers.in_force.required_min_rx;
        timers::detection_time(remote.multiplier, remote.intervals.desired_min_tx, required)
    }

    /// How long after our last packet the peer calls us gone.
    #[must_use]
    pub fn remote_detection_time(&self) -> Duration {
        let desired = self.timers.advertised.desired_min_tx;
        timers::detection_time(self.settings.multiplier, desired, self.remote.intervals.required_min_rx)
    }

    /// Describes it; the table knows the rest.
    #[must_use]
    pub fn report(&self, counters: Counters, hops: Hops, local_address: Option<IpAddr>, since: Time) -> SessionReport {
        let (remote, timers) = (&self.remote, &self.timers);
        SessionReport {
            hops,
            local_address,
            source_port: None,
            state: self.state(),
            since_microseconds: micros(since.since_zero()),
            remote_state: remote.state,
            local_discriminator: self.discriminator(),
            remote_discriminator: remote.discriminator,
            diagnostic: self.diagnostic().bits(),
            last_lost_diagnostic: counters.last_lost.bits(),
            remote_diagnostic: remote.diagnostic.bits(),
            multiplier: self.multiplier(),
            desired_min_tx_microseconds: micros(timers.advertised.desired_min_tx),
            required_min_rx_microseconds: micros(timers.advertised.required_min_rx),
            remote_multiplier: remote.multiplier,
            remote_desired_min_tx_microseconds: micros(remote.intervals.desired_min_tx),
            remote_required_min_rx_microseconds: micros(remote.intervals.required_min_rx),
            transmit_interval_microseconds: micros(self.transmit_interval()),
            detection_time_microseconds: micros(self.detection_time()),
            remote_detection_time_microseconds: micros(self.remote_detection_time()),
            ups: counters.ups,
            downs: counters.downs,
            sent: counters.sent,
            received: counters.received,
        }
    }

    fn detection_at(&self) -> Option<Time> {
        self.heard.map(|heard| heard.after(self.detection_time()))
    }

    /// When a periodic packet is due, if the peer gets any (6.8.7).
    fn transmission_at(&self) -> Option<Time> {
        let demanded = self.remote.demand && self.state == State::Up && self.remote.state == State::Up;
        if !self.may_speak() || self.remote.intervals.required_min_rx.is_zero() || (demanded && !self.timers.polling) {
            return None;
        }
        let delay = timers::shortened(self.transmit_interval(), self.jitter);
        Some(self.sent.map_or(Time::default(), |sent| sent.after(delay)))
    }

    /// Passive: not before the peer has spoken.
    fn may_speak(&self) -> bool {
        self.settings.role == Role::Active || self.remote.discriminator != 0
    }

    /// The intervals that this state asks for.
    fn wanted(&self) -> Intervals {
        let Intervals { desired_min_tx, required_min_rx } = self.settings.intervals;
        let desired_min_tx = match (self.state, self.ending) {
            (State::Up, ending) => desired_min_tx.max(ending.unwrap_or_default()),
            _ => desired_min_tx.max(SLOW),
        };
        Intervals { desired_min_tx, required_min_rx }
    }

    /// Advertises what is wanted, as soon as that may be. Returns whether there is something new to send.
    fn negotiate(&mut self) -> bool {
        let wanted = self.wanted();
        if self.state == State::Up {
            return self.timers.poll(wanted);
        }
        let changed = self.timers.advertised != wanted;
        self.timers = Negotiation::settled(wanted);
        changed
    }

    fn follow(&mut self, signal: Signal) -> Option<Transition> {
        let (from, to) = (self.state, state::next(self.state, signal));
        if from == to {
            return None;
        }
        self.state = to;
        self.diagnostic = match (to, signal) {
            (State::Up, _) => Diagnostic::NONE,
            (State::Down, Signal::Expired) => Diagnostic::DETECTION_TIME_EXPIRED,
            (State::Down, Signal::Received(_)) => Diagnostic::NEIGHBOR_SIGNALED_DOWN,
            _ => self.diagnostic,
        };
        Some(Transition { from, to, diagnostic: self.diagnostic })
    }

    fn transmit(&mut self, now: Time, rng: &mut Rng, out: &mut Vec<Packet>) {
        if self.may_speak() {
            out.push(self.packet(false));
            self.sent = Some(now);
            self.jitter = timers::jitter(self.settings.multiplier, rng);
        }
    }

    fn packet(&self, final_: bool) -> Packet {
        Packet {
            diagnostic: self.diagnostic,
            state: self.state,
            poll: self.timers.polling && !final_,
            final_,
            control_plane_independent: true,
            demand: false,
            multiplier: self.settings.multiplier,
            my_discriminator: self.discriminator,
            your_discriminator: self.remote.discriminator,
            desired_min_tx: self.timers.advertised.desired_min_tx,
            required_min_rx: self.timers.advertised.required_min_rx,
        }
    }
}
