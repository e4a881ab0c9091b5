//! What ends and begins again: our program, the router's, the host.

use std::thread::sleep;
use std::time::{Duration, Instant};

use bfd::wanted::WantedPeer;
use bfd::{State, Wanted};
use nix::sys::signal::Signal;

use crate::lab::{ms, until};
use crate::router::Router;
use crate::speaker::{Node, cable, peer};

/// Up with the router's default timers, 300 ms and 3, in both families.
fn up() -> (Node, Router) {
    let (mut node, router) = cable();
    node.want("agent", &[peer("10.77.0.1"), peer("fd77::1")]);
    node.start();
    let router = Router::start(router, " peer 10.77.0.2\n peer fd77::2\n");
    for (ours, theirs) in [("10.77.0.2", "10.77.0.1"), ("fd77::2", "fd77::1")] {
        router.wait_until_up(ours);
        node.wait_until_up(theirs);
    }
    sleep(ms(1000));
    (node, router)
}

fn losses(router: &Router) -> u64 {
    router.losses("10.77.0.2") + router.losses("fd77::2")
}

fn fast_again(node: &Node, router: &Router) {
    until("the fast timers are back", ms(5000), || {
        ["10.77.0.2", "fd77::2"].iter().all(|peer| router.session(peer)["remote-transmit-interval"] == 50)
    });
    assert_eq!(node.session("10.77.0.1").unwrap().remote_detection_time_microseconds, 900_000);
}

#[test]
fn a_planned_restart_is_no_event_for_the_router() {
    let (mut node, router) = up();
    let before = node.session("10.77.0.1").unwrap();
    for pause in [0, 6000, 1000] {
        let took = node.stop();
        // The router waits for 10 s at least.
        for peer in ["10.77.0.2", "fd77::2"] {
            assert!(router.session(peer)["remote-transmit-interval"].as_u64().unwrap() >= 3000);
        }
        println!("ended after {took:?}");
        assert!(took < ms(2000), "{took:?}");
        sleep(ms(pause));
        node.start();
        fast_again(&node, &router);
    }
    let after = node.session("10.77.0.1").unwrap();
    assert_eq!((after.local_discriminator, after.source_port), (before.local_discriminator, before.source_port));
    assert!(node.report().unwrap().restart_microseconds.unwrap() >= 1_000_000);
    assert_eq!(losses(&router), 0);
}

#[test]
fn the_next_process_may_start_before_the_last_has_ended() {
    let (mut node, router) = up();
    let next = node.start_another();
    sleep(ms(500));
    node.stop();
    node.speaker = Some(next);
    fast_again(&node, &router);
    let gap = Duration::from_micros(node.report().unwrap().restart_microseconds.unwrap());
    println!("nobody spoke for {gap:?}");
    assert!(gap < ms(500), "{gap:?}");
    assert_eq!(losses(&router), 0);
}

#[test]
fn a_killed_process_is_back_in_the_same_session() {
    let (mut node, router) = up();
    let before = node.session("10.77.0.1").unwrap();
    for _ in 0..10 {
        node.kill();
        sleep(ms(300));
        node.start();
        sleep(ms(1000));
    }
    assert_eq!(losses(&router), 0);
    assert_eq!(node.session("10.77.0.1").unwrap().local_discriminator, before.local_discriminator);
}

#[test]
fn a_restarted_router_is_followed() {
    let (node, mut router) = up();
    router.kill_bfdd();
    until("the node has noticed", ms(3000), || node.session("10.77.0.1").unwrap().state == State::Down);
    assert_eq!(node.session("10.77.0.1").unwrap().diagnostic, 1);
    router.start_bfdd();
    println!("up again after {:?}", router.wait_until_up("10.77.0.2"));
    // Before the node has noticed.
    node.wait_until_up("10.77.0.1");
    router.kill_bfdd();
    router.start_bfdd();
    println!("up again after {:?}", router.wait_until_up("10.77.0.2"));
    node.wait_until_up("10.77.0.1");
    node.wait_until_up("fd77::1");
}

#[test]
fn a_host_that_shuts_down_is_noticed_at_once() {
    let (mut node, router) = up();
    let peers: Vec<WantedPeer> = vec![peer("10.77.0.1"), peer("fd77::1")];
    let wanted = Wanted { shutting_down: true, ..Wanted::new(peers) };
    node.write("agent", &serde_json::to_string(&wanted).unwrap());
    sleep(ms(500));
    assert_eq!(losses(&router), 0, "the announcement alone changes nothing");
    let start = Instant::now();
    let took = node.stop();
    assert!(took < ms(200), "{took:?}");
    // And not after 30 s.
    until("the router has noticed", ms(3000), || losses(&router) == 2);
    println!("noticed after {:?}", start.elapsed());
}

/// As systemd ends the containers of a host that the kubelet knows nothing of.
#[test]
fn a_host_that_shuts_down_unannounced_is_noticed_at_once() {
    let (mut node, router) = up();
    let speaker = node.speaker.take().unwrap();
    let start = Instant::now();
    speaker.signal(Signal::SIGTERM);
    speaker.signal(Signal::SIGCONT);
    let took = speaker.wait();
    assert!(took < ms(200), "{took:?}");
    until("the router has noticed", ms(3000), || losses(&router) == 2);
    println!("noticed after {:?}", start.elapsed());
}
