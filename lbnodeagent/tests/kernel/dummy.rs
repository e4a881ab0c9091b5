//! The interface `kube-lb0`, on a kernel that has the type `dummy` and marks addresses.

use std::process::Command;

use lbnodeagent::kernel::netlink::monitor::Monitor;
use lbnodeagent::kernel::netlink::requests::Kernel;
use lbnodeagent::model::address::{KernelAddress, MARK};
use lbnodeagent::model::observed::{Change, Observed};
use nix::errno::Errno;
use serde_json::{Value, json};

use crate::node::{Node, REMOTE, interfaces, remote_is_there};
use crate::objects::{groups, service};
use crate::support::{addresses, eventually, in_namespace, ip, lasts};
use crate::uml::{Part, in_guest, load, load_on_demand};

const NAME: &str = "kube-lb0";

/// The order matters: the first part needs a kernel that has not loaded the module.
const PARTS: &[Part] = &[
    ("made as soon as the kernel has the type", made_as_soon_as_the_kernel_has_the_type),
    ("a dummy is up and uses no ARP", a_dummy_is_up_and_uses_no_arp),
    ("somebody else may be faster", somebody_else_may_be_faster),
    ("addresses have their attributes", addresses_have_their_attributes),
    ("what is deleted or set down comes back", what_is_deleted_or_set_down_comes_back),
    ("the next run adopts it", the_next_run_adopts_it),
    ("one of another type is used as it is", one_of_another_type_is_used_as_it_is),
    ("the requests and notifications of this kernel", the_requests_and_notifications_of_this_kernel),
];

/// The kernels of small virtual machines often lack the type, so this test brings one that has it.
#[test]
fn the_dummy_interface() {
    in_guest("dummy::the_dummy_interface", PARTS);
}

/// What the kernel has, as the agent reads it.
fn kernel_state() -> Observed {
    Kernel::open().unwrap().dump().unwrap()
}

/// What `ip` shows of the interface, independent of the agent's code and with more details. A program takes long to
/// start in the guest, so do not poll with this.
fn link() -> Value {
    let all: Value = serde_json::from_str(&ip(&format!("-json -details link show dev {NAME}"))).unwrap();
    all[0].clone()
}

fn kind() -> Value {
    link()["linkinfo"]["info_kind"].clone()
}

fn index() -> Option<u32> {
    kernel_state().index_of(NAME)
}

/// The interfaces of a node on which no agent has run yet.
fn new_node() {
    interfaces();
    ip(&format!("link del {NAME}"));
}

fn made_as_soon_as_the_kernel_has_the_type() {
    load(&["ipv6", "veth", "ifb", "bridge"]);
    load_on_demand(false);
    in_namespace(|| async {
        new_node();
        let refused = Kernel::open().unwrap().ensure_dummy(NAME, &Observed::default()).unwrap_err();
        assert_eq!(refused.to_string(), format!("cannot create the dummy interface: {}", Errno::EOPNOTSUPP));
        let node = Node::with(&groups(), &[service("routed", REMOTE)]).await;
        eventually("ready", || node.readiness.get().is_ok()).await;
        let refused = node.state().await.addresses;
        assert_eq!(refused.len(), REMOTE.len());
        for address in refused {
            assert!(!address.announced && address.why.contains("cannot be created"), "{}", address.why);
        }
        load_on_demand(true);
        // The agent tries again when interfaces change, or after half a minute.
        ip("link add other type veth peer name end");
        eventually("announced", remote_is_there).await;
        assert_eq!(kind(), "dummy");
    });
}

fn a_dummy_is_up_and_uses_no_arp() {
    in_namespace(|| async {
        std::fs::write("/proc/sys/net/ipv4/conf/default/promote_secondaries", "1").unwrap();
        let mut kernel = Kernel::open().unwrap();
        let index = kernel.ensure_dummy(NAME, &kernel_state()).unwrap();
        let link = link();
        assert_eq!((&link["ifindex"], &link["linkinfo"]["info_kind"]), (&json!(index), &json!("dummy")));
        let flags = link["flags"].as_array().unwrap();
        assert!(["UP", "LOWER_UP", "NOARP"].iter().all(|flag| flags.contains(&json!(flag))), "{flags:?}");
        let promote = std::fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{NAME}/promote_secondaries")).unwrap();
        assert_eq!(promote.trim(), "0");
        let observed = kernel_state();
        let seen = &observed.links[&index];
        assert!(seen.works() && !seen.resolves && !seen.loopback, "{seen:?}");
        // Again, with the interface in the observed state.
        assert_eq!(kernel.ensure_dummy(NAME, &observed).unwrap(), index);
        assert_eq!(kernel_state().links, observed.links);
    });
}

fn somebody_else_may_be_faster() {
    in_namespace(|| async {
        let before = kernel_state();
        ip(&format!("link add {NAME} type dummy"));
        let found = Kernel::open().unwrap().ensure_dummy(NAME, &before).unwrap();
        assert_eq!(index(), Some(found));
        assert!(kernel_state().links[&found].works());
    });
}

fn addresses_have_their_attributes() {
    in_namespace(|| async {
        new_node();
        let node = Node::with(&groups(), &[service("routed", REMOTE)]).await;
        eventually("announced", remote_is_there).await;
        let routed = || ip(&format!("-6 route show dev {NAME}")).contains(REMOTE[1]);
        let ours = |is: fn(&KernelAddress) -> bool| {
            kernel_state().addresses.values().filter(|found| found.mark == Some(MARK) && is(found)).count()
        };
        assert_eq!(ours(|found| found.valid.is_none() && found.preferred.is_none() && found.usable), 2);
        assert!(routed());
        let lines = addresses(NAME);
        let [v4, v6] = lines.as_slice() else { panic!("{lines:#?}") };
        let ends = "valid_lft forever preferred_lft forever";
        assert!(v4.ends_with(&format!("inet {}/32 scope global {NAME}\\ {ends}", REMOTE[0])), "{v4}");
        assert!(v6.ends_with(&format!("inet6 {}/128 scope global nodad \\ {ends}", REMOTE[1])), "{v6}");

        let lifetimes = json!({"validLifetime": 1000, "preferredLifetime": 0, "noPrefixRoute": true});
        node.configure(json!({"local": {"addressConfig": {"dummyInterface": lifetimes}}})).await;
        let runs = |found: &KernelAddress| found.valid.is_some() && found.preferred == Some(0) && found.no_prefix_route;
        eventually("with a lifetime", || ours(runs) == 2).await;
        assert!(!routed());
        let lines = addresses(NAME);
        let deprecated = |line: &String| {
            ["deprecated", "noprefixroute"].iter().all(|flag| line.contains(flag))
                && lasts(line, "valid", 1000)
                && lasts(line, "preferred", 0)
        };
        assert!(lines.len() == 2 && lines.iter().all(deprecated), "{lines:#?}");

        node.configure(json!({"local": {}})).await;
        let lasts = |found: &KernelAddress| found.valid.is_none() && found.usable && !found.no_prefix_route;
        eventually("permanent again", || ours(lasts) == 2).await;
        assert!(routed());
    });
}

fn what_is_deleted_or_set_down_comes_back() {
    in_namespace(|| async {
        new_node();
        let mut node = Node::with(&groups(), &[service("routed", REMOTE)]).await;
        eventually("announced", remote_is_there).await;
        let first = index();
        node.forget_events();
        ip(&format!("link del {NAME}"));
        let took = eventually("made again", remote_is_there).await;
        node.wait_for_event(&["InterfaceRepaired"]).await;
        eprintln!("made again after {took:?}");
        let second = index();
        assert!(second != first && kind() == "dummy");
        // The kernel then removes the IPv6 addresses.
        ip(&format!("link set {NAME} down"));
        let up = || kernel_state().links.values().any(|link| link.name == NAME && link.works());
        let took = eventually("up again", || up() && remote_is_there()).await;
        eprintln!("up again after {took:?}");
        assert_eq!(index(), second);
    });
}

fn the_next_run_adopts_it() {
    in_namespace(|| async {
        new_node();
        let services = [service("routed", REMOTE)];
        let node = Node::with(&groups(), &services).await;
        eventually("announced", remote_is_there).await;
        let before = index();
        let mut monitor = Monitor::open().unwrap();
        // First after a graceful stop, which gives the addresses a lifetime, then after a kill.
        node.stop().await;
        for _ in 0..2 {
            let node = Node::with(&groups(), &services).await;
            eventually("ready", || node.readiness.get().is_ok()).await;
            let lasts = || kernel_state().addresses.values().all(|found| found.valid.is_none());
            eventually("adopted", || lasts() && remote_is_there()).await;
            assert!(node.state().await.addresses.iter().all(|address| address.announced));
            node.kill();
        }
        let gone = |change: &Change| matches!(change, Change::NoLink(_) | Change::NoAddress(_));
        assert!(!monitor.read().changes.iter().any(gone));
        assert_eq!(index(), before);
        assert_eq!(kind(), "dummy");
    });
}

fn one_of_another_type_is_used_as_it_is() {
    for kind in ["bridge", "ifb"] {
        in_namespace(move || async move {
            new_node();
            ip(&format!("link add {NAME} type {kind}"));
            let before = index();
            let _node = Node::with(&groups(), &[service("routed", REMOTE)]).await;
            eventually("announced", remote_is_there).await;
            assert_eq!((index(), self::kind()), (before, json!(kind)));
            assert!(link()["flags"].as_array().unwrap().contains(&json!("UP")));
        });
    }
}

/// Runs the tests of the module `netlink` on this kernel.
fn the_requests_and_notifications_of_this_kernel() {
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program).args(["netlink::", "--test-threads=1"]).output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    // The program also succeeds if no test matches the name.
    let passed = text.lines().find_map(|line| line.strip_prefix("test result: ok. ")?.split_once(" passed"));
    let passed = passed.and_then(|(count, _)| count.parse::<u32>().ok());
    assert!(output.status.success() && passed.is_some_and(|count| count > 0), "{}\n{text}", output.status);
}
