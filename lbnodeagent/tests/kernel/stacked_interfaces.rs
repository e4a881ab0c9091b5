//! Interfaces on top of others: VRFs, bonds and VLANs, on a kernel that has these types.

use std::time::Duration;

use api_types::Family;
use lbnodeagent::kernel::netlink::monitor::Monitor;
use lbnodeagent::kernel::netlink::requests::Kernel;
use lbnodeagent::kernel::packet::frames::announcement;
use lbnodeagent::kernel::packet::socket::PacketSocket;
use lbnodeagent::model::observed::Change;
use nix::net::if_::if_nametoindex;
use serde_json::json;

use crate::interfaces::{
    LOCAL_TABLE, MACS, MAIN_TABLE, MGMT, SUBNETS, VRF_TABLE, add_switch, add_vrf, local_is_in_table, mislead_clients,
    plug, removed_addresses, replace_node_addresses, set_default_routes, start_announcing_on, wait_until_announced_on,
    wait_until_answered_from, wait_until_known_at,
};
use crate::node::{LOCAL, Lan, Node, REMOTE, local_is_on, local_is_there, works};
use crate::objects::{groups, service, service_group};
use crate::support::{Far, add_dummy, addresses, cidrs, eventually, in_namespace, ip, ip_batch, try_ip};
use crate::uml::{Part, in_guest, load};
use crate::wire::addr;

const PARTS: &[Part] = &[
    ("the main table comes before a VRF", the_main_table_comes_before_a_vrf),
    ("only a VRF has a default route", only_a_vrf_has_a_default_route),
    ("a NIC goes into a VRF and out again", a_nic_goes_into_a_vrf_and_out_again),
    ("IPv6 addresses that stay when a NIC goes into a VRF", ipv6_addresses_that_stay_when_a_nic_goes_into_a_vrf),
    ("a bond, whichever of its NICs works", a_bond_whichever_of_its_nics_works),
    ("a NIC goes into a bond", a_nic_goes_into_a_bond),
    ("a VLAN, and not the network below it", a_vlan_and_not_the_network_below_it),
];

/// The kernels of small virtual machines often lack these types, so this test brings one that has them.
#[test]
fn vrfs_bonds_and_vlans() {
    in_guest("stacked_interfaces::vrfs_bonds_and_vlans", PARTS);
}

/// The rows of the test `a_route_into_a_vrf_is_no_way_to_an_interface`, in both families, on a real kernel.
fn the_main_table_comes_before_a_vrf() {
    load(&["ipv6", "veth", "dummy", "vrf", "bonding", "8021q", "bridge"]);
    in_namespace(|| async {
        let lan = Lan::new().await;
        add_vrf();
        let other = Far::new();
        plug("eth1", MACS[1], "far", &other);
        other.run(|| ip_batch("address add 10.1.0.1/24 dev far\naddress add fd00:1::1/64 dev far nodad\n"));
        ip_batch(
            "link set eth1 master mgmt\n\
             address add 10.1.0.11/24 dev eth1\n\
             address add fd00:1::11/64 dev eth1 nodad\n\
             route add default via 10.1.0.1 dev eth1 table 10\n\
             route add default via fd00:1::1 dev eth1 table 10\n\
             route replace default via 192.168.50.1 dev eth0 metric 100\n\
             route del default via 192.168.50.1 dev eth0 metric 0\n\
             route add default dev mgmt\n\
             route add ::/0 dev mgmt metric 1\n",
        );
        eventually("a link", || works("eth1")).await;
        let kernel = Kernel::open().unwrap().dump().unwrap();
        let index = |name| kernel.index_of(name).unwrap();
        let link = &kernel.links[&index("mgmt")];
        assert!(link.works() && !link.resolves && kernel.links[&index("eth1")].resolves, "{link:?}");
        for family in Family::ALL {
            let mut routes: Vec<_> = kernel.routes.iter().filter(|route| route.family == family).collect();
            routes.sort_by_key(|route| (route.table != MAIN_TABLE, route.metric));
            let found: Vec<_> = routes.iter().map(|route| (route.index, route.table)).collect();
            assert_eq!(
                found,
                [(index("mgmt"), MAIN_TABLE), (index("eth0"), MAIN_TABLE), (index("eth1"), VRF_TABLE)],
                "{family:?}"
            );
        }

        let mut all = groups();
        all.extend([
            service_group("mgmt4", "local", "10.1.0.200-10.1.0.210", "10.1.0.0/24", "default"),
            service_group("mgmt6", "local", "fd00:1::f000/116", "fd00:1::/64", "default"),
            service_group("wide", "remote", "10.1.7.0/24", "10.1.0.0/16", "default"),
        ]);
        let services =
            [service("routed", REMOTE), service("local", LOCAL), service("mgmt", MGMT), service("wide", &["10.1.7.7"])];
        mislead_clients(&lan.0, "far");
        let mut node = Node::with(&all, &services).await;
        wait_until_announced_on(&node, "eth0").await;
        wait_until_known_at(MACS[0], &lan.0, "far").await;
        wait_until_answered_from(MACS[0], &lan.0, "far").await;
        node.wait_for_subnets(&SUBNETS[0]).await;
        // Addresses that are not ours, in the VRF and on its device, stay.
        let own = ["10.1.0.11/24", "fd00:1::11/64"];
        let untouched = || addresses("mgmt").iter().any(|line| line.contains("127.0.0.1/8"));
        let without = async |addresses: &[&str], interface| {
            for ip in addresses {
                node.wait_for_address("not here", ip, |address| {
                    !address.announced && address.reason == "noLocalInterface"
                })
                .await;
            }
            eventually("withdrawn", || cidrs(interface).len() == 2).await;
        };
        without(MGMT, "eth1").await;
        assert!(untouched() && cidrs("eth1") == own);
        // The network in the VRF counts as one of the host: only an administrator can know that no packet crosses.
        node.wait_for_address("refused", "10.1.7.7", |address| address.reason == "refused").await;

        // Now the only default route of the main table leads into the VRF.
        ip_batch("route del default via 192.168.50.1 dev eth0 metric 100\nroute del ::/0 dev eth0\n");
        node.wait_for_subnets(&SUBNETS[1]).await;
        for ip in MGMT {
            node.wait_for_address("in the VRF", ip, |address| {
                address.announced && address.interface.as_deref() == Some("eth1")
            })
            .await;
        }
        without(LOCAL, "eth0").await;
        assert!(untouched() && own.iter().all(|own| cidrs("eth1").contains(&(*own).to_owned())));
        set_default_routes("eth0", MAIN_TABLE);
        // For IPv4 this replaces the route into the VRF, because it has the same metric. For IPv6 both exist.
        wait_until_announced_on(&node, "eth0").await;
        without(MGMT, "eth1").await;
        assert!(untouched() && cidrs("eth1") == own);
        // Selected by name, a port of the VRF is used like any interface. The VRF's own device is part of no network.
        node.configure(json!({"local": {"localInterface": "eth1|mgmt"}})).await;
        node.wait_for_subnets(&SUBNETS[1]).await;
        let text = "10.1.7.7/16 on the dummy interface would overlap network 10.1.0.0/24 of eth1";
        let events = node.events();
        assert!(
            events.iter().any(|(reason, note)| *reason == "AnnouncementFailed" && note.contains(text)),
            "{events:#?}"
        );
    });
}

fn only_a_vrf_has_a_default_route() {
    in_namespace(|| async {
        let lan = Lan::new().await;
        add_vrf();
        ip("link set eth0 master mgmt");
        replace_node_addresses("eth0");
        set_default_routes("eth0", VRF_TABLE);
        // The node's IPv6 address gets no connected route, so any connected route is one of our addresses.
        ip("address change fd00:50::11/64 dev eth0 noprefixroute");
        let connected = |table: u32| try_ip(&format!("-6 route show fd00:50::/64 table {table}")).1;
        mislead_clients(&lan.0, "far");
        let node = start_announcing_on("eth0").await;
        wait_until_known_at(MACS[0], &lan.0, "far").await;
        node.wait_for_subnets(&SUBNETS[0]).await;
        eventually("in the VRF", || local_is_in_table(VRF_TABLE)).await;
        wait_until_answered_from(MACS[0], &lan.0, "far").await;
        assert!(connected(VRF_TABLE).is_empty());
        node.configure(json!({"local": {"addressConfig": {"localInterface": {"noPrefixRoute": false}}}})).await;
        eventually("a route", || connected(VRF_TABLE).contains("fd00:50::/64 dev eth0")).await;
        assert!(connected(MAIN_TABLE).is_empty() && !local_is_in_table(LOCAL_TABLE) && local_is_there());
    });
}

/// A NIC that goes into a VRF or out of it is down for a moment: the kernel drops its routes and its IPv6 addresses,
/// and moves the rest to the other table.
fn a_nic_goes_into_a_vrf_and_out_again() {
    in_namespace(|| async {
        let lan = Lan::new().await;
        add_vrf();
        let node = start_announcing_on("eth0").await;
        assert!(local_is_in_table(LOCAL_TABLE));
        let mut monitor = Monitor::open().unwrap();
        for (order, here, before) in [("master mgmt", VRF_TABLE, LOCAL_TABLE), ("nomaster", LOCAL_TABLE, VRF_TABLE)] {
            ip(&format!("link set eth0 {order}"));
            node.wait_for_address("without its network", LOCAL[1], |address| !address.announced).await;
            replace_node_addresses("eth0");
            set_default_routes("eth0", if here == VRF_TABLE { VRF_TABLE } else { MAIN_TABLE });
            eventually(order, || local_is_there() && local_is_in_table(here)).await;
            wait_until_announced_on(&node, "eth0").await;
            assert!(!local_is_in_table(before));
            node.wait_for_subnets(&SUBNETS[0]).await;
            eventually("a link", || works("eth0")).await;
            wait_until_answered_from(MACS[0], &lan.0, "far").await;
        }
        // IPv4 addresses stay, ours too, and so do remote addresses.
        let removed = removed_addresses(&mut monitor);
        assert!(!removed.iter().any(|ip| ip == LOCAL[0] || REMOTE.contains(&ip.as_str())), "{removed:?}");
    });
}

/// With `keep_addr_on_down` the node's own addresses stay, which are permanent, but ours do not.
fn ipv6_addresses_that_stay_when_a_nic_goes_into_a_vrf() {
    in_namespace(|| async {
        let lan = Lan::new().await;
        std::fs::write("/proc/sys/net/ipv6/conf/eth0/keep_addr_on_down", "1").unwrap();
        add_vrf();
        let mut node = start_announcing_on("eth0").await;
        let repetitions = node.discard_events();
        let mut monitor = Monitor::open().unwrap();
        ip("link set eth0 master mgmt");
        // No default route leads there yet, but none leads anywhere else either.
        let took = eventually("repaired", || local_is_there() && local_is_in_table(VRF_TABLE)).await;
        eprintln!("repaired after {took:?}");
        node.wait_for_event_or_repeat(&["AddressRepaired", "AnnouncingLocal"], repetitions).await;
        let removed = removed_addresses(&mut monitor);
        assert!(
            removed.iter().any(|ip| ip == LOCAL[1]) && !removed.iter().any(|ip| ip == "fd00:50::11"),
            "{removed:?}"
        );
        set_default_routes("eth0", VRF_TABLE);
        wait_until_announced_on(&node, "eth0").await;
        node.wait_for_subnets(&SUBNETS[0]).await;
        wait_until_answered_from(MACS[0], &lan.0, "far").await;
    });
}

/// The bond has two NICs. One of them is active at a time, and the bond has its MAC.
fn a_bond_whichever_of_its_nics_works() {
    in_namespace(|| async {
        let lan = add_switch();
        ip_batch(
            "link add bond0 type bond mode active-backup miimon 20 fail_over_mac active\n\
             link set eth0 down\nlink set eth0 master bond0\n\
             link set eth1 down\nlink set eth1 master bond0\n\
             link set bond0 up\n",
        );
        replace_node_addresses("bond0");
        set_default_routes("bond0", MAIN_TABLE);
        eventually("a link", || works("bond0")).await;
        mislead_clients(&lan, "far");
        let node = start_announcing_on("bond0").await;
        wait_until_known_at(MACS[0], &lan, "far").await;
        node.wait_for_subnets(&SUBNETS[0]).await;
        let mut monitor = Monitor::open().unwrap();
        for (broken, whole, mac) in [("far0", "far1", MACS[1]), ("far1", "far0", MACS[0])] {
            lan.run(move || ip_batch(&format!("link set {whole} up\nlink set {broken} down\n")));
            wait_until_known_at(mac, &lan, "far").await;
            wait_until_answered_from(mac, &lan, "far").await;
            wait_until_announced_on(&node, "bond0").await;
        }
        assert!(cidrs("eth0").is_empty() && cidrs("eth1").is_empty());
        assert_eq!(removed_addresses(&mut monitor), Vec::<String>::new());
    });
}

/// A NIC that becomes part of a bond is up and keeps its IPv4 addresses for a time before the default routes are the
/// bond's. Its frames get no answers then and may mislead the switch, so our addresses must not be on it.
fn a_nic_goes_into_a_bond() {
    in_namespace(|| async {
        let lan = add_switch();
        ip_batch(
            "link add bond0 type bond mode active-backup miimon 20\n\
             link set eth1 down\nlink set eth1 master bond0\nlink set bond0 up\n",
        );
        replace_node_addresses("eth0");
        set_default_routes("eth0", MAIN_TABLE);
        eventually("links", || works("bond0") && works("eth0")).await;
        let node = start_announcing_on("eth0").await;
        wait_until_answered_from(MACS[0], &lan, "far").await;
        let mut monitor = Monitor::open().unwrap();
        ip_batch("link set eth0 down\nlink set eth0 master bond0\n");
        eventually("below the bond", || ip("link show eth0").contains("SLAVE,UP,LOWER_UP")).await;
        // Long enough for an agent that would put the addresses there again.
        tokio::time::sleep(Duration::from_millis(200)).await;
        for ip in LOCAL {
            node.wait_for_address("nowhere", ip, |address| address.reason == "noLocalInterface").await;
        }
        replace_node_addresses("bond0");
        mislead_clients(&lan, "far");
        set_default_routes("bond0", MAIN_TABLE);
        eventually("moved", || local_is_on("bond0") && cidrs("eth0") == ["192.168.50.11/24"]).await;
        wait_until_announced_on(&node, "bond0").await;
        wait_until_known_at(MACS[1], &lan, "far").await;
        let below = if_nametoindex("eth0").unwrap();
        let placed = |change: &Change| matches!(change, Change::Address(key, _) if key.index == below && key.ip == addr(LOCAL[0]));
        assert!(!monitor.read().changes.iter().any(placed));
        ip("address flush dev eth0 scope global");
        wait_until_answered_from(MACS[1], &lan, "far").await;
        node.wait_for_subnets(&SUBNETS[0]).await;
        // Now it is the active NIC.
        lan.run(|| ip("link set far1 down"));
        eventually("eth0 works", || ip("-details link show bond0").contains("active_slave eth0")).await;
        wait_until_answered_from(MACS[1], &lan, "far").await;
        assert!(local_is_on("bond0"));
    });
}

fn a_vlan_and_not_the_network_below_it() {
    in_namespace(|| async {
        let lan = Far::new();
        plug("eth0", MACS[0], "far", &lan);
        lan.run(|| {
            ip_batch(
                "link add link far name far.10 type vlan id 10\nlink set far.10 up\n\
                 address add 192.168.50.1/24 dev far.10\naddress add fd00:50::1/64 dev far.10 nodad\n",
            );
        });
        ip_batch(
            "link add link eth0 name eth0.10 type vlan id 10\nlink set eth0.10 up\n\
             address add 10.1.0.11/24 dev eth0\naddress add fd00:1::11/64 dev eth0 nodad\n",
        );
        add_dummy("kube-lb0");
        replace_node_addresses("eth0.10");
        set_default_routes("eth0.10", MAIN_TABLE);
        eventually("a link", || works("eth0.10")).await;
        mislead_clients(&lan, "far.10");
        let mut node = start_announcing_on("eth0.10").await;
        wait_until_known_at(MACS[0], &lan, "far.10").await;
        wait_until_answered_from(MACS[0], &lan, "far.10").await;
        node.wait_for_subnets(&SUBNETS[0]).await;
        assert_eq!(cidrs("eth0"), ["10.1.0.11/24", "fd00:1::11/64"]);
        // With `interfaces`, the network below the VLAN counts too. A host there may have the same addresses; a host in
        // the VLAN may not.
        node.configure(json!({"local": {"interfaces": ["eth0"]}})).await;
        let mut both = SUBNETS.concat();
        both.sort_unstable();
        node.wait_for_subnets(&both).await;
        let claims = |last: u8, end: &'static str| {
            lan.run(move || {
                let (socket, index) = (PacketSocket::open().unwrap(), if_nametoindex(end).unwrap());
                for frame in LOCAL.iter().flat_map(|ip| announcement(addr(ip), [2, 0, 0, 0, 0, last], None)) {
                    socket.send(index, &frame).unwrap();
                }
            });
        };
        claims(0x0c, "far");
        wait_until_answered_from(MACS[0], &lan, "far.10").await;
        claims(0x0d, "far.10");
        // An event about the first host would have suppressed one about the second.
        let mut conflicts = Vec::new();
        eventually("conflicts", || {
            conflicts.extend(node.events().into_iter().filter(|(reason, _)| *reason == "AddressConflict"));
            conflicts.len() == LOCAL.len()
        })
        .await;
        assert!(conflicts.iter().all(|(_, text)| text.contains("02:00:00:00:00:0d")), "{conflicts:#?}");
    });
}
