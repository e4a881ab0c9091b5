//! Two speakers on a network that loses, delays and reorders, with restarts and pauses, from fixed seeds.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod network;

use std::time::Duration;

use bfd::{Event, Time};

use crate::network::{End, Simulation, ms};

#[test]
fn undisturbed_for_an_hour() {
    for (seed, interval) in [(1, 300), (2, 100), (3, 50), (4, 1000)] {
        let mut simulation = Simulation::up(seed, interval);
        let start = simulation.now;
        simulation.run(ms(3_600_000));
        assert!(simulation.both_up());
        assert_eq!(simulation.losses(start), 0);
        let interval = u64::from(interval.max(50));
        let mut gaps: Vec<Duration> = Vec::new();
        let sent: Vec<Time> =
            simulation.sent.iter().map(|(at, _)| *at).filter(|at| *at > start.after(ms(2000))).collect();
        gaps.extend(sent.windows(2).map(|pair| pair[1].since(pair[0])));
        assert!(gaps.iter().all(|gap| *gap >= ms(interval) * 3 / 4 && *gap <= ms(interval)), "{:?}", gaps.iter().max());
        // The jitter uses its window.
        let mean = gaps.iter().sum::<Duration>() / u32::try_from(gaps.len()).unwrap();
        assert!(mean > ms(interval) * 86 / 100 && mean < ms(interval) * 89 / 100, "{mean:?}");
    }
}

#[test]
fn a_router_notices_a_cut_within_its_detection_time() {
    for seed in 0..200 {
        let mut simulation = Simulation::up(seed, 300);
        simulation.run(ms(u64::from(simulation.rng.clone().up_to(1000))));
        simulation.cut = true;
        let start = simulation.now;
        simulation.run(ms(901));
        assert_eq!(simulation.losses(start), 1, "seed {seed}");
        // It comes back by itself.
        simulation.run(ms(20_000));
        simulation.cut = false;
        simulation.run(ms(5000));
        assert!(simulation.both_up(), "seed {seed}");
        assert_eq!(simulation.violations, Vec::<String>::new());
    }
}

#[test]
fn a_killed_process_is_back_in_the_same_session() {
    for seed in 0..200 {
        let mut simulation = Simulation::up(seed, 300);
        let start = simulation.now;
        for _ in 0..20 {
            let (gap, rest) = (u64::from(simulation.rng.up_to(590)), u64::from(simulation.rng.up_to(3000)));
            simulation.kill(End::Node);
            simulation.run(ms(gap));
            simulation.start(End::Node);
            simulation.run(ms(rest));
        }
        assert_eq!(simulation.losses(start), 0, "seed {seed}");
        assert!(simulation.both_up());
        assert_eq!(simulation.violations, Vec::<String>::new());
    }
}

#[test]
fn a_planned_restart_is_no_event() {
    for seed in 0..100 {
        let mut simulation = Simulation::up(seed, 100);
        // A packet from before the Poll that arrives after it would undo it.
        (simulation.delay, simulation.ordered) = (20, true);
        simulation.run(ms(50));
        let start = simulation.now;
        for _ in 0..10 {
            simulation.handle(End::Node, Event::SlowDown(ms(30_000)));
            let deadline = simulation.now.after(ms(3000));
            while !simulation.end(End::Node).table.as_ref().unwrap().is_slow() && simulation.now < deadline {
                simulation.run(ms(1));
            }
            simulation.kill(End::Node);
            simulation.run(ms(20_000));
            simulation.start(End::Node);
            simulation.run(ms(3000));
            // As fast as before.
            let report = &simulation.end(End::Router).table.as_ref().unwrap().report()[0].sessions[0];
            assert_eq!(report.detection_time_microseconds, 300_000, "seed {seed}");
        }
        assert_eq!(simulation.losses(start), 0, "seed {seed}");
        assert_eq!(simulation.violations, Vec::<String>::new());
    }
}

#[test]
fn changed_settings_flap_nothing() {
    for seed in 0..100 {
        let mut simulation = Simulation::up(seed, 100);
        simulation.loss = 3;
        simulation.end(End::Router).wanted.peers[0].multiplier = 10;
        simulation.end(End::Node).wanted.peers[0].multiplier = 10;
        simulation.configure(End::Node);
        simulation.configure(End::Router);
        simulation.run(ms(3000));
        let start = simulation.now;
        for _ in 0..30 {
            let (end, interval) = if simulation.rng.up_to(1) == 0 { (End::Node, 50) } else { (End::Router, 100) };
            let interval = interval + simulation.rng.up_to(900);
            let peer = &mut simulation.end(end).wanted.peers[0];
            (peer.interval_milliseconds, peer.minimum_interval_milliseconds) = (interval, interval);
            simulation.configure(end);
            let rest = u64::from(simulation.rng.up_to(4000));
            simulation.run(ms(rest));
        }
        assert_eq!(simulation.losses(start), 0, "seed {seed}: {:?}", simulation.changes);
        assert!(simulation.both_up());
    }
}

#[test]
fn a_restarted_router_is_followed() {
    for seed in 0..200 {
        let mut simulation = Simulation::up(seed, 300);
        let gap = u64::from(simulation.rng.up_to(5000));
        simulation.kill(End::Router);
        simulation.run(ms(gap));
        simulation.start(End::Router);
        simulation.run(ms(4000));
        assert!(simulation.both_up(), "seed {seed}: {:?}", simulation.changes);
        let since = simulation.now;
        simulation.run(ms(10_000));
        assert_eq!(simulation.losses(since), 0);
        assert_eq!(simulation.violations, Vec::<String>::new());
    }
}

#[test]
fn a_paused_process_keeps_the_session() {
    for seed in 0..200 {
        let mut simulation = Simulation::up(seed, 300);
        let start = simulation.now;
        for _ in 0..20 {
            let end = if simulation.rng.up_to(1) == 0 { End::Node } else { End::Router };
            let pause = u64::from(simulation.rng.up_to(550));
            simulation.end(end).paused = simulation.now.after(ms(pause));
            simulation.run(ms(2000));
        }
        assert_eq!(simulation.losses(start), 0, "seed {seed}: {:?}", simulation.changes);
    }
}

/// The node's machine stands still, and its clock jumps when it goes on: nobody listened meanwhile.
#[test]
fn a_jump_of_the_clock_is_no_silence() {
    for seed in 0..100 {
        let mut simulation = Simulation::up(seed, 300);
        let start = simulation.now;
        let jump = 500 + u64::from(simulation.rng.up_to(60_000));
        // The router's machine stands still as well.
        simulation.flying.clear();
        simulation.now = simulation.now.after(ms(jump));
        simulation.run(ms(5000));
        assert!(simulation.both_up(), "seed {seed}");
        assert_eq!(simulation.losses(start), 0, "seed {seed}: {:?}", simulation.changes);
    }
}

#[test]
fn whatever_happened_it_comes_up_again() {
    for seed in 0..300 {
        let mut simulation = Simulation::new(seed, [50, 100, 300, 1000][usize::try_from(seed % 4).unwrap()]);
        for _ in 0..30 {
            simulation.loss = simulation.rng.up_to(60);
            simulation.delay = simulation.rng.up_to(400);
            simulation.cut = simulation.rng.up_to(9) == 0;
            let rest = u64::from(simulation.rng.up_to(3000));
            let pause = u64::from(simulation.rng.up_to(2000));
            let end = if simulation.rng.up_to(1) == 0 { End::Node } else { End::Router };
            match simulation.rng.up_to(5) {
                0 => {
                    simulation.kill(end);
                    simulation.run(ms(pause));
                    simulation.start(end);
                }
                1 => simulation.end(end).paused = simulation.now.after(ms(pause)),
                2 => simulation.handle(End::Node, Event::SlowDown(ms(10_000))),
                3 => simulation.now = simulation.now.after(ms(pause)),
                _ => {}
            }
            simulation.run(ms(rest));
        }
        assert_eq!(simulation.violations, Vec::<String>::new(), "seed {seed}");
        (simulation.loss, simulation.delay, simulation.cut) = (0, 5, false);
        simulation.kill(End::Node);
        simulation.start(End::Node);
        simulation.run(ms(70_000));
        assert!(simulation.both_up(), "seed {seed}: {:?}", simulation.changes.last_chunk::<4>());
        let since = simulation.now;
        simulation.run(ms(20_000));
        assert_eq!(simulation.losses(since), 0, "seed {seed}");
    }
}

/// What loss alone does, by the arithmetic of the protocol: a session is lost when all packets of a detection time are.
#[test]
fn a_fifth_of_all_packets_lost() {
    let mut lost = 0;
    for seed in 0..20 {
        let mut simulation = Simulation::up(seed, 300);
        let start = simulation.now;
        simulation.loss = 20;
        simulation.run(ms(600_000));
        lost += simulation.losses(start);
        simulation.loss = 0;
        simulation.run(ms(5000));
        assert!(simulation.both_up());
        assert_eq!(simulation.violations, Vec::<String>::new());
    }
    // 20 times 10 minutes, both directions: 0.008 for each of 3.4 packets a second.
    println!("{lost} times in 200 minutes");
    assert!((100..1200).contains(&lost), "{lost}");
}
