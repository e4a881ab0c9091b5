use kube::runtime::watcher::Event;

use super::*;
use crate::cluster::members::testing::{at, lease, wall};
use crate::cluster::service::testing::view;

fn complete(store: &mut Store) {
    let node = NodeView { uid: "u".to_owned(), ..NodeView::default() };
    for input in [
        Input::Service(Event::InitDone),
        Input::Group(Event::InitDone),
        Input::Agent(Event::InitDone),
        Input::Node(Event::InitApply(node)),
        Input::Node(Event::InitDone),
        Input::Lease(Event::InitDone),
        Input::Keys(Some(Keys::new(&[1; 32], None))),
    ] {
        assert!(store.missing().is_some());
        store.apply(input, at(1), wall(1));
    }
}

#[test]
fn nothing_counts_before_every_first_list() {
    let mut store = Store::new("me");
    complete(&mut store);
    assert_eq!(store.missing(), None);
    let dirty = store.take_dirty();
    assert!(dirty.all && dirty.config);
    assert_eq!(store.take_dirty(), Dirty::default());
}

#[test]
fn what_a_new_list_does_not_bring_is_gone() {
    let mut store = Store::new("me");
    complete(&mut store);
    for event in [Event::Apply(view("a", &["192.0.2.1"], None)), Event::Apply(view("b", &["192.0.2.2"], None))] {
        store.apply(Input::Service(event), at(1), wall(1));
    }
    store.take_dirty();
    for event in [Event::Init, Event::InitApply(view("b", &["192.0.2.2"], None)), Event::InitDone] {
        store.apply(Input::Service(event), at(1), wall(1));
    }
    let gone: IpAddr = "192.0.2.1".parse().unwrap();
    assert_eq!(store.take_dirty(), Dirty { addresses: [gone].into(), ..Dirty::default() });
    assert_eq!(store.services.addresses().count(), 1);
}

fn agent(name: &str, spec: &serde_json::Value) -> Box<api_types::Watched<LBNodeAgent>> {
    let object = serde_json::json!({"metadata": {"name": name, "namespace": "purelb"}, "spec": spec});
    Box::new(serde_json::from_value(object).unwrap())
}

#[test]
fn case_96_an_lbnodeagent_that_cannot_be_read_is_refused_alone() {
    let newer = || serde_json::json!({"local": {"conflictDetection": "Negotiate"}});
    let dummy = || serde_json::json!({"local": {"dummyInterface": "lb0"}});
    let name = |store: &Store| match store.configuration().0 {
        Mode::Configured(name, config) => format!("{name} {}", config.dummy_interface),
        mode => mode.state().to_owned(),
    };
    let mut store = Store::new("me");
    complete(&mut store);
    store.apply(Input::Agent(Event::Apply(agent("a", &newer()))), at(1), wall(1));
    assert_eq!(name(&store), "default");
    let notice = store.configuration().1.remove(0);
    assert_eq!((notice.reason, notice.agent.1.as_str()), ("ConfigError", "a"));
    assert!(notice.text.contains("spec.local.conflictDetection is \"Negotiate\""), "{}", notice.text);
    store.apply(Input::Agent(Event::Apply(agent("b", &dummy()))), at(1), wall(1));
    assert_eq!(name(&store), "purelb/b lb0");
    // The last readable form stays.
    store.apply(Input::Agent(Event::Apply(agent("a", &serde_json::json!({"local": {}})))), at(1), wall(1));
    assert!(store.configuration().1.iter().all(|notice| notice.reason != "ConfigError"));
    store.take_dirty();
    store.apply(Input::Agent(Event::Apply(agent("a", &newer()))), at(1), wall(1));
    assert!(store.take_dirty().config);
    assert_eq!(name(&store), "purelb/a kube-lb0");
    // A new list without it.
    for event in [Event::Init, Event::InitApply(agent("b", &dummy())), Event::InitDone] {
        store.apply(Input::Agent(event), at(1), wall(1));
    }
    assert_eq!(name(&store), "purelb/b lb0");
    assert!(store.configuration().1.is_empty());
}

#[test]
fn a_report_concerns_its_addresses_and_another_leader_everything() {
    let mut store = Store::new("me");
    complete(&mut store);
    store.apply(Input::Lease(Event::Apply(lease("peer", &["192.0.2.0/24"], 1))), at(1), wall(1));
    store.take_dirty();
    let held = api_types::lease::Held { address: "192.0.2.7".parse().unwrap(), uid: "x".to_owned() };
    let mut view = lease("peer", &["192.0.2.0/24"], 2);
    view.report = api_types::lease::Report { pages: 1, held: vec![held], ..api_types::lease::Report::default() };
    store.apply(Input::Lease(Event::Apply(view)), at(2), wall(2));
    assert_eq!(store.take_dirty(), Dirty { addresses: ["192.0.2.7".parse().unwrap()].into(), ..Dirty::default() });
    assert!(!store.has_old_leader());
    for (version, all, old) in [(1, true, true), (1, false, true), (MARKS_WITH_ADDRESSES, true, false)] {
        store.apply(Input::Leader(version), at(2), wall(2));
        assert_eq!((store.take_dirty().all, store.has_old_leader()), (all, old));
    }
}

#[test]
fn a_renewal_of_a_known_member_concerns_nobody() {
    let mut store = Store::new("me");
    complete(&mut store);
    store.apply(Input::Lease(Event::Apply(lease("peer", &["192.0.2.0/24"], 1))), at(1), wall(1));
    assert!(store.take_dirty().all && store.members_changed());
    store.apply(Input::Lease(Event::Apply(lease("peer", &["192.0.2.0/24"], 4))), at(4), wall(4));
    assert_eq!(store.take_dirty(), Dirty::default());
    assert!(!store.members_changed());
    store.expire(at(14));
    assert!(store.members_changed());
}

fn key(byte: u8) -> Input {
    Input::Keys(Some(Keys::new(&[byte; 32], None)))
}

#[test]
fn the_key_is_the_last_that_is_missed_and_never_forgotten() {
    let mut store = Store::new("me");
    store.apply(Input::Keys(None), at(1), wall(1));
    assert_eq!(store.missing(), Some("the list of Services"));
    complete(&mut store);
    assert!(store.keys_changed() && !store.keys_changed());
    let first = store.keys.clone();
    store.apply(Input::Keys(None), at(2), wall(2));
    assert!(first.is_some() && store.keys.is_some() && store.missing().is_none());
    assert!(!store.keys_changed());
    store.take_dirty();
    store.apply(key(2), at(3), wall(3));
    assert!(store.keys_changed() && !store.keys_changed());
    assert_eq!(store.take_dirty(), Dirty::default());
}

#[test]
fn without_a_key_nothing_is_decided() {
    let mut store = Store::new("me");
    for input in [
        Input::Lease(Event::InitDone),
        Input::Service(Event::InitDone),
        Input::Group(Event::InitDone),
        Input::Agent(Event::InitDone),
        Input::Node(Event::InitApply(NodeView::default())),
        Input::Node(Event::InitDone),
    ] {
        store.apply(input, at(1), wall(1));
    }
    assert_eq!(store.missing(), Some("the gossip key (Secret purelb-gossip)"));
    store.take_dirty();
    store.apply(key(1), at(2), wall(2));
    assert!(store.missing().is_none() && store.take_dirty().all);
}

#[test]
fn watches_are_current_together() {
    let mut store = Store::new("me");
    let tell = |store: &mut Store, name, current| store.apply(Input::Watch { name, current }, at(1), wall(1));
    for name in REQUIRED {
        assert!(!store.watches_current(), "{name}");
        tell(&mut store, name, true);
    }
    assert!(store.watches_current());
    for name in ["endpointslices", "secrets"] {
        tell(&mut store, name, false);
        assert!(store.watches_current(), "{name}");
    }
    tell(&mut store, "leases", false);
    assert!(!store.watches_current());
    tell(&mut store, "leases", true);
    assert!(store.watches_current());
}

/// The Node is deleted while the machine runs on.
#[test]
fn case_56_a_node_that_is_gone_for_five_seconds_has_left() {
    let mut store = Store::new("me");
    complete(&mut store);
    let watches = |store: &mut Store, current| {
        for name in REQUIRED {
            store.apply(Input::Watch { name, current }, at(1), wall(1));
        }
    };
    watches(&mut store, true);
    let gone = |store: &mut Store, second| {
        store.take_dirty();
        store.expire(at(second));
        (store.configuration().0 == Mode::Gone, store.take_dirty().config)
    };
    let show = |store: &mut Store, event, second| store.apply(Input::Node(event), at(second), wall(1));
    assert_eq!(gone(&mut store, 10), (false, false));
    // An API server that shows no Node for a moment.
    show(&mut store, Event::Delete(NodeView::default()), 10);
    assert_eq!(gone(&mut store, 14), (false, false));
    show(&mut store, Event::Apply(NodeView::default()), 14);
    assert_eq!(gone(&mut store, 30), (false, false));
    // A list without it, from a server that is cut off soon.
    show(&mut store, Event::Init, 30);
    show(&mut store, Event::InitDone, 30);
    watches(&mut store, false);
    assert_eq!(gone(&mut store, 60), (false, false));
    watches(&mut store, true);
    assert_eq!(gone(&mut store, 64), (false, false));
    assert_eq!(gone(&mut store, 65), (true, true));
    watches(&mut store, false);
    assert_eq!(gone(&mut store, 90), (true, false));
    watches(&mut store, true);
    // Made anew: the same machine.
    show(&mut store, Event::Apply(NodeView::default()), 91);
    assert_eq!(gone(&mut store, 91), (false, true));
}

#[test]
fn exclusion_concerns_everything_and_the_internal_addresses_the_configuration() {
    let mut store = Store::new("me");
    complete(&mut store);
    store.take_dirty();
    let node = NodeView { uid: "u".to_owned(), ..NodeView::default() };
    for (view, all, config, protocol) in [
        (NodeView { excluded: true, ..node.clone() }, true, false, true),
        (NodeView { excluded: true, ..node.clone() }, false, false, false),
        (NodeView { leaving: true, ..node.clone() }, true, false, true),
        (NodeView { internal: vec!["192.0.2.1".parse().unwrap()], ..node }, false, true, false),
    ] {
        store.apply(Input::Node(Event::Apply(view)), at(1), wall(1));
        assert_eq!(store.take_dirty(), Dirty { all, config, protocol, ..Dirty::default() });
    }
}

#[test]
fn a_lease_that_runs_out_or_says_something_new_concerns_everything() {
    let mut store = Store::new("me");
    complete(&mut store);
    let apply = |store: &mut Store, view, second: u32| {
        store.apply(Input::Lease(Event::Apply(view)), at(second.into()), wall(second.into()));
        store.take_dirty().all
    };
    assert!(apply(&mut store, lease("peer", &["192.0.2.0/24"], 1), 1));
    assert!(!apply(&mut store, lease("peer", &["192.0.2.0/24"], 4), 4));
    let moved = crate::cluster::lease::LeaseView {
        endpoints: vec!["192.0.2.7:7475".parse().unwrap()],
        ..lease("peer", &["192.0.2.0/24"], 4)
    };
    assert!(apply(&mut store, moved, 5));
    assert!(!store.members.expire(at(13)) && store.members.expire(at(14)));
}
