//! Whom to speak with: the rules of the files.

use std::thread::sleep;

use bfd::State;
use bfd::wanted::file_name;

use crate::lab::{ms, until};
use crate::router::Router;
use crate::speaker::{cable, peer};

#[test]
fn only_a_list_that_was_read_ends_a_session() {
    let (mut node, router) = cable();
    node.want("agent", &[peer("10.77.0.1")]);
    node.want("companion", &[peer("10.77.0.1"), peer("fd77::1")]);
    node.start();
    let router = Router::start(router, " peer 10.77.0.2\n peer fd77::2\n");
    router.wait_until_up("10.77.0.2");
    router.wait_until_up("fd77::2");

    node.write("agent", "{\"version\":1,\"peers\":[{\"addr");
    std::fs::remove_file(node.shared.join(file_name("companion"))).unwrap();
    until("reported", ms(2000), || node.report().unwrap().sources.iter().all(|source| source.error.is_some()));
    // Also for the next process.
    node.stop();
    node.start();
    sleep(ms(2000));
    assert_eq!((router.losses("10.77.0.2"), router.losses("fd77::2")), (0, 0));
    assert_eq!(node.session("10.77.0.1").unwrap().state, State::Up);

    // One source lets go; the other does not.
    node.want("companion", &[]);
    until("fd77::1 is not wanted", ms(2000), || node.peer("fd77::1").is_none());
    until("the router has noticed", ms(3000), || !router.is_up("fd77::2"));
    assert!(router.is_up("10.77.0.2"));
    node.want("agent", &[]);
    until("nothing is wanted", ms(2000), || node.report().unwrap().ports.is_empty());
    until("the router has noticed", ms(3000), || !router.is_up("10.77.0.2"));
}

#[test]
fn without_peers_there_is_no_socket_and_no_work() {
    let (mut node, _router) = cable();
    node.want("agent", &[]);
    node.start();
    until("it runs", ms(3000), || node.report().is_some());
    sleep(ms(500));
    let sockets = node.namespace.run(|| {
        ["udp", "udp6"]
            .map(|name| std::fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap().lines().count() - 1)
    });
    assert_eq!(sockets, [0, 0]);
    let id = node.speaker.as_ref().unwrap().id();
    let switches = || -> u64 {
        let tasks = std::fs::read_dir(format!("/proc/{id}/task")).unwrap();
        let of = |path: std::path::PathBuf| -> u64 {
            let status = std::fs::read_to_string(path.join("status")).unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
            line.trim().parse().unwrap()
        };
        tasks.map(|task| of(task.unwrap().path())).sum()
    };
    let before = switches();
    sleep(ms(5000));
    assert_eq!(switches(), before);
    // It wakes up as soon as somebody wants something.
    node.want("agent", &[peer("10.77.0.1")]);
    until("it listens", ms(1000), || node.report().unwrap().ports.len() == 2);
}

#[test]
fn the_directory_may_come_later() {
    let (mut node, router) = cable();
    node.shared = node.directory.path().join("later");
    node.start();
    let router = Router::start(router, " peer 10.77.0.2\n");
    sleep(ms(500));
    std::fs::create_dir(&node.shared).unwrap();
    sleep(ms(1500));
    node.want("agent", &[peer("10.77.0.1")]);
    router.wait_until_up("10.77.0.2");
}
