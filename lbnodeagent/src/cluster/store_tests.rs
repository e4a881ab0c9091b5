use kube::runtime::watcher::Event;

use super::*;
use crate::cluster::members::testing::{at, lease, wall};
use crate::cluster::service::testing::view;

fn complete(world: &mut World) {
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
        assert!(world.missing().is_some());
        world.take(input, at(1), wall(1));
    }
}

#[test]
fn nothing_counts_before_every_first_list() {
    let mut world = World::new("me");
    complete(&mut world);
    assert_eq!(world.missing(), None);
    let dirty = world.take_dirty();
    assert!(dirty.all && dirty.config);
    assert_eq!(world.take_dirty(), Dirty::default());
}

#[test]
fn what_a_new_list_does_not_bring_is_gone() {
    let mut world = World::new("me");
    complete(&mut world);
    for event in [Event::Apply(view("a", &["192.0.2.1"], None)), Event::Apply(view("b", &["192.0.2.2"], None))] {
        world.take(Input::Service(event), at(1), wall(1));
    }
    world.take_dirty();
    for event in [Event::Init, Event::InitApply(view("b", &["192.0.2.2"], None)), Event::InitDone] {
        world.take(Input::Service(event), at(1), wall(1));
    }
    let gone: IpAddr = "192.0.2.1".parse().unwrap();
    assert_eq!(world.take_dirty(), Dirty { addresses: [gone].into(), ..Dirty::default() });
    assert_eq!(world.services.addresses().count(), 1);
}

#[test]
fn a_renewal_of_a_known_member_concerns_nobody() {
    let mut world = World::new("me");
    complete(&mut world);
    world.take(Input::Lease(Event::Apply(lease("peer", &["192.0.2.0/24"], 1))), at(1), wall(1));
    assert!(world.take_dirty().all && world.members_changed());
    world.take(Input::Lease(Event::Apply(lease("peer", &["192.0.2.0/24"], 4))), at(4), wall(4));
    assert_eq!(world.take_dirty(), Dirty::default());
    assert!(!world.members_changed());
    world.expire(at(14));
    assert!(world.members_changed());
}

fn key(byte: u8) -> Input {
    Input::Keys(Some(Keys::new(&[byte; 32], None)))
}

#[test]
fn the_key_is_the_last_that_is_missed_and_never_forgotten() {
    let mut world = World::new("me");
    world.take(Input::Keys(None), at(1), wall(1));
    assert_eq!(world.missing(), Some("the list of Services"));
    complete(&mut world);
    assert!(world.keys_changed() && !world.keys_changed());
    let first = world.keys.clone();
    world.take(Input::Keys(None), at(2), wall(2));
    assert!(first.is_some() && world.keys.is_some() && world.missing().is_none());
    assert!(!world.keys_changed());
    world.take_dirty();
    world.take(key(2), at(3), wall(3));
    assert!(world.keys_changed() && !world.keys_changed());
    assert_eq!(world.take_dirty(), Dirty::default());
}

#[test]
fn without_a_key_nothing_is_decided() {
    let mut world = World::new("me");
    for input in [
        Input::Lease(Event::InitDone),
        Input::Service(Event::InitDone),
        Input::Group(Event::InitDone),
        Input::Agent(Event::InitDone),
        Input::Node(Event::InitApply(NodeView::default())),
        Input::Node(Event::InitDone),
    ] {
        world.take(input, at(1), wall(1));
    }
    assert_eq!(world.missing(), Some("the gossip key (Secret purelb-gossip)"));
    world.take_dirty();
    world.take(key(1), at(2), wall(2));
    assert!(world.missing().is_none() && world.take_dirty().all);
}

#[test]
fn watches_are_current_together() {
    let mut world = World::new("me");
    let tell = |world: &mut World, name, current| world.take(Input::Watch { name, current }, at(1), wall(1));
    for name in REQUIRED {
        assert!(!world.watches_current(), "{name}");
        tell(&mut world, name, true);
    }
    assert!(world.watches_current());
    for name in ["endpointslices", "secrets"] {
        tell(&mut world, name, false);
        assert!(world.watches_current(), "{name}");
    }
    tell(&mut world, "leases", false);
    assert!(!world.watches_current());
    tell(&mut world, "leases", true);
    assert!(world.watches_current());
}

#[test]
fn exclusion_concerns_everything_and_the_internal_addresses_the_configuration() {
    let mut world = World::new("me");
    complete(&mut world);
    world.take_dirty();
    let node = NodeView { uid: "u".to_owned(), ..NodeView::default() };
    for (view, all, config, circumstances) in [
        (NodeView { excluded: true, ..node.clone() }, true, false, true),
        (NodeView { excluded: true, ..node.clone() }, false, false, false),
        (NodeView { leaving: true, ..node.clone() }, true, false, true),
        (NodeView { internal: vec!["192.0.2.1".parse().unwrap()], ..node }, false, true, false),
    ] {
        world.take(Input::Node(Event::Apply(view)), at(1), wall(1));
        assert_eq!(world.take_dirty(), Dirty { all, config, circumstances, ..Dirty::default() });
    }
}

#[test]
fn a_lease_that_runs_out_or_says_something_new_concerns_everything() {
    let mut world = World::new("me");
    complete(&mut world);
    let apply = |world: &mut World, view, second: u32| {
        world.take(Input::Lease(Event::Apply(view)), at(second.into()), wall(second.into()));
        world.take_dirty().all
    };
    assert!(apply(&mut world, lease("peer", &["192.0.2.0/24"], 1), 1));
    assert!(!apply(&mut world, lease("peer", &["192.0.2.0/24"], 4), 4));
    let moved = crate::cluster::lease::LeaseView {
        endpoints: vec!["192.0.2.7:7475".parse().unwrap()],
        ..lease("peer", &["192.0.2.0/24"], 4)
    };
    assert!(apply(&mut world, moved, 5));
    assert!(!world.members.expire(at(13)) && world.members.expire(at(14)));
}
