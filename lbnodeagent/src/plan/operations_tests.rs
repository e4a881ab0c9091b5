use std::fmt::Write as _;

use api_types::AddressAttributes;

use super::*;
use crate::cluster::members::testing::at;
use crate::model::observed::Change;
use crate::model::placement::Kind;
use crate::model::testing::{key, node, ours, plain};

/// A kernel and what is desired of it.
struct Case {
    observed: Observed,
    desired: BTreeMap<IpAddr, Placement>,
    anchors: BTreeMap<IpAddr, Placement>,
    recorded: BTreeSet<AddressKey>,
    sweep: bool,
    kernel_marks: bool,
    now: u64,
}

impl Case {
    fn new() -> Self {
        Self {
            observed: node(),
            desired: BTreeMap::new(),
            anchors: BTreeMap::new(),
            recorded: BTreeSet::new(),
            sweep: true,
            kernel_marks: true,
            now: 0,
        }
    }

    fn has(mut self, index: u32, cidr: &str, address: KernelAddress) -> Self {
        self.observed.apply(Change::Address(key(index, cidr), address));
        self
    }

    fn wants(mut self, index: u32, cidr: &str) -> Self {
        let key = key(index, cidr);
        let (kind, attributes) = if index == 3 {
            (Kind::Remote, AddressAttributes::REMOTE)
        } else {
            (Kind::Local, AddressAttributes::LOCAL)
        };
        self.desired.insert(key.ip, Placement { kind, key, aggregate: None, attributes });
        self
    }

    /// A host route with this aggregate beside it.
    fn wants_with_aggregate(mut self, cidr: &str, aggregate: u8) -> Self {
        let key = key(3, cidr);
        let attributes = AddressAttributes::REMOTE;
        let placement = Placement { kind: Kind::Remote, key, aggregate: Some(aggregate), attributes };
        self.desired.insert(key.ip, placement);
        self
    }

    fn holds(mut self, cidr: &str) -> Self {
        let key = key(3, cidr);
        let attributes = AddressAttributes::REMOTE;
        self.anchors.insert(key.ip, Placement { kind: Kind::Remote, key, aggregate: None, attributes });
        self
    }

    fn at(mut self, now: u64) -> Self {
        self.now = now;
        self
    }

    /// The operations for every address that is known anywhere, one per line.
    fn plan(&self) -> String {
        let plan = Plan {
            desired: &self.desired,
            anchors: &self.anchors,
            observed: &self.observed,
            ours: Ours::new(&self.recorded, self.kernel_marks),
            remote_links: &[3].into(),
            writer: Writer::Sole,
            sweep: self.sweep,
            interval: 30,
            now: at(self.now),
        };
        let wanted = self.desired.keys().chain(self.anchors.keys()).copied();
        let all: BTreeSet<IpAddr> = self.observed.addresses.keys().map(|key| key.ip).chain(wanted).collect();
        plan.operations(all).iter().fold(String::new(), |mut text, operation| {
            let key = operation.key();
            let place = format!("{}/{} {}", key.ip, key.prefix_len, self.observed.name_of(key.index));
            let _ = match operation {
                Operation::Put(entry, why) => writeln!(text, "{why:?} {place} {:?} {:?}", entry.valid, entry.mark),
                Operation::Delete(_) => writeln!(text, "Delete {place}"),
            };
            text
        })
    }
}

fn secondary(address: KernelAddress) -> KernelAddress {
    KernelAddress { secondary: true, ..address }
}

fn local(valid: u32) -> KernelAddress {
    KernelAddress { valid: Some(valid), preferred: Some(valid), no_prefix_route: true, secondary: true, ..ours() }
}

#[test]
fn adds_what_is_missing_and_leaves_what_matches() {
    let case =
        Case::new().has(3, "172.30.200.155/32", ours()).wants(3, "172.30.200.155/32").wants(3, "172.30.200.156/32");
    assert_eq!(case.plan(), "Add 172.30.200.156/32 kube-lb0 None Some(76)\n");
}

#[test]
fn adopts_by_marking_what_an_unmarked_run_left() {
    let case = Case::new().has(3, "172.30.200.155/32", plain()).wants(3, "172.30.200.155/32");
    assert_eq!(case.plan(), "Renew 172.30.200.155/32 kube-lb0 None Some(76)\n");
}

#[test]
fn deletes_only_what_is_ours() {
    let mut case = Case::new().has(3, "172.30.200.155/32", ours()).has(3, "172.30.200.156/32", plain()).has(
        3,
        "172.30.200.157/32",
        plain(),
    );
    case.recorded.insert(key(3, "172.30.200.157/32"));
    assert_eq!(case.plan(), "Delete 172.30.200.155/32 kube-lb0\nDelete 172.30.200.157/32 kube-lb0\n");
    case.sweep = false;
    assert_eq!(case.plan(), "");
}

#[test]
fn case_4_what_we_put_is_withdrawn_whatever_the_nodes_status_lists() {
    assert_eq!(Case::new().has(2, "192.168.50.200/24", secondary(ours())).plan(), "Delete 192.168.50.200/24 eth0\n");
    assert_eq!(Case::new().has(2, "192.168.50.200/24", plain()).plan(), "");
}

#[test]
fn a_lost_mark_is_put_back_where_the_kernel_keeps_marks() {
    let mut case = Case::new().has(3, "172.30.200.155/32", plain()).wants(3, "172.30.200.155/32");
    case.recorded.insert(key(3, "172.30.200.155/32"));
    assert_eq!(case.plan(), "Renew 172.30.200.155/32 kube-lb0 None Some(76)\n");
    case.kernel_marks = false;
    assert_eq!(case.plan(), "");
}

#[test]
fn case_7_an_ipv6_address_that_is_not_deprecated_becomes_so() {
    let deprecated = || KernelAddress { preferred: Some(0), ..ours() };
    for (found, expected) in [(ours(), "Renew 2001:db8::1/128 kube-lb0 None Some(76)\n"), (deprecated(), "")] {
        let mut case = Case::new().has(3, "2001:db8::1/128", found).wants(3, "2001:db8::1/128");
        for placement in case.desired.values_mut() {
            placement.attributes.preferred_lifetime = Some(0);
        }
        assert_eq!(case.plan(), expected);
    }
}

#[test]
fn a_lifetime_is_renewed_in_time() {
    let case = Case::new().has(2, "192.168.50.200/24", local(300)).wants(2, "192.168.50.200/24");
    assert_eq!(case.plan(), "");
    let case = case.at(119);
    assert_eq!(case.plan(), "");
    let case = case.at(120);
    assert_eq!(case.plan(), "Renew 192.168.50.200/24 eth0 Some(300) Some(76)\n");
}

#[test]
fn the_lifetime_of_a_stopped_agent_is_taken_back() {
    let stopped = KernelAddress { valid: Some(180), preferred: Some(180), ..ours() };
    let case = Case::new().has(3, "172.30.200.155/32", stopped).wants(3, "172.30.200.155/32");
    assert_eq!(case.plan(), "Renew 172.30.200.155/32 kube-lb0 None Some(76)\n");
}

#[test]
fn a_changed_aggregation_is_made_before_the_old_one_breaks() {
    let case = Case::new().has(3, "172.30.200.155/24", ours()).wants(3, "172.30.200.155/32");
    assert_eq!(case.plan(), "Add 172.30.200.155/32 kube-lb0 None Some(76)\nDelete 172.30.200.155/24 kube-lb0\n");
    // The kernel has an IPv6 address once per interface.
    let case = Case::new().has(3, "2001:db8::1/64", ours()).wants(3, "2001:db8::1/128");
    assert_eq!(case.plan(), "Delete 2001:db8::1/64 kube-lb0\nAdd 2001:db8::1/128 kube-lb0 None Some(76)\n");
}

#[test]
fn another_interface_is_made_before_the_old_one_breaks() {
    let case = Case::new().has(3, "192.168.50.200/32", ours()).wants(2, "192.168.50.200/24");
    assert_eq!(case.plan(), "Add 192.168.50.200/24 eth0 Some(300) Some(76)\nDelete 192.168.50.200/32 kube-lb0\n");
}

#[test]
fn the_secondary_addresses_of_a_leaving_primary_come_back() {
    let case = Case::new()
        .has(3, "10.9.0.1/16", ours())
        .has(3, "10.9.0.2/16", secondary(ours()))
        .has(3, "10.9.0.3/16", secondary(ours()))
        .wants(3, "10.9.0.2/16")
        .wants(3, "10.9.0.4/16");
    let expected = "Delete 10.9.0.2/16 kube-lb0\n\
                    Delete 10.9.0.3/16 kube-lb0\n\
                    Delete 10.9.0.1/16 kube-lb0\n\
                    Restore 10.9.0.2/16 kube-lb0 None Some(76)\n\
                    Add 10.9.0.4/16 kube-lb0 None Some(76)\n";
    assert_eq!(case.plan(), expected);
}

#[test]
fn a_leaving_secondary_disturbs_nobody() {
    let case =
        Case::new().has(3, "10.9.0.1/16", ours()).has(3, "10.9.0.2/16", secondary(ours())).wants(3, "10.9.0.1/16");
    assert_eq!(case.plan(), "Delete 10.9.0.2/16 kube-lb0\n");
}

#[test]
fn what_the_kernel_takes_along_on_a_real_interface_is_restored_as_it_was() {
    let case = Case::new()
        .has(2, "192.168.50.200/24", KernelAddress { secondary: false, ..local(300) })
        .has(2, "192.168.50.11/24", secondary(KernelAddress { valid: Some(3600), ..plain() }))
        .at(100);
    let expected = "Delete 192.168.50.200/24 eth0\nRestore 192.168.50.11/24 eth0 Some(3500) None\n";
    assert_eq!(case.plan(), expected);
}

/// BIRD 1.6 drops the route of a network with any one of its IPv6 addresses; one that returns brings it back.
#[test]
fn a_leaving_ipv6_address_is_followed_by_another_of_its_network() {
    let case = Case::new()
        .has(3, "2001:db8::1/64", ours())
        .has(3, "2001:db8::2/64", ours())
        .has(3, "2001:db8::3/64", ours())
        .has(3, "2001:db8::4/64", plain())
        .has(3, "2001:db8::5/128", ours())
        .wants(3, "2001:db8::2/64")
        .wants(3, "2001:db8::3/64");
    let expected = "Delete 2001:db8::2/64 kube-lb0\n\
                    Delete 2001:db8::1/64 kube-lb0\n\
                    Delete 2001:db8::5/128 kube-lb0\n\
                    Restore 2001:db8::2/64 kube-lb0 None Some(76)\n";
    assert_eq!(case.plan(), expected);
    // Nobody imports the routes of a NIC.
    let case = Case::new().has(2, "fd00:50::1/64", ours()).has(2, "fd00:50::2/64", ours());
    assert_eq!(case.plan(), "Delete fd00:50::1/64 eth0\nDelete fd00:50::2/64 eth0\n");
}

#[test]
fn an_ipv6_address_goes_when_its_successor_on_a_dummy_interface_is_reported() {
    let case = Case::new().has(2, "2001:db8::1/128", ours()).wants(3, "2001:db8::1/128");
    assert_eq!(case.plan(), "Add 2001:db8::1/128 kube-lb0 None Some(76)\n");
    assert_eq!(case.has(3, "2001:db8::1/128", ours()).plan(), "Delete 2001:db8::1/128 eth0\n");
    // Of IPv4 the kernel has what it has accepted.
    let case = Case::new().has(2, "192.0.2.1/32", ours()).wants(3, "192.0.2.1/32");
    assert_eq!(case.plan(), "Add 192.0.2.1/32 kube-lb0 None Some(76)\nDelete 192.0.2.1/32 eth0\n");
}

/// As after a renumbering with `promote_secondaries`, or after the host's own address was away for a moment.
#[test]
fn the_hosts_own_address_is_the_primary_one() {
    let primary = |valid| KernelAddress { secondary: false, ..local(valid) };
    let case = Case::new()
        .has(2, "192.168.50.200/24", primary(300))
        .has(2, "192.168.50.5/24", local(300))
        .has(2, "192.168.50.11/24", secondary(plain()))
        .wants(2, "192.168.50.200/24")
        .wants(2, "192.168.50.5/24");
    let expected = "Delete 192.168.50.5/24 eth0\n\
                    Delete 192.168.50.200/24 eth0\n\
                    Restore 192.168.50.11/24 eth0 None None\n\
                    Restore 192.168.50.5/24 eth0 Some(300) Some(76)\n\
                    Restore 192.168.50.200/24 eth0 Some(300) Some(76)\n";
    assert_eq!(case.plan(), expected);
    // Of what the kernel takes along, the host's own comes first.
    let mut case = case;
    case.desired.remove(&"192.168.50.200".parse().unwrap());
    case.desired.remove(&"192.168.50.5".parse().unwrap());
    let case = case.wants(2, "192.168.50.5/24");
    let expected = "Delete 192.168.50.200/24 eth0\n\
                    Restore 192.168.50.11/24 eth0 None None\n\
                    Restore 192.168.50.5/24 eth0 Some(300) Some(76)\n";
    assert_eq!(case.plan(), expected);
    // Alone it may be the primary one.
    let mut alone = Case::new().has(2, "192.168.50.200/24", primary(300)).wants(2, "192.168.50.200/24");
    alone.observed.apply(Change::NoAddress(key(2, "192.168.50.11/24")));
    assert_eq!(alone.plan(), "");
}

#[test]
fn a_changed_flag_needs_a_new_address() {
    let case = Case::new()
        .has(3, "172.30.200.155/24", KernelAddress { no_prefix_route: true, ..ours() })
        .wants(3, "172.30.200.155/24");
    assert_eq!(case.plan(), "Delete 172.30.200.155/24 kube-lb0\nAdd 172.30.200.155/24 kube-lb0 None Some(76)\n");
}

#[test]
fn an_ipv6_address_with_a_lifetime_does_not_leave_its_route_behind() {
    let runs_out = KernelAddress { valid: Some(180), preferred: Some(0), ..ours() };
    let case = Case::new().has(3, "2001:db8::1/128", runs_out.clone());
    assert_eq!(case.plan(), "Renew 2001:db8::1/128 kube-lb0 None Some(76)\nDelete 2001:db8::1/128 kube-lb0\n");
    let without = KernelAddress { no_prefix_route: true, ..runs_out.clone() };
    let case = Case::new().has(3, "2001:db8::1/128", without);
    assert_eq!(case.plan(), "Delete 2001:db8::1/128 kube-lb0\n");
    let mut case = Case::new().has(3, "2001:db8::1/128", runs_out).wants(3, "2001:db8::1/128");
    for placement in case.desired.values_mut() {
        placement.attributes.no_prefix_route = true;
    }
    let renewed = "Renew 2001:db8::1/128 kube-lb0 None Some(76)\n";
    assert_eq!(case.plan(), renewed.repeat(2));
}

#[test]
fn case_83_a_host_route_comes_beside_the_aggregate_of_an_earlier_release() {
    // The kernel has an IPv4 address once for each prefix length.
    let case = Case::new().has(3, "10.9.0.1/16", ours()).wants_with_aggregate("10.9.0.1/32", 16);
    assert_eq!(case.plan(), "Add 10.9.0.1/32 kube-lb0 None Some(76)\n");
    let both = case.has(3, "10.9.0.1/32", ours());
    assert_eq!(both.plan(), "");
    let case = Case::new().has(3, "10.9.0.1/32", ours()).has(3, "10.9.0.1/16", ours()).wants(3, "10.9.0.1/16");
    assert_eq!(case.plan(), "Delete 10.9.0.1/32 kube-lb0\n", "the policy is not Local any more");

    // It has an IPv6 address once: it goes and comes back with the anchor of the aggregate, in one batch.
    let case =
        Case::new().has(3, "2001:db8::5/64", ours()).wants_with_aggregate("2001:db8::5/128", 64).holds("2001:db8::/64");
    let expected = "Delete 2001:db8::5/64 kube-lb0\n\
                    Add 2001:db8::/64 kube-lb0 None Some(76)\n\
                    Add 2001:db8::5/128 kube-lb0 None Some(76)\n";
    assert_eq!(case.plan(), expected);
    let case = Case::new()
        .has(3, "2001:db8::5/128", ours())
        .has(3, "2001:db8::/64", ours())
        .wants_with_aggregate("2001:db8::5/128", 64)
        .holds("2001:db8::/64");
    assert_eq!(case.plan(), "");
}
