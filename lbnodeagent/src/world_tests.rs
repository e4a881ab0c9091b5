use super::*;
use crate::members::testing::{at, lease, wall};
use crate::services::testing::view;

fn complete(world: &mut World) {
    let node = NodeView { uid: "u".to_owned(), ..NodeView::default() };
    for input in [
        Input::Service(Event::InitDone),
        Input::Group(Event::InitDone),
        Input::Agent(Event::InitDone),
        Input::Node(Event::InitApply(node)),
        Input::Node(Event::InitDone),
        Input::Lease(Event::InitDone),
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
    assert!(world.take_dirty().all);
    world.take(Input::Lease(Event::Apply(lease("peer", &["192.0.2.0/24"], 4))), at(4), wall(4));
    assert_eq!(world.take_dirty(), Dirty::default());
}

#[test]
fn our_own_renewal_concerns_everything_only_after_an_outage() {
    let mut world = World::new("me");
    complete(&mut world);
    world.take_dirty();
    for (second, all) in [(1, true), (4, false), (20, true)] {
        world.take(Input::Renewed(at(second)), at(second), wall(1));
        assert_eq!(world.take_dirty().all, all, "{second}");
    }
}
