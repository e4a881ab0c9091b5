use std::collections::{BTreeMap, BTreeSet};

use api_types::lease::{Held, Report};
use api_types::{ServiceGroup, Watched};
use k8s_openapi::api::core::v1::Service;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::cluster::configuration::Mode;
use crate::cluster::endpoints::Endpoints;
use crate::cluster::groups::testing::{group, groups};
use crate::cluster::members::Members;
use crate::cluster::members::testing::{at, lease, wall};
use crate::cluster::reports::Reports;
use crate::cluster::services::Services;
use crate::decide::context::Witnesses;
use crate::decide::decision::Exclusion;
use crate::decide::interfaces::Selection;
use crate::decide::networks::Connected;
use crate::model::observed::{Change, Observed};
use crate::model::ours::Ours;
use crate::model::testing::{key, node, ours, plain};
use crate::model::uids::Uids;

const LOCAL: &str = "192.168.50.200";
const REMOTE: &str = "172.30.200.155";
const EXTERNAL: &str = "198.51.100.7";

/// What node `me` knows; `peer` is a member, and `LOCAL` and `REMOTE` are in pools.
struct Cluster {
    members: Members,
    observed: Observed,
    reports: Reports,
    holders: BTreeMap<IpAddr, Uids>,
    served: BTreeMap<IpAddr, Uids>,
    old_leader: bool,
}

fn external() -> Watched<ServiceGroup> {
    let spec = json!({"external": {"provider": "x", "socket": "/s", "announce": "local"}});
    serde_json::from_value(json!({"metadata": {"name": "ext", "namespace": "purelb"}, "spec": spec})).unwrap()
}

impl Cluster {
    fn new() -> Self {
        let mut members = Members::new("me");
        members.apply(lease("peer", &["192.168.50.0/24"], 1), at(1), wall(1));
        Self {
            members,
            observed: node(),
            reports: Reports::default(),
            holders: BTreeMap::new(),
            served: BTreeMap::new(),
            old_leader: false,
        }
    }

    fn with<T>(&self, ask: impl FnOnce(&Context<'_>) -> T) -> T {
        let (none, addresses, recorded) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        let groups = groups(&[
            group("lan", "local", "192.168.50.200-192.168.50.210", "192.168.50.0/24", "default"),
            group("routed", "remote", "172.30.200.155-172.30.200.160", "172.30.200.0/24", "/32"),
            external(),
        ]);
        ask(&Context {
            mode: &Mode::Deselected,
            groups: &groups,
            services: &Services::default(),
            endpoints: &Endpoints::default(),
            members: &self.members,
            node_addresses: &addresses,
            exclusion: Exclusion::No,
            selection: &Selection::default(),
            connected: &Connected::default(),
            dummy: Some(3),
            observed: &self.observed,
            ours: Ours::new(&recorded, true),
            waits_for_proxy: false,
            gateways: &BTreeSet::new(),
            held: &none,
            remote: &none,
            witnesses: Witnesses {
                reports: &self.reports,
                holders: &self.holders,
                served: &self.served,
                old_leader: self.old_leader,
            },
            now: at(1),
        })
    }

    /// Whether this node takes part in the address for the Service.
    fn takes_part(&self, address: &str, service: &ServiceView) -> bool {
        let address = address.parse().unwrap();
        let users: &[&ServiceView] = if service.addresses.contains(&address) { &[service] } else { &[] };
        self.with(|context| serving(context, address, users).len() == 1)
    }

    /// Whether the report has to name it.
    fn reports_it(&self, address: &str, service: &ServiceView) -> bool {
        self.with(|context| unmarked(context, address.parse().unwrap(), &[service]).len() == 1)
    }

    fn hears_from_peer(&mut self, address: &str, uid: &str) {
        let held = vec![Held { address: address.parse().unwrap(), uid: uid.to_owned() }];
        self.reports.apply("peer", &Report { pages: 1, held, ..Report::default() });
    }
}

struct Object(Value);

impl Object {
    /// A Service with UID `1` whose status has these addresses.
    fn new(status: &[&str]) -> Self {
        let ingress: Vec<Value> = status.iter().map(|ip| json!({"ip": ip})).collect();
        Self(json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "1", "annotations": {}},
            "spec": {"type": "LoadBalancer"}, "status": {"loadBalancer": {"ingress": ingress}}
        }))
    }

    fn with(mut self, key: &str, value: &str) -> Self {
        self.0["metadata"]["annotations"][format!("purelb.io/{key}")] = json!(value);
        self
    }

    fn listed(self, addresses: &str, uid: &str) -> Self {
        self.with("allocated-by", "PureLB").with("allocated-addresses", addresses).with("allocated-to", uid)
    }

    fn of_old_release(self, group: &str) -> Self {
        self.with("allocated-by", "PureLB").with("allocated-from", group).with("pool-type", "local")
    }

    fn class(mut self, class: &str) -> Self {
        self.0["spec"]["loadBalancerClass"] = json!(class);
        self
    }

    fn view(&self, default_announcer: bool) -> ServiceView {
        ServiceView::new(&serde_json::from_value::<Service>(self.0.clone()).unwrap(), default_announcer)
    }
}

/// The rows of the table of [`Right`] that need no witness.
#[rstest]
#[case::listed(Object::new(&[LOCAL]).listed(LOCAL, "1"), LOCAL, true)]
#[case::emptied(Object::new(&[]).listed(LOCAL, "1"), LOCAL, false)]
#[case::overwritten(Object::new(&["192.168.50.13"]).listed(LOCAL, "1"), "192.168.50.13", false)]
#[case::old_release_in_a_pool(Object::new(&[LOCAL]).of_old_release("lan"), LOCAL, true)]
#[case::old_release_routed(Object::new(&[REMOTE]).of_old_release("routed"), REMOTE, true)]
#[case::old_release_external(Object::new(&[EXTERNAL]).of_old_release("lan, ext"), EXTERNAL, true)]
#[case::old_release_outside(Object::new(&["10.9.9.9"]).of_old_release("lan"), "10.9.9.9", false)]
#[case::our_class_in_a_pool(Object::new(&[LOCAL]).class("purelb.io/purelbv2"), LOCAL, true)]
#[case::our_class_outside(Object::new(&["10.9.9.9"]).class("purelb.io/purelbv2"), "10.9.9.9", false)]
#[case::foreign_in_a_pool(Object::new(&[LOCAL]), LOCAL, false)]
#[case::foreign_with_our_name(Object::new(&[LOCAL]).with("allocated-by", "PureLB"), LOCAL, false)]
#[case::gone(Object::new(&[]).of_old_release("lan"), LOCAL, false)]
#[case::another_class(Object::new(&[LOCAL]).listed(LOCAL, "1").class("example.com/x"), LOCAL, false)]
fn nobody_begins_without_the_right(#[case] object: Object, #[case] address: &str, #[case] expected: bool) {
    assert_eq!(Cluster::new().takes_part(address, &object.view(true)), expected);
}

#[test]
fn case_2_an_overwritten_status_keeps_the_given_address_and_starts_no_other() {
    let mut cluster = Cluster::new();
    cluster.served.insert(LOCAL.parse().unwrap(), ["1".into()].into());
    let object = Object::new(&["192.168.50.13"]).listed(LOCAL, "1").with("announcing-IPv4", "peer,eth0,192.168.50.200");
    assert!(cluster.takes_part(LOCAL, &object.view(true)));
    assert!(!cluster.takes_part("192.168.50.13", &object.view(true)));
}

#[test]
fn case_10_what_is_announced_goes_on_without_any_annotation() {
    for address in [LOCAL, REMOTE] {
        let bare = Object::new(&[address]).view(true);
        let mut cluster = Cluster::new();
        // Where it is: until now, and after a restart, by what the state file says.
        cluster.served.insert(address.parse().unwrap(), ["1".into()].into());
        assert!(cluster.takes_part(address, &bare) && cluster.reports_it(address, &bare));
        cluster.holders = std::mem::take(&mut cluster.served);
        assert!(cluster.takes_part(address, &bare) && cluster.reports_it(address, &bare));
        // Elsewhere, and after a reboot: by the report of the agent that has it.
        cluster.holders.clear();
        assert!(!cluster.takes_part(address, &bare));
        cluster.hears_from_peer(address, "1");
        assert!(cluster.takes_part(address, &bare));
    }
}

#[test]
fn an_address_of_an_earlier_run_without_a_state_file_goes_on() {
    let mut cluster = Cluster::new();
    let bare = Object::new(&[REMOTE]).view(true);
    cluster.observed.apply(Change::Address(key(3, "172.30.200.155/32"), plain()));
    assert!(!cluster.takes_part(REMOTE, &bare), "somebody else's");
    cluster.observed.apply(Change::Address(key(3, "172.30.200.155/32"), ours()));
    assert!(cluster.takes_part(REMOTE, &bare));
    // The file knows that it was put there for another Service.
    cluster.holders.insert(REMOTE.parse().unwrap(), ["2".into()].into());
    assert!(!cluster.takes_part(REMOTE, &bare));
}

#[test]
fn an_annotation_counts_as_a_witness_if_it_names_a_member_for_the_address() {
    let cluster = Cluster::new();
    for (announcing, expected) in [
        ("peer,eth0,192.168.50.200", true),
        ("me,eth0,192.168.50.200", true),
        ("stranger,eth0,192.168.50.200", false),
        ("peer,eth0,192.168.50.201", false),
    ] {
        let service = Object::new(&[LOCAL]).with("announcing-IPv4", announcing).view(true);
        assert_eq!(cluster.takes_part(LOCAL, &service), expected, "{announcing}");
        assert_eq!(cluster.reports_it(LOCAL, &service), !expected, "{announcing}");
    }
}

#[test]
fn what_the_service_says_is_not_reported() {
    let cluster = Cluster::new();
    for (object, expected) in [
        (Object::new(&[LOCAL]).listed(LOCAL, "1"), false),
        (Object::new(&[LOCAL]).of_old_release("lan"), false),
        (Object::new(&[]).listed(LOCAL, "1"), true),
        (Object::new(&[LOCAL]).listed("192.168.50.201", "1"), true),
    ] {
        assert_eq!(cluster.reports_it(LOCAL, &object.view(true)), expected, "{}", object.0);
    }
}

#[test]
fn case_72_what_we_gave_stays_ours_when_we_are_no_default_announcer_any_more() {
    let mut cluster = Cluster::new();
    let part = |cluster: &Cluster, object: Object| cluster.takes_part(LOCAL, &object.view(false));
    assert!(part(&cluster, Object::new(&[LOCAL]).listed(LOCAL, "1")));
    assert!(part(&cluster, Object::new(&[LOCAL]).of_old_release("lan")));
    assert!(part(&cluster, Object::new(&[LOCAL]).with("announcing-IPv4", "peer,eth0,192.168.50.200")));
    assert!(!part(&cluster, Object::new(&[LOCAL])), "a new one is left alone");
    cluster.served.insert(LOCAL.parse().unwrap(), ["1".into()].into());
    assert!(!part(&cluster, Object::new(&[LOCAL]).with("allocated-by", "PureLB")));
}

#[test]
fn case_73_marks_of_another_object_start_nothing_and_take_nothing_away() {
    let mut cluster = Cluster::new();
    let copy = || Object::new(&[LOCAL]).listed(LOCAL, "2").with("allocated-from", "lan").with("pool-type", "local");
    assert!(!cluster.takes_part(LOCAL, &copy().view(true)));
    assert!(!cluster.takes_part(LOCAL, &copy().class("purelb.io/purelb").view(true)));
    cluster.hears_from_peer(LOCAL, "2");
    assert!(!cluster.takes_part(LOCAL, &copy().view(true)), "held for the original");
    cluster.hears_from_peer(LOCAL, "1");
    assert!(cluster.takes_part(LOCAL, &copy().view(true)));
}

#[test]
fn an_allocator_that_does_not_know_the_list_may_give_another_address() {
    let mut cluster = Cluster::new();
    let object = Object::new(&[LOCAL]).listed("192.168.50.201", "1");
    assert!(!cluster.takes_part(LOCAL, &object.view(true)));
    cluster.old_leader = true;
    assert!(cluster.takes_part(LOCAL, &object.view(true)));
}

#[test]
fn case_66_the_annotation_names_only_addresses_that_the_service_was_given() {
    let (address, mut cluster) = (LOCAL.parse().unwrap(), Cluster::new());
    let given =
        |cluster: &Cluster, object: Object| is_given(&cluster.served, cluster.old_leader, address, &object.view(true));
    cluster.served.insert(address, ["1".into()].into());
    assert!(given(&cluster, Object::new(&[LOCAL]).listed(LOCAL, "1")));
    assert!(given(&cluster, Object::new(&[]).listed(LOCAL, "1")), "somebody emptied the status");
    assert!(given(&cluster, Object::new(&[LOCAL])), "somebody deleted the marks");
    let copy = || Object::new(&[LOCAL]).listed("192.168.50.201", "1");
    assert!(!given(&cluster, copy()), "the status is that of another Service");
    cluster.old_leader = true;
    assert!(given(&cluster, copy()));
    // The address is announced for another object.
    cluster.served.insert(address, ["2".into()].into());
    assert!(!given(&cluster, copy()) && !given(&cluster, Object::new(&[LOCAL])));
    assert!(!given(&cluster, Object::new(&[LOCAL]).listed(LOCAL, "2")), "the marks are those of another object");
}
