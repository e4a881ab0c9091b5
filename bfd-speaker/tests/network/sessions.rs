//! Sessions with FRR: families, ports, timers.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use bfd::wanted::WantedPeer;
use bfd::{Hops, Role};

use crate::lab::{Directory, Namespace, ms, until};
use crate::router::Router;
use crate::speaker::{Node, cable, peer};

#[test]
fn single_hop_in_all_families() {
    let (mut node, router) = cable();
    let link_local = WantedPeer { interface: Some("eth0".to_owned()), ..peer("fe80::1") };
    node.want("agent", &[peer("10.77.0.1"), peer("fd77::1"), link_local]);
    node.start();
    let router =
        Router::start(router, " peer 10.77.0.2\n peer fd77::2\n peer fe80::2 local-address fe80::1 interface eth0\n");
    for (ours, theirs) in [("10.77.0.2", "10.77.0.1"), ("fd77::2", "fd77::1"), ("fe80::2", "fe80::1")] {
        router.wait_until_up(ours);
        let session = node.wait_until_up(theirs);
        assert_eq!((session.hops, session.local_address.unwrap().to_string().as_str()), (Hops::Single, ours));
        assert!(session.source_port.unwrap() >= 49152);
    }
    let ports: Vec<_> =
        ["10.77.0.1", "fd77::1", "fe80::1"].map(|peer| node.session(peer).unwrap().source_port).to_vec();
    assert!(ports[0] != ports[1] && ports[1] != ports[2] && ports[0] != ports[2], "{ports:?}");
    // FRR compares the TTL and hop limit of what it receives with 255, and so do we.
    let session = router.session("10.77.0.2");
    assert_eq!((&session["remote-transmit-interval"], &session["remote-detect-multiplier"]), (&50.into(), &3.into()));
}

#[test]
fn the_routers_timers_are_followed() {
    let (mut node, router) = cable();
    node.want("agent", &[peer("10.77.0.1")]);
    node.start();
    let router = Router::start(router, " peer 10.77.0.2\n");
    router.wait_until_up("10.77.0.2");
    let session = node.wait_until_up("10.77.0.1");
    assert_eq!(
        (session.transmit_interval_microseconds, session.remote_detection_time_microseconds),
        (300_000, 900_000)
    );
    router.configure("10.77.0.2", &["receive-interval 100", "transmit-interval 100", "detect-multiplier 5"]);
    until("the new timers", ms(5000), || {
        node.session("10.77.0.1").is_some_and(|session| {
            session.remote_detection_time_microseconds == 300_000 && session.detection_time_microseconds == 500_000
        })
    });
    // Ours change on the living session too.
    node.want("agent", &[WantedPeer { multiplier: 7, minimum_interval_milliseconds: 200, ..peer("10.77.0.1") }]);
    until("our timers", ms(5000), || {
        let session = router.session("10.77.0.2");
        session["remote-detect-multiplier"] == 7 && session["remote-transmit-interval"] == 200
    });
    assert_eq!(node.session("10.77.0.1").unwrap().remote_detection_time_microseconds, 1_400_000);
    assert_eq!((router.losses("10.77.0.2"), node.session("10.77.0.1").unwrap().downs), (0, 0));
}

#[test]
fn an_active_session_with_a_passive_router() {
    let (mut node, router) = cable();
    node.want("agent", &[WantedPeer { role: Role::Active, interval_milliseconds: 150, ..peer("fd77::1") }]);
    node.start();
    let router = Router::start(router, " peer fd77::2\n  passive-mode\n  receive-interval 100\n");
    router.wait_until_up("fd77::2");
    assert_eq!(node.wait_until_up("fd77::1").transmit_interval_microseconds, 150_000);
}

#[test]
fn the_multihop_port_on_a_link() {
    let (mut node, router) = cable();
    node.want("agent", &[peer("10.77.0.1"), peer("fd77::1")]);
    node.start();
    let router = Router::start(
        router,
        " peer 10.77.0.2 multihop local-address 10.77.0.1\n peer fd77::2 multihop local-address fd77::1\n",
    );
    for (ours, theirs) in [("10.77.0.2", "10.77.0.1"), ("fd77::2", "fd77::1")] {
        router.wait_until_up(ours);
        assert_eq!(node.wait_until_up(theirs).hops, Hops::Multi);
    }
}

#[test]
fn multihop_through_another_router() {
    let (node, middle, router) = (Namespace::new(), Namespace::new(), Namespace::new());
    node.cable("eth0", &middle, "node");
    router.cable("eth0", &middle, "router");
    node.ip("addr add 10.78.0.2/24 dev eth0");
    node.ip("route add default via 10.78.0.1");
    middle.ip("addr add 10.78.0.1/24 dev node");
    middle.ip("addr add 10.79.0.1/24 dev router");
    middle.run(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")).unwrap();
    router.ip("addr add 10.79.0.2/24 dev eth0");
    router.ip("route add default via 10.79.0.1");
    let mut node = Node::new(node);
    // The router's packets arrive with 254.
    node.want("agent", &[WantedPeer { minimum_ttl: 255, ..peer("10.79.0.2") }]);
    node.start();
    let router = Router::start(router, " peer 10.78.0.2 multihop local-address 10.79.0.2\n");
    let refusal = || node.peer("10.79.0.2").and_then(|peer| peer.last_refusal);
    until("refused", ms(5000), || refusal().is_some_and(|why| why.contains("TTL is 254 and must be at least 255")));
    node.want("agent", &[peer("10.79.0.2")]);
    router.wait_until_up("10.78.0.2");
    assert_eq!(node.wait_until_up("10.79.0.2").hops, Hops::Multi);
}

/// As in the pod: another user, no capability, a directory shared by a group.
#[test]
fn without_any_privilege() {
    let (mut node, router) = cable();
    let directory = node.shared.clone();
    std::os::unix::fs::chown(&directory, None, Some(7472)).unwrap();
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o2770)).unwrap();
    node.want("agent", &[peer("10.77.0.1"), peer("fd77::1")]);
    // The directory that cargo builds into may be closed to others.
    let place = Directory::new();
    let program = place.path().join("bfd-speaker");
    std::fs::copy(Path::new(env!("CARGO_BIN_EXE_bfd-speaker")), &program).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid",
        "65534",
        "--regid",
        "65534",
        "--groups",
        "7472",
        "--bounding-set",
        "-all",
        "--inh-caps",
        "-all",
    ]);
    command.args(["--no-new-privs", "--pdeathsig", "KILL", "--"]).arg(&program);
    node.speaker = Some(node.start_as(command));
    let router = Router::start(router, " peer 10.77.0.2\n peer fd77::2\n");
    router.wait_until_up("10.77.0.2");
    router.wait_until_up("fd77::2");
    assert_eq!(node.report().unwrap().scheduling, "short");
    node.stop();
    assert_eq!(router.losses("10.77.0.2"), 0);
}
