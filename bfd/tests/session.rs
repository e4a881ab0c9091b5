//! One session: every cell of the state table, who speaks when, Poll and Final, restarts.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::Duration;

use bfd::packet::Diagnostic;
use bfd::report::Counters;
use bfd::session::Session;
use bfd::state::{Signal, next};
use bfd::timers::Intervals;
use bfd::{Hops, Packet, Rng, Role, Settings, State, Time};
use rstest::rstest;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn at(millis: u64) -> Time {
    Time::from_millis(millis)
}

const fn settings(role: Role) -> Settings {
    Settings { role, intervals: Intervals { desired_min_tx: ms(50), required_min_rx: ms(50) }, multiplier: 3 }
}

/// A router's packet: 300 ms, 300 ms, 3.
const fn packet(state: State, your_discriminator: u32) -> Packet {
    Packet {
        diagnostic: Diagnostic::NONE,
        state,
        poll: false,
        final_: false,
        control_plane_independent: false,
        demand: false,
        multiplier: 3,
        my_discriminator: 77,
        your_discriminator,
        desired_min_tx: ms(300),
        required_min_rx: ms(300),
    }
}

struct Node {
    session: Session,
    rng: Rng,
}

impl Node {
    fn new(role: Role) -> Self {
        Self { session: Session::new(settings(role), 5), rng: Rng::new(1) }
    }

    fn receive(&mut self, now: Time, packet: Packet) -> Vec<Packet> {
        let mut out = Vec::new();
        self.session.receive(now, &packet, &mut self.rng, &mut out);
        out
    }

    fn tick(&mut self, now: Time) -> Vec<Packet> {
        let mut out = Vec::new();
        self.session.tick(now, &mut self.rng, &mut out);
        out
    }

    /// In a state, at 1000 ms.
    fn in_state(role: Role, state: State) -> Self {
        let mut node = Self::new(role);
        match state {
            State::AdminDown => unreachable!("no session of ours is in it"),
            State::Down => drop(node.receive(at(1000), packet(State::AdminDown, 0))),
            State::Init => drop(node.receive(at(1000), packet(State::Down, 0))),
            State::Up => {
                node.receive(at(1000), packet(State::Down, 0));
                node.receive(at(1000), packet(State::Up, 5));
                node.receive(at(1000), Packet { final_: true, ..packet(State::Up, 5) });
            }
        }
        assert_eq!(node.session.state(), state);
        node
    }

    fn next(&self) -> Time {
        self.session.next_deadline().unwrap()
    }
}

#[rstest]
fn every_cell_of_the_table(
    #[values(Role::Passive, Role::Active)] role: Role,
    #[values(State::Down, State::Init, State::Up)] from: State,
    #[values(State::AdminDown, State::Down, State::Init, State::Up)] received: State,
) {
    let mut node = Node::in_state(role, from);
    let sent = node.receive(at(1100), packet(received, 5));
    let to = next(from, Signal::Received(received));
    assert_eq!(node.session.state(), to);
    // A change of state is sent at once, and only a change.
    assert_eq!(sent.iter().map(|packet| packet.state).collect::<Vec<_>>(), if to == from { vec![] } else { vec![to] });
    let lost = matches!((from, received), (State::Up | State::Init, State::AdminDown) | (State::Up, State::Down));
    if lost {
        assert_eq!(node.session.diagnostic(), Diagnostic::NEIGHBOR_SIGNALED_DOWN);
    }
    if to == State::Up && from != State::Up {
        assert_eq!((sent[0].poll, sent[0].desired_min_tx), (true, ms(50)));
    }
    if to != State::Up {
        assert_eq!(node.session.timers().advertised.desired_min_tx, ms(1000));
    }
}

#[rstest]
fn every_cell_of_expiry(
    #[values(Role::Passive, Role::Active)] role: Role,
    #[values(State::Down, State::Init, State::Up)] from: State,
) {
    let mut node = Node::in_state(role, from);
    // Three times the router's 300 ms.
    assert_eq!(node.session.detection_time(), ms(900));
    node.tick(at(1899));
    assert_eq!(node.session.state(), from);
    let sent = node.tick(at(1900));
    assert_eq!(node.session.state(), State::Down);
    assert_eq!(node.session.remote().discriminator, 0);
    if from != State::Down {
        assert_eq!(node.session.diagnostic(), Diagnostic::DETECTION_TIME_EXPIRED);
    }
    match role {
        // It does not say Down: the router may hear it and be Up.
        Role::Passive => {
            assert!(sent.is_empty());
            assert_eq!(node.session.next_deadline(), None);
        }
        Role::Active => {
            assert!(sent.iter().all(|packet| packet.state == State::Down && packet.your_discriminator == 0));
        }
    }
}

#[test]
fn passive_is_silent_until_the_peer_speaks() {
    let mut node = Node::new(Role::Passive);
    assert_eq!(node.session.next_deadline(), None);
    assert!(node.tick(at(100_000)).is_empty());
    let sent = node.receive(at(100_000), packet(State::Down, 0));
    assert_eq!((sent.len(), sent[0].state, sent[0].your_discriminator), (1, State::Init, 77));
    assert!(sent[0].control_plane_independent && !sent[0].demand);
}

#[test]
fn active_speaks_first_and_slowly() {
    let mut node = Node::new(Role::Active);
    assert_eq!(node.tick(at(10)).len(), 1);
    let mut last = at(10);
    for _ in 0..20 {
        let due = node.next();
        assert!((ms(750)..=ms(1000)).contains(&due.since(last)), "{:?}", due.since(last));
        assert!(node.tick(Time::new(due.since_zero().saturating_sub(ms(1)))).is_empty());
        let sent = node.tick(due);
        assert_eq!((sent.len(), sent[0].desired_min_tx), (1, ms(1000)));
        last = due;
    }
}

#[test]
fn the_slower_side_decides_the_rate() {
    let mut node = Node::in_state(Role::Passive, State::Up);
    assert_eq!(node.session.transmit_interval(), ms(300));
    assert_eq!(node.session.remote_detection_time(), ms(900));
    // The router wants more.
    node.receive(at(1010), Packet { required_min_rx: ms(10), desired_min_tx: ms(10), ..packet(State::Up, 5) });
    assert_eq!(node.session.transmit_interval(), ms(50));
    assert_eq!(node.session.detection_time(), ms(150));
    assert!(node.next() <= at(1060), "{:?}", node.next());
    // Or nothing.
    node.receive(at(1020), Packet { required_min_rx: ms(0), ..packet(State::Up, 5) });
    assert_eq!(node.next(), at(1020).after(ms(900)));
}

#[test]
fn demand_is_honoured() {
    let mut node = Node::in_state(Role::Passive, State::Up);
    node.receive(at(1010), Packet { demand: true, ..packet(State::Up, 5) });
    assert!(node.tick(at(1800)).is_empty());
    let sent = node.receive(at(1850), Packet { demand: true, poll: true, ..packet(State::Up, 5) });
    assert_eq!((sent.len(), sent[0].final_), (1, true));
}

#[test]
fn a_poll_is_answered_at_once_and_never_polls() {
    let mut node = Node::in_state(Role::Passive, State::Up);
    node.session.slow_down(Duration::from_secs(30));
    assert!(node.tick(at(1001))[0].poll);
    let sent = node.receive(at(1002), Packet { poll: true, ..packet(State::Up, 5) });
    assert_eq!(sent.iter().map(|packet| (packet.poll, packet.final_)).collect::<Vec<_>>(), [(false, true)]);
}

#[test]
fn slowing_down_counts_after_final() {
    let mut node = Node::in_state(Role::Passive, State::Up);
    assert!(!{
        node.session.slow_down(Duration::from_secs(30));
        node.session.is_slow()
    });
    let sent = node.tick(at(1001));
    assert_eq!((sent[0].poll, sent[0].desired_min_tx), (true, Duration::from_secs(10)));
    assert_eq!(node.session.transmit_interval(), ms(300));
    // Final was lost: Poll goes on at the old rate.
    assert!(node.next() <= at(1301));
    assert!(node.tick(at(1301))[0].poll);
    node.receive(at(1310), Packet { final_: true, ..packet(State::Up, 5) });
    assert!(node.session.is_slow());
    assert_eq!(node.session.transmit_interval(), Duration::from_secs(10));
    assert_eq!(node.session.remote_detection_time(), Duration::from_secs(30));
}

#[test]
fn a_session_that_is_lost_while_slowing_down_needs_nothing() {
    let mut node = Node::in_state(Role::Passive, State::Up);
    node.session.slow_down(Duration::from_secs(30));
    node.receive(at(1002), packet(State::Down, 0));
    assert!(node.session.is_slow());
}

#[test]
fn changed_settings_are_polled_without_a_change_of_state() {
    let mut node = Node::in_state(Role::Passive, State::Up);
    let longer = Intervals { desired_min_tx: ms(500), required_min_rx: ms(500) };
    node.session.configure(Settings { intervals: longer, multiplier: 5, ..settings(Role::Passive) });
    let sent = node.tick(at(1001));
    assert_eq!((sent[0].poll, sent[0].multiplier, sent[0].desired_min_tx), (true, 5, ms(500)));
    assert_eq!(node.session.transmit_interval(), ms(300));
    // A change during the Poll waits for its Final.
    let shorter = Intervals { desired_min_tx: ms(100), required_min_rx: ms(100) };
    node.session.configure(Settings { intervals: shorter, multiplier: 5, ..settings(Role::Passive) });
    assert_eq!(node.tick(at(1002))[0].desired_min_tx, ms(500));
    let sent = node.receive(at(1010), Packet { final_: true, ..packet(State::Up, 5) });
    assert_eq!((sent.len(), sent[0].poll, sent[0].desired_min_tx), (1, true, ms(100)));
    assert_eq!(node.session.state(), State::Up);
    // The router still sends at the old rate.
    assert_eq!(node.session.detection_time(), ms(1500));
    node.receive(at(1020), Packet { final_: true, ..packet(State::Up, 5) });
    assert_eq!(node.session.detection_time(), ms(900));
}

#[test]
fn a_router_that_restarts_is_followed() {
    let mut node = Node::in_state(Role::Passive, State::Up);
    let anew = |state, your| Packet { my_discriminator: 78, ..packet(state, your) };
    let sent = node.receive(at(1100), anew(State::Down, 0));
    assert_eq!((sent[0].state, sent[0].your_discriminator), (State::Down, 78));
    assert_eq!(node.receive(at(1110), anew(State::Down, 5))[0].state, State::Init);
    assert_eq!(node.receive(at(1120), anew(State::Up, 5))[0].state, State::Up);
}

#[test]
fn the_next_process_goes_on() {
    let node = Node::in_state(Role::Passive, State::Up);
    let report = node.session.report(Counters::default(), Hops::Single, None, at(0));
    let text = serde_json::to_string(&report).unwrap();
    let report = serde_json::from_str(&text).unwrap();
    let session = Session::resume(settings(Role::Passive), &report, at(5000));
    let mut node = Node { session, rng: Rng::new(2) };
    assert!(node.next() <= at(5000));
    let sent = node.tick(at(5000));
    let expected = (State::Up, true, 5, 77, ms(50));
    let first = &sent[0];
    assert_eq!(
        (first.state, first.poll, first.my_discriminator, first.your_discriminator, first.desired_min_tx),
        expected
    );
    // It listens for the whole detection time before it calls the router gone.
    node.tick(at(5899));
    assert_eq!(node.session.state(), State::Up);
    node.tick(at(5900));
    assert_eq!(node.session.state(), State::Down);
}

#[test]
fn a_pause_is_no_silence() {
    let mut node = Node::in_state(Role::Passive, State::Up);
    node.session.excuse(ms(5000));
    node.tick(at(6800));
    assert_eq!(node.session.state(), State::Up);
    node.tick(at(6900));
    assert_eq!(node.session.state(), State::Down);
}

/// The discriminator is forgotten then (6.8.1), what the peer last said is not: the router that has shut BFD down falls
/// silent, and who looks a second later must still learn why.
#[rstest]
#[case::shut_down(State::AdminDown, 7)]
#[case::lost(State::Down, 1)]
fn what_the_peer_said_last_outlives_its_silence(#[case] said: State, #[case] diagnostic: u8) {
    let mut node = Node::in_state(Role::Passive, State::Up);
    node.receive(at(1100), Packet { diagnostic: Diagnostic::from_bits(diagnostic), ..packet(said, 5) });
    node.tick(at(60_000));
    let remote = node.session.remote();
    assert_eq!((remote.state, remote.diagnostic.bits(), remote.discriminator), (said, diagnostic, 0));
    assert!(node.tick(at(61_000)).is_empty(), "a passive node is silent again");
}
